"""``leaked``: what the holder of a credentials file could do and did, and the end of it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import click

from accounts.flow import TooManyWaysError
from auth.gojson import quote
from broker.audit.entry import LineError
from broker.audit.verify import entries
from tools.nsk import leak as leaks
from tools.nsk.cli import Answer, Command
from tools.nsk.commands.rotate import SERVER_FLAGS, servers_of
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.leak import Abilities, Containment, Leak, Standing, Trace
from tools.nsk.live import Connected, Servers
from tools.nsk.render import printable
from tools.nsk.scene import scene_of_tokens
from tools.nsk.session import Session
from tools.nsk.values import format_date, format_distance

_SHOWN = 20
"""Lines of a log that people are shown, and connections; programs get all."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Subjects of another account."""

    account: Annotated[str, "name of the other account"]
    subject: Annotated[str, "the subject in the user's account"]
    there: Annotated[str, "the subject in the other account"]
    way: Annotated[list[str], "the exports and imports on the way"]


@dataclass(frozen=True, slots=True)
class Power:
    """What the holder could do."""

    refusal: Annotated[str, "why no server admits the holder now, empty where servers do"]
    expires_at: Annotated[int, "when the JWT expires, in Unix seconds, 0 for never"]
    is_admin: Annotated[bool, "whether it is a user of the system account"]
    publish: Annotated[list[str], "what it may publish to"]
    publish_except: Annotated[list[str], "what it may not publish to nevertheless"]
    subscribe: Annotated[list[str], "what it may subscribe to"]
    subscribe_except: Annotated[list[str], "what it may not hear nevertheless"]
    answers: Annotated[bool, "whether it may answer requests on any reply subject"]
    limits: Annotated[list[str], "what limits it"]
    sends_to: Annotated[list[Reached], "other accounts that hear what it publishes"]
    hears_from: Annotated[list[Reached], "other accounts that it can hear"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log that is about the user."""

    time: Annotated[str, "when it was written"]
    address: Annotated[str, "address of the client"]
    text: Annotated[str, "what it says"]
    is_refusal: Annotated[bool, "whether something was refused"]


@dataclass(frozen=True, slots=True)
class Client:
    """A connection with the leaked key."""

    server: Annotated[str, "name of the server"]
    cid: Annotated[int, "number of the connection"]
    name: Annotated[str, "what the client calls itself"]
    address: Annotated[str, "where it comes from"]
    since: Annotated[str, "when it began"]
    until: Annotated[str, "when it ended, empty while it lasts"]
    reason: Annotated[str, "why it ended"]
    sent: Annotated[int, "messages that it published"]
    received: Annotated[int, "messages that it was sent"]
    subscriptions: Annotated[list[str], "what it was subscribed to"]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about it."""

    revoked_until: Annotated[int, "what was issued to the key until then is refused, in Unix seconds; 0 for nothing"]
    was_revoked: Annotated[bool, "whether it was refused before"]
    pushed: Annotated[bool, "whether servers have taken the revocation"]
    disconnected: Annotated[list[str], "connections that were ended"]
    removed: Annotated[list[str], "what was removed from the keystore"]
    problems: Annotated[list[str], "what is still to be done"]


@dataclass(frozen=True, slots=True)
class LeakReport:
    """All that is known of a leak."""

    standing: Annotated[str, "stored, issued, untrusted or foreign"]
    is_ours: Annotated[bool, "whether the operator's servers may let the holder in"]
    account: Annotated[str, "name of the account, or its key where the store does not have it"]
    user: Annotated[str, "name of the user"]
    user_key: Annotated[str, "public key of the user"]
    issuer: Annotated[str, "the key that signed it"]
    issued_at: Annotated[int, "when it was issued, in Unix seconds"]
    holds_key: Annotated[bool, "whether the file holds the private key"]
    power: Annotated[Power, "what the holder could do"]
    log: Annotated[list[Line] | None, "what the log says, null where none was named"]
    connected: Annotated[list[Client] | None, "connections now, null where no server was asked"]
    ended: Annotated[list[Client] | None, "connections that servers remember, null where none was asked"]
    done: Annotated[Done | None, "what was done about it, null where nothing was"]
    next: Annotated[list[str], "commands that are to follow"]


@dataclass(slots=True)
class _Known:
    """What was found out; None where nothing was asked."""

    power: Abilities
    log: list[Trace] | None = None
    now: list[Connected] | None = None
    ended: list[Connected] | None = None


def _leaked(session: Session, flags: Flags) -> Answer:
    store = session.store
    leak = leaks.read_leak(store, _content(session, flags))
    if not leak.is_ours:
        return _not_ours(session, flags, leak)
    servers = servers_of(session, flags)
    known = _Known(_power(session, leak), _log(session, flags, leak))
    if servers is not None:
        known.now = leaks.connections(store, leak, servers)
        known.ended = leaks.connections(store, leak, servers, ended=True)
    before = _report(leak, known)
    _tell(session, _lines(before))
    if not (flags.boolean("yes") or _agreed(session, leak)):
        session.output.message("nothing was done: confirm with --yes")
        return _finished(session, flags, before, 1)
    done = _contain(session, flags, leak, servers)
    after = _report(leak, known, done, _next(session, leak, done, servers))
    _tell(session, ["", *_done_lines(after)])
    return _finished(session, flags, after, 1 if done.problems else 0)


def _content(session: Session, flags: Flags) -> str:
    path = session.environment.absolute(flags.arguments[0])
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise NskError(f"`{path}` does not exist") from None
    except UnicodeDecodeError:
        raise NskError(f"`{path}` is no credentials file") from None


def _not_ours(session: Session, flags: Flags, leak: Leak) -> Answer:
    report = _report(leak, _Known(Abilities()), steps=_next(session, leak, None, None))
    _tell(session, _lines(report))
    return _finished(session, flags, report, 1)


def _power(session: Session, leak: Leak) -> Abilities:
    store = session.store
    operator = store.operator()
    scene = scene_of_tokens(
        [operator], store.account_tokens(), time.time(), system_account=operator.nats.system_account
    )
    try:
        return leaks.abilities(leak, scene)
    except TooManyWaysError as problem:
        raise NskError(str(problem)) from None


def _log(session: Session, flags: Flags, leak: Leak) -> list[Trace] | None:
    if not (given := flags.text("log")):
        return None
    path = session.environment.absolute(given)
    try:
        if path.is_dir():
            return list(leaks.ledger_traces(entries(path), leak.claims.subject))
        with path.open(encoding="utf-8", errors="backslashreplace") as lines:
            return list(leaks.traces(lines, leak.claims.subject))
    except LineError as problem:
        raise NskError(f"the ledger in `{path}` cannot be read: {problem}") from None
    except OSError as problem:
        raise NskError(f"`{path}` cannot be read: {problem.strerror}") from None


def _agreed(session: Session, leak: Leak) -> bool:
    if session.output.structured or not sys.stdin.isatty():
        return False
    return click.confirm(f"Revoke user {leak.user or leak.claims.name} and end its connections?", err=True)


def _contain(session: Session, flags: Flags, leak: Leak, servers: Servers | None) -> Containment:
    """Revoke, and write that down before servers are told."""
    store, done = session.store, Containment()
    until = int(time.time()) if flags.boolean("whole-key") else leak.claims.issued_at
    leaks.revoke(store, leak, until, done)
    leaks.remove(store, leak, done, key=flags.boolean("rm-nkey"), creds=flags.boolean("rm-creds"))
    session.commit()
    if servers is None:
        done.problems.append(
            f"servers do not know of it: {_program(session)} push --account {shlex.quote(leak.account)}"
        )
        return done
    try:
        leaks.push(store, leak, servers, done)
    except NskError as problem:
        # The revocation stands in the store, and has to be taken to the servers all the same.
        done.problems.append(f"servers do not know of it: {problem.text}")
    return done


def _program(session: Session) -> str:
    return session.output.program


def _next(session: Session, leak: Leak, done: Containment | None, servers: Servers | None) -> list[str]:
    """What is to follow: a user whose key others have needs another one."""
    steps = []
    if leak.user and (leak.holds_key or done is not None):
        words = ["rotate", "user", "--account", leak.account, "--name", leak.user]
        steps.append(f"{_program(session)} {shlex.join(words)}")
    if done is not None and not done.pushed and servers is None:
        steps.append(f"{_program(session)} push --account {shlex.quote(leak.account)}")
    return steps


def _finished(session: Session, flags: Flags, report: LeakReport, exit_code: int) -> Answer:
    if path := flags.text("report"):
        lines = [*_lines(report), *(["", *_done_lines(report)] if report.done else [])]
        written = session.write_output(path, "".join(f"{printable(line)}\n" for line in lines))
        session.output.message(f"wrote the report to {session.display(written)}")
    return Answer(report, exit_code)


def _tell(session: Session, lines: Iterable[str]) -> None:
    session.output.write("".join(f"{printable(line)}\n" for line in lines))


# The report.


def _report(leak: Leak, known: _Known, done: Containment | None = None, steps: Iterable[str] = ()) -> LeakReport:
    power = known.power
    return LeakReport(
        standing=leak.standing.value,
        is_ours=leak.is_ours,
        account=leak.account or leak.claims.issuer_account,
        user=leak.user or leak.claims.name,
        user_key=leak.claims.subject,
        issuer=leak.claims.issuer,
        issued_at=leak.claims.issued_at,
        holds_key=leak.holds_key,
        power=Power(
            power.refusal,
            power.expires_at,
            power.is_admin,
            list(power.publish),
            list(power.publish_except),
            list(power.subscribe),
            list(power.subscribe_except),
            power.answers,
            list(power.limits),
            [Reached(one.account, one.subject, one.there, list(one.way)) for one in power.sends_to],
            [Reached(one.account, one.subject, one.there, list(one.way)) for one in power.hears_from],
        ),
        log=None if known.log is None else [_line(one) for one in known.log],
        connected=None if known.now is None else [_client(one) for one in known.now],
        ended=None if known.ended is None else [_client(one) for one in known.ended],
        done=None
        if done is None
        else Done(done.revoked_until, done.was_revoked, done.pushed, done.disconnected, done.removed, done.problems),
        next=list(steps),
    )


def _line(one: Trace) -> Line:
    return Line(one.time, one.address, one.text, one.is_refusal)


def _client(one: Connected) -> Client:
    return Client(
        one.server,
        one.cid,
        one.name,
        one.address,
        one.since,
        one.until,
        one.reason,
        one.sent,
        one.received,
        list(one.subscriptions),
    )


def _lines(report: LeakReport) -> Iterator[str]:
    who = f"user {quote(report.user)} ({report.user_key}) of account {quote(report.account)}"
    if not report.is_ours:
        if report.standing == Standing.FOREIGN.value:
            yield f"not ours: the file is of {who}, which this operator does not have"
        else:
            yield f"not valid: the file is of {who}"
            yield f"the key that signed it, {report.issuer}, is no key of that account now"
            yield "no server of this operator lets its holder in"
            if report.next:
                yield "but the private key in it is still that of the user"
                yield from (f"  {step}" for step in report.next)
        return
    yield f"the file is of {who}"
    if report.standing == Standing.ISSUED.value:
        yield "the store does not have this user, but a key of the account signed it"
    yield f"  issued     {format_date(report.issued_at)}"
    end, now = report.power.expires_at, time.time()
    yield f"  valid      {f'until {format_date(end)}, {format_distance(end, now)}' if end else 'for ever'}"
    yield f"  key        {'in the file' if report.holds_key else 'not in the file'}"
    yield ""
    yield "what its holder could do"
    yield from _power_lines(report.power)
    yield ""
    yield "what it did"
    yield from _deed_lines(report)


def _power_lines(power: Power) -> Iterator[str]:
    if power.refusal:
        yield f"  nothing: no server admits it: {power.refusal}"
        return
    if power.is_admin:
        yield "  it is a user of the system account: it sees every account, changes accounts and ends connections"
    yield f"  publish    {_listed(power.publish, power.publish_except)}"
    yield f"  subscribe  {_listed(power.subscribe, power.subscribe_except)}"
    if power.answers:
        yield "  answer     requests that it hears"
    for limit in power.limits:
        yield f"  limit      {limit}"
    for title, found in (("sends to", power.sends_to), ("hears", power.hears_from)):
        for one in found:
            yield f"  {title:<10} account {quote(one.account)}: {one.subject} here, {one.there} there"
            yield from (f"               {link}" for link in one.way)


def _listed(granted: list[str], denied: list[str]) -> str:
    if not granted:
        return "nothing"
    return ", ".join(granted) + (f" except {', '.join(denied)}" if denied else "")


def _deed_lines(report: LeakReport) -> Iterator[str]:
    if report.log is None:
        yield "  log        none was named: name a server's with --log"
    else:
        refused = sum(line.is_refusal for line in report.log)
        places = sorted({line.address.rpartition(":")[0] for line in report.log if line.address})
        counts = f"{_count(len(report.log), 'line')}, {_count(refused, 'refusal')}"
        yield f"  log        {counts}, from {', '.join(places) or 'nowhere'}"
        yield from (f"             {line.time} {line.text}" for line in report.log[-_SHOWN:])
    for title, found in (("connected", report.connected), ("before", report.ended)):
        if found is None:
            yield f"  {title:<10} no server was asked"
            continue
        yield f"  {title:<10} {_count(len(found), 'connection')}"
        for one in found[:_SHOWN]:
            yield f"             {_client_words(one)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _client_words(one: Client) -> str:
    span = f"since {one.since}" + (f" until {one.until}, {one.reason}" if one.until else "")
    heard = f", subscribed to {', '.join(one.subscriptions)}" if one.subscriptions else ""
    place = f"{one.name or 'a client'} at {one.address}, cid {one.cid} on {one.server}"
    return f"{place}, {span}: {one.sent} sent, {one.received} received{heard}"


def _done_lines(report: LeakReport) -> Iterator[str]:
    done = report.done
    if done is None:
        return
    yield "what was done"
    before = " before" if done.was_revoked else ""
    yield f"  revoked{before} what was issued to the key until {format_date(done.revoked_until)}"
    if done.pushed:
        yield "  pushed to the servers"
    yield from (f"  disconnected {one}" for one in done.disconnected)
    yield from (f"  removed the {one}" for one in done.removed)
    if done.problems:
        yield "what is still to be done"
        yield from (f"  {problem}" for problem in done.problems)
    if report.next:
        yield "what should follow"
        yield from (f"  {step}" for step in report.next)


LEAKED = Command(
    "leaked",
    "Deal with a credentials file that others may have: tell what its holder could do and did, revoke it, and\n"
    "end its connections. The file need not be of a user of the store; a key of the store's accounts must have\n"
    "signed it. The private key in it is never shown.\n"
    "The exit code is 0 where everything was done, and 1 where something is left to do.",
    _leaked,
    (
        text("log", "", "a server's log, or the directory of its audit ledger, to tell what was done with the file"),
        text("report", "", "file to write the report to"),
        boolean("yes", "y", "revoke and disconnect without asking"),
        boolean("whole-key", "", "revoke all that was issued to the key until now, not only until the file was"),
        boolean("rm-nkey", "D", "remove the user's private key from the keystore"),
        boolean("rm-creds", "C", "remove the user's creds file from the keystore"),
        *SERVER_FLAGS,
    ),
    arguments=(1, 1),
    examples="""\
    nsk leaked found.creds --log natskeep.log
    nsk leaked found.creds --yes --rm-nkey --rm-creds --report leak.txt""",
    changes=True,
    result=LeakReport,
)
