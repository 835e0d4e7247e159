"""Connections under TLS: what comes in odd pieces, and the deadline of bytes that are sealed but not sent."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auth.errors import AuthError, AuthFailure
from broker.config.options import AuthorizationOptions, TLSOptions
from broker.net.channel import Channel
from broker.session.session import EVENTS_A_TURN
from broker.session.states import State
from broker.wire.errors import CloseReason
from tests.support.certificates import make_certificates
from tests.support.connections import Network, Peer
from tests.support.sessions import ANYBODY

Start = Callable[..., Network]
CONNECT = b'CONNECT {"verbose":false}\r\nPING\r\n'


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates")).directory


@pytest.fixture
def context(directory: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(str(directory / "ca.pem"))
    return made


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Iterator[Start]:
    networks: list[Network] = []

    def begin(tls: dict[str, Any] | None = None, **options: Any) -> Network:
        settings = TLSOptions(
            cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"), **(tls or {})
        )
        networks.append(Network(monkeypatch, tls=settings, ping_interval=1e6, **options))
        return networks[-1]

    yield begin
    for network in networks:
        network.end()


def secured(network: Network, context: ssl.SSLContext, **buffers: int) -> Peer:
    """A peer that is through with the handshake, CONNECT and the first signs of life."""
    peer = network.open(**buffers)
    assert peer.read().startswith(b"INFO ")
    peer.send(peer.last_flight(network.loop, context) + peer.seal(CONNECT))
    network.loop.settle()
    assert peer.read_sealed().endswith(b"PONG\r\n")
    network.advance(2.5)
    assert peer.read_sealed() == b"PING\r\n"
    network.say(peer, peer.seal(b"PONG\r\n"))
    return peer


def test_words_glued_to_the_handshake_are_heard(start: Start, context: ssl.SSLContext) -> None:
    network = start()
    peer = network.open()
    peer.read()
    network.say(peer, peer.last_flight(network.loop, context) + peer.seal(CONNECT) + peer.seal(b"PING\r\n"))
    assert peer.read_sealed() == b"PONG\r\nPONG\r\n"


def test_what_tls_answers_by_itself_goes_out_at_once(
    start: Start, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's clients cannot ask for a key update, so an answer stands where OpenSSL would put that to one."""
    network = start()
    peer = secured(network, context)
    read_into = Channel.read_into

    def answering(channel: Channel, room: memoryview) -> int:
        channel._records.seal(memoryview(b"new keys"))
        return read_into(channel, room)

    monkeypatch.setattr(Channel, "read_into", answering)
    network.say(peer, peer.seal(b"PONG\r\n"))
    assert peer.read_sealed() == b"new keys"
    assert peer.connection.channel is not None
    assert peer.connection.channel.waiting == 0


def test_sealed_words_that_take_many_turns_are_all_heard(start: Start, context: ssl.SSLContext) -> None:
    network = start()
    peer = secured(network, context)
    many = b"".join(b"SUB a.%d %d\r\n" % (number, number) for number in range(4 * EVENTS_A_TURN))
    network.say(peer, peer.seal(many) + peer.seal(b"PING\r\n"))
    assert peer.read_sealed() == b"PONG\r\n"
    assert len(peer.connection.session.subscriptions) == 4 * EVENTS_A_TURN


def test_a_receiver_that_leaves_sealed_bytes_unread_is_cut_at_the_deadline(
    start: Start, context: ssl.SSLContext
) -> None:
    """All is sealed, and the socket has taken some of it: there is no plaintext left that could be late."""
    network = start(write_deadline=5.0)
    subscriber, publisher = secured(network, context, send_buffer=4096), secured(network, context)
    network.say(subscriber, subscriber.seal(b"SUB a 1\r\n"))
    network.say(publisher, publisher.seal(b"PUB a 60000\r\n%b\r\n" % (b"x" * 60000)))
    channel = subscriber.connection.channel
    assert channel is not None
    assert channel.waiting > 0
    assert subscriber.connection.client.pending == 0
    network.advance(4.9)
    assert subscriber.reason is None
    network.advance(0.2)
    assert subscriber.reason is CloseReason.SLOW_CONSUMER_DEADLINE
    assert publisher.reason is None


def test_a_receiver_that_reads_sealed_bytes_in_time_stays(start: Start, context: ssl.SSLContext) -> None:
    network = start(write_deadline=5.0)
    subscriber, publisher = secured(network, context, send_buffer=4096), secured(network, context)
    network.say(subscriber, subscriber.seal(b"SUB a 1\r\n"))
    message = b"PUB a 60000\r\n%b\r\n" % (b"x" * 60000)
    for _ in range(3):
        network.say(publisher, publisher.seal(message))
        network.advance(4.9)
        received = b""
        for _ in range(100):
            received += subscriber.read_sealed()
            network.loop.settle()
        assert received == b"MSG a 1 60000\r\n%b\r\n" % (b"x" * 60000)
    assert subscriber.reason is None


