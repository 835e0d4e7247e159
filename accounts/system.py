"""What the system account offers to every other account: to look at itself, and at nothing else.

Each account imports four services of the system account without being asked. Its own name is part of the subject that
is answered, and an export that demands the importer's name in that place lets it import no other.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from accounts.account import Account
from accounts.exchange import ServiceLink
from accounts.exports import ResponseType, ServiceExport
from accounts.imports import ServiceImport
from accounts.subject import SINGLE, contains, is_literal, tokens

OWN_CONNECTIONS: Final = "$SYS.REQ.ACCOUNT.PING.CONNZ"
OWN_CONNECTIONS_BY_SERVER: Final = "$SYS.REQ.SERVER.PING.CONNZ"
OWN_STATISTICS: Final = "$SYS.REQ.ACCOUNT.PING.STATZ"
OWN_USER: Final = "$SYS.REQ.USER.INFO"
SUBSCRIBERS: Final = "$SYS.DEBUG.SUBSCRIBERS"

ORIGIN: Final = "built-in"

EVERYBODY: Final = "PING"
"""Stands in place of an account's or server's name where all are asked; no account is told anything under this name."""

_ACCOUNT_TOKEN: Final = 4
"""The place of the account's name in the subjects below."""

_REFERENCE: Final = re.compile(r"\$[0-9]+|.*\{\{.*", re.ASCII | re.DOTALL)
"""What stands for another token where subjects are mapped."""


def connections_of(account: str) -> str:
    """Where the system account tells the connections of an account, or of each under the name ``*``."""
    return f"$SYS.REQ.ACCOUNT.{account}.CONNZ"


def statistics_of(account: str) -> str:
    """Where the system account tells what an account has sent and received."""
    return f"$SYS.REQ.ACCOUNT.{account}.STATZ"


def user_of(account: str) -> str:
    """Where the system account tells a user of an account who it is."""
    return f"$SYS.REQ.USER.{account}.INFO"


HIDDEN_EXPORTS: Final[tuple[ServiceExport, ...]] = (
    ServiceExport(subject=SUBSCRIBERS, origin=ORIGIN),
    ServiceExport(subject=user_of(SINGLE), account_token_position=_ACCOUNT_TOKEN, origin=ORIGIN),
    ServiceExport(
        subject=connections_of(SINGLE),
        response_type=ResponseType.STREAM,
        account_token_position=_ACCOUNT_TOKEN,
        origin=ORIGIN,
    ),
    ServiceExport(
        subject=statistics_of(SINGLE),
        response_type=ResponseType.STREAM,
        account_token_position=_ACCOUNT_TOKEN,
        origin=ORIGIN,
    ),
)
"""What the system account exports besides what it declares itself."""

_EXPORTS: Final = {tokens(one.subject)[-1]: one for one in HIDDEN_EXPORTS}


def hidden_imports(account: str, system: str) -> tuple[ServiceImport, ...]:
    """What an account imports from the system account besides what it declares itself.

    The system account asks itself for its users only. An account whose name is not one plain token, or which stands for
    all of them, imports nothing.
    """
    if not is_literal(account) or len(tokens(account)) != 1 or account == EVERYBODY or _REFERENCE.fullmatch(account):
        return ()
    user = ServiceImport(account=system, subject=user_of(account), to=OWN_USER, share=True, origin=ORIGIN)
    if account == system:
        return (user,)
    return (
        ServiceImport(account=system, subject=connections_of(account), to=OWN_CONNECTIONS, origin=ORIGIN),
        ServiceImport(account=system, subject=connections_of(account), to=OWN_CONNECTIONS_BY_SERVER, origin=ORIGIN),
        ServiceImport(account=system, subject=statistics_of(account), to=OWN_STATISTICS, origin=ORIGIN),
        user,
    )


def hidden_links(account: Account, system: str) -> tuple[ServiceLink, ...]:
    """The hidden imports of an account as they are in force, whatever the system account exports by itself.

    Where the account imports something of the system account under the same local subject, that stands in their place.
    """
    taken = {one.local_subject for one in account.imports if one.kind == "service" and one.account == system}
    return tuple(
        ServiceLink(account.name, one, _EXPORTS[tokens(one.subject)[-1]], None)
        for one in hidden_imports(account.name, system)
        if one.local_subject not in taken
    )


def with_hidden_exports(account: Account) -> Account:
    """The system account with what it exports besides what it declares; an export of its own that covers a hidden one
    stands in its place."""
    own = [one.subject for one in account.exports if isinstance(one, ServiceExport)]
    hidden = tuple(one for one in HIDDEN_EXPORTS if not any(contains(have, one.subject) for have in own))
    return replace(account, exports=account.exports + hidden)
