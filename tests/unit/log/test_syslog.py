"""Syslog over each kind of socket, in its two forms, and when nobody listens."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import broker.log.syslog
from broker.log.destination import LogError
from broker.log.formats import TRACE, MessageFormatter
from broker.log.syslog import Syslog, targets

SECONDS = 10.0


@pytest.fixture
def started() -> Iterator[Callable[[str], Syslog]]:
    handlers: list[Syslog] = []

    def start(url: str) -> Syslog:
        handler = Syslog(url, "nats-server")
        handler.setFormatter(MessageFormatter())
        handlers.append(handler)
        return handler

    yield start
    for handler in handlers:
        handler.close()


def say(handler: Syslog, text: str, level: int = logging.INFO) -> None:
    handler.handle(logging.LogRecord("natskeep", level, "", 0, text, None, None))


def lines(connection: socket.socket, count: int) -> list[str]:
    """The next lines of a stream."""
    connection.settimeout(SECONDS)
    data = b""
    while data.count(b"\n") < count:
        piece = connection.recv(65536)
        assert piece
        data += piece
    return data.decode().splitlines()


def test_udp(started: Callable[[str], Syslog]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(SECONDS)
        handler = started(f"udp://127.0.0.1:{server.getsockname()[1]}")
        severities = {
            TRACE: 5, logging.DEBUG: 7, logging.INFO: 5, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2,
        }  # fmt: skip
        for level, severity in severities.items():
            say(handler, f"text {level}", level)
            message = server.recv(65536).decode()
            moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)"
            head = rf"<{severity}>{moment} {re.escape(socket.gethostname())} nats-server\[{os.getpid()}\]"
            assert re.fullmatch(rf"{head}: text {level}\n", message)


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_streams(started: Callable[[str], Syslog], tmp_path: Path, scheme: str) -> None:
    if scheme == "tcp":
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        head = r"\d{4}-\S+ \S+"
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "log"))
        listening.listen()
        url = f"unix://{tmp_path}/log"
        head = r"[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d"
    with listening:
        handler = started(url)
        connection, _ = listening.accept()
        with connection:
            say(handler, "one")
            say(handler, "two", logging.ERROR)
            first, second = lines(connection, 2)
        assert re.fullmatch(rf"<5>{head} nats-server\[\d+\]: one", first)
        assert re.fullmatch(rf"<3>{head} nats-server\[\d+\]: two", second)


def test_the_local_daemon(
    started: Callable[[str], Syslog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.log.syslog, "LOCAL_SOCKETS", (str(tmp_path / "none"), str(tmp_path / "log")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(SECONDS)
        say(started(""), "text")
        assert server.recv(65536).decode().endswith(": text\n")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("unixgram:///dev/log", 'invalid network type: "unixgram"'),
        ("/dev/log", 'invalid network type: ""'),
        ("udp://localhost", "udp needs a host and a port"),
        ("tcp://:514", "tcp needs a host and a port"),
        ("tcp://localhost:99999", "ort out of range"),
    ],
)
def test_a_url_that_is_none(url: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        targets(url)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r'error connecting to syslog: ".+"'):
        Syslog(f"unix://{tmp_path}/none", "nats-server")


def test_a_broken_connection_is_restored(started: Callable[[str], Syslog]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        handler = started(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        connection, _ = listening.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        listening.settimeout(0.01)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            say(handler, "again")
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            break
        with connection:
            assert lines(connection, 1)[0].endswith(": again")


def test_a_daemon_that_does_not_read_holds_nothing_up(
    started: Callable[[str], Syslog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.log.syslog, "QUEUED_LINES", 10)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        handler = started(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        connection, _ = listening.accept()
        text = "x" * 200_000
        for number in range(100):
            say(handler, f"{number} {text}")
        with connection:
            connection.settimeout(SECONDS)
            seen = b""
            while not (found := re.search(rb"(\d+) lines were not sent to syslog\n", seen)):
                piece = connection.recv(1 << 20)
                assert piece
                seen = seen[-100:] + piece
                say(handler, "and on")
            assert int(found[1]) >= 1
