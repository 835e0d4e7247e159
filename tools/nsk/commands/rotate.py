"""``rotate operator|account|user|signing-key|status|continue|retire``: new keys for old ones, and no message lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.commands.access import SYSTEM_FLAGS, TLS_FLAGS, access_of
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.live import LiveServers, Servers
from tools.nsk.remote import is_resolver_url
from tools.nsk.render import Table, printable
from tools.nsk.report import Report
from tools.nsk.rotation.begin import Terms, begin_account, begin_operator, begin_operator_identity, begin_signing_key
from tools.nsk.rotation.begin import begin_user as begin_user_rotation
from tools.nsk.rotation.identity import LIMITS, begin_account_identity
from tools.nsk.rotation.progress import Progress, Retirement, advance, describe_next
from tools.nsk.rotation.records import Book, Rotation
from tools.nsk.rotation.usage import usage_of
from tools.nsk.session import Session
from tools.nsk.values import format_date, parse_when

SERVER_FLAGS = (
    text(
        "nats", "", "url of a server to push to and to ask, defaults to the operator's account server or service urls"
    ),
    boolean("by-hand", "", "take it as said that servers have the JWTs, and that nobody there uses the old key"),
    *SYSTEM_FLAGS,
    *TLS_FLAGS,
)
_TERMS = (
    text("retire-after", "", "retire the old key from then on, whoever uses it: 7d, 2M, 2027-01-31"),
    boolean("keep-key", "", "keep the private key of the old key when it is retired"),
)
_IDS = "id of a rotation, or the beginning of it; all that are under way if there is none"


@dataclass(frozen=True, slots=True)
class RotationState:
    """One rotation."""

    id: Annotated[str, "its id"]
    kind: Annotated[str, "what is rotated: user, signing-key, account, operator-signing-key or operator"]
    account: Annotated[str, "name of the account, empty for an operator"]
    user: Annotated[str, "name of the user, empty for all else"]
    old: Annotated[str, "the old public key"]
    new: Annotated[str, "the new public key"]
    stage: Annotated[str, "issued, adopted, or retired; over when nothing is left to do"]
    retire_after: Annotated[int, "Unix seconds from which on the old key is retired whoever uses it, 0 for never"]
    waiting: Annotated[str, "what it waits for, empty when it is over"]
    stored: Annotated[list[str], "what is still stored under the old key"]
    live: Annotated[list[str] | None, "who is connected with the old key, null where no server was asked"]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of rotations."""

    rotations: Annotated[list[RotationState], "one entry for each"]


def servers_of(session: Session, flags: Flags) -> Servers | None:
    """The servers to ask: those that a flag names, or the operator's; None where neither does."""
    if flags.boolean("by-hand"):
        return None
    operator = session.store.operator().nats
    url = flags.text("nats")
    if url and not is_resolver_url(url):
        raise NskError(f"{quote(url)} is no url of a server", remedy="write it as nats://host:port, or tls://host:port")
    if not url:
        url = operator.account_server_url
        if not is_resolver_url(url):
            url = ",".join(operator.operator_service_urls)
    if not url:
        return None
    access = access_of(session, flags, url=url)
    return LiveServers(session.store, replace(access, user=access.user or _stored_system_user(session)))


def _stored_system_user(session: Session) -> str:
    """A user of the system account whose key is stored, while that account's signing keys are being rotated: servers
    may not know yet what would sign a temporary one. Nothing otherwise."""
    store = session.store
    name = store.account_with_key(store.operator().nats.system_account)
    if name is None or all(rotation.account != name for rotation in Book(store).rotations()):
        return ""
    stored = (user for user in store.users(name) if store.keystore.has_key(store.user(name, user).subject))
    return next(stored, "")


def _terms(flags: Flags) -> Terms:
    try:
        moment = parse_when(flags.text("retire-after"), datetime.now(UTC))
    except ValueError as error:
        raise NskError(f'retire-after "{flags.text("retire-after")}" is invalid: {error}') from None
    return Terms(moment, flags.boolean("keep-key"))


def _operator(session: Session, flags: Flags) -> Rotated:
    session.lend_signer()
    if flags.boolean("identity") and flags.text("sk"):
        raise NskError("--sk names a signing key, and --identity is about the operator's own key: use one of them")
    terms = _terms(flags)
    if flags.boolean("identity"):
        rotation = begin_operator_identity(session.store, terms)
    else:
        rotation = begin_operator(session.store, flags.text("sk"), terms)
    return _go_on(session, flags, [rotation], Retirement.LATER, Report())


def _account(session: Session, flags: Flags) -> Rotated:
    session.lend_signer()
    store, name, terms = session.store, session.account_name(flags.name()), _terms(flags)
    report = Report()
    if not flags.boolean("identity"):
        return _go_on(session, flags, begin_account(store, name, terms), Retirement.LATER, report)
    rotation, notes = begin_account_identity(store, name, terms)
    for note in (*LIMITS, *notes):
        report.warn(note)
    return _go_on(session, flags, [rotation], Retirement.LATER, report)


def _user(session: Session, flags: Flags) -> Rotated:
    session.lend_signer()
    store, account = session.store, session.account_name(flags.text("account"))
    rotation = begin_user_rotation(store, account, session.user_name(account, flags.name()), _terms(flags))
    return _go_on(session, flags, [rotation], Retirement.LATER, Report())


def _signing_key(session: Session, flags: Flags) -> Rotated:
    session.lend_signer()
    account = session.account_name(flags.text("account"))
    rotation = begin_signing_key(session.store, account, flags.text("sk"), _terms(flags))
    return _go_on(session, flags, [rotation], Retirement.LATER, Report())


