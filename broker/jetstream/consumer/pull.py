"""Requests of clients for messages: what they ask for, and the queue that they wait in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from broker.jetstream.codec import JsonError, unmarshal
from broker.jetstream.codec.kinds import Duration, Int, Int64
from broker.jetstream.config.durations import shown_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.jetstream.config.consumer import ConsumerConfig

PENDING: Final = b"Nats-Pending-Messages: %d\r\nNats-Pending-Bytes: %d\r\n"
LOWEST_PRIORITY: Final = 9


class NextRequest(msgspec.Struct, kw_only=True):
    """The JSON of a request for messages."""

    batch: Int = 0
    expires: Duration = 0
    max_bytes: Int = 0
    no_wait: bool = False
    idle_heartbeat: Duration = 0
    group: str = ""
    min_pending: Int64 = 0
    min_ack_pending: Int64 = 0
    id: str = ""
    priority: Int = 0


class RefusedError(Exception):
    """A request that is answered with a status; the text is the whole status."""


class Waiting:
    """A request that waits for messages. Times are monotonic seconds."""

    __slots__ = ("asked", "beat_at", "bytes_left", "delivered", "expires_at", "left", "once", "reply", "wanted")

    def __init__(self, reply: bytes, wanted: NextRequest, now: float) -> None:
        self.reply = reply
        self.wanted = wanted
        self.asked = now
        self.left = wanted.batch if wanted.batch > 0 else 1
        """Messages that it still wants."""
        self.bytes_left = wanted.max_bytes
        """Bytes that it still takes, where it said how many."""
        self.expires_at = now + wanted.expires / 1e9 if wanted.expires > 0 else None
        self.once = wanted.no_wait
        """Whether it ends as soon as there is nothing more."""
        self.delivered = 0
        self.beat_at = now + wanted.idle_heartbeat / 1e9 if wanted.idle_heartbeat > 0 else None

    @property
    def has_byte_limit(self) -> bool:
        """Whether it said how many bytes it takes."""
        return self.wanted.max_bytes > 0

    def pending(self) -> bytes:
        """The header lines that tell what it did not get."""
        return PENDING % (self.left, self.bytes_left)

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


def parse(payload: bytes) -> NextRequest:
    """What a request wants: nothing or nonsense is one message, a number is so many, or JSON. Raises RefusedError."""
    text = payload.strip()
    if not text:
        return NextRequest(batch=1)
    if text.startswith(b"{"):
        try:
            wanted = unmarshal(payload, NextRequest)
        except JsonError as error:
            raise RefusedError(f"400 Bad Request - {error}") from None
        if wanted.idle_heartbeat > 0 and 2 * wanted.idle_heartbeat > wanted.expires:
            raise RefusedError("400 Bad Request - heartbeat value too large")
        if wanted.batch <= 0:
            wanted.batch = 1
        return wanted
    try:
        count = int(text)
    except ValueError:
        count = 1
    return NextRequest(batch=max(count, 1))


def check_limits(wanted: NextRequest, config: ConsumerConfig) -> None:
    """Checks a request against the consumer's ceilings. Raises RefusedError."""
    if 0 < config.max_batch < wanted.batch:
        raise RefusedError(f"409 Exceeded MaxRequestBatch of {config.max_batch}")
    if 0 < config.max_expires < wanted.expires:
        raise RefusedError(f"409 Exceeded MaxRequestExpires of {shown_duration(config.max_expires)}")
    if 0 < config.max_bytes < wanted.max_bytes:
        raise RefusedError(f"409 Exceeded MaxRequestMaxBytes of {config.max_bytes}")


class Queue:
    """The requests that wait, in the order in which they are served."""

    def __init__(self) -> None:
        self._requests: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(list(self._requests))

    def add(self, request: Waiting, *, by_priority: bool) -> None:
        """Puts a request at the end, or behind the last of its priority."""
        if not by_priority:
            self._requests.append(request)
            return
        at = len(self._requests)
        while at and self._requests[at - 1].wanted.priority > request.wanted.priority:
            at -= 1
        self._requests.insert(at, request)

    def first(self) -> Waiting | None:
        """Who is served next."""
        return self._requests[0] if self._requests else None

    def turn(self, request: Waiting, *, by_priority: bool) -> None:
        """Lets others have their turn before a request that was served; within its priority where that counts."""
        if len(self._requests) > 1:
            self._requests.remove(request)
            self.add(request, by_priority=by_priority)

    def remove(self, request: Waiting) -> None:
        """Takes a request out, if it is in."""
        if request in self._requests:
            self._requests.remove(request)
