"""``push``: bring accounts of the store to running servers, or have servers forget accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from auth.claims import blocking
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair, is_public_key
from tools.nsk.account_server import post_account
from tools.nsk.cli import Answer, Command
from tools.nsk.commands.access import SYSTEM_FLAGS, TLS_FLAGS, access_of, finish, usage_if_compatible, without_usage
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import INTEGER, Flag, Flags, boolean, text
from tools.nsk.plan_model import Plan
from tools.nsk.remote import (
    LIST,
    PUSH_SUBJECTS,
    Access,
    Pushed,
    Remote,
    RemoteError,
    connected,
    delete,
    delete_signer,
    is_resolver_url,
    update,
)
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store
from tools.nsk.tool import UnreachableError

SCHEMES: Final = ("http", "https", "nats", "ws", "wss")
_MOST_SECONDS: Final = 60
_NO_DELETION: Final = "delete must be enabled"
_ALLOW_DELETION: Final = "set allow_delete: true in the resolver block of the server's configuration, and reload it"


@dataclass(frozen=True, slots=True)
class PushedAccount:
    """What became of one account."""

    account: Annotated[str, "the account's name"]
    public_key: Annotated[str, "the account's public key"]
    servers: Annotated[list[str], "the servers that took it"]


@dataclass(frozen=True, slots=True)
class ImportState:
    """Whether an import of a pushed account works now."""

    account: Annotated[str, "name of the account that imports"]
    kind: Annotated[str, "stream or service"]
    exporter: Annotated[str, "public key of the account that exports"]
    subject: Annotated[str, "subject there"]
    local_subject: Annotated[str, "subject here"]
    in_force: Annotated[bool, "whether it is in force"]
    reason: Annotated[str, "why not"]


@dataclass(frozen=True, slots=True)
class PushResult:
    """What was pushed, and what servers were told to forget."""

    url: Annotated[str, "where it was pushed to"]
    pushed: Annotated[list[PushedAccount], "the accounts, one after the other"]
    only_on_servers: Annotated[list[str], "public keys of accounts that servers hold and the store does not"]
    deleted: Annotated[list[str], "public keys of accounts that servers forgot"]
    plan: Annotated[Plan | None, "what pushing was to change, where that was looked at"] = None
    imports: Annotated[list[ImportState], "the imports of the pushed accounts as they are now"] = field(
        default_factory=list
    )


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: ``names`` to push, or one of the others.

    ``pruned`` are the accounts that pruning may remove, where a plan was made; without one, all that only servers hold.
    """

    names: tuple[str, ...]
    prune: bool = False
    diff: bool = False
    remove: str = ""
    pruned: frozenset[str] | None = None


# What is asked for.


def read_task(session: Session, flags: Flags, *, diff: bool = False, everything: bool = False) -> Task:
    """The accounts that are meant, and what to do with them; ``everything`` where nothing is said. Raises NskError."""
    store = session.store
    prune, remove = flags.boolean("prune"), flags.text("account-removal")
    everything = flags.boolean("all") or (everything and not (flags.text("account") or diff or remove))
    if flags.boolean("all") and flags.text("account"):
        raise NskError("specify only one of --account or --all-accounts")
    given = session.account_name(flags.text("account")) if flags.text("account") else ""
    known = store.accounts()
    if not known:
        raise NskError(f"operator {quote(store.name)} has no accounts")
    if everything:
        return Task(tuple(known), prune, diff, remove)
    if prune or diff or remove:
        return Task((), prune, diff, remove)
    name = given or session.environment.account
    if name not in known:
        program = session.output.program
        raise NskError(
            f"account {quote(name)} is not under operator {quote(store.name)} - {program} env to check your env"
        )
    return Task((name,))


