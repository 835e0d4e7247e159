"""The streaming load: publishers that send prebuilt rings, subscribers in a process of their own that count bytes.

The publishers live in the calling process, the subscribers in a forked one. Subscribers report how far they are
through shared memory, and publishers never run ahead of the slowest one by more than `WINDOW` bytes: that keeps a
server from taking a subscriber for a slow consumer, and is the same for every server.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tools.bench.client import Target, connect, read_exactly, settle, subscribe
from tools.bench.errors import BenchError
from tools.bench.frames import Ring, Walk
from tools.bench.progress import Progress, drain
from tools.bench.receive import STALL_SECONDS, receive
from tools.bench.secured import SecureSocket
from tools.bench.workers import Figures, Worker

WINDOW = 8 * 1024 * 1024
"""Bytes that may be on their way to one subscriber; far below the 64 MiB at which servers cut a slow consumer."""
TOTAL_WINDOW = 64 * 1024 * 1024
"""Bytes that may be on their way to all subscribers together: above eight of them, each has a share of these."""
CHUNK = 256 * 1024
WARM_UP_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Lane:
    """One publisher: what it sends, and which subscribers (by number) get all of it."""

    ring: Ring
    feeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """Who sends what to whom. `subscriptions` holds one subject for each subscriber; names follow the numbers.

    Publishers use the target's first account, and so do subscribers, unless `accounts` holds the number of each one's.
    """

    lanes: tuple[Lane, ...]
    subscriptions: tuple[str, ...] = ()
    accounts: tuple[int, ...] = ()

    def account(self, subscriber: int) -> int:
        """The number of a subscriber's account."""
        return self.accounts[subscriber] if self.accounts else 0


class _Publisher:
    """A connection that sends a lane's ring."""

    def __init__(self, connection: socket.socket, lane: Lane) -> None:
        self.connection = connection
        self.lane = lane
        self.size = lane.ring.published.size
        self.growth = lane.ring.growth
        self.sent = 0
        self._is_blocked = False
        self._walk = Walk(lane.ring.published)

    def send(self, limit: int = CHUNK) -> int:
        """Send on in the ring without waiting, at most `limit` bytes; returns how much went out."""
        self._is_blocked = False
        try:
            size = self.connection.send(self._walk.rest(limit))
        except BlockingIOError:
            self._is_blocked = True
            return 0
        self.sent += size
        self._walk.advance(size)
        return size

    @property
    def blocked(self) -> bool:
        """Whether the last send found the connection's buffers full."""
        return self._is_blocked or (isinstance(self.connection, SecureSocket) and self.connection.unsent)

    def complete_frame(self) -> None:
        """Send what is missing of the frame that was begun."""
        deadline = time.monotonic() + STALL_SECONDS
        while self.blocked or self.sent % self.size:
            self.send(-self.sent % self.size)
            if self.blocked:
                select.select([], [self.connection], [], 0.1)
            if time.monotonic() > deadline:
                raise BenchError(f"the server read nothing for {STALL_SECONDS:g} s")

    def settle(self) -> None:
        """Wait until the server has processed everything."""
        self.connection.settimeout(STALL_SECONDS)
        settle(self.connection)


