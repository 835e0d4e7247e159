"""Traces of messages: which message asks for one, where it goes, and what it tells.

A message that carries `Nats-Trace-Dest`, or a sampled `traceparent` in an account that wants those, is followed through
its account and on through each wall that `allow_trace` opens. What happened is published in the account of its sender,
on a subject that the sender itself may publish to. A wall that is not open ends the trace: of what lies behind it the
event tells no more than the account and the subject there, which the import itself names.

Source of the rules: NATS ADR-41, and what nats-server 2.14.5 was seen to do.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from accounts.subject import is_literal
from broker.control.introduction import link_of
from broker.control.tenant import Inflow, Tenant
from broker.log.text import quoted
from broker.session import journal
from broker.session.backend import TraceRefusedError
from broker.session.session import Session, shown
from broker.wire.errors import publish_violation
from broker.wire.values import moment, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from accounts.account import TraceDestination
    from broker.control.control import Control
    from broker.core.exchange import Answer, Crossing
    from broker.core.plan import Shadow, Subscription

LOGGER: Final = logging.getLogger("natskeep.control")

DESTINATION: Final = "Nats-Trace-Dest"
ONLY: Final = "Nats-Trace-Only"
ORIGIN: Final = "Nats-Trace-Origin-Account"
PARENT: Final = "traceparent"
ACCEPTS: Final = "Accept-Encoding"

DISABLED: Final = "trace disabled"
"""A destination that is none: the message is not traced, whatever else it carries."""

MOST_STEPS: Final = 1024
"""Steps that one event tells of; a message to many thousands must not keep the server busy with the tale of it."""

_VERSION: Final = b"NATS/1.0\r\n"
_YES: Final = frozenset({"1", "true", "on"})
_SAMPLED: Final = re.compile(r"[^-]*-[^-]*-[^-]*-[0-7][13579BDFbdf]")
"""A `traceparent` of four parts whose flags say that it is sampled (W3C Trace Context, section 3.2.2)."""

FATES: Final = (
    "",
    "Not delivered because of no echo",
    "Not delivered because subscription denies this subject",
    "Not delivered because client is closed",
)
"""What became of a message at one subscription, by the numbers of `Fate` in the core; at the first it was delivered."""

_CLIENT: Final = 0
"""The kind of a connection that a client has."""


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What happened to the message; `type` says what, `ts` when."""

    type: str
    ts: str


class Ingress(Step, kw_only=True, omit_defaults=True):
    """It came from a client."""

    kind: int
    cid: int
    name: str = ""
    acc: str
    subj: str
    error: str = ""


class Mapped(Step, kw_only=True, omit_defaults=True):
    """A mapping gave it another subject, or none."""

    to: str


class StreamExport(Step, kw_only=True, omit_defaults=True):
    """It went to an importing account, under a subject there."""

    acc: str
    to: str


class ServiceImport(Step, kw_only=True, omit_defaults=True):
    """It went to the account of a service, or back from there, under a subject there."""

    acc: str
    from_: str = msgspec.field(name="from")
    to: str


class Egress(Step, kw_only=True, omit_defaults=True):
    """It went to a client, or would have but for the error. `acc` is the client's account where it is another one."""

    kind: int
    cid: int
    name: str = ""
    acc: str = ""
    sub: str
    queue: str = ""
    error: str = ""


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The message that is traced: its headers, and the bytes of headers and payload."""

    header: dict[str, list[str]]
    msgsize: int


class Event(msgspec.Struct, kw_only=True):
    """What one server saw of a message."""

    server: object
    request: Request
    events: list[Step]


class Record:
    """The steps of one message, as the core tells them."""

    def __init__(self, account: str, ingress: Ingress) -> None:
        self.steps: list[Step] = [ingress]
        self._account = account
        self._gate: ServiceImport | None = None
        """The gate that the message went through just now."""

    def _add(self, step: Step) -> None:
        self._gate = None
        if len(self.steps) < MOST_STEPS:
            self.steps.append(step)

    def mapped(self, subject: bytes) -> None:
        """The message has another subject now, in the account that it has just come to; empty where it is dropped."""
        if self._gate is not None:
            self._gate.to = readable(subject)
        else:
            self._add(Mapped(type="sm", ts=_now(), to=readable(subject)))

    def streamed(self, shadow: Shadow, subject: bytes) -> bool:
        """It goes to an importer of a stream; returns whether the import lets the trace go on."""
        inflow = shadow.link
        if not isinstance(inflow, Inflow):
            raise TypeError("a shadow without an import")
        self._add(StreamExport(type="se", ts=_now(), acc=readable(inflow.importer), to=readable(subject)))
        return inflow.allow_trace

    def asked(self, gate: Crossing, subject: bytes, behind: bytes) -> bool:
        """It goes to a service of another account; returns whether the export lets the trace go on."""
        link = link_of(gate)
        account = readable(link.imported.account)
        step = ServiceImport(type="si", ts=_now(), acc=account, from_=readable(subject), to=readable(behind))
        self._add(step)
        if link.export.allow_trace:
            self._gate = step
        return link.export.allow_trace

    def answered(self, gate: Answer, subject: bytes) -> None:
        """It goes back to who asked. The subject there is the asker's own affair, and is not told."""
        account = readable(gate.asker.name)
        self._add(ServiceImport(type="si", ts=_now(), acc=account, from_=readable(subject), to=""))

    def offered(self, subscription: Subscription, fate: int) -> None:
        """A client receives it, or does not. What the broker itself hears is not told of."""
        receiver = subscription.client.owner
        if not isinstance(receiver, Session) or not isinstance(receiver.tenant, Tenant):
            return
        account = receiver.tenant.account.name
        self._add(
            Egress(
                type="eg",
                ts=_now(),
                kind=_CLIENT,
                cid=receiver.cid,
                name=readable(receiver.connect.name),
                acc="" if account == self._account else readable(account),
                sub=readable(subscription.subject),
                queue="" if subscription.queue is None else readable(subscription.queue),
                error=FATES[fate],
            )
        )


