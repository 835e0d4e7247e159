"""What a connection leaves in memory: nothing, and without a search for cycles, which may be hours away."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from broker.core.plan import Client, Subscription
from broker.net.connection import Connection
from broker.session.record import KEPT_BYTES
from broker.session.session import Session
from broker.wire.errors import CloseReason
from tests.support.connections import Network, Peer

KINDS = (Client, Connection, Session, Subscription)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    made = Network(monkeypatch, ping_interval=1e6)
    yield made
    made.end()


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def living() -> int:
    return sum(isinstance(each, KINDS) for each in gc.get_objects())


def use(network: Network, peer: Peer) -> None:
    network.say(peer, b"SUB a 1\r\nSUB b q 2\r\nSUB > 3\r\nUNSUB 1 1\r\nPUB a 1\r\nx\r\nPUB b c 0\r\n\r\n")
    assert peer.read()


@pytest.mark.usefixtures("uncollected")
def test_who_left_is_forgotten(network: Network) -> None:
    peer = network.connect(headers=True, no_responders=True)
    before = living()
    for _ in range(5):
        other = network.connect()
        use(network, other)
        other.sock.close()
        network.loop.settle()
        del other
    assert living() == before
    assert peer.reason is None


@pytest.mark.usefixtures("uncollected")
def test_who_was_cut_off_is_forgotten(network: Network) -> None:
    before = living()
    peer = network.connect()
    use(network, peer)
    peer.connection.session.close(CloseReason.KICKED)
    del peer
    network.loop.settle()
    assert living() == before


def test_long_subjects_are_remembered_as_far_as_there_is_room(network: Network) -> None:
    peer = network.connect()
    network.say(peer, b"".join(b"SUB %b.%d %d\r\n" % (b"s" * 3000, number, number) for number in range(50)))
    peer.connection.session.close(CloseReason.KICKED)
    (record,) = network.service.closed
    assert record.subscription_count == 50
    assert 0 < sum(len(one.subject) for one in record.subscriptions) <= KEPT_BYTES
