"""``list operators|accounts|users``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ParamSpec

import msgspec

from auth.claims import Claims
from tools.nsk.cli import Command
from tools.nsk.commands import LIST_FLAGS
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, bold, printable
from tools.nsk.session import Session
from tools.nsk.store import Store

Arguments = ParamSpec("Arguments")
_OPERATOR_FLAG = text("operator", "o", "operator name")


def _operators(session: Session, flags: Flags) -> None:
    names = session.environment.operators()
    if not names and not flags.boolean("json"):
        session.output.line(f'no operators defined in store dir "{session.environment.store_root}"')
        session.output.line("init an environment or change the store root with `env --store <dir>`")
        return
    entries = [_entry(name, _operator_claims, session, name) for name in names]
    _print(session, flags, "Operators", entries, session.environment.operator)


def _accounts(session: Session, flags: Flags) -> None:
    _switch(session, flags)
    if not session.environment.operator:
        raise StoreError("no operator set - `env --operator <name>`")
    store = session.store
    entries = [_entry(name, store.account, name) for name in store.accounts()]
    _print(session, flags, "Accounts", entries, session.environment.account)


def _users(session: Session, flags: Flags) -> None:
    _switch(session, flags)
    environment, program = session.environment, session.output.program
    if not environment.operator:
        raise StoreError(f"no operator set - `{program} env --operator <name>`")
    store = session.store
    if account := flags.text("account"):
        if not store.has_account(account):
            raise store.unknown_account(account)
        environment.remember(account=account)
    if not environment.account:
        raise StoreError(f"no account set - `{program} env --account <name>`")
    account = environment.account
    store.account_token(account)
    entries = [_entry(name, store.user, account, name) for name in store.users(account)]
    # nsc marks the user that is called like its account.
    _print(session, flags, "Users", entries, account)


def _switch(session: Session, flags: Flags) -> None:
    """``--operator`` makes an operator the current one."""
    operator = flags.text("operator")
    if not operator:
        return
    if not Store.exists(session.store_root, operator):
        raise NskError(f'operator "{operator}" not in `{session.store_root}`')
    if operator != session.environment.operator:
        session.environment.remember(operator=operator, account="")


def _operator_claims(session: Session, name: str) -> Claims:
    return session.open_store(name).operator()


class ListedEntity(msgspec.Struct):
    """An operator, account or user, in nsc's own form."""

    name: Annotated[str, msgspec.Meta(description="its name in the store")]
    public_key: Annotated[str, msgspec.Meta(description="its public key, or why the JWT could not be read")]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entity: the name that the store has it under, with its own where that is another one, and its key."""

    name: str
    shown: str
    key: str


def _entry(
    name: str, read: Callable[Arguments, Claims], *arguments: Arguments.args, **named: Arguments.kwargs
) -> _Entry:
    try:
        claims = read(*arguments, **named)
    except StoreError as error:
        return _Entry(name, name, f"error loading jwt - {error.text}")
    return _Entry(name, name if claims.name == name else f"{name} ({claims.name})", claims.subject)


def _print(session: Session, flags: Flags, title: str, entries: list[_Entry], current: str) -> None:
    if flags.boolean("json"):
        found = [ListedEntity(entry.name, entry.key) for entry in entries]
        body = msgspec.json.format(msgspec.json.encode(found or None), indent=1).decode()
        session.output.line(body, Channel.LISTING)
        return
    table = Table(title, ("Name", "Public Key") if entries else ())
    for entry in entries:
        cells = (printable(entry.shown), printable(entry.key))
        table.row(*(map(bold, cells) if entry.shown == current else cells))
    if not entries:
        table.row("No entries defined")
    session.output.line(table.render(), Channel.LISTING)


LISTING = list[ListedEntity] | None
"""What ``--json`` prints: null when there is nothing."""

OPERATORS = Command(
    "operators",
    "List operators",
    _operators,
    aliases=("operator",),
    group_flags=LIST_FLAGS,
    usage_on_error=True,
    result=LISTING,
)
ACCOUNTS = Command(
    "accounts",
    "List accounts",
    _accounts,
    (_OPERATOR_FLAG,),
    aliases=("account",),
    group_flags=LIST_FLAGS,
    usage_on_error=True,
    result=LISTING,
)
USERS = Command(
    "users",
    "List users",
    _users,
    (_OPERATOR_FLAG, text("account", "a", "account name")),
    aliases=("user",),
    group_flags=LIST_FLAGS,
    usage_on_error=True,
    result=LISTING,
)
