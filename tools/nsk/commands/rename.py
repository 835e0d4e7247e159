"""``rename account``: another name for an account, with its users and their creds files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean
from tools.nsk.managed import submit
from tools.nsk.report import Report
from tools.nsk.rotation.records import Book
from tools.nsk.session import Session
from tools.nsk.store import check_name

_WARNING = """\
This command makes destructive changes to files and keys. The account\x20
rename operation requires that the JWT be reissued with a new name,\x20
reusing it's previous ID. This command will move the account, and moves
users and associated credential files under the new account name.\x20
Please backup the following directories:

  {stores}
  {keys}

Run this command with the '--OK' flag, to bypass the warning."""


@dataclass(frozen=True, slots=True)
class RenamedAccount:
    """What ``rename account`` did."""

    old_name: Annotated[str, "the name until now"]
    new_name: Annotated[str, "the name from now on"]
    users: Annotated[list[str], "the users that were moved"]


def _account(session: Session, flags: Flags) -> RenamedAccount:
    environment = session.environment
    if not flags.boolean("OK"):
        stores = environment.abbreviated(session.store_root)
        keys = environment.abbreviated(environment.keystore_directory)
        session.output.message(_WARNING.format(stores=stores, keys=keys))
        raise NskError('required flag "OK" not set')
    old, new = flags.arguments
    store, keystore = session.store, session.keystore
    claims = store.account(old)
    new = check_name(new, "account")
    if any(other.casefold() == new.casefold() and other != old for other in store.accounts()) or new == old:
        raise NskError(f"account {quote(new)} already exists")
    report = Report()
    section = report.section(f"rename account {quote(old)} to {quote(new)}")
    claims.name = new
    store.sign_account(claims, session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT), keep_issuer=False)
    users = store.users(old)
    copied = section.group()
    if users:
        moved = section.section("move users")
        for user in users:
            store.write_user(new, user, store.user_token(old, user))
            entry = moved.section(f"move user {quote(user)}")
            entry.ok("copied user")
            entry.ok("removed user from the old account")
    else:
        section.group()
    creds = section.section("move creds directory")
    if not keystore.move_creds(store.name, old, new):
        creds.ok("skipping... no creds directory found")
    store.delete_account(old)
    Book(store).rename_account(old, new)
    cleanup = section.section("cleanup")
    if users:
        cleanup.ok("deleted old users directory")
    cleanup.ok("deleted old account jwt")
    cleanup.ok("deleted old account directory")
    submitted = Report()
    submit(store, claims, submitted)
    if submitted.children:
        copied.section(f"copy account {quote(old)} to {quote(new)}").children = submitted.children
    session.output.report(report)
    if (failure := section.failure()) is not None:
        raise NskError(failure)
    return RenamedAccount(old, new, users)


ACCOUNT = Command(
    "account",
    "Rename an account",
    _account,
    (boolean("OK", "", "backed up", hidden=True),),
    arguments=(2, 2),
    examples="nsk rename account <name> <newname>",
    changes=True,
    result=RenamedAccount,
)
