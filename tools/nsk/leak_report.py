"""What is known of a leaked credentials file: for programs as one result, for people as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from auth.gojson import quote
from tools.nsk.leak import Abilities, Containment, Leak, Standing, Trace
from tools.nsk.live import Connected
from tools.nsk.values import format_date, format_distance

SHOWN = 20
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
class Known:
    """What was found out; None where nothing was asked."""

    power: Abilities
    log: list[Trace] | None = None
    now: list[Connected] | None = None
    ended: list[Connected] | None = None


def report_of(leak: Leak, known: Known, done: Containment | None = None, steps: Iterable[str] = ()) -> LeakReport:
    """All that is known of a leak, with what was done about it and the commands that are to follow."""
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


def report_lines(report: LeakReport) -> Iterator[str]:
    """Whose the file is, what its holder could do, and what it did."""
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
        places = sorted({_place(line.address) for line in report.log if line.address})
        counts = f"{_count(len(report.log), 'line')}, {_count(refused, 'refusal')}"
        yield f"  log        {counts}, from {', '.join(places) or 'nowhere'}"
        yield from (f"             {line.time} {line.text}" for line in report.log[-SHOWN:])
    for title, found in (("connected", report.connected), ("before", report.ended)):
        if found is None:
            yield f"  {title:<10} no server was asked"
            continue
        yield f"  {title:<10} {_count(len(found), 'connection')}"
        for one in found[:SHOWN]:
            yield f"             {_client_words(one)}"


def _place(address: str) -> str:
    """An address without the port; of a Unix socket, whose process it was."""
    return address if address.startswith("unix:") else address.rpartition(":")[0]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _client_words(one: Client) -> str:
    span = f"since {one.since}" + (f" until {one.until}, {one.reason}" if one.until else "")
    heard = f", subscribed to {', '.join(one.subscriptions)}" if one.subscriptions else ""
    place = f"{one.name or 'a client'} at {one.address}, cid {one.cid} on {one.server}"
    return f"{place}, {span}: {one.sent} sent, {one.received} received{heard}"


def done_lines(report: LeakReport) -> Iterator[str]:
    """What was done about it, and what should follow; nothing where nothing was done."""
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
