"""How long services take: one metric for each request that is measured, published where the service is offered.

Which requests are measured says the export: a share of them, or those whose tracing headers ask for it, and those
always. A metric's times are in nanoseconds and never negative: ``service`` is the time that the responder had the
request, without the way to it and back, ``system`` what the server took to hand the answer on, ``total`` what the
requestor saw.

Source of the shape: NATS schema ``io.nats.server.metric.v1.service_latency``; of the headers: Zipkin B3, Jaeger, and
the W3C's Trace Context.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from broker.session.client_info import ClientInfo, asking
from broker.session.session import Session
from broker.wire.ids import new_id
from broker.wire.values import moment, nanoseconds, readable

if TYPE_CHECKING:
    from accounts.exports import ServiceLatency
    from broker.core.plan import Client

METRIC: Final = "io.nats.server.metric.v1.service_latency"

SAMPLED_FLAG: Final = 1
"""The bit of a trace's flags that says that it is recorded."""


class Metric(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One measured request."""

    type: str
    id: str
    timestamp: str
    status: int
    description: str = ""
    requestor: ClientInfo | None = None
    responder: ClientInfo | None = None
    header: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """The headers for which the request was measured."""
    start: str
    service: int
    system: int
    total: int


class LatencyMeter:
    """Measures the requests that come to one service through one import; what the core calls a meter.

    ``publish`` takes the metric and its subject. It is called while a message is being delivered, so it must put off
    what it does. ``share`` says whether the import shares who asks, ``server`` is this server's name.
    """

    def __init__(
        self,
        latency: ServiceLatency,
        publish: Callable[[str, Metric], None],
        *,
        share: bool,
        server: str,
        chance: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._latency = latency
        self._publish = publish
        self._share = share
        self._chance = chance
        self.server = server

    def begin(self, sender: Client, header: bytes | None) -> Measurement | None:
        """Begins to measure a request that wants an answer; None where this one is not measured."""
        reasons = self._reasons(header)
        return None if reasons is None else Measurement(self, self.requestor(sender), reasons)

    def bad_request(self, sender: Client, header: bytes | None) -> None:
        """Tells of a request that no answer can go to."""
        reasons = self._reasons(header)
        if reasons is not None:
            Measurement(self, self.requestor(sender), reasons).finish(400, "Bad Request")

    def requestor(self, sender: Client) -> ClientInfo | None:
        """Whoever asks, as far as the import lets the exporting account know."""
        if not isinstance(sender.owner, Session):
            return None
        server = self.server if self._share else ""
        return asking(sender.owner, server, share=self._share)

    def tell(self, metric: Metric) -> None:
        """Publishes a metric."""
        self._publish(self._latency.subject, metric)

    def _reasons(self, header: bytes | None) -> dict[str, list[str]] | None:
        """The headers for which a request is measured, none of them where chance decides; None where it is not."""
        sampling = self._latency.sampling
        if sampling > 0 and (sampling >= 100 or self._chance(100) < sampling):
            return {}
        return tracing(header) or None


class Measurement:
    """One request under way."""

    __slots__ = ("_began", "_clock", "_meter", "_reasons", "_requestor")

    def __init__(self, meter: LatencyMeter, requestor: ClientInfo | None, reasons: dict[str, list[str]]) -> None:
        self._meter = meter
        self._requestor = requestor
        self._reasons = reasons
        self._began = time.time()
        self._clock = time.monotonic()

    def delivered(self, client: Client) -> None:
        """The answer came from ``client`` and was handed on."""
        taken = nanoseconds(time.monotonic() - self._clock)
        owner = client.owner
        responder = asking(owner, self._meter.server, share=True) if isinstance(owner, Session) else None
        self.finish(200, "", responder, taken)

    def timed_out(self) -> None:
        """No answer came within the export's threshold."""
        self.finish(504, "Service Timeout")

    def abandoned(self) -> None:
        """Whoever asked does not wait any more."""
        self.finish(408, "Request Timeout")

    def no_responders(self) -> None:
        """Nobody took the request."""
        self.finish(503, "Service Unavailable")

    def finish(self, status: int, description: str, responder: ClientInfo | None = None, taken: int = 0) -> None:
        """Tells what came of the request; ``taken`` are the nanoseconds from the request here to the answer here."""
        requestor = self._requestor
        way_here = 0 if requestor is None else requestor.rtt
        way_there = 0 if responder is None else responder.rtt
        system = nanoseconds(time.monotonic() - self._clock) - taken if way_there else 0
        self._meter.tell(
            Metric(
                type=METRIC,
                id=new_id(),
                timestamp=moment(time.time()),
                status=status,
                description=description,
                requestor=requestor,
                responder=responder,
                header=self._reasons,
                start=moment(self._began - way_here / 1e9),
                service=max(taken - way_there, 0) if taken else 0,
                system=max(system, 0),
                total=way_here + taken + max(system, 0) if taken else 0,
            )
        )


def tracing(header: bytes | None) -> dict[str, list[str]]:
    """The headers of a block which ask for the request to be measured, under their usual spelling; none where none do.

    The first of these that decides counts: ``Uber-Trace-Id``, ``X-B3-Sampled``, ``X-B3-TraceId``, ``B3``,
    ``Traceparent``.
    """
    if not header:
        return {}
    found: dict[str, list[str]] = {}
    for name, value in _lines(header):
        found.setdefault(name, []).append(value)
    for name, decide, shown in _DECIDING:
        verdict = decide(found[name][0]) if name in found else None
        if verdict is not None:
            return {each: found[each] for each in found if verdict and each.startswith(shown)}
    return {}


def _lines(header: bytes) -> Iterator[tuple[str, str]]:
    for line in header.split(b"\r\n")[1:]:
        name, separator, value = line.partition(b":")
        if separator:
            yield "-".join(part.capitalize() for part in readable(name).split("-")), readable(value).strip()


def _jaeger(value: str) -> bool:
    """``trace:span:parent:flags``, with flags of one or two hexadecimal digits."""
    parts = value.split(":")
    return len(parts) == 4 and len(parts[3]) in {1, 2} and _has_flag(parts[3])


def _trace_context(value: str) -> bool:
    """``version-trace-parent-flags``."""
    parts = value.split("-")
    return len(parts) == 4 and len(parts[3]) == 2 and _has_flag(parts[3])


def _b3_sampled(value: str) -> bool | None:
    """Anything but 0 and 1 leaves it to the headers after it."""
    return {"0": False, "1": True}.get(value)


def _b3(value: str) -> bool:
    """``trace-span-sampled-parent``, or only what stands for sampled; where it is missing the receiver may decide."""
    parts = value.split("-")
    sampled = parts[0] if len(parts) == 1 else parts[2] if len(parts) > 2 else ""
    return sampled != "0"


def _has_flag(text: str) -> bool:
    try:
        return bool(int(text, 16) & SAMPLED_FLAG)
    except ValueError:
        return False


_B3_HEADERS: Final = ("X-B3-Sampled", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid")
_DECIDING: Final[tuple[tuple[str, Callable[[str], bool | None], tuple[str, ...]], ...]] = (
    ("Uber-Trace-Id", _jaeger, ("Uber-Trace-Id", "Uberctx-")),
    ("X-B3-Sampled", _b3_sampled, _B3_HEADERS),
    ("X-B3-Traceid", lambda _: True, _B3_HEADERS),
    ("B3", _b3, ("B3",)),
    ("Traceparent", _trace_context, ("Traceparent", "Tracestate")),
)
"""Each header that decides, how, and which headers are shown with it."""
