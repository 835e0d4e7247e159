"""The ``monitor_access`` block: tokens for monitoring, of the operator and of tenants."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from broker.config.options import MonitorAccess
from broker.config.tree import Entry
from broker.config.values import Keys, Problems, fail, keys, name, read_block, string_map, table

SHORTEST: Final = 16
"""Characters of a token below which it could be guessed."""


def _token(entry: Entry, problems: Problems) -> str:
    text = name(entry, problems)
    _check(entry, text)
    return text


def _accounts(entry: Entry, problems: Problems) -> MappingProxyType[str, str]:
    tokens = string_map(entry, problems)
    for token in tokens.values():
        _check(entry, token)
    if len(set(tokens.values())) < len(tokens):
        raise fail(entry, "two accounts of monitor_access have the same token")
    return MappingProxyType(tokens)


def _check(entry: Entry, token: str) -> None:
    if len(token) < SHORTEST:
        raise fail(entry, f"a token of monitor_access has at least {SHORTEST} characters, or is a bcrypt hash")


KEYS: Final[Keys] = {
    **keys("token", field="token", read=_token, kind="string", doc="Token of the operator, who sees everything."),
    **keys(
        "accounts",
        field="accounts",
        read=_accounts,
        kind="map from account to token",
        doc="Tokens of tenants; each sees the pages about its own account alone.",
    ),
}


def monitor_access(entry: Entry, problems: Problems) -> MonitorAccess:
    """The block. Raises ConfigError."""
    fields = read_block(table(entry), KEYS, problems)
    access = MonitorAccess(**fields)
    if access.token and access.token in access.accounts.values():
        raise fail(entry, "the operator of monitor_access has the same token as an account")
    return access
