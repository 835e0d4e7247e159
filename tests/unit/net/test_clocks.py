"""The clocks of a connection: for CONNECT, signs of life, expiry, writing and the last words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.config.options import AuthorizationOptions
from broker.net.connection import LONGEST_TIMER
from broker.net.writing import LINGER
from broker.wire.errors import CloseReason
from tests.support.connections import Network, Peer

Start = Callable[..., Network]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    networks: list[Network] = []

    def begin(**options: Any) -> Network:
        networks.append(Network(monkeypatch, **options))
        return networks[-1]

    yield begin
    for network in networks:
        network.end()


# CONNECT


def test_connect_has_a_deadline_where_credentials_are_needed(start: Start) -> None:
    network = start(authorization=AuthorizationOptions(token="t", timeout=3.0))
    peer = network.open()
    peer.read()
    network.advance(2.99)
    assert peer.read() == b""
    assert peer.reason is None
    network.advance(0.02)
    assert peer.read() == b"-ERR 'Authentication Timeout'\r\n"
    assert peer.reason is CloseReason.AUTHENTICATION_TIMEOUT


def test_a_piece_of_connect_is_not_enough(start: Start) -> None:
    network = start(authorization=AuthorizationOptions(token="t"))
    peer = network.open()
    network.say(peer, b'CONNECT {"auth_token":')
    network.advance(2.0)
    assert peer.reason is CloseReason.AUTHENTICATION_TIMEOUT


def test_the_deadline_is_over_with_connect(start: Start) -> None:
    network = start(authorization=AuthorizationOptions(token="t"), ping_interval=1000.0)
    peer = network.connect(auth_token="t")
    network.say(peer, b"PONG\r\n")
    network.advance(100.0)
    assert peer.reason is None


def test_silence_is_no_offence_where_nobody_is_asked(start: Start) -> None:
    network = start(ping_interval=1000.0)
    peer = network.open()
    network.advance(100.0)
    assert peer.reason is None


# Signs of life


def test_pings_until_the_connection_is_stale(start: Start) -> None:
    network = start(ping_interval=10.0, ping_max=2)
    peer = network.connect()
    network.advance(2.5)
    assert peer.read() == b"PING\r\n"
    network.advance(10.0)
    assert peer.read() == b"PING\r\n"
    assert peer.reason is None
    network.advance(10.0)
    assert peer.read() == b"-ERR 'Stale Connection'\r\n"
    assert peer.reason is CloseReason.STALE_CONNECTION
    assert network.service.stale_connections == 1


def test_a_client_that_answers_stays(start: Start) -> None:
    network = start(ping_interval=10.0, ping_max=1)
    peer = network.connect()
    network.advance(2.5)
    for _ in range(5):
        assert peer.read() == b"PING\r\n"
        network.say(peer, b"PONG\r\n")
        # Heard within the interval before the next tick, it is asked at the one after that.
        network.advance(20.0)
    assert peer.reason is None
    assert peer.connection.session.liveness.round_trip > 0.0


def test_no_ping_before_connect_where_credentials_are_needed(start: Start) -> None:
    network = start(authorization=AuthorizationOptions(token="t", timeout=100.0), ping_interval=1.0)
    peer = network.open()
    peer.read()
    network.advance(50.0)
    assert peer.read() == b""
    assert peer.reason is None


# Expiry


def test_expiry_is_a_time_of_the_wall_clock(start: Start) -> None:
    network = start(ping_interval=1e6)
    peer = network.connect()
    network.say(peer, b"PONG\r\n")
    peer.connection.expire_at(network.clock.time() + 10.0)
    network.advance(9.9)
    assert peer.reason is None
    network.advance(0.2)
    assert peer.reason is CloseReason.AUTHENTICATION_EXPIRED


def test_a_moment_that_is_over_expires_at_once_but_not_before_connect_is_answered(start: Start) -> None:
    network = start()
    peer = network.connect()
    peer.connection.expire_at(network.clock.time() - 5.0)
    assert peer.reason is None
    network.advance(0.0)
    assert peer.reason is CloseReason.AUTHENTICATION_EXPIRED


def test_expiry_can_be_called_off(start: Start) -> None:
    network = start(ping_interval=1e6)
    peer = network.connect()
    peer.connection.expire_at(network.clock.time() + 10.0)
    peer.connection.expire_at(None)
    network.advance(100.0)
    assert peer.reason is None


def test_a_wall_clock_that_is_set_is_noticed_within_the_hour(start: Start) -> None:
    network = start(ping_interval=1e9)
    peer = network.connect()
    peer.connection.expire_at(network.clock.time() + 100 * LONGEST_TIMER)
    network.advance(LONGEST_TIMER / 2)
    network.clock.wall_offset += 200 * LONGEST_TIMER
    network.advance(LONGEST_TIMER / 2)
    assert peer.reason is CloseReason.AUTHENTICATION_EXPIRED


def test_a_wall_clock_set_back_defers_the_end(start: Start) -> None:
    network = start(ping_interval=1e9)
    peer = network.connect()
    peer.connection.expire_at(network.clock.time() + 10.0)
    network.clock.wall_offset -= 100.0
    network.advance(100.0)
    assert peer.reason is None
    network.advance(11.0)
    assert peer.reason is CloseReason.AUTHENTICATION_EXPIRED


# Writing


MESSAGE = b"x" * 8000


def publish(network: Network, publisher: Peer, count: int) -> None:
    network.say(publisher, b"PUB a %d\r\n%b\r\n" % (len(MESSAGE), MESSAGE) * count)


@pytest.fixture
def pair(start: Start) -> tuple[Network, Peer, Peer]:
    """A subscriber whose socket takes little, and a publisher."""
    network = start(write_deadline=5.0, ping_interval=1e6)
    subscriber, publisher = network.connect(send_buffer=4096), network.connect()
    network.advance(2.5)
    for peer in (subscriber, publisher):
        assert peer.read() == b"PING\r\n"
        network.say(peer, b"PONG\r\n")
    network.say(subscriber, b"SUB a 1\r\n")
    return network, subscriber, publisher


def test_a_receiver_that_takes_nothing_is_cut_at_the_deadline(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    publish(network, publisher, 10)
    assert subscriber.connection.client.pending > 0
    network.advance(4.9)
    assert subscriber.reason is None
    network.advance(0.2)
    assert subscriber.reason is CloseReason.SLOW_CONSUMER_DEADLINE
    assert subscriber.connection.ended is not None
    assert subscriber.connection.client.pending == 0
    assert network.service.slow_consumers == 1
    assert publisher.reason is None


def test_a_receiver_that_takes_all_in_time_stays(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    for _ in range(4):
        publish(network, publisher, 10)
        network.advance(4.9)
        received = b""
        while data := subscriber.read():
            received += data
            network.loop.settle()
        assert received == b"MSG a 1 8000\r\n%b\r\n" % MESSAGE * 10
    assert subscriber.reason is None


def test_a_receiver_that_trickles_is_cut_though_it_takes_something(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    publish(network, publisher, 100)
    for _ in range(10):
        network.advance(0.5)
        subscriber.read(4096)
        network.loop.settle()
    assert subscriber.reason is CloseReason.SLOW_CONSUMER_DEADLINE


def test_what_came_later_has_its_own_deadline(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    publish(network, publisher, 20)
    taken = 0
    for _ in range(20):
        network.advance(1.0)
        while taken < 20 * 8014 and (data := subscriber.read(8014 * 10)):
            taken += len(data)
            network.loop.settle()
        taken -= 20 * 8014
        publish(network, publisher, 20)
    assert subscriber.reason is None


def test_a_closing_connection_waits_a_moment_for_its_last_words(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    publish(network, publisher, 10)
    network.say(subscriber, b"XYZ\r\n")
    assert subscriber.reason is CloseReason.PROTOCOL_VIOLATION
    assert subscriber.connection.ended is None
    received = b""
    while data := subscriber.read():
        received += data
        network.loop.settle()
    assert received.endswith(b"-ERR 'Unknown Protocol Operation'\r\n")
    assert received.count(b"MSG a 1") == 10
    assert subscriber.connection.ended is not None


def test_the_last_words_are_not_waited_for_long(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    publish(network, publisher, 10)
    network.say(subscriber, b"XYZ\r\n")
    network.advance(LINGER - 0.1)
    assert subscriber.connection.ended is None
    network.advance(0.2)
    assert subscriber.connection.ended is not None
    assert subscriber.connection.client.pending == 0


def test_a_peer_that_is_gone_while_bytes_wait(pair: tuple[Network, Peer, Peer]) -> None:
    network, subscriber, publisher = pair
    publish(network, publisher, 10)
    subscriber.sock.close()
    network.loop.settle()
    assert subscriber.connection.ended is not None
    assert subscriber.reason in {CloseReason.WRITE_ERROR, CloseReason.READ_ERROR, CloseReason.CLIENT_CLOSED}
    publish(network, publisher, 1)
    assert publisher.reason is None
