"""Which requests are measured, and what is told of each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts.exports import SAMPLE_BY_HEADERS, ServiceLatency
from auth.gojson import dumps
from broker.control.latency import LatencyMeter, Measurement, tracing
from tests.support.sessions import ANYBODY, Conversation

TRACED = b"NATS/1.0\r\nX-B3-Sampled: 1\r\nx-b3-traceid: 80f1\r\nOther: x\r\n\r\n"


class Desk:
    """A meter whose metrics are kept, and two clients."""

    def __init__(self, sampling: int = 100, *, share: bool = False, dice: int = 0) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.asker, self.answerer = Conversation(), Conversation()
        for conversation, seconds in ((self.asker, 0.002), (self.answerer, 0.5)):
            conversation.session.principal = ANYBODY
            conversation.session.liveness.round_trip = seconds
        self.meter = LatencyMeter(
            ServiceLatency("lat", sampling),
            lambda subject, body: self.told.append((subject, json.loads(dumps(body)))),
            share=share,
            server="S1",
            chance=lambda _: dice,
        )

    def begin(self, header: bytes | None = None) -> Measurement:
        measurement = self.meter.begin(self.asker.client, header)
        assert measurement is not None
        return measurement

    @property
    def metric(self) -> dict[str, Any]:
        ((subject, metric),) = self.told
        assert subject == "lat"
        return metric


def test_an_answer() -> None:
    desk = Desk()
    desk.begin().delivered(desk.answerer.client)
    metric = desk.metric
    assert list(metric) == [
        "type", "id", "timestamp", "status", "requestor", "responder", "start", "service", "system", "total",
    ]
    assert metric["type"] == "io.nats.server.metric.v1.service_latency"
    assert len(metric["id"]) == 22
    assert metric["status"] == 200
    assert metric["requestor"] == {"acc": "$G", "rtt": 2_000_000}
    assert metric["responder"] == {
        "start": "2023-11-14T22:13:20Z", "host": "127.0.0.1", "id": 7, "acc": "$G", "rtt": 500_000_000, "server": "S1",
        "kind": "Client", "client_type": "nats",
    }
    assert metric["service"] == 0, "the answer was here before the responder's round trip was over"
    assert metric["system"] > 0
    assert 2_000_000 < metric["total"] < 500_000_000


def test_the_service_has_what_is_left_of_the_responders_way() -> None:
    desk = Desk()
    desk.answerer.session.liveness.round_trip = 0.25
    desk.begin().finish(200, "", desk.meter.requestor(desk.answerer.client), 1_000_000_000)
    assert desk.metric["service"] == 750_000_000
    assert desk.metric["total"] == 2_000_000 + 1_000_000_000 + desk.metric["system"]


@pytest.mark.parametrize(
    ("outcome", "status", "description"),
    [
        ("timed_out", 504, "Service Timeout"),
        ("abandoned", 408, "Request Timeout"),
        ("no_responders", 503, "Service Unavailable"),
    ],
)
def test_no_answer(outcome: str, status: int, description: str) -> None:
    desk = Desk()
    getattr(desk.begin(), outcome)()
    assert (desk.metric["status"], desk.metric["description"]) == (status, description)
    assert [desk.metric[name] for name in ("service", "system", "total")] == [0, 0, 0]
    assert "responder" not in desk.metric


def test_a_request_that_no_answer_can_go_to() -> None:
    desk = Desk()
    desk.meter.bad_request(desk.asker.client, None)
    assert (desk.metric["status"], desk.metric["description"]) == (400, "Bad Request")


def test_a_shared_asker_is_shown() -> None:
    desk = Desk(share=True)
    desk.begin().timed_out()
    assert desk.metric["requestor"]["host"] == "127.0.0.1"
    assert desk.metric["requestor"]["server"] == "S1"


@pytest.mark.parametrize(("dice", "is_measured"), [(0, True), (29, True), (30, False), (99, False)])
def test_a_share_of_the_requests(dice: int, is_measured: bool) -> None:
    desk = Desk(30, dice=dice)
    assert (desk.meter.begin(desk.asker.client, None) is not None) == is_measured
    desk.meter.bad_request(desk.asker.client, None)
    assert bool(desk.told) == is_measured


@pytest.mark.parametrize("sampling", [SAMPLE_BY_HEADERS, 30])
def test_headers_ask_for_it(sampling: int) -> None:
    desk = Desk(sampling, dice=99)
    assert desk.meter.begin(desk.asker.client, None) is None
    desk.begin(TRACED).timed_out()
    assert desk.metric["header"] == {"X-B3-Sampled": ["1"], "X-B3-Traceid": ["80f1"]}


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["Uber-Trace-Id: a:b:c:1", "uberctx-x: y"], ["Uber-Trace-Id", "Uberctx-X"]),
        (["Uber-Trace-Id: a:b:c:2"], []),
        (["Uber-Trace-Id: a:b:c:z", "B3: 1"], []),
        (["Uber-Trace-Id: a:b:1", "B3: 1"], []),
        (["X-B3-Sampled: 0", "X-B3-TraceId: 80f1"], []),
        (["X-B3-Sampled: d", "X-B3-TraceId: 80f1"], ["X-B3-Sampled", "X-B3-Traceid"]),
        (["X-B3-TraceId: 80f1", "X-B3-SpanId: 1"], ["X-B3-Traceid", "X-B3-Spanid"]),
        (["B3: 80f1-e457-1-05e3"], ["B3"]),
        (["B3: 80f1-e457"], ["B3"]),
        (["B3: 80f1-e457-0-05e3"], []),
        (["B3: 0"], []),
        (["traceparent: 00-4bf9-00f0-01", "tracestate: a=1"], ["Traceparent", "Tracestate"]),
        (["traceparent: 00-4bf9-00f0-00"], []),
        (["traceparent: 00-4bf9-00f0-zz"], []),
        (["Other: 1", "no header"], []),
    ],
)
def test_tracing_headers(lines: list[str], shown: list[str]) -> None:
    block = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()
    assert list(tracing(block)) == shown
    assert tracing(None) == {}
