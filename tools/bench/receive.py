"""The subscribers' side of the streaming load: counts bytes at little cost to the machine that the server shares.

A low-water mark lets a subscriber sleep until much is there (SO_RCVLOWAT, socket(7)), so that a server's send seldom
wakes anyone, and over TCP the kernel drops the bytes without copying them (MSG_TRUNC, tcp(7)). Together they raised
nats-server's own rate on a fan-out to 8 by a half on two cores. Over TLS the subscriber decrypts, as any client does.
Adding up the lengths in the record headers instead would cost far less, but made nats-server slower, not faster: with
a subscriber that quick, it writes more and smaller records.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from tools.bench.client import PING
from tools.bench.errors import BenchError
from tools.bench.progress import Progress, drain
from tools.bench.secured import SecureSocket
from tools.bench.websocket import WebSocket
from tools.bench.workers import Figures

STALL_SECONDS = 10.0
READ_BYTES = 1024 * 1024
LOW_WATER = 128 * 1024
"""A subscriber sleeps until this much is there; the window of the publishers must be several times as large."""
STEP = 512 * 1024
"""A subscriber wakes waiting publishers each time it has received this much."""
MAXIMUM_STRAY_PINGS = 3
CLOSED = "the server closed the connection of a subscriber (a slow consumer?)"


class Counter(Protocol):
    """Counts what arrives on one connection."""

    def read(self, buffer: bytearray) -> int:
        """Read what is there, at most a buffer full; returns the number of bytes of the NATS protocol."""
        ...


class PlainCounter:
    """Counts the bytes of a TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def read(self, buffer: bytearray) -> int:
        size = self._connection.recv_into(buffer, 0, socket.MSG_TRUNC)
        if not size:
            raise BenchError(CLOSED)
        return size


class SecureCounter:
    """Counts the decrypted bytes of a TLS connection."""

    def __init__(self, connection: SecureSocket) -> None:
        self._connection = connection

    def count(self, data: memoryview) -> int:
        """How many of these bytes belong to the NATS protocol."""
        return len(data)

    def read(self, buffer: bytearray) -> int:
        total = 0
        view = memoryview(buffer)
        try:
            while total < READ_BYTES:
                size = self._connection.recv_into(buffer)
                if not size:
                    raise BenchError(CLOSED)
                total += self.count(view[:size])
        except BlockingIOError:
            if not total:
                raise BlockingIOError from None
        return total


class FramedCounter(SecureCounter):
    """Counts what is inside the frames of a WebSocket."""

    def __init__(self, connection: WebSocket) -> None:
        super().__init__(connection)
        self._frames = connection.frames

    def count(self, data: memoryview) -> int:
        return sum(map(len, self._frames.payload(data)))


def _counter(connection: socket.socket) -> Counter:
    if isinstance(connection, WebSocket):
        return FramedCounter(connection)
    return SecureCounter(connection) if isinstance(connection, SecureSocket) else PlainCounter(connection)


def receive(connections: Sequence[socket.socket], progress: Progress) -> Figures:
    """Count on all connections until everything expected is there; returns `end`, the time of the last read.

    Raises:
        BenchError: a connection was closed, bytes are missing or too many, or nothing arrived for a long time.
    """
    counters = [_counter(connection) for connection in connections]
    numbers = {connection.fileno(): number for number, connection in enumerate(connections)}
    poll = select.poll()
    for connection in connections:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER)
        poll.register(connection, select.POLLIN)
    poll.register(progress.subscriber_wakes, select.POLLIN)
    buffer = bytearray(READ_BYTES)
    received = progress.received
    since_wake = 0
    end = last = time.monotonic()
    while not progress.complete:
        for descriptor, _ in poll.poll(100):
            if descriptor == progress.subscriber_wakes:
                drain(descriptor)
                continue
            number = numbers[descriptor]
            try:
                size = counters[number].read(buffer)
            except BlockingIOError:
                continue
            received[number] += size
            since_wake += size
            end = last = time.monotonic()
        if progress.finished:
            for connection in connections:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        if since_wake >= STEP:
            since_wake = 0
            progress.wake_publisher()
        if time.monotonic() - last > STALL_SECONDS:
            raise BenchError(_shortage(progress))
    for number, connection in enumerate(connections):
        _check_end(connection, counters[number], received[number] - progress.expected[number], buffer)
    return {"end": end}


def _shortage(progress: Progress) -> str:
    if progress.finished:
        return f"{progress.missing} bytes of the messages never arrived"
    return f"nothing arrived at the subscribers for {STALL_SECONDS:g} s"


def _check_end(connection: socket.socket, counter: Counter, surplus: int, buffer: bytearray) -> None:
    """Make sure that what was counted were the messages: after a last PING only PINGs and the PONG may be over."""
    connection.settimeout(STALL_SECONDS)
    connection.sendall(PING)
    connection.setblocking(False)
    while surplus < len(PING):
        if not select.select([connection], [], [], STALL_SECONDS)[0]:
            raise BenchError("a subscriber got no PONG after its last message")
        try:
            surplus += counter.read(buffer)
        except BlockingIOError:
            continue
    pongs, rest = divmod(surplus, len(PING))
    if rest or pongs > 1 + MAXIMUM_STRAY_PINGS:
        raise BenchError(f"a subscriber got {surplus} bytes more than its messages and a PONG have")
