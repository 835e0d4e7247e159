"""Publishers wait a moment for receivers that lag, but never for those that take nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from auth.errors import AuthError, AuthFailure
from auth.principal import Principal
from broker.net.writing import STALL_PROGRESS, STALL_TURN
from broker.session.states import State
from broker.wire.errors import CloseReason
from tests.support.connections import Network, Peer
from tests.support.sessions import ANYBODY

Start = Callable[..., tuple[Network, Peer, Peer]]

PIECE = b"PUB a 60000\r\n%b\r\n" % (b"x" * 60000)
ENOUGH = 25
"""Pieces that lift a receiver above its soft ceiling."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    networks: list[Network] = []

    def begin(**options: Any) -> tuple[Network, Peer, Peer]:
        networks.append(network := Network(monkeypatch, ping_interval=1e6, write_deadline=100.0, **options))
        subscriber, publisher = network.connect(), network.connect()
        network.advance(2.5)
        for peer in (subscriber, publisher):
            assert peer.read() == b"PING\r\n"
            network.say(peer, b"PONG\r\n")
        network.say(subscriber, b"SUB a 1\r\n")
        return network, subscriber, publisher

    yield begin
    for network in networks:
        network.end()


def lift(network: Network, subscriber: Peer, publisher: Peer) -> None:
    """Publishes until the publisher has to wait."""
    for _ in range(ENOUGH):
        if network.service.stalls:
            break
        network.say(publisher, PIECE)
    assert is_waiting(publisher)
    assert subscriber.connection.client.pending > subscriber.connection.client.soft_ceiling


def is_waiting(peer: Peer) -> bool:
    """Whether the server reads nothing of a peer that is connected."""
    return peer.reason is None and not peer.connection._reading


def drain(network: Network, peer: Peer) -> int:
    """Reads everything that waits for a peer."""
    total = 0
    while data := peer.read():
        total += len(data)
        network.loop.settle()
    return total


def test_a_publisher_goes_on_when_its_receiver_has_caught_up(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    drain(network, subscriber)
    assert not is_waiting(publisher)
    assert publisher.connection.stalls == network.service.stalls == 1


def test_a_publisher_waits_on_while_its_receiver_makes_progress(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    for _ in range(2):
        taken = 0
        while taken < 4 * STALL_PROGRESS:
            taken += len(subscriber.read(STALL_PROGRESS))
            network.loop.settle()
        network.advance(STALL_TURN)
        assert is_waiting(publisher)
    drain(network, subscriber)
    assert not is_waiting(publisher)


def test_a_publisher_never_waits_long_for_who_takes_nothing(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    network.advance(STALL_TURN)
    assert not is_waiting(publisher)
    assert subscriber.reason is None


def test_who_was_waited_for_in_vain_is_not_waited_for_again_before_it_takes_something(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    network.advance(STALL_TURN)
    for _ in range(5):
        network.say(publisher, PIECE)
        assert not is_waiting(publisher)
    taken = 0
    while taken < 4 * STALL_PROGRESS:
        taken += len(subscriber.read(STALL_PROGRESS))
        network.loop.settle()
    network.say(publisher, PIECE)
    assert is_waiting(publisher)


def test_a_receiver_that_ends_lets_its_publishers_go(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    subscriber.connection.session.close(CloseReason.KICKED)
    assert not is_waiting(publisher)


def test_a_publisher_may_end_while_it_waits(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    publisher.connection.session.close(CloseReason.KICKED)
    assert publisher.connection.ended is not None
    drain(network, subscriber)
    assert publisher.connection.descriptor not in network.loop.readers


def test_nobody_waits_where_stalls_are_off(start: Start) -> None:
    network, subscriber, publisher = start(no_fast_producer_stall=True)
    for _ in range(ENOUGH):
        network.say(publisher, PIECE)
    assert network.service.stalls == 0
    assert subscriber.connection.client.pending > subscriber.connection.client.soft_ceiling


def test_who_waits_reads_nothing(start: Start) -> None:
    network, subscriber, publisher = start()
    lift(network, subscriber, publisher)
    publisher.send(b"PING\r\n")
    network.loop.settle()
    assert publisher.read() == b""
    drain(network, subscriber)
    network.loop.settle()
    assert publisher.read() == b"PONG\r\n"


def test_a_small_ceiling_is_reached_late_by_who_is_waited_for(start: Start) -> None:
    """The soft ceiling lies below the hard one, however small that is."""
    network, subscriber, _ = start(max_pending=200_000, max_payload=100_000)
    assert subscriber.connection.client.soft_ceiling == 150_000
    assert network.service.soft_ceiling < network.options.max_pending


# A publisher whose second CONNECT is verified in a thread


@pytest.mark.parametrize("result", [ANYBODY, AuthError(AuthFailure.PASSWORD_WRONG)], ids=["right", "wrong"])
def test_the_end_of_a_stall_does_not_end_a_verification(
    start: Start, monkeypatch: pytest.MonkeyPatch, result: Principal | AuthError
) -> None:
    network, subscriber, publisher = start()
    monkeypatch.setattr(network.service.control, "is_slow", lambda session, connect: True)
    client = subscriber.connection.client
    while client.pending < client.soft_ceiling - len(PIECE):
        network.say(publisher, PIECE)
    network.say(publisher, PIECE * 2 + b'CONNECT {"verbose":true}\r\nPING\r\nPI')
    assert network.service.stalls == 1
    publisher.send(b"NG\r\n")
    drain(network, subscriber)
    network.advance(10 * STALL_TURN)
    assert publisher.connection.session.state is State.VERIFYING
    assert is_waiting(publisher)
    network.loop.aside[0].finish(result)
    network.loop.settle()
    expected = b"+OK\r\nPONG\r\nPONG\r\n" if result is ANYBODY else b"-ERR 'Authorization Violation'\r\n"
    assert publisher.read() == expected
