"""Streams under load: publishers that wait for their acknowledgements, and clients that take what is kept."""

from __future__ import annotations

import re
import socket
import time
from typing import Final

from tools.bench.errors import BenchError
from tools.bench.jetstream import INBOX, Asker, Kept, receive
from tools.bench.workers import Figures

STREAM: Final = "BENCH"
BURST: Final = 500
BATCH: Final = 1000
"""Messages that one request of a consumer asks for."""

FILLED: Final = 100_000
"""Messages of a stream that is read."""

CONSUMERS: Final = 1000
"""Consumers of one stream, each of which wants a part of it."""

UNDER_WAY: Final = 4000
"""Messages that are published and not delivered yet."""

_ACKNOWLEDGED: Final = b'"seq":'
_REFUSED: Final = b'"error"'
_DELIVERED: Final = b" $JS.ACK."
_REPLY: Final = re.compile(rb"(\$JS\.ACK\.[^ \r\n]+) ")


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


def make_consumers(port: int) -> None:
    """Makes consumers of the stream that push, each with a filter of its own."""
    asker = Asker(port)
    for number in range(CONSUMERS):
        name = f"C{number}"
        config = {
            "durable_name": name,
            "deliver_subject": f"deliver.{number}",
            "filter_subject": f"bench.{number}",
            "ack_policy": "none",
        }
        asker.ask(f"CONSUMER.CREATE.{STREAM}.{name}.bench.{number}", {"stream_name": STREAM, "config": config})
    asker.connection.close()


def measure_consumers(port: int, seconds: float) -> Figures:
    """Publishes for all consumers in turn; returns `rate`, messages per second that were delivered."""
    asker = Asker(port)
    connection = asker.connection
    connection.sendall(b"".join(b"SUB deliver.%d %d\r\n" % (number, number + 2) for number in range(CONSUMERS)))
    bursts = [
        b"".join(b"PUB bench.%d 128\r\n%b\r\n" % (number, b"x" * 128) for number in range(first, first + BURST))
        for first in range(0, CONSUMERS, BURST)
    ]
    sent = delivered = 0
    tail = b""
    start = now = time.monotonic()
    deadline = start + seconds
    while True:
        if now < deadline and sent - delivered <= UNDER_WAY - BURST:
            connection.sendall(bursts[sent // BURST % len(bursts)])
            sent += BURST
            continue
        if sent == delivered:
            break
        data = tail + receive(connection)
        delivered += data.count(_DELIVERED)
        tail = data[-len(_DELIVERED) + 1 :]
        now = time.monotonic()
    connection.close()
    return {"rate": delivered / (now - start)}