def measure(target: Target, shape: Shape, seconds: float) -> Figures:
    """Drive `shape` for `seconds` and return `rate` (messages delivered per second; published, without subscribers).

    Every connection is new. Before the clock runs, each lane sends some frames whose delivery is compared byte for
    byte. The clock stops when the last expected byte has arrived; without subscribers, at the PONG to a PING that
    follows the last publish, for by then the server has read everything.

    Raises:
        BenchError: the server closed a connection, lost messages, sent what was not expected, or stalled.
        OSError: a connection failed.
    """
    sizes = [_delivered_size(shape, number) for number in range(len(shape.subscriptions))]
    with ExitStack() as stack:
        subscribers = [
            stack.enter_context(connect(target, f"sub{n}", account=shape.account(n)))
            for n in range(len(shape.subscriptions))
        ]
        for connection, subject in zip(subscribers, shape.subscriptions, strict=True):
            subscribe(connection, subject)
        publishers = [
            _Publisher(stack.enter_context(connect(target, f"pub{n}")), lane) for n, lane in enumerate(shape.lanes)
        ]
        for publisher in publishers:
            _warm_up(publisher, subscribers)
        progress = Progress(len(subscribers))
        stack.callback(progress.close)
        if not subscribers:
            return _publish_only(publishers, progress, seconds)
        worker = stack.enter_context(Worker("subscribers", lambda: receive(subscribers, progress)))
        start = time.monotonic()
        owed = publish(publishers, progress, start + seconds, len(subscribers), worker)
        progress.finish(owed)
        end = worker.result(STALL_SECONDS * 2)["end"]
        for publisher in publishers:
            publisher.settle()
        messages = sum(size // frame for size, frame in zip(owed, sizes, strict=True))
        return {"rate": messages / (end - start), "messages": float(messages)}


def _delivered_size(shape: Shape, subscriber: int) -> int:
    """The length of the frames that a subscriber gets, which must be the same from all its publishers."""
    sizes = {lane.ring.delivered.size for lane in shape.lanes if subscriber in lane.feeds}
    if len(sizes) != 1:
        raise BenchError(f"subscriber {subscriber} must get frames of one length, not {sorted(sizes)}")
    return sizes.pop()


def _warm_up(publisher: _Publisher, subscribers: Sequence[socket.socket]) -> None:
    """Send the first frames of the lane and compare what arrives."""
    ring = publisher.lane.ring
    published, delivered = ring.published, ring.delivered
    count = max(1, min(published.count, WARM_UP_BYTES // max(published.size, delivered.size)))
    publisher.connection.sendall(published.data[: count * published.size])
    for number in publisher.lane.feeds:
        if not ring.accepts(read_exactly(subscribers[number], count * delivered.size)):
            raise BenchError("a subscriber received other bytes than were published")
    publisher.settle()
    ring.renew()


def _publish_only(publishers: Sequence[_Publisher], progress: Progress, seconds: float) -> Figures:
    start = time.monotonic()
    publish(publishers, progress, start + seconds, 0, None)
    for publisher in publishers:
        publisher.settle()
    end = time.monotonic()
    messages = sum(publisher.sent // publisher.size for publisher in publishers)
    return {"rate": messages / (end - start), "messages": float(messages)}


def publish(
    publishers: Sequence[_Publisher], progress: Progress, deadline: float, subscribers: int, worker: Worker | None
) -> list[int]:
    """Send until `deadline`, then to the end of the frame; returns the bytes that each subscriber must get."""
    for publisher in publishers:
        publisher.connection.setblocking(False)
    owed = [0.0] * subscribers
    window = min(WINDOW, TOTAL_WINDOW // max(1, subscribers))
    received = progress.received
    last_progress = time.monotonic()
    while (now := time.monotonic()) < deadline:
        moved = 0
        for publisher in publishers:
            feeds = publisher.lane.feeds
            if any(owed[n] - received[n] > window for n in feeds):
                continue
            size = publisher.send()
            moved += size
            for n in feeds:
                owed[n] += size * publisher.growth
        if moved:
            last_progress = now
        elif now - last_progress > STALL_SECONDS:
            raise BenchError(f"nothing could be published for {STALL_SECONDS:g} s")
        else:
            _wait(publishers, progress, worker)
    totals = [0] * subscribers
    for publisher in publishers:
        publisher.complete_frame()
        for n in publisher.lane.feeds:
            totals[n] += publisher.sent // publisher.size * publisher.lane.ring.delivered.size
    return totals


def _wait(publishers: Sequence[_Publisher], progress: Progress, worker: Worker | None) -> None:
    """Sleep until a subscriber has moved on or a blocked connection takes bytes again."""
    poll = select.poll()
    poll.register(progress.publisher_wakes, select.POLLIN)
    if worker is not None:
        poll.register(worker.fileno, select.POLLIN)
    for publisher in publishers:
        if publisher.blocked:
            poll.register(publisher.connection, select.POLLOUT)
    for descriptor, _ in poll.poll(100):
        if descriptor == progress.publisher_wakes:
            drain(descriptor)
        elif worker is not None and descriptor == worker.fileno:
            worker.result(1)
            raise BenchError("the subscribers stopped early")