def check_task(session: Session, task: Task, url: str, *, force: bool) -> Task:
    """The task, with a public key as the account to remove. Raises NskError for what cannot be done."""
    store = session.store
    if not url:
        raise NskError("no account server url or nats-server url was provided by the operator jwt")
    if task.prune and not is_resolver_url(url):
        raise NskError("prune only works for nats based account resolver")
    check_url(url, compatible=session.output.compatible)
    if not force:
        for name in task.names:
            check_account(store, name)
    if task.remove:
        if task.prune or task.diff:
            raise NskError("--prune/--diff and --account-removal <account> are mutually exclusive")
        if not is_public_key(task.remove, KeyKind.ACCOUNT):
            return Task(task.names, remove=store.account(task.remove).subject)
    elif task.prune and task.diff:
        raise NskError("--prune and --diff are mutually exclusive")
    return task


def check_url(url: str, *, compatible: bool) -> None:
    """Refuse an address that is neither a server's nor an account server's. Raises NskError.

    nsc does not take tls:// here, which demands TLS of the server.
    """
    for part in url.split(","):
        scheme = urlsplit(part.strip()).scheme.lower()
        if scheme not in SCHEMES and (compatible or scheme != "tls"):
            raise NskError(f"scheme {quote(scheme)} is not supported ({', '.join(SCHEMES)})")


def check_account(store: Store, name: str) -> None:
    """Refuse an account that no server would use. Raises NskError."""
    try:
        claims = store.account(name)
    except StoreError as error:
        raise NskError(f"unable to push account {quote(name)}: {error.text}") from None
    issues = blocking(claims.validate(), include_times=True)
    if issues:
        raise NskError(f"unable to push account {quote(name)} as it has validation issues: {issues[0].description}")
    if not store.managed and claims.issuer not in store.operator_signers():
        raise NskError(f"unable to push account {quote(name)} as it is not signed by the operator {quote(store.name)}")


# To account servers, over HTTP.


def post_accounts(store: Store, url: str, names: Iterable[str], report: Report) -> list[PushedAccount]:
    """Put accounts to an account server, and report."""
    done = []
    for name in names:
        section = report.section(f"push {name} to account server")
        public = store.account(name).subject
        try:
            reply = post_account(url, public, store.account_token(name))
        except NskError as error:
            section.error(f"failed to push account {quote(name)}: {error.text}")
            continue
        if reply.is_done:
            section.label = f"pushed {quote(name)} to account server"
            if reply.text.strip():
                section.ok("pushed account jwt to the account server")
        elif reply.is_accepted:
            section.warn("pushed account jwt was accepted by the account server")
        else:
            section.error("failed to push account to remote server")
        if reply.text.strip():
            section.message(reply.text.strip())
        if reply.is_done or reply.is_accepted:
            done.append(PushedAccount(name, public, [url]))
    return done


# To servers, over NATS.


def report_pushed(pushed: Pushed, section: Report, *, strict: bool) -> None:
    """Say what servers answered; ``strict`` warns of what they did not take."""
    section = section.section(f"push {pushed.account} to nats-server with nats account resolver")
    if pushed.problem:
        section.error(f"failed to get response to push account: {pushed.problem}")
    for answer in pushed.answers:
        if answer.problem:
            section.error(answer.problem)
        else:
            line = f"pushed {quote(pushed.account)} to nats-server {answer.server}: {answer.message}"
            if strict and "skipped" in answer.message:
                # Servers that keep accounts in memory take only those that they use.
                section.warn(f"{line} - it does not use that account so far")
            else:
                section.ok(line)
    section.ok(f"pushed to a total of {len(pushed.taken)} nats-server")


@dataclass(slots=True)
class Listing:
    """Which accounts servers hold: how many servers answered, and the keys that the store does not have."""

    servers: int
    strangers: list[str]


