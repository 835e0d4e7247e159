"""``add users``: many users at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk.bulk import issue_users, numbered, plans_of_rows, read_rows
from tools.nsk.cli import Command
from tools.nsk.contexts import write_context
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, Flag, Flags, text
from tools.nsk.issuer import UserIssuer
from tools.nsk.keystore import CREDS_SUFFIX
from tools.nsk.new_users import NEW_USER_FLAGS, plan_user
from tools.nsk.progress import progress
from tools.nsk.provision import UserPlan
from tools.nsk.report import Report
from tools.nsk.results import Creds, Public
from tools.nsk.session import Session
from tools.nsk.store import check_name, creds_text

_PROGRESS_FROM = 100
_LISTED = 20


@dataclass(frozen=True, slots=True)
class BulkUser:
    """One of many users that were added."""

    name: Annotated[str, "the user's name"]
    public_key: Public
    creds_file: Creds


@dataclass(frozen=True, slots=True)
class BulkUsers:
    """Users that were added together."""

    account: Annotated[str, "the account's name"]
    users: Annotated[list[BulkUser], "the users, in the order of the file or of their numbers"]
    output_directory: Annotated[str | None, "where copies of the creds files lie, else null"]


def _add(session: Session, flags: Flags) -> BulkUsers:
    store = session.store
    account = session.account_name(flags.text("account"))
    issuer = UserIssuer(store, account, session.signer(KeyKind.ACCOUNT, account=store.account(account)))
    plans = _plans(session, flags, issuer)
    directory = session.environment.absolute(flags.text("output-dir")) if flags.given("output-dir") else None
    if directory and directory.is_relative_to(session.keystore.directory):
        raise NskError(
            f"`{directory}` lies in the keystore, which sorts its files by itself", remedy="choose another --output-dir"
        )
    copies = [directory / f"{plan.name}{CREDS_SUFFIX}" for plan in plans] if directory else []
    if taken := next((copy for copy in copies if session.files.is_file(copy)), None):
        raise NskError(f"`{taken}` already exists", remedy="remove it, or choose another --output-dir")
    with progress(len(plans), f"adding users to {account}", least=_PROGRESS_FROM) as advance:
        made = issue_users(issuer, plans, advance)
    report = Report()
    users = []
    operator = store.operator()
    for number, user in enumerate(made):
        claims, path = user.claims, None
        if user.pair is not None:
            creds = creds_text(user.token, user.pair)
            path = session.keystore.write_creds(store.name, account, claims.name, creds)
            if copies:
                session.files.write(copies[number], creds)
        write_context(store, account, claims, operator)
        users.append(BulkUser(claims.name, claims.subject, str(path) if path else None))
        if number < _LISTED:
            report.ok(f"added user {quote(claims.name)} to account {quote(account)}")
    if len(made) > _LISTED:
        report.ok(f"added {len(made) - _LISTED} more users to account {quote(account)}")
    report.ok(f"generated user creds files in {session.display(store.creds_path(account, '').parent)}")
    if directory:
        report.ok(f"copied them to {session.display(directory)}")
    session.finish(report)
    return BulkUsers(account, users, str(directory) if directory else None)


def _plans(session: Session, flags: Flags, issuer: UserIssuer) -> list[UserPlan]:
    if flags.given("from-csv") == flags.given("count"):
        raise NskError("say how many users with --count, or name a file of them with --from-csv", show_usage=True)
    if flags.given("from-csv"):
        given = [name for name in ("prefix", *_COLUMNS) if flags.given(name)]
        if given:
            raise NskError(
                f"--{given[0]} cannot be given together with --from-csv", remedy="write it into a column of the file"
            )
        path = Path(session.environment.absolute(flags.text("from-csv")))
        plans = plans_of_rows(path, read_rows(path, _COLUMNS), NEW_USER_FLAGS, issuer)
    else:
        if not 1 <= flags.number("count") <= _MOST:
            raise NskError(f"--count is a number from 1 to {_MOST}", remedy="add more users with another --prefix")
        names = [check_name(name, "user") for name in numbered(flags.text("prefix"), flags.number("count"))]
        for name in names:
            if issuer.store.has_user(issuer.account, name):
                raise NskError(f"the user {quote(name)} already exists", remedy="choose another --prefix")
        plans = [plan_user(flags, name, issuer, Report()) for name in names]
    if not plans:
        raise NskError("the file describes no users", remedy="write one line for each user below the first line")
    return plans


_MOST = 100_000
_COLUMNS = tuple(flag.long.removeprefix("--") for flag in NEW_USER_FLAGS if not flag.hidden)
ADD = Command(
    "users",
    "Add many users to the account",
    _add,
    (
        Flag("count", "", "how many users, whose names end with numbers", kind=COUNT),
        text("prefix", "", "what their names begin with", default="user-"),
        text("from-csv", "", f"file of users; columns: name, {', '.join(_COLUMNS)}"),
        text("output-dir", "", "directory for copies of the creds files"),
        text("account", "a", "account name"),
        *NEW_USER_FLAGS,
    ),
    own_examples="""\
nsk add users --count 1000 --prefix sensor- --role publisher --subject "telemetry.>" --output-dir creds
nsk add users --from-csv users.csv""",
    changes=True,
    result=BulkUsers,
)
