"""``migrate``: accounts with their users from another operator into the current one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from auth.claims import AccountClaims, UserClaims
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.collection import files_below
from tools.nsk.download import read_source
from tools.nsk.errors import NskError, StoreError, without_usage
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.managed import submit
from tools.nsk.output import Channel
from tools.nsk.report import Report, Status
from tools.nsk.session import Session
from tools.nsk.store import JWT_SUFFIX, Store, check_name


@dataclass(frozen=True, slots=True)
class Migrated:
    """What ``migrate`` brought into the current operator."""

    operator: Annotated[str, "the operator that has the accounts now"]
    accounts: Annotated[list[str], "the names of the accounts"]


@dataclass(frozen=True, slots=True)
class _Account:
    """An account to migrate. ``path`` is None when it came from a URL."""

    claims: AccountClaims
    token: str
    path: Path | None


def _migrate(session: Session, flags: Flags) -> Migrated:
    directory, url = flags.text("operator-dir"), flags.text("url")
    if directory and url:
        raise NskError("specify one of --url or --store-dir")
    store, report = session.store, Report()
    ready: list[tuple[_Account, Report]] = []
    for source in _sources(session, directory) if directory else [url]:
        entry = report.section(source)
        try:
            account = _read(session, source)
            _check(store, account, force=flags.boolean("force"))
        except NskError as error:
            entry.label, entry.status = error.text, Status.ERROR
        else:
            ready.append((account, entry))
    if not ready:
        _finish(session, report)
    with without_usage():
        for account, entry in ready:
            try:
                _store(store, account, entry)
            except StoreError as error:
                entry.label = f"failed to migrate {quote(account.claims.name)}: {error.text}"
                entry.status = Status.ERROR
        _finish(session, report)
    return Migrated(store.name, [account.claims.name for account, _ in ready])


def _sources(session: Session, directory: str) -> list[str]:
    root = session.environment.absolute(directory)
    try:
        other = Store.open(root.parent, root.name, session.keystore)
    except StoreError as error:
        raise NskError(f"error loading operator `{root}`: {error.text}") from None
    return [str(other.account_path(name)) for name in other.accounts()]


def _read(session: Session, source: str) -> _Account:
    if not source:
        raise NskError("an url or path to the account jwt is required")
    is_url = urlsplit(source).scheme.lower() in ("http", "https")
    path = None if is_url else session.environment.absolute(source)
    if path and not path.is_file():
        raise NskError(f"error loading from `{source}`: stat {path}: no such file or directory")
    try:
        token = parse_decorated_jwt(read_source(session, source))
    except NskError as error:
        raise NskError(f"error loading from `{source}`: {error.text}") from None
    try:
        return _Account(AccountClaims.from_token(token), token, path)
    except JwtError as error:
        raise NskError(f"error decoding JWT: {error}") from None


def _check(store: Store, account: _Account, *, force: bool) -> None:
    claims = account.claims
    if account.path and account.path.is_relative_to(store.directory):
        raise NskError(f"cannot migrate {quote(str(account.path))} onto itself")
    check_name(claims.name, "account")
    if store.has_account(claims.name) and not force:
        raise NskError(f"account {quote(claims.name)} already exists, specify --force to overwrite")
    keys = [claims.subject, *claims.signing_key_names()]
    if not any(map(store.keystore.has_key, keys)):
        needed = ", ".join(keys)
        raise NskError(f"unable to find an account key for {quote(claims.name)} - need one of {needed}")


def _store(store: Store, account: _Account, entry: Report) -> None:
    claims = account.claims
    if store.operator().did_sign(claims):
        store.write_account(claims.name, account.token)
    else:
        # Servers take an account from its operator, and the operator of a managed store from the account itself.
        store.sign_account(claims, store.identity_signer(claims.subject) if store.managed else None)
    users = _users(store, claims, account.path.parent / "users") if account.path else []
    counted = f"{len(users)} users migrated" if users else "no users migrated" if account.path else ""
    entry.label = f"migrated {quote(claims.name)} to operator {quote(store.operator().name)} [{counted}]"
    submit(store, claims, entry)


def _users(store: Store, account: AccountClaims, directory: Path) -> list[str]:
    names = []
    for path in files_below(directory, JWT_SUFFIX, recurse=False):
        token = parse_decorated_jwt(path.read_text("utf-8"))
        try:
            user = UserClaims.from_token(token)
        except JwtError as error:
            raise StoreError(f"`{path}`: {error}") from None
        if not account.did_sign(user):
            raise StoreError(f"account with public key {quote(user.issuer_account)} is not in the store")
        store.write_user(account.name, check_name(user.name, "user"), token)
        names.append(user.name)
    return names


def _finish(session: Session, report: Report) -> None:
    """Print the report, and the summary as nsc does it for jobs: on both streams. Raises NskError."""
    succeeded, jobs = report.count(Status.OK), len(report.children)
    session.output.report(report, Channel.REPORT if succeeded == jobs else Channel.MESSAGE)
    if succeeded == jobs:
        for channel in (Channel.REPORT, Channel.MESSAGE):
            session.output.line("all jobs succeeded" if jobs > 1 else "job succeeded", channel)
        return
    session.commit()
    failed, warned = report.count(Status.ERROR), report.count(Status.WARNING)
    if not succeeded:
        raise NskError("none of the jobs succeeded" if jobs > 1 else "job failed")
    if failed:
        raise NskError(f"{failed} jobs failed - {succeeded} jobs succeeded and {warned} had warnings")
    session.output.message(f"{succeeded} jobs succeeded - there were {failed} errors and {warned} warnings")


MIGRATE = Command(
    "migrate",
    "Migrate an account to the current operator",
    _migrate,
    (
        boolean("force", "F", "overwrite accounts with the same name"),
        text("operator-dir", "", "path to an operator dir - all accounts are migrated"),
        text("url", "u", "path or url to import jwt from"),
    ),
    examples="migrate --url <path or url to account jwt>",
    usage_on_error=True,
    changes=True,
    result=Migrated,
)