async def list_accounts(store: Store, remote: Remote, section: Report) -> Listing:
    """Compare the store with what servers hold, and report."""
    names = {store.account(name).subject: name for name in store.accounts()}
    strangers: dict[str, None] = {}
    servers = 0
    try:
        answers = await remote.gather(LIST)
    except RemoteError as error:
        section.error(f"failed to get response to list accounts: {error.text}")
        answers = []
    for answer in answers:
        if answer.problem or not isinstance(answer.data, list):
            section.error(answer.problem or f"server {answer.server} lists no accounts")
            continue
        servers += 1
        listed = section.section(f"list {len(answer.data)} accounts from nats-server {answer.server}")
        for public in sorted(map(str, answer.data), key=lambda key: (names.get(key, ""), key)):
            if public in names:
                listed.ok(f"account {public} named {names[public]} exists")
            else:
                listed.ok(f"account {public} only exists in server")
                strangers[public] = None
    section.ok(f"listed accounts from a total of {servers} nats-server")
    return Listing(servers, list(strangers))


async def forget(
    remote: Remote,
    publics: list[str],
    signer: KeyPair | None,
    section: Report,
    *,
    expected: int = 0,
    advises: bool = True,
) -> list[str]:
    """Have servers forget accounts, and report; the keys that they forgot. ``advises`` tells what hinders it."""
    if not publics:
        section.ok("nothing to prune")
        return []
    if signer is None:
        section.error(
            "Could not obtain Operator key to sign the delete request "
            "(err:operator keys needed to prune: no operator keys were not found in the keystore)"
        )
        return []
    try:
        answers = await delete(remote, publics, signer)
    except RemoteError as error:
        section.error(f"failed to get response to prune: {error.text}")
        answers = []
    taken = 0
    for answer in answers:
        if answer.problem:
            section.error(answer.problem)
            if advises and _NO_DELETION in answer.problem:
                section.message(_ALLOW_DELETION)
        else:
            taken += 1
            section.ok(f"pruned nats-server {answer.server}: {answer.message}")
    if expected and taken < expected:
        section.error(
            f"Fewer server responded to 'prune' ({taken}) than to 'list' ({expected}). "
            "Accounts may not be completely pruned."
        )
    elif expected and taken > expected:
        section.error(
            f"More servers responded to 'prune' ({taken}) than to 'list' ({expected}). "
            "Not every Account may have been included for pruning."
        )
    return publics if taken else []


def operator_key(session: Session) -> KeyPair | None:
    """The key that may have servers forget accounts: a stored one, or the one that -K names."""
    try:
        return delete_signer(session.store)
    except StoreError:
        return session.signer(KeyKind.OPERATOR)


async def deliver(session: Session, access: Access, task: Task, report: Report) -> PushResult:
    """Push over NATS, and report. Raises NskError where no server can be asked."""
    store, url = session.store, access.address(session.store)
    result = PushResult(url, [], [], [])
    async with connected(store, access, PUSH_SUBJECTS, name=f"{access.program}_push") as remote:
        if task.names:
            section = report.section(f'push to nats-server "{url}" using system account "{remote.user.account}"')
            for name in task.names:
                public, token = store.account(name).subject, store.account_token(name)
                pushed = await update(remote, name, public, token, one_by_one=not session.output.compatible)
                report_pushed(pushed, section, strict=not session.output.compatible)
                if pushed.taken:
                    servers = [answer.server for answer in pushed.taken]
                    result.pushed.append(PushedAccount(name, public, servers))
        if task.prune or task.diff:
            section = report.section(f"{'prune' if task.prune else 'diff'} nats-server with nats account resolver")
            listing = await list_accounts(store, remote, section)
            result.only_on_servers.extend(listing.strangers)
            if task.prune:
                surplus = [key for key in listing.strangers if task.pruned is None or key in task.pruned]
                signer = operator_key(session) if surplus else None
                forgotten = await forget(
                    remote, surplus, signer, section, expected=listing.servers, advises=not session.output.compatible
                )
                result.deleted.extend(forgotten)
        elif task.remove:
            section = report.section("prune nats-server with nats account resolver")
            forgotten = await forget(
                remote, [task.remove], operator_key(session), section, advises=not session.output.compatible
            )
            result.deleted.extend(forgotten)
    return result


