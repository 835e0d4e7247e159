"""Ports behind proxies: from a trusted address a header must come first, from all others none may."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.config.options import AdmissionOptions, AuthorizationOptions, ProxyOptions, TLSOptions
from broker.net.admission import Refusal
from broker.wire.errors import CloseReason
from tests.support.certificates import make_certificates
from tests.support.house import House
from tests.support.proxies import block, line, other

PROXIES = ProxyOptions(trusted=("127.0.0.1/32",), timeout=3.0)
ELSEWHERE = "127.0.0.2"
TOKEN = AuthorizationOptions(token="t", timeout=2.0)
CONNECT = b'CONNECT {"auth_token":"t","verbose":false}\r\nPING\r\n'

Start = Callable[..., House]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    houses: list[House] = []

    def begin(**options: Any) -> House:
        houses.append(House(monkeypatch, **({"proxy_protocol": PROXIES, "authorization": TOKEN} | options)))
        return houses[-1]

    yield begin
    for house in houses:
        house.end()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLSOptions:
    directory: Path = make_certificates(tmp_path_factory.mktemp("certificates")).directory
    return TLSOptions(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"))


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("header", [line(), block(), block(checksum=True)], ids=["line", "block", "checksum"])
def test_the_address_in_the_header_is_the_clients(start: Start, header: bytes, size: int) -> None:
    house = start()
    client = house.dial()
    assert house.heard(client) == b""
    words = header + CONNECT
    for at in range(0, len(words), size):
        house.say(client, words[at : at + size])
    told = house.heard(client)
    assert json.loads(told[5 : told.index(b"\r\n")])["client_ip"] == "198.51.100.7"
    assert told.endswith(b"PONG\r\n")
    (connection,) = house.network.service.connections.values()
    assert (connection.session.remote_ip, connection.session.remote_port) == ("198.51.100.7", 51000)
    assert house.admission._inside == {"198.51.100.7": 1}


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", other(0, 0), other(1, 0)], ids=["unknown", "local", "unspec"])
def test_a_proxy_that_speaks_for_itself_keeps_its_address(start: Start, header: bytes) -> None:
    house = start()
    client = house.dial()
    house.say(client, header + CONNECT)
    assert house.heard(client).endswith(b"PONG\r\n")
    (connection,) = house.network.service.connections.values()
    assert connection.session.remote_ip == "127.0.0.1"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (CONNECT, "there is none"),
        (b"\x16\x03\x01", "there is none"),
        (b"PROXY TCP4 a b 1 2\r\n", "an address is not valid"),
        (other(1, 0x11, bytes(5)), "the addresses are cut off"),
    ],
)
def test_without_a_valid_header_a_trusted_address_is_not_served(
    start: Start, words: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    house = start()
    client = house.dial()
    house.say(client, words)
    assert house.heard(client) == b"<end>"
    assert house.network.service.closed[-1].reason == CloseReason.PROTOCOL_VIOLATION.value
    assert house.admission.refused == {Refusal.PROXY: 1}
    (denial,) = house.network.service.control.trail.latest()
    assert (denial.action, denial.reason) == ("proxy", why)
    assert f"PROXY header refused - denial {denial.id}: {why}" in caplog.text


def test_the_header_has_its_time(start: Start) -> None:
    house = start()
    client = house.dial()
    for at in range(29):
        house.say(client, line()[at : at + 1])
        house.network.advance(0.1)
    assert house.network.service.connections
    house.network.advance(0.2)
    assert house.heard(client) == b"<end>"
    assert house.network.service.control.trail.latest()[0].reason == "it did not come in time"


def test_a_trusted_address_that_only_looks_is_no_matter(start: Start) -> None:
    house = start()
    house.dial().close()
    house.network.loop.settle()
    assert not house.admission.refused
    assert house.network.service.closed[-1].reason == CloseReason.CLIENT_CLOSED.value


@pytest.mark.parametrize("header", [line(), block()], ids=["line", "block"])
@pytest.mark.parametrize("secured", [False, True])
def test_nobody_else_may_send_a_header(start: Start, tls: TLSOptions, header: bytes, secured: bool) -> None:
    house = start(tls=tls if secured else None)
    client = house.dial(ELSEWHERE)
    assert house.heard(client).startswith(b"INFO ")
    house.say(client, header + CONNECT)
    assert house.heard(client) == b"<end>"
    assert house.network.service.closed[-1].reason == CloseReason.PROTOCOL_VIOLATION.value
    assert house.network.service.control.trail.latest()[0].reason == "its address is not trusted"
    assert house.network.service.closed[-1].ip == ELSEWHERE


def test_a_header_in_pieces_does_not_get_past_either(start: Start) -> None:
    house = start()
    client = house.dial(ELSEWHERE)
    for piece in (b"PRO", line()[3:] + CONNECT):
        house.say(client, piece)
    assert house.heard(client).endswith(b"-ERR 'Authorization Violation'\r\n<end>")


def test_all_others_come_as_ever(start: Start) -> None:
    house = start()
    client = house.dial(ELSEWHERE)
    assert house.heard(client).startswith(b"INFO ")
    house.say(client, CONNECT)
    assert house.heard(client) == b"PONG\r\n"


def test_where_no_proxies_are_a_header_is_no_verb(start: Start) -> None:
    house = start(proxy_protocol=None)
    client = house.dial()
    house.say(client, line() + CONNECT)
    assert house.heard(client).endswith(b"-ERR 'Authorization Violation'\r\n<end>")


def test_the_bounds_are_those_of_the_clients_address(start: Start) -> None:
    house = start(admission=AdmissionOptions(failures_per_address=2, max_unauthenticated_per_address=1, exempt=()))
    wrong = CONNECT.replace(b'"t"', b'"wrong"')
    for _ in range(3):
        house.say(house.dial(), line("192.0.2.1") + wrong)
    blamed = house.dial()
    house.say(blamed, line("192.0.2.1") + CONNECT)
    assert house.heard(blamed) == b"<end>"
    other_client = house.dial()
    house.say(other_client, line("192.0.2.2") + CONNECT)
    assert house.heard(other_client).endswith(b"PONG\r\n")
    waiting = [house.dial() for _ in range(3)]
    assert [house.heard(client) for client in waiting] == [b""] * 3
    for client in waiting[:2]:
        house.say(client, line("192.0.2.3"))
    assert house.heard(waiting[0]).endswith(b"-ERR 'maximum connections exceeded'\r\n<end>")
    assert house.heard(waiting[1]).startswith(b"INFO ")


def test_failures_of_headers_are_not_held_against_a_proxy(start: Start) -> None:
    house = start(admission=AdmissionOptions(failures_per_address=1, exempt=()))
    for _ in range(10):
        house.say(house.dial(), b"x")
    client = house.dial()
    house.say(client, line() + CONNECT)
    assert house.heard(client).endswith(b"PONG\r\n")


def test_a_full_server_says_nothing_of_its_proxy(start: Start) -> None:
    house = start(max_connections=1)
    house.say(house.dial(), line() + CONNECT)
    assert house.heard(house.dial()) == b"<end>"


def test_a_guest_without_header_gives_way_without_a_word(start: Start) -> None:
    house = start(admission=AdmissionOptions(max_unauthenticated=1))
    stalling = house.dial()
    house.dial()
    assert house.heard(stalling) == b"<end>"


def test_who_comes_through_is_told_at_debug(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house = start()
    house.say(house.dial(), line())
    assert "198.51.100.7:51000 - cid:1 - Comes through the proxy at 127.0.0.1:" in caplog.text