class Trace:
    """One message that is traced, from its coming to its event."""

    def __init__(self, request: Request, ingress: Ingress, record: Record, tell: Callable[[Trace], None]) -> None:
        self.record = record
        self.only = DESTINATION in request.header and _first(request.header, ONLY).lower() in _YES
        self.accepts = _first(request.header, ACCEPTS)
        self._request = request
        self._ingress = ingress
        self._tell = tell

    def refused(self, error: str) -> None:
        """The message was not published, and why."""
        self._ingress.error = error

    def finish(self) -> None:
        """All that is to come of the message has come of it."""
        self._tell(self)

    def event(self, server: object) -> Event:
        """The event, for a server that tells of itself."""
        return Event(server=server, request=self._request, events=self.record.steps)


class Tracing:
    """Decides what is traced, and publishes what came of it."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def begin(self, session: Session, subject: bytes, header: bytes, size: int) -> Trace | None:
        """The trace of a message that is about to be published; None for one that is not traced.

        Raises TraceRefusedError for one that must not be published.
        """
        tenant, principal = session.tenant, session.principal
        headers = fields(header)
        if not isinstance(tenant, Tenant) or principal is None:
            return None
        destination = _first(headers, DESTINATION)
        if destination == DISABLED:
            return None
        if not destination:
            if not any(_SAMPLED.fullmatch(value) for value in _values(headers, PARENT)):
                return None
            sampled = tenant.account.trace
            if sampled is None or not _is_sampled(sampled):
                return None
            destination = sampled.subject
        ingress = Ingress(
            type="in",
            ts=_now(),
            kind=_CLIENT,
            cid=session.cid,
            name=readable(session.connect.name),
            acc=readable(tenant.account.name),
            subj=readable(subject),
        )
        request = Request(header=_told(headers), msgsize=size)
        name = tenant.account.name
        trace = Trace(request, ingress, Record(name, ingress), partial(self._publish, name, destination))
        problem = ""
        if ORIGIN in headers:
            value = quoted(_first(headers, ORIGIN))
            problem = f"Message tracing disabled because of header {quoted(ORIGIN)} with value={value}"
        elif not is_literal(destination):
            problem = f"Destination {quoted(destination)} is not valid, won't be able to trace events"
        if problem:
            journal.write(LOGGER, logging.ERROR, session, "%s", problem)
            if trace.only:
                raise TraceRefusedError("")
            return None
        # A response permission opens nothing here: it was given for an answer.
        if not principal.policy.decide_publish(destination).allowed:
            self._control.publish_refused(session, destination)
            raise TraceRefusedError(publish_violation(destination))
        return trace

    def _publish(self, account: str, destination: str, trace: Trace) -> None:
        """Publishes the event, where the server tells of itself at all."""
        self._control.observer.traced(account, destination, trace.event, trace.accepts)


def fields(block: bytes) -> dict[str, list[str]]:
    """The lines of a header block by their names, as they are written; those without a name or a value are left out."""
    found: dict[str, list[str]] = {}
    for name, value in _lines(block):
        if name and value:
            found.setdefault(shown(name), []).append(shown(value))
    return found


def _lines(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not block.startswith(_VERSION):
        return
    at = len(_VERSION)
    while True:
        colon = block.find(b":", at)
        end = -1 if colon < 0 else block.find(b"\r\n", colon)
        if end < 0:
            return
        yield block[at:colon], block[colon + 1 : end].strip(b" \t")
        at = end + 2


def _first(headers: dict[str, list[str]], name: str) -> str:
    return headers.get(name, [""])[0]


def _values(headers: dict[str, list[str]], name: str) -> Iterator[str]:
    """The values of a header whose name is written in any case."""
    for written, values in headers.items():
        if written.lower() == name:
            yield from values


def _told(headers: dict[str, list[str]]) -> dict[str, list[str]]:
    return {readable(name): [readable(value) for value in values] for name, values in headers.items()}


def _is_sampled(destination: TraceDestination) -> bool:
    return secrets.randbelow(100) < destination.sampling


def _now() -> str:
    return moment(time.time())