def carry_out(session: Session, access: Access, task: Task, report: Report) -> PushResult:
    """Push over NATS or HTTP, and report."""
    if not is_resolver_url(access.url):
        return PushResult(access.url, post_accounts(session.store, access.url, task.names, report), [], [])
    try:
        return asyncio.run(deliver(session, access, task, report))
    except KeyboardInterrupt:
        # Servers have what was pushed until then.
        session.output.report(report)
        session.output.message("interrupted: what is not named above may not be on the servers")
        raise
    except NskError as error:
        report.error(connecting(session, error))
        return PushResult(access.url, [], [], [])


def _push(session: Session, flags: Flags) -> PushResult | Answer:
    with usage_if_compatible(session):
        access = push_access(session, flags)
        task = read_task(session, flags, diff=flags.boolean("diff"), everything=flags.given("plan"))
        task = check_task(session, task, access.url, force=flags.boolean("force"))
    if session.output.compatible or task.diff:
        report = Report()
        result = carry_out(session, access, task, report)
        finish(session, report)
        return result
    planned: Any = import_module("tools.nsk.commands.plan")
    with without_usage():
        done: Answer | PushResult = planned.push_planned(session, flags, access, task)
    return done


def push_access(session: Session, flags: Flags) -> Access:
    """Where accounts are pushed to. Raises NskError."""
    url = flags.text("account-jwt-server-url") or session.store.operator().nats.account_server_url
    seconds = min(max(flags.number("timeout"), 1), _MOST_SECONDS)
    return access_of(session, flags, url=url, timeout=seconds)


def connecting(session: Session, error: NskError) -> str:
    """Why no server could be asked."""
    if isinstance(error, StoreError):
        return f"error obtaining system account user: {error.text}"
    if session.output.compatible and isinstance(error, UnreachableError):
        return "failed to connect: nats: no servers available for connection"
    return f"failed to connect: {error.text}"


PUSH_FLAGS = (
    text("account", "a", "account name"),
    boolean("all", "A", "push all accounts under the current operator (exclusive of -a)"),
    boolean("force", "F", "push regardless of validation issues"),
    text(
        "account-jwt-server-url",
        "u",
        "set account jwt server url for nsc sync "
        "(only http/https/nats urls supported if updating with nsc) If a nats url is provided ",
    ),
    boolean(
        "diff",
        "D",
        "diff accounts present in nsc env and nats-account-resolver. Mutually exclusive of account-removal/prune.",
    ),
    boolean(
        "prune",
        "P",
        "prune all accounts not under the current operator. Only works with nats-resolver enabled nats-server. "
        "Mutually exclusive of account-removal/diff.",
    ),
    text(
        "account-removal",
        "R",
        "remove specific account. Only works with nats-resolver enabled nats-server. Mutually exclusive of prune/diff.",
    ),
    *SYSTEM_FLAGS,
    Flag(
        "timeout",
        "",
        "timeout in seconds [1-60] to wait for responses from the server "
        "(only applicable to nats-resolver configurations, and applies per operation)",
        kind=INTEGER,
        default=1,
    ),
    *TLS_FLAGS,
)
CONFIRM_FLAG = boolean("yes", "y", "push without asking, whatever would break", beyond=True)

PUSH = Command(
    "push",
    "Push an account jwt to an Account JWT Server",
    _push,
    (
        *PUSH_FLAGS,
        CONFIRM_FLAG,
        text("plan", "", "push only if this is still the plan, by its id (see nsk plan)", beyond=True),
    ),
    usage="(currentAccount)\npush -a <accountName>\npush -A (all accounts)\npush -P\npush -P -A (all accounts)",
    examples="push",
    usage_on_error=True,
    result=PushResult,
)
