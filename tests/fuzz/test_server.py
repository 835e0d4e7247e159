"""Fuzz target: a running server, through its socket.

Invariants: whatever a client sends, the server goes on serving others; it writes whole frames only; it ends a
connection or answers its last PING; no task or callback fails; and no proof that was offered is logged, whatever the
level of the log.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import Options, Server
from broker.config.options import AuthorizationOptions, UserOptions
from tests.fuzz.inputs import budget, mutated, noise_or
from tests.support.wire import WireConnection

PASSWORD = "pa55-that-nobody-may-see"
SIGNATURE = "s1gnature-that-nobody-may-see"
LOGIN = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1,"user":"u","pass":"%s"}\r\n' % PASSWORD.encode()
SEEDS = [
    LOGIN,
    b'CONNECT {"user":"u","pass":"%s","sig":"%s","jwt":"eyJ.eyJ.x"}\r\nPING\r\n'
    % (PASSWORD.encode(), SIGNATURE.encode()),
    b"SUB a 1\r\nSUB a.* q 2\r\nPUB a r 5\r\nhello\r\nUNSUB 1 1\r\nPUB a.b 2\r\nhi\r\n",
    b"HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nSUB > 3\r\nPING\r\nPONG\r\n",
    b"SUB foo.>.bar 1\r\nPUB a..b 0\r\n\r\nSUB a _sys_ 9\r\nPUB x _R_.y 1\r\nz\r\n",
]
DICTIONARY = [b"\r\n", b"\n", b" ", b"\x00", b"\xff", b'"', b"{", b"}", b"PUB a 1000000\r\n", b"999999999", b"\\u0000"]


@dataclass
class Running:
    """A server on a thread of its own, and what it logged and failed at."""

    port: int
    logged: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(level=0)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    started: concurrent.futures.Future[Running] = concurrent.futures.Future()
    stop = threading.Event()
    logger = logging.getLogger("natskeep")
    level = logger.level

    async def serve() -> None:
        options = Options(
            host="127.0.0.1",
            port=-1,
            authorization=AuthorizationOptions(users=(UserOptions(user="u", password=PASSWORD),)),
        )
        async with Server(options) as server:
            found = Running(server.port)
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.failures.append(context))
            started.set_result(found)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    found = started.result()
    collector = _Collector(found.logged)
    logger.addHandler(collector)
    logger.setLevel(1)
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        logger.removeHandler(collector)
        logger.setLevel(level)


def is_served(port: int) -> bool:
    """Whether another client gets its answer."""
    client = WireConnection(port)
    try:
        client.read_info()
        client.send(LOGIN + b"PING\r\n")
        return client.frame() == b"PONG"
    finally:
        client.close()


@budget
@given(
    st.booleans(),
    st.lists(noise_or(mutated(SEEDS, DICTIONARY)), min_size=1, max_size=4).map(b"".join),
    st.integers(0, 500),
)
def test_nothing_that_is_sent_does_harm(running: Running, logs_in: bool, stream: bytes, place: int) -> None:
    client = WireConnection(running.port)
    try:
        client.read_info()
        data = LOGIN + stream if logs_in else stream
        client.send(data[:place])
        client.send(data[place:])
        client.finish_sending()
        while (frame := client.frame()) is not None:
            assert frame.split(b" ")[0] in (b"INFO", b"MSG", b"HMSG", b"PONG", b"+OK", b"-ERR")
        assert client.ended
        assert not client.unread
    finally:
        client.close()
    assert not running.failures
    log = "\n".join(running.logged)
    running.logged.clear()
    assert PASSWORD not in log
    assert SIGNATURE not in log


def test_others_are_still_served(running: Running) -> None:
    assert is_served(running.port)
