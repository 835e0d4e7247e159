"""Connections that have not logged in: what they hold, when they are over, and who goes for whom."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.config.load import load
from broker.config.options import AdmissionOptions, AuthorizationOptions, TLSOptions, UserOptions
from broker.net.admission import Eviction, Refusal
from broker.net.securing import EARLY_READ, HANDSHAKE_BYTES
from broker.wire.errors import CloseReason
from tests.support.certificates import make_certificates
from tests.support.house import House

TOKEN = AuthorizationOptions(token="t", timeout=2.0)
HASHED = AuthorizationOptions(
    users=(UserOptions(user="u", password="$2a$04$W1fWJoyIHBDSFUyDhVUpWO3vVSMGEZzYkWnHEcjKhu1vHUTpOeNLO"),)
)
NOT_EXEMPT: dict[str, Any] = {"exempt": ()}

Start = Callable[..., House]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates")).directory


@pytest.fixture
def tls(certificates: Path) -> TLSOptions:
    return TLSOptions(cert_file=str(certificates / "server.pem"), key_file=str(certificates / "server-key.pem"))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    houses: list[House] = []

    def begin(admission: dict[str, Any] | None = None, **options: Any) -> House:
        houses.append(House(monkeypatch, admission=AdmissionOptions(**(admission or {})), **options))
        return houses[-1]

    yield begin
    for house in houses:
        house.end()


def login(**fields: Any) -> bytes:
    return b"CONNECT " + json.dumps({"verbose": False, **fields}).encode() + b"\r\nPING\r\n"


def hello() -> bytes:
    """What a client of TLS says first."""
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# Who is a guest


def test_a_guest_is_none_any_more_once_it_has_logged_in(start: Start) -> None:
    house = start(authorization=TOKEN)
    client = house.dial()
    assert house.admission.guests == 1
    house.say(client, login(auth_token="t"))
    assert house.admission.guests == 0
    assert house.heard(client).endswith(b"PONG\r\n")
    assert house.admission._inside == {"127.0.0.1": 1}


def test_where_nobody_needs_to_log_in_there_are_no_guests(start: Start) -> None:
    house = start({"max_unauthenticated": 1})
    clients = [house.dial() for _ in range(3)]
    assert house.admission.guests == 0
    assert [house.heard(client).endswith(b"\r\n") for client in clients] == [True] * 3


# Who goes for whom


def test_who_stalls_goes_for_who_comes(start: Start) -> None:
    house = start({"max_unauthenticated": 2}, authorization=TOKEN)
    stalling = [house.dial() for _ in range(2)]
    newcomer = house.dial()
    assert house.heard(stalling[0]).endswith(b"-ERR 'maximum connections exceeded'\r\n<end>")
    assert house.heard(stalling[1]).startswith(b"INFO ")
    house.say(newcomer, login(auth_token="t"))
    assert house.heard(newcomer).endswith(b"PONG\r\n")
    assert house.admission.evicted == {Eviction.GUESTS: 1}
    (record,) = house.network.service.closed
    assert record.reason == CloseReason.MAXIMUM_CONNECTIONS.value


def test_the_address_that_has_most_makes_room(start: Start) -> None:
    house = start({"max_unauthenticated": 3, **NOT_EXEMPT}, authorization=TOKEN)
    patient = house.dial("127.0.0.2")
    crowd = [house.dial() for _ in range(2)]
    house.dial()
    assert house.heard(crowd[0]).endswith(b"<end>")
    assert house.heard(patient).endswith(b"} \r\n")


def test_an_address_has_its_own_number(start: Start) -> None:
    house = start({"max_unauthenticated_per_address": 1, **NOT_EXEMPT}, authorization=TOKEN)
    first, other, second = house.dial(), house.dial("127.0.0.2"), house.dial()
    assert house.heard(first).endswith(b"<end>")
    assert house.heard(other).endswith(b"} \r\n")
    assert house.heard(second).endswith(b"} \r\n")
    assert house.admission.evicted == {Eviction.ADDRESS: 1}


def test_a_full_server_gives_the_places_of_guests_to_who_comes(start: Start) -> None:
    house = start(authorization=TOKEN, max_connections=2)
    inside = house.dial()
    house.say(inside, login(auth_token="t"))
    stalling = house.dial()
    newcomer = house.dial()
    assert house.heard(stalling).endswith(b"-ERR 'maximum connections exceeded'\r\n<end>")
    house.say(newcomer, login(auth_token="t"))
    assert house.heard(newcomer).endswith(b"PONG\r\n")
    refused = house.dial()
    assert house.heard(refused).endswith(b"-ERR 'maximum connections exceeded'\r\n<end>")
    assert house.heard(inside).endswith(b"PONG\r\n")
    assert house.admission.refused == {Refusal.CONNECTIONS: 1}
    assert house.admission.evicted == {Eviction.CONNECTIONS: 1}


def test_a_process_without_free_files_gives_up_a_guest(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    house = start(authorization=TOKEN)
    stalling = house.dial()
    accept = socket.socket.accept
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]

    def failing(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", failing)
    newcomer = house.dial()
    assert house.heard(stalling).endswith(b"<end>")
    assert house.heard(newcomer).startswith(b"INFO ")
    assert house.admission.evicted == {Eviction.DESCRIPTORS: 1}


# What they hold


def test_little_is_read_of_a_guest_and_all_of_a_client(start: Start) -> None:
    """What comes behind CONNECT while a password is compared stays in the socket, where it costs its sender as much."""
    house = start(authorization=HASHED)
    client = house.dial()
    client.setblocking(True)
    payload = b"PUB a 50000\r\n%b\r\n" % (b"x" * 50000)
    client.sendall(login(user="u", **{"pass": "wrong"}) + payload)
    house.network.loop.settle()
    (connection,) = house.network.service.connections.values()
    assert 0 < connection.lane.unfinished <= EARLY_READ
    assert house.admission.held == connection.lane.unfinished
    assert house.network.loop.aside


def test_an_incomplete_line_counts(start: Start) -> None:
    house = start(authorization=TOKEN)
    client = house.dial()
    house.say(client, b"CONNECT " + b"x" * 1000)
    assert house.admission.held == 1008
    house.say(client, b"x" * 1000)
    assert house.admission.held == 2008
    house.say(client, b"x" * 4000)
    assert house.heard(client).endswith(b"-ERR 'maximum control line exceeded'\r\n<end>")
    assert house.admission.held == 0


def test_the_memory_of_all_guests_is_bounded(start: Start) -> None:
    house = start({"max_unauthenticated_memory": 3000}, authorization=TOKEN)
    idle = house.dial()
    holding = [house.dial() for _ in range(4)]
    for client in holding:
        house.say(client, b"CONNECT " + b"x" * 992)
    assert house.heard(holding[0]).endswith(b"-ERR 'maximum connections exceeded'\r\n<end>")
    for client in (idle, *holding[1:]):
        assert house.heard(client).endswith(b"} \r\n")
    assert house.admission.held == 3000
    assert house.admission.evicted == {Eviction.MEMORY: 1}


def test_a_handshake_counts_as_what_it_makes_openssl_hold(start: Start, tls: TLSOptions) -> None:
    house = start({"max_unauthenticated_memory": 2 * HANDSHAKE_BYTES}, tls=tls)
    stalling = [house.dial() for _ in range(3)]
    for client in stalling[:2]:
        house.say(client, hello())
    assert house.admission.held == 2 * HANDSHAKE_BYTES
    house.say(stalling[2], hello())
    assert house.heard(stalling[0]).endswith(b"<end>")
    assert house.admission.held == 2 * HANDSHAKE_BYTES


# When they are over


@pytest.mark.parametrize("first", [False, True, 0.05])
def test_the_first_byte_of_a_handshake_does_not_put_off_its_deadline(
    start: Start, tls: TLSOptions, certificates: Path, first: bool | float
) -> None:
    settings = TLSOptions(cert_file=tls.cert_file, key_file=tls.key_file, handshake_first=first, timeout=2.0)
    house = start(tls=settings)
    client = house.dial()
    if first == 0.05:
        house.network.advance(0.05)
    house.network.advance(1.9)
    house.say(client, b"\x16")
    (connection,) = house.network.service.connections.values()
    assert connection.sealed is not None
    house.network.advance(0.2)
    assert house.heard(client).endswith(b"<end>")
    assert not house.network.service.connections


def test_a_hello_in_time_to_be_first_has_its_time_for_the_handshake(start: Start, tls: TLSOptions) -> None:
    settings = TLSOptions(cert_file=tls.cert_file, key_file=tls.key_file, handshake_first=0.05, timeout=2.0)
    house = start(tls=settings)
    client = house.dial()
    house.network.advance(0.04)
    house.say(client, b"\x16")
    house.network.advance(1.9)
    assert house.network.service.connections
    house.network.advance(0.2)
    assert house.heard(client) == b"<end>"


def test_bytes_that_trickle_do_not_put_off_any_deadline(start: Start, tls: TLSOptions) -> None:
    house = start(tls=tls, authorization=TOKEN)
    for words, reason in (
        (hello(), CloseReason.TLS_HANDSHAKE_FAILURE),
        (b"\x16\x03\x01\x20\x00" + b"\x01" * 99, CloseReason.TLS_HANDSHAKE_FAILURE),
    ):
        client = house.dial()
        house.heard(client)
        for at in range(30):
            if house.network.service.connections:
                house.say(client, words[at : at + 1])
                house.network.advance(0.1)
        assert house.heard(client).endswith(b"<end>")
        assert house.network.service.closed[-1].reason == reason.value


def test_connect_must_be_complete_in_time(start: Start) -> None:
    house = start(authorization=TOKEN)
    client = house.dial()
    words = login(auth_token="t")
    for at in range(19):
        house.say(client, words[at : at + 1])
        house.network.advance(0.1)
    assert house.network.service.connections
    house.network.advance(0.2)
    assert house.heard(client).endswith(b"-ERR 'Authentication Timeout'\r\n<end>")


# Who fails


def fail(house: House, times: int, source: str = "127.0.0.1") -> None:
    for _ in range(times):
        house.say(house.dial(source), login(auth_token="wrong"))


def test_an_address_that_fails_again_and_again_is_turned_away(start: Start) -> None:
    house = start({"failures_per_address": 5, **NOT_EXEMPT}, authorization=TOKEN)
    fail(house, 6)
    assert house.heard(house.dial()) == b"<end>"
    assert house.heard(house.dial("127.0.0.2")).startswith(b"INFO ")
    assert house.admission.refused == {Refusal.BACKED_OFF: 1}
    total = house.network.service.total_connections
    house.network.advance(1.1)
    client = house.dial()
    house.say(client, login(auth_token="t"))
    assert house.heard(client).endswith(b"PONG\r\n")
    assert house.network.service.total_connections == total + 1


def test_who_is_logged_in_does_not_notice_that_its_address_is_turned_away(start: Start) -> None:
    house = start({"failures_per_address": 2, **NOT_EXEMPT}, authorization=TOKEN)
    client = house.dial()
    house.say(client, login(auth_token="t"))
    fail(house, 6)
    assert house.heard(house.dial()) == b"<end>"
    house.heard(client)
    house.say(client, b"PING\r\n")
    assert house.heard(client) == b"PONG\r\n"


def test_silence_garbage_and_half_a_handshake_are_failures_and_a_look_is_none(start: Start, tls: TLSOptions) -> None:
    house = start({"failures_per_address": 3, **NOT_EXEMPT}, tls=tls, authorization=TOKEN)
    for _ in range(20):
        house.dial().close()
        house.network.loop.settle()
    for words in (b"", b"GET / HTTP/1.1\r\n", hello()):
        house.say(house.dial(), words)
        house.network.advance(2.1)
    assert house.heard(house.dial()) != b"<end>"
    house.say(house.dial(), b"x")
    house.say(house.dial(), b"x")
    assert house.heard(house.dial()) == b"<end>"


def test_who_asks_and_does_not_wait_has_failed(start: Start) -> None:
    """Comparing a hash, or asking a service, costs much: who leaves at once must not be able to ask without end."""
    house = start({"failures_per_address": 3, **NOT_EXEMPT}, authorization=HASHED)
    for _ in range(4):
        client = house.dial()
        house.say(client, login(user="u", **{"pass": "x"}))
        (connection,) = house.network.service.connections.values()
        house.network.service.connections[connection.session.cid].session.close(CloseReason.CLIENT_CLOSED)
    assert house.heard(house.dial()) == b"<end>"


def test_failures_of_exempt_addresses_do_not_count(start: Start) -> None:
    house = start({"failures_per_address": 1}, authorization=TOKEN)
    fail(house, 10)
    assert house.heard(house.dial()).startswith(b"INFO ")


def test_the_longest_time_to_be_turned_away(start: Start) -> None:
    house = start({"failures_per_address": 1, "longest_backoff": 3.0, **NOT_EXEMPT}, authorization=TOKEN)
    for seconds in (1.0, 2.0, 3.0, 3.0):
        fail(house, 2)
        house.network.advance(seconds - 0.1)
        assert house.heard(house.dial()) == b"<end>"
        house.network.advance(0.2)
        client = house.dial()
        assert house.heard(client).startswith(b"INFO ")
        client.close()


def test_the_block_of_a_file(start: Start, tmp_path: Path) -> None:
    """With the names that a file has for them, `max_backoff` among them."""
    file = tmp_path / "natskeep.conf"
    file.write_text(
        "admission { max_unauthenticated: 1, failures_per_address: 1, max_backoff: 5s, exempt: [] }\n"
        'authorization { token: "t" }\n'
    )
    options = load(str(file)).options
    house = start(admission=None, authorization=options.authorization)
    house.admission.adopt(options.admission, 100)
    first = house.dial()
    fail(house, 2)
    assert house.heard(first).endswith(b"-ERR 'maximum connections exceeded'\r\n<end>")
    assert house.heard(house.dial()) == b"<end>"
    assert options.admission.longest_backoff == 5.0


def test_handshakes_of_an_address_have_a_rate(start: Start, tls: TLSOptions) -> None:
    house = start({"handshakes_per_address": 1, **NOT_EXEMPT}, tls=tls)
    for _ in range(5):
        house.say(house.dial(), b"\x16")
    assert not house.admission.refused
    client = house.dial()
    house.say(client, b"\x16")
    assert house.heard(client).endswith(b"<end>")
    assert house.admission.refused == {Refusal.HANDSHAKES: 1}
    other = house.dial("127.0.0.2")
    house.say(other, b"\x16")
    assert not house.heard(other).endswith(b"<end>")