def test_last_words_before_the_end_of_the_stream_count(start: Start, context: ssl.SSLContext) -> None:
    network = start()
    subscriber, publisher = secured(network, context), secured(network, context)
    network.say(subscriber, subscriber.seal(b"SUB a 1\r\n"))
    words = publisher.seal(b"PUB a 4\r\nlast\r\n")
    assert publisher.records is not None
    with pytest.raises(ssl.SSLWantReadError):
        publisher.records.unwrap()
    network.say(publisher, words + publisher.rest())
    assert subscriber.read_sealed() == b"MSG a 1 4\r\nlast\r\n"
    assert publisher.reason is CloseReason.CLIENT_CLOSED
    with pytest.raises(ssl.SSLZeroReturnError):
        publisher.read_sealed()


def test_a_forged_record_ends_only_its_own_connection(start: Start, context: ssl.SSLContext) -> None:
    network = start()
    subscriber, publisher = secured(network, context), secured(network, context)
    network.say(subscriber, subscriber.seal(b"SUB a 1\r\n"))
    network.say(publisher, publisher.seal(b"PUB a 4\r\ntrue\r\n") + b"\x17\x03\x03\x00\x20" + b"f" * 32)
    assert subscriber.read_sealed() == b"MSG a 1 4\r\ntrue\r\n"
    assert publisher.reason is CloseReason.READ_ERROR
    assert subscriber.reason is None


@pytest.mark.parametrize("right", [True, False])
def test_sealed_words_wait_while_a_password_is_compared(
    start: Start, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    network = start()
    subscriber = secured(network, context)
    network.say(subscriber, subscriber.seal(b"SUB a 1\r\n"))
    monkeypatch.setattr(network.service.control, "is_slow", lambda session, connect: True)
    publisher = network.open()
    publisher.read()
    flight = publisher.last_flight(network.loop, context)
    words = publisher.seal(CONNECT)
    words += b"".join(publisher.seal(b"PUB a 5\r\n%05d\r\n" % number) for number in range(100))
    assert publisher.records is not None
    with pytest.raises(ssl.SSLWantReadError):
        publisher.records.unwrap()
    network.say(publisher, flight + words + publisher.rest())
    assert publisher.reason is None
    assert publisher.connection.session.state is State.VERIFYING
    assert subscriber.read_sealed() == b""
    network.loop.aside[0].finish(ANYBODY if right else AuthError(AuthFailure.PASSWORD_WRONG))
    network.loop.settle()
    expected = b"".join(b"MSG a 1 5\r\n%05d\r\n" % number for number in range(100)) if right else b""
    assert subscriber.read_sealed() == expected
    assert publisher.reason is (CloseReason.CLIENT_CLOSED if right else CloseReason.AUTHENTICATION_FAILURE)


def test_whoever_may_stay_in_the_clear_is_not_waited_for_without_end(start: Start) -> None:
    """As in the reference: who says nothing until the handshake is overdue is a client in the clear."""
    network = start({"timeout": 1.0}, allow_non_tls=True)
    peer = network.open()
    assert peer.read().startswith(b"INFO ")
    network.advance(1.1)
    assert peer.reason is None
    network.say(peer, b"\x16\x03\x01")
    assert peer.read() == b"-ERR 'Unknown Protocol Operation'\r\n"
    assert peer.reason is CloseReason.PROTOCOL_VIOLATION


def test_the_deadline_of_connect_holds_also_where_tls_is_optional(start: Start) -> None:
    network = start({"timeout": 1.0}, allow_non_tls=True, authorization=AuthorizationOptions(token="t", timeout=2.0))
    peer = network.open()
    peer.read()
    network.advance(3.1)
    assert peer.read() == b"-ERR 'Authentication Timeout'\r\n"
    assert peer.reason is CloseReason.AUTHENTICATION_TIMEOUT


def test_no_more_handshakes_begin_in_a_second_than_may(
    start: Start, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    network = start({"connection_rate_limit": 2})
    peers = [network.open() for _ in range(4)]
    for peer in peers:
        network.say(peer, b"\x16")
    assert [peer.reason for peer in peers[:2]] == [None, None]
    assert [peer.reason for peer in peers[2:]] == [CloseReason.MAXIMUM_CONNECTIONS] * 2
    assert peers[3].read().endswith(b"-ERR 'Connection throttling is active. Please try again later.'\r\n")
    network.advance(1.0)
    secured(network, context)
    assert "Rejected 2 connections due to TLS rate limiting" in caplog.text