def _continue(session: Session, flags: Flags) -> Rotated:
    session.lend_signer()
    return _go_on(session, flags, _named(session, flags), Retirement.UNUSED, Report())


def _retire(session: Session, flags: Flags) -> Rotated:
    session.lend_signer()
    if not flags.arguments:
        raise NskError(
            "name the rotation whose old key is to be retired; 'nsk rotate status' lists them",
            remedy="nsk rotate status lists the rotations",
        )
    retirement = Retirement.FORCED if flags.boolean("force") else Retirement.UNUSED
    return _go_on(session, flags, _named(session, flags), retirement, Report())


def _named(session: Session, flags: Flags) -> list[Rotation]:
    book = Book(session.store)
    return [book.find(given) for given in flags.arguments] or book.rotations()


def _go_on(
    session: Session, flags: Flags, rotations: Iterable[Rotation], retirement: Retirement, report: Report
) -> Rotated:
    """Take every step that can be taken now, each on the disk before the next one."""
    session.commit()
    servers = servers_of(session, flags)
    states = []
    for rotation in rotations:
        section = report.section(f"rotation {rotation.id}, {rotation.what}")
        section.ok(f"{rotation.old} gives way to {rotation.new}")
        try:
            progress = advance(session.store, rotation, servers, retirement, by_hand=flags.boolean("by-hand"))
        except NskError as error:
            # What the step that failed had changed is dropped; the steps before it are on the disk.
            session.output.report(report)
            raise NskError(f"{error.text}\nGo on with 'nsk rotate continue {rotation.id}'.") from None
        for line in progress.done:
            section.ok(line)
        if progress.waiting:
            section.warn(progress.waiting)
        else:
            section.ok("the rotation is over")
        states.append(_state(progress))
    if not states:
        report.ok("no rotation is under way")
    session.finish(report)
    return Rotated(states)


def _state(progress: Progress) -> RotationState:
    rotation, usage = progress.rotation, progress.usage
    return RotationState(
        rotation.id,
        rotation.kind.value,
        rotation.account,
        rotation.user,
        rotation.old,
        rotation.new,
        "over" if progress.is_over else rotation.stage.value,
        rotation.retire_after,
        progress.waiting,
        [] if usage is None else usage.stored,
        None if usage is None else usage.live,
    )


def _status(session: Session, flags: Flags) -> Rotated:
    servers = servers_of(session, flags)
    states = []
    for rotation in _named(session, flags):
        usage = usage_of(session.store, rotation, servers)
        states.append(_state(Progress(rotation, waiting=describe_next(session.store, rotation), usage=usage)))
        session.output.line(_table(rotation, states[-1]).render())
    if not states:
        session.output.message("no rotation is under way")
    return Rotated(states)


def _table(rotation: Rotation, state: RotationState) -> Table:
    table = Table(f"Rotation {rotation.id}: {printable(rotation.what)}")
    table.row("Old key", rotation.old)
    table.row("New key", rotation.new)
    table.row("Stage", rotation.stage.value)
    table.row("Next", state.waiting)
    if rotation.retire_after:
        table.row("Retired from", format_date(rotation.retire_after))
    live = ["no server was asked"] if state.live is None else state.live
    for number, use in enumerate([*state.stored, *live] or ["nobody"]):
        table.row("" if number else "Used by", printable(use))
    return table


OPERATOR = Command(
    "operator",
    "Give the operator another signing key, or another identity, and sign its accounts with it",
    _operator,
    (
        text("sk", "", "the signing key to replace, where there are several"),
        boolean("identity", "", "replace the operator's own key"),
        *_TERMS,
        *SERVER_FLAGS,
    ),
    changes=True,
    result=Rotated,
)
ACCOUNT = Command(
    "account",
    "Give an account other signing keys, and sign its users with them.\n"
    "An account that has none gets its first one. Its identity is another matter: that makes another account.",
    _account,
    (
        text("name", "n", "account to rotate"),
        boolean("identity", "", "replace the account's own key, by an account beside the old one"),
        *_TERMS,
        *SERVER_FLAGS,
    ),
    arguments=(0, 1),
    changes=True,
    result=Rotated,
)
USER = Command(
    "user",
    "Give a user another key, and its creds file another JWT",
    _user,
    (text("name", "n", "user name"), text("account", "a", "account name"), *_TERMS, *SERVER_FLAGS),
    arguments=(0, 1),
    changes=True,
    result=Rotated,
)
SIGNING_KEY = Command(
    "signing-key",
    "Replace one signing key of an account, and sign with the new one what the old one signed",
    _signing_key,
    (
        text("account", "a", "account name"),
        text("sk", "", "the signing key to replace, by its role or by itself, where there are several"),
        *_TERMS,
        *SERVER_FLAGS,
    ),
    changes=True,
    result=Rotated,
)
STATUS = Command(
    "status",
    f"Show the rotations under way, and who still uses the old keys.\nEach argument is the {_IDS}.",
    _status,
    SERVER_FLAGS,
    arguments=(0, 1000),
    result=Rotated,
)
CONTINUE = Command(
    "continue",
    "Go on with rotations: the old key is retired when nobody uses it any more, or its date has come.\n"
    f"Each argument is the {_IDS}.",
    _continue,
    SERVER_FLAGS,
    arguments=(0, 1000),
    changes=True,
    result=Rotated,
)
RETIRE = Command(
    "retire",
    "Retire the old key of rotations now. Each argument is the id of one, or the beginning of it.",
    _retire,
    (boolean("force", "F", "even if somebody uses it, who is disconnected then"), *SERVER_FLAGS),
    arguments=(0, 1000),
    changes=True,
    result=Rotated,
)
