"""``auth_callout`` in ``authorization``: a service that decides who may connect."""

from __future__ import annotations

from typing import Final

from auth.nkey import KeyKind, is_public_key
from broker.config.options import CalloutOptions
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, fail, keys, positioned_strings, read_block, string, without_seed


def read(entry: Entry, problems: Problems) -> CalloutOptions | None:
    """What the block says; None where problems were found in it."""
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"Expected authorization callout to be a map/struct, got {entry.value.kind}")
    before = len(problems.errors)
    unknown = 'Unknown field "{}" parsing authorization callout'
    fields = read_block(entry.value.content, KEYS, problems, unknown)
    if len(problems.errors) > before:
        return None
    if not fields.get("issuer"):
        raise fail(entry, "Authorization callouts require an issuer to be specified")
    if not fields.get("users"):
        raise fail(entry, "Authorization callouts require authorized users to be specified")
    return CalloutOptions(**fields)


def _issuer(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if not is_public_key(text, KeyKind.ACCOUNT):
        raise fail(entry, f'Expected callout user to be a valid public account nkey, got "{without_seed(text)}"')
    return text


def _curve_key(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if not is_public_key(text, KeyKind.CURVE):
        raise fail(entry, f'Expected callout xkey to be a valid public xkey, got "{without_seed(text)}"')
    return text


def _users(entry: Entry, problems: Problems) -> tuple[str, ...]:
    return _list(entry, "auth_users")


def _allowed_accounts(entry: Entry, problems: Problems) -> tuple[str, ...]:
    return _list(entry, "allowed accounts")


def _break_glass(entry: Entry, problems: Problems) -> tuple[str, ...]:
    return _list(entry, "break_glass")


def _list(entry: Entry, what: str) -> tuple[str, ...]:
    if not isinstance(entry.value.content, list):
        raise fail(entry, f"Expected {what} field to be an array, got {entry.value.kind}; put it in brackets")
    return tuple(text for text, _ in positioned_strings(entry))


KEYS: Final[Keys] = {
    **keys("issuer", field="issuer", read=_issuer, kind="public nkey, `A…`", doc="Who signs the answers. Required."),
    **keys("account", "acc", field="account", read=string, default="`$G`", doc="The account of the service."),
    **keys("auth_users", "users", field="users", read=_users, kind="list", doc="Users of the service. Required."),
    **keys(
        *("xkey", "key"),
        field="xkey",
        read=_curve_key,
        kind="public curve key, `X…`",
        doc="Key that requests are encrypted for. Answers must be encrypted too.",
    ),
    **keys(
        "allowed_accounts",
        field="allowed_accounts",
        read=_allowed_accounts,
        kind="list of names",
        default="all but the system account",
        doc="Accounts that the service may put users in, besides its own.",
    ),
    **keys(
        "break_glass",
        field="break_glass",
        read=_break_glass,
        kind="list of names",
        doc="Users of the configuration that must be able to log in whatever has become of the service. Each login of "
        "one is logged as a warning.",
    ),
}
