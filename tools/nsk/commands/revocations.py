"""``revocations add-user|delete-user|list-users``: whose credentials an account no longer takes."""

from __future__ import annotations

import time

from auth.claims import AccountClaims
from auth.claims.account import ALL_USERS
from auth.gojson import quote
from auth.nkey import KeyKind, is_public_key
from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import MOMENT, Flag, Flags, text
from tools.nsk.managed import submit
from tools.nsk.render import Table
from tools.nsk.report import Report
from tools.nsk.results import Revocations, revocations_result
from tools.nsk.session import Session
from tools.nsk.store import Store
from tools.nsk.values import format_date, format_mail_date

_USER_FLAGS = (
    text("account", "a", "account name"),
    text("name", "n", "user name"),
    text("user-public-key", "u", "user-public-key"),
)


def _user_key(store: Store, account: str, flags: Flags) -> str:
    """The key that the flags name, ``*`` for all users, or that of the only user. Raises NskError."""
    name, key = flags.text("name"), flags.text("user-public-key")
    if name and key:
        raise NskError("user and user-public-key are mutually exclusive")
    if key:
        if key != ALL_USERS and not is_public_key(key, KeyKind.USER):
            raise NskError(f"user {key} does not exist in the current account")
        return key
    users = store.users(account)
    if not name and len(users) != 1:
        raise NskError(f"no default user available for account {account}")
    name = name or users[0]
    if name not in users:
        raise NskError(f"user {quote(name)} not found")
    return store.user(account, name).subject


def _add(session: Session, flags: Flags) -> Revocations:
    store = session.store
    account = session.account_name(flags.text("account"))
    key = _user_key(store, account, flags)
    moment = flags.number("at") or int(time.time())
    claims = store.account(account)
    claims.revoke(key, moment)
    report = Report()
    _save(session, claims, report)
    if key == ALL_USERS:
        report.ok(f"revoked all users issued before {format_date(moment).replace(' UTC', ' +0000 UTC')}")
    else:
        report.ok(f"revoked user {quote(key)}")
    session.finish(report)
    return revocations_result(claims)


def _save(session: Session, claims: AccountClaims, report: Report) -> None:
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    session.store.sign_account(claims, signer, keep_issuer=False)
    submit(session.store, claims, report)


def _delete(session: Session, flags: Flags) -> Revocations:
    store = session.store
    account = session.account_name(flags.text("account"))
    claims = store.account(account)
    if not claims.nats.revocations:
        raise NskError(f"no user revocations set in account {account}")
    key = _user_key(store, account, flags)
    if key not in claims.nats.revocations:
        raise NskError(f"user with public key {key} is not revoked")
    del claims.nats.revocations[key]
    report = Report()
    _save(session, claims, report)
    report.ok("deleted all user revocation" if key == ALL_USERS else f"deleted user revocation for {quote(key)}")
    session.finish(report)
    return revocations_result(claims)


def _list(session: Session, flags: Flags) -> Revocations:
    account = session.account_name(flags.text("account"))
    claims = session.store.account(account)
    revocations = claims.nats.revocations
    if not revocations:
        raise NskError(f"account {account} does not have revoked users")
    table = Table(f"Revoked Users for {account}", ("Public Key", "Revoke Credentials Before"))
    for key, moment in sorted(revocations.items()):
        table.row(f"{ALL_USERS} [All Users]" if key == ALL_USERS else key, format_mail_date(moment))
    session.output.line(table.render())
    return revocations_result(claims)


ADD_USER = Command(
    "add-user",
    "Revoke a user",
    _add,
    (
        *_USER_FLAGS,
        Flag(
            "at",
            "",
            "revokes all user credentials created or edited before a Unix timestamp "
            "('0' is treated as now, accepted formats are RFC3339 or #seconds since epoch)",
            kind=MOMENT,
            default=0,
        ),
    ),
    aliases=("add_user",),
    changes=True,
    result=Revocations,
)
DELETE_USER = Command(
    "delete-user",
    "Remove a user revocation",
    _delete,
    _USER_FLAGS,
    aliases=("delete_user",),
    changes=True,
    result=Revocations,
)
LIST_USERS = Command(
    "list-users",
    "List users revoked in an account",
    _list,
    (text("account", "a", "account name"),),
    aliases=("list_users",),
    result=Revocations,
)
