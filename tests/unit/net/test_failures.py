"""An unforeseen failure ends the connection that it happened on, is logged without its text, and goes nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest

from broker.config.options import AuthorizationOptions, UserOptions
from broker.net.connection import Connection
from broker.session.session import Session
from broker.session.states import State
from broker.wire.errors import CloseReason
from tests.support.connections import Network, Peer

SECRET = "s3cr3t"
HASHED = AuthorizationOptions(
    users=(UserOptions(user="u", password="$2a$04$W1fWJoyIHBDSFUyDhVUpWO3vVSMGEZzYkWnHEcjKhu1vHUTpOeNLO"),)
)


def fail(*arguments: object) -> Any:
    raise RuntimeError(SECRET)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Network]:
    caplog.set_level(logging.ERROR)
    made = Network(monkeypatch, ping_interval=1e6)
    yield made
    made.end()
    assert SECRET not in caplog.text


def broke_off(network: Network, peer: Peer) -> bool:
    """Whether the peer's connection was ended for the failure, with nothing of it left."""
    connection = peer.connection
    return (
        peer.reason is CloseReason.INTERNAL_ERROR
        and connection.ended is not None
        and connection.descriptor not in {*network.loop.readers, *network.loop.writers}
        and connection not in network.service.connections.values()
    )


def test_in_a_verb(network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    peer, other = network.connect(), network.connect()
    monkeypatch.setattr(network.service.control, "subscribe", fail)
    network.say(peer, b"SUB a 1\r\nPUB b 0\r\n\r\n")
    assert broke_off(network, peer)
    assert peer.connection.client.in_messages == 0
    assert "Internal error: RuntimeError in " in caplog.text
    network.say(other, b"PING\r\n")
    assert other.read().endswith(b"PONG\r\n")


def test_halfway_into_an_account(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = network.open()
    monkeypatch.setattr(Connection, "authenticated", fail)
    network.say(peer, b"CONNECT {}\r\n")
    assert broke_off(network, peer)
    assert not peer.connection.client.bound


def test_on_the_way_out(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = network.connect()
    monkeypatch.setattr(network.service.control, "unbind", fail)
    network.say(peer, b"WHAT\r\n")
    assert peer.reason is CloseReason.PROTOCOL_VIOLATION
    assert peer.connection.ended is not None
    assert not network.service.connections
    assert not network.loop.readers
    assert not network.loop.timers


def test_at_a_timer(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = network.connect()
    monkeypatch.setattr(Session, "ping_due", fail)
    network.advance(2.5)
    assert broke_off(network, peer)


class Broken:
    """Stands in for a channel that fails in a way of its own."""

    waiting = 0
    write = finish = staticmethod(fail)


def test_of_a_receiver(network: Network) -> None:
    broken, whole, publisher = network.connect(), network.connect(), network.connect()
    for peer in (broken, whole):
        network.say(peer, b"SUB a 1\r\n")
    broken.connection.channel = cast(Any, Broken())
    broken.connection._peer_ended = True
    network.say(publisher, b"PUB a 2\r\nhi\r\n")
    assert broke_off(network, broken)
    assert whole.read() == b"MSG a 1 2\r\nhi\r\n"
    assert publisher.reason is None


def test_in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, authorization=HASHED)
    peer = network.open()
    network.say(peer, b'CONNECT {"user":"u","pass":"p"}\r\n')
    assert peer.connection.session.state is State.VERIFYING
    network.loop.aside[0].finish(RuntimeError(SECRET))
    assert broke_off(network, peer)
    network.end()


def test_a_comparison_that_nobody_waits_for_is_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, authorization=HASHED)
    peer = network.open()
    network.say(peer, b'CONNECT {"user":"u","pass":"p"}\r\n')
    network.advance(network.options.authorization_timeout)
    assert peer.reason is CloseReason.AUTHENTICATION_TIMEOUT
    assert network.loop.aside[0].cancelled()
    network.end()
