"""Streams under load: publishers that wait for their acknowledgements, and clients that pull what is kept."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.client import PING, PONG, Target, log_in
from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.receive import STALL_SECONDS
from tools.bench.rows import Metric, Row, rate
from tools.bench.servers import Server
from tools.bench.workers import Figures

USER = "bench"
PASSWORD = "bench"
STREAM = "BENCH"
INBOX = "_INBOX.bench"
READ_BYTES = 1 << 20
BURST = 500
BATCH = 1000
"""Messages that one request of a consumer asks for."""

FILLED = 100_000
"""Messages of a stream that is read."""

_ACKNOWLEDGED = b'"seq":'
_REFUSED = b'"error"'
_DELIVERED = b" $JS.ACK."
_REPLY = re.compile(rb"(\$JS\.ACK\.[^ \r\n]+) ")


@dataclass(frozen=True, slots=True)
class Kept:
    """How a stream is kept: in memory or on disk, and there synced always or as the server does by itself."""

    memory: bool = False
    always: bool = False


def stream_config(port: int, directory: Path, kept: Kept) -> str:
    """The configuration of a server whose streams are kept in a directory."""
    sync = "\n  sync_interval: always" if kept.always else ""
    return f"""listen: {HOST}:{port}
jetstream {{
  store_dir: "{directory}"{sync}
}}
accounts {{
  BENCH {{ jetstream: enabled, users: [ {{ user: {USER}, password: {PASSWORD} }} ] }}
}}
"""


class Asker:
    """A connection that asks the API."""

    def __init__(self, port: int) -> None:
        self.connection = log_in(port, USER, PASSWORD)
        self.connection.settimeout(STALL_SECONDS)
        self.connection.sendall(f"SUB {INBOX}.> 1\r\n".encode())

    def ask(self, request: str, body: object) -> Any:
        """The answer. Raises BenchError where it is a refusal."""
        payload = b"" if body is None else json.dumps(body).encode()
        self.connection.sendall(
            f"PUB $JS.API.{request} {INBOX}.api {len(payload)}\r\n".encode() + payload + b"\r\n"
        )
        data = b""
        while True:
            head, found, rest = data.partition(b"\r\n")
            words = head.split(b" ")
            if found and words[0] == b"MSG" and len(rest) >= int(words[-1]) + 2:
                answer = json.loads(rest[: int(words[-1])])
                if "error" in answer:
                    raise BenchError(f"{request} was refused: {answer['error']}")
                return answer
            if found and head in (b"PING", b"PONG", b"+OK"):
                data = rest
                continue
            data += receive(self.connection)


def receive(connection: socket.socket) -> bytes:
    """What has arrived. Raises BenchError at the end."""
    data = connection.recv(READ_BYTES)
    if not data:
        raise BenchError("the server closed the connection")
    if PING in data:
        connection.sendall(PONG)
        data = data.replace(PING, b"")
    return data


def make_stream(port: int, kept: Kept) -> None:
    """Makes the stream, empty."""
    asker = Asker(port)
    storage = "memory" if kept.memory else "file"
    asker.ask(f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": ["bench.>"], "storage": storage})
    asker.connection.close()


def measure_publish(port: int, size: int, in_flight: int, seconds: float) -> Figures:
    """Keeps so many publishes unacknowledged; returns `rate`, acknowledged publishes per second."""
    asker = Asker(port)
    asker.ask(f"STREAM.PURGE.{STREAM}", None)
    connection = asker.connection
    burst = min(BURST, in_flight)
    payload = b"x" * size
    frames = b"".join(
        b"PUB bench.%d %b.%d %d\r\n%b\r\n" % (number % 10, INBOX.encode(), number, size, payload)
        for number in range(burst)
    )
    sent = acknowledged = 0
    tail = b""
    start = now = time.monotonic()
    deadline = start + seconds
    while True:
        if now < deadline and sent - acknowledged <= in_flight - burst:
            connection.sendall(frames)
            sent += burst
            continue
        if sent == acknowledged:
            break
        data = tail + receive(connection)
        if _REFUSED in data:
            raise BenchError(f"a publish was refused: {data[:300]!r}")
        acknowledged += data.count(_ACKNOWLEDGED)
        tail = data[-len(_ACKNOWLEDGED) + 1 :]
        now = time.monotonic()
    connection.close()
    return {"rate": acknowledged / (now - start)}


def fill(port: int, size: int) -> None:
    """Puts messages into the stream, to be read."""
    asker = Asker(port)
    payload = b"x" * size
    for _ in range(FILLED // BURST):
        asker.connection.sendall(b"PUB bench.1 %d\r\n%b\r\n" % (size, payload) * BURST)
    while asker.ask(f"STREAM.INFO.{STREAM}", None)["state"]["messages"] < FILLED:
        time.sleep(0.05)
    asker.connection.close()


def measure_pull(port: int, seconds: float, *, explicit: bool) -> Figures:
    """Takes messages by requests for a thousand; returns `rate`, messages per second, acknowledged where `explicit`."""
    asker = Asker(port)
    connection = asker.connection
    received = 0
    start = now = time.monotonic()
    while now < start + seconds:
        name = f"C{time.monotonic_ns()}"
        policy = "explicit" if explicit else "none"
        body = {"stream_name": STREAM, "config": {"name": name, "ack_policy": policy, "max_ack_pending": 20_000}}
        asker.ask(f"CONSUMER.CREATE.{STREAM}.{name}", body)
        for _ in range(FILLED // BATCH):
            _pull_once(connection, name, explicit=explicit)
            received += BATCH
            now = time.monotonic()
            if now >= start + seconds:
                break
        asker.ask(f"CONSUMER.DELETE.{STREAM}.{name}", None)
    connection.close()
    return {"rate": received / (now - start)}


def _pull_once(connection: socket.socket, name: str, *, explicit: bool) -> None:
    body = b'{"batch":%d,"expires":5000000000}' % BATCH
    connection.sendall(
        b"PUB $JS.API.CONSUMER.MSG.NEXT.%b.%b %b.pull %d\r\n%b\r\n"
        % (STREAM.encode(), name.encode(), INBOX.encode(), len(body), body)
    )
    count = 0
    tail = b""
    while count < BATCH:
        data = tail + receive(connection)
        if b"NATS/1.0 4" in data:
            raise BenchError(f"a request ended early: {data[-300:]!r}")
        if explicit:
            found = _REPLY.findall(data)
            # What is not whole yet is looked at again.
            tail = data[data.rfind(b"\r\n") :] if b"\r\n" in data else data
            if found:
                connection.sendall(b"".join(b"PUB %b 4\r\n+ACK\r\n" % reply for reply in found))
            count += len(found)
        else:
            count += data.count(_DELIVERED)
            tail = data[-len(_DELIVERED) + 1 :]


class Streams(Row):
    """Work on one stream; `kept` is how natskeep and nats-server keep it."""

    def __init__(
        self, key: str, metric: Metric, kept: Kept, work: Callable[[int, float], Figures], filled: int = 0
    ) -> None:
        """`filled` is the size of messages that the stream has from the beginning, 0 for an empty one."""
        super().__init__(key, metric)
        self._kept = kept
        self._work = work
        self._filled = filled

    def config(self, port: int, directory: Path) -> str:
        return stream_config(port, directory, self._kept)

    def prepare(self, target: Target, stack: ExitStack) -> None:
        del stack
        make_stream(target.port, self._kept)
        if self._filled:
            fill(target.port, self._filled)

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        del server
        return self._work(target.port, seconds)


def stream_rows() -> list[Row]:
    """The rows of streams, in the order of the table."""
    disk, always, memory = Kept(), Kept(always=True), Kept(memory=True)
    return [
        Streams(
            "stream-publish-128",
            rate("publish with acks, 128 B, 4,000 in flight, synced ÷ not synced", 1.5),
            disk,
            lambda port, seconds: measure_publish(port, 128, 4000, seconds),
        ),
        Streams(
            "stream-publish-1k",
            rate("the same, 1 KiB", 1.2),
            disk,
            lambda port, seconds: measure_publish(port, 1024, 4000, seconds),
        ),
        Streams(
            "stream-publish-always-128",
            rate("the same, 128 B, both synced always", 5.0),
            always,
            lambda port, seconds: measure_publish(port, 128, 4000, seconds),
        ),
        Streams(
            "stream-publish-memory",
            rate("one publish at a time, in memory", 1.0),
            memory,
            lambda port, seconds: measure_publish(port, 128, 1, seconds),
        ),
        Streams(
            "stream-pull-none",
            rate("pull by 1,000, no acks, 128 B", 1.5),
            disk,
            lambda port, seconds: measure_pull(port, seconds, explicit=False),
            128,
        ),
        Streams(
            "stream-pull-explicit",
            rate("pull by 1,000, explicit acks, 128 B", 1.2),
            disk,
            lambda port, seconds: measure_pull(port, seconds, explicit=True),
            128,
        ),
    ]
