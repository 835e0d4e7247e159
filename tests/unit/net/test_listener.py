"""The listening socket: what it says when it cannot be had, and how it goes on when the process is out of files."""

from __future__ import annotations

import errno
import logging
import os
import socket

import pytest

from broker.net.listener import ACCEPTS_A_TURN, RETRY_ACCEPT, Listener, ListenError, open_socket, plain_address
from tests.support.connections import Network

LOOPBACKS = ["127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])]


class Accepting(socket.socket):
    """A listening socket whose next answers a test chooses."""

    failures: list[OSError]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            raise self.failures.pop(0)
        return super().accept()


@pytest.fixture
def listening() -> Accepting:
    made = Accepting(socket.AF_INET, socket.SOCK_STREAM)
    made.failures = []
    made.bind(("127.0.0.1", 0))
    made.listen(256)
    made.setblocking(False)
    return made


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch, max_connections=100)


def dial(listening: socket.socket, count: int = 1) -> list[socket.socket]:
    return [socket.create_connection(listening.getsockname(), timeout=10.0) for _ in range(count)]


def finish(network: Network, listener: Listener, clients: list[socket.socket]) -> None:
    listener.close()
    for client in clients:
        client.close()
    network.loop.settle()
    network.end()


def test_a_free_port_is_taken_on_demand() -> None:
    with open_socket("127.0.0.1", -1) as one, open_socket("127.0.0.1", -1) as other:
        assert one.getsockname()[1] != other.getsockname()[1]
        assert not one.getblocking()


def test_a_taken_port_names_the_remedy() -> None:
    with open_socket("127.0.0.1", -1) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"listen tcp 127.0.0.1:{port}: bind: address already in use; .* -p"):
            open_socket("127.0.0.1", port)
        with pytest.raises(ListenError, match=r" -m$"):
            open_socket("127.0.0.1", port, "-m")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.0.0.1", "192.0.2.1"])
def test_an_address_of_elsewhere_is_refused(host: str) -> None:
    with pytest.raises(ListenError):
        open_socket(host, -1)


def test_every_connection_gets_a_number_of_its_own(network: Network, listening: Accepting) -> None:
    listener = Listener(network.service, listening)
    listener.start()
    clients = dial(listening, 5)
    network.loop.settle()
    assert sorted(network.service.connections) == [1, 2, 3, 4, 5]
    clients[0].close()
    network.loop.settle()
    clients += dial(listening)
    network.loop.settle()
    assert sorted(network.service.connections) == [2, 3, 4, 5, 6]
    finish(network, listener, clients)


def test_accepting_leaves_others_their_turn(network: Network, listening: Accepting) -> None:
    listener = Listener(network.service, listening)
    clients = dial(listening, ACCEPTS_A_TURN + 10)
    listener.start()
    network.loop.turn()
    assert len(network.service.connections) == ACCEPTS_A_TURN
    network.loop.settle()
    assert len(network.service.connections) == ACCEPTS_A_TURN + 10
    finish(network, listener, clients)


def test_who_is_one_too_many_gets_info_and_the_reason(network: Network, listening: Accepting) -> None:
    listener = Listener(network.service, listening)
    listener.start()
    clients = dial(listening, 101)
    network.loop.settle()
    assert len(network.service.connections) == 100
    told = b""
    while data := clients[-1].recv(65536):
        told += data
    assert told.startswith(b"INFO {")
    assert told.endswith(b"} \r\n-ERR 'maximum connections exceeded'\r\n")
    finish(network, listener, clients)


def test_a_connection_that_is_gone_before_it_is_accepted_does_no_harm(network: Network, listening: Accepting) -> None:
    listener = Listener(network.service, listening)
    listening.failures = [ConnectionAbortedError(errno.ECONNABORTED, "aborted")]
    listener.start()
    clients = dial(listening)
    network.loop.settle()
    assert len(network.service.connections) == 1
    finish(network, listener, clients)


def test_without_free_files_it_waits_a_moment_instead_of_spinning(
    network: Network, listening: Accepting, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(network.service, listening)
    listening.failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]
    listener.start()
    clients = dial(listening)
    with caplog.at_level(logging.ERROR, "natskeep.net"):
        network.loop.settle()
    assert not network.service.connections
    assert not listener.accepting
    assert "raise the limit of open files" in caplog.text
    network.advance(RETRY_ACCEPT)
    assert listener.accepting
    assert len(network.service.connections) == 1
    finish(network, listener, clients)


def test_a_listener_closed_while_it_waits_stays_closed(network: Network, listening: Accepting) -> None:
    listener = Listener(network.service, listening)
    listening.failures = [OSError(errno.EMFILE, "too many")]
    listener.start()
    clients = dial(listening)
    network.loop.settle()
    listener.close()
    network.advance(RETRY_ACCEPT)
    assert not listener.accepting
    finish(network, listener, clients)


def test_closing_twice_is_no_error(network: Network, listening: Accepting) -> None:
    listener = Listener(network.service, listening)
    listener.start()
    port = listener.port
    listener.close()
    listener.close()
    assert listener.port == port
    assert listening.fileno() == -1
    network.end()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_every_address_is_one_of_ipv6_too(host: str) -> None:
    with open_socket(host, -1) as listening:
        port = listening.getsockname()[1]
        for loopback in LOOPBACKS:
            with socket.create_connection((loopback, port), timeout=10.0):
                accepted, address = listening.accept()
                accepted.close()
                assert plain_address(address[0]) == loopback


def test_a_name_means_its_address_of_ipv4() -> None:
    with open_socket("localhost", -1) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", LOOPBACKS)
def test_one_address_is_no_other(host: str) -> None:
    with open_socket(host, -1) as listening:
        for other in {*LOOPBACKS, "127.0.0.2"} - {host}:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((other, listening.getsockname()[1]), timeout=10.0)


@pytest.mark.parametrize(
    ("ip", "shown"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("::1", "::1"),
        ("::ffff:0:1", "::ffff:0:1"),
        ("", ""),
    ],
)
def test_addresses_of_peers(ip: str, shown: str) -> None:
    assert plain_address(ip) == shown
