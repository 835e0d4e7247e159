"""Every load runs through, against a server that only moves bytes; what such a server gets wrong is noticed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tls.engine import _Tickets
from tools.bench.arriving import Newcomer
from tools.bench.client import Target
from tools.bench.config import HOST
from tools.bench.connects import hold_idle, measure_connects, require_open
from tools.bench.errors import BenchError
from tools.bench.forge import Trust, forge_certificates, forge_trust
from tools.bench.frames import Ring, Side, deliver_frame, ring_of
from tools.bench.load import Lane, Shape, measure
from tools.bench.rows import Metric, Requests, Streaming
from tools.bench.secured import client_context
from tools.bench.standin import Route, StandIn

SECONDS = 0.05
RATE = Metric("rate", "a rate", "msg/s", 1.0)


@pytest.fixture(scope="module")
def trust() -> Trust:
    return forge_trust()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    forge_certificates(directory)
    return directory


def target_of(standin: StandIn, trust: Trust, certificates: Path | None = None) -> Target:
    return Target(standin.port, trust.users, None if certificates is None else client_context(certificates))


def lanes(subscribers: int) -> Shape:
    return Shape((Lane(ring_of(["bench.one"], 128), tuple(range(subscribers))),), ("bench.one",) * subscribers)


@pytest.mark.parametrize("subscribers", [0, 1, 3])
def test_streaming_counts_what_is_delivered(trust: Trust, subscribers: int) -> None:
    row = Streaming("x", RATE, lanes(subscribers))
    with StandIn(row.routes()) as standin:
        figures = measure(target_of(standin, trust), lanes(subscribers), SECONDS)
    assert figures["messages"] > 0
    assert figures["messages"] % max(1, subscribers) == 0


def test_streaming_over_tls(trust: Trust, certificates: Path) -> None:
    row = Streaming("x", RATE, lanes(1), tls=True)
    with StandIn(row.routes(), certificates) as standin:
        assert measure(target_of(standin, trust, certificates), lanes(1), SECONDS)["messages"] > 0


def test_several_publishers_feed_the_same_subscribers(trust: Trust) -> None:
    shape = Shape(tuple(Lane(ring_of(["bench.one"], 16), (0, 1)) for _ in range(3)), ("bench.one",) * 2)
    row = Streaming("x", RATE, shape)
    with StandIn(row.routes()) as standin:
        assert measure(target_of(standin, trust), shape, SECONDS)["messages"] > 0


def test_a_subscriber_that_gets_too_much_is_noticed(trust: Trust) -> None:
    ring = ring_of(["bench.one"], 16)
    shape = Shape((Lane(ring, (0,)),), ("bench.one",))
    routes = {"pub0": Route(ring.published.size, Side.join([deliver_frame("bench.one", b"x" * 17)]), ("sub0",))}
    with StandIn(routes) as standin, pytest.raises(BenchError, match=r"other bytes|more than its messages"):
        measure(target_of(standin, trust), shape, SECONDS)


def test_subscribers_of_one_lane_and_another_need_equal_frames(trust: Trust) -> None:
    shape = Shape((Lane(ring_of(["s.1"], 16), (0,)), Lane(ring_of(["s.1"], 17), (0,))), ("s.1",))
    with pytest.raises(BenchError, match="one length"):
        measure(Target(1, trust.users), shape, SECONDS)


@pytest.mark.parametrize("in_flight", [1, 64])
def test_each_request_is_answered_and_timed(trust: Trust, in_flight: int) -> None:
    row = Requests("x", in_flight, RATE)
    routes = row.routes()
    assert routes is not None
    with StandIn(routes) as standin:
        target = target_of(standin, trust)
        figures = row.best([row.measure(target, None, SECONDS), row.measure(target, None, SECONDS)])
    assert figures["answered"] >= in_flight
    assert 0 < figures["p50"] <= figures["p99"]


def test_connects_are_full_handshakes(trust: Trust, certificates: Path) -> None:
    with StandIn({}, certificates, processes=2) as standin:
        figures = measure_connects(target_of(standin, trust, certificates), 0.3)
    assert figures["rate"] > 0
    assert figures["client_seconds"] > 0


def test_connects_are_resumed(trust: Trust, certificates: Path) -> None:
    with StandIn({}, certificates, processes=2) as standin:
        assert measure_connects(target_of(standin, trust, certificates), 0.3, resumes=True)["rate"] > 0


def test_a_server_that_does_not_resume_is_noticed(trust: Trust, certificates: Path) -> None:
    with StandIn({}, certificates) as standin:
        newcomer = Newcomer(target_of(standin, trust, certificates), "newcomer", resumes=True)
        newcomer.visit(HOST)
        newcomer.visit(HOST)
    # Whatever else keeps the keys of tickets in this process.
    _Tickets._living.clear()
    with StandIn({}, certificates) as other:
        newcomer._target = target_of(other, trust, certificates)
        with pytest.raises(BenchError, match="did not take a session's ticket"):
            newcomer.visit(HOST)


def test_many_idle_connections_are_opened_at_once(trust: Trust, certificates: Path) -> None:
    with StandIn({}, certificates) as standin, ExitStack() as stack:
        connections = hold_idle(target_of(standin, trust, certificates), 100, stack)
        require_open(connections)
        assert len(connections) == 100


def test_ring_sides_of_different_frames_make_the_growth() -> None:
    ring = Ring(Side.join([b"12345"]), Side.join([b"1234567890"]))
    assert ring.growth == 2.0
