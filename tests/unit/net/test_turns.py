"""A client that has much to say at once is heard in turns, so that others are heard meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.session.session import EVENTS_A_TURN
from broker.wire.errors import CloseReason
from tests.support.connections import Network, Peer

MANY = 4 * EVENTS_A_TURN


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    made = Network(monkeypatch, ping_interval=1e6)
    yield made
    made.end()


def subscribing(network: Network, *, then: bytes = b"") -> Peer:
    """A peer in the middle of many subscriptions, after its first turn."""
    peer = network.connect()
    peer.send(b"".join(b"SUB a.%d %d\r\n" % (number, number) for number in range(MANY)) + then)
    assert network.loop.turn()
    assert len(peer.connection.session.subscriptions) == EVENTS_A_TURN
    return peer


def test_others_have_their_turn(network: Network) -> None:
    other = network.connect()
    peer = subscribing(network, then=b"PUB a.1 2\r\nhi\r\nPI")
    other.send(b"PING\r\n")
    assert network.loop.turn()
    assert other.read() == b"PONG\r\n"
    assert len(peer.connection.session.subscriptions) == EVENTS_A_TURN
    network.loop.settle()
    assert len(peer.connection.session.subscriptions) == MANY
    assert peer.read() == b"MSG a.1 1 2\r\nhi\r\n"
    network.say(peer, b"NG\r\n")
    assert peer.read() == b"PONG\r\n"


def test_nothing_is_read_between_turns(network: Network) -> None:
    peer = subscribing(network)
    peer.send(b"PING\r\n")
    assert not network.loop.turn()
    network.loop.settle()
    assert peer.read() == b"PONG\r\n"


def test_the_end_between_turns_is_the_end(network: Network) -> None:
    peer = subscribing(network)
    peer.connection.session.close(CloseReason.KICKED)
    network.loop.settle()
    assert peer.connection.ended is not None
    assert not network.loop.timers
