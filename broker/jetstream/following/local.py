"""A mirror or source of the same account: messages are copied from log to log, when they are on disk there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.jetstream.codec import now
from broker.jetstream.errors import JetStreamError

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.jetstream.codec import Plain
    from broker.jetstream.following.origin import Origin
    from broker.jetstream.stream import Stream

SLICE: Final = 256
"""Messages that are copied before others have their turn."""

RETRY: Final = 2.0
"""Seconds after which a message that could not be stored is tried again."""

DOCUMENT: Final = "source/"
"""Behind it stand the id of the stream and the key of the source; the document is the next sequence."""


class LocalFollower:
    """Copies what comes to another stream of the account."""

    def __init__(self, stream: Stream, origin: Origin, *, is_mirror: bool) -> None:
        self.stream = stream
        self.origin = origin
        self.is_mirror = is_mirror
        self._filter = origin.filter()
        self._position: int | None = None
        self._followed = ""
        """The id of the stream that the position is one of."""
        self._timer: Timer | None = None
        self._closed = False

    def open(self) -> None:
        """Begins to copy, when whoever made the stream has heard of that."""
        self._later(0.0)

    def close(self, *, deleted: bool) -> None:
        """Copies nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if deleted and self._is_kept:
            self.stream.account.store.delete(self._key)

    @property
    def _key(self) -> str:
        return f"{DOCUMENT}{self.stream.id}/{self.origin.key}"

    @property
    def _is_kept(self) -> bool:
        return not (self.is_mirror or self.stream.is_memory)

    def wake(self) -> None:
        """The other stream is there, or has new messages on disk."""
        if self._timer is None and not self._closed:
            self._copy()

    def _go_on(self) -> None:
        self._timer = None
        self.wake()

    def _later(self, seconds: float) -> None:
        self._timer = self.stream.account.clock.call_later(seconds, self._go_on)

    def _copy(self) -> None:
        other = self.stream.account.streams.get(self.origin.name)
        if other is None or other.is_closed:
            return
        self.origin.heard = now()
        position = self._beginning(other)
        log, copied = other.log, 0
        while copied < SLICE:
            sequence = log.next(self._filter, position)
            if not sequence or sequence > log.durable:
                position = max(position, log.durable + 1)
                break
            if not self._take(other, sequence):
                self._later(RETRY)
                break
            position = sequence + 1
            copied += 1
        self._move(position)
        if copied:
            self.stream.grew()
        if copied == SLICE:
            self._later(0.0)

    def _take(self, other: Stream, sequence: int) -> bool:
        """Stores one message here; returns whether it is done with."""
        entry = other.log.get(sequence)
        if entry is None:
            return True
        origin, ingest = self.origin, self.stream.ingest
        subject = origin.target(entry.subject)
        if self.is_mirror:
            ingest.mirror(sequence, subject, entry.header, entry.payload, entry.time)
            return True
        try:
            ingest.take_over(subject, origin.marked(entry.header, entry.subject, sequence), entry.payload)
        except JetStreamError:
            return False
        return True

    def _beginning(self, other: Stream) -> int:
        """The next sequence to copy."""
        if self._position is not None and self._followed == other.id:
            return self._position
        self._followed = other.id
        position = 0
        if self.is_mirror:
            position = self.stream.log.last + 1 if self.stream.log.last else 0
        elif self._position is None and self._is_kept:
            kept = self.stream.account.store.documents(self._key).get(self._key)
            position = int(kept) if kept else 0
        if not position:
            config = self.origin.config
            if config.opt_start_time is not None:
                position = other.log.at_time(config.opt_start_time)
            else:
                position = config.opt_start_seq or 1
        return position

    def _move(self, position: int) -> None:
        if position != self._position:
            self._position = position
            if self._is_kept:
                self.stream.account.store.put(self._key, b"%d" % position)

    def info(self) -> Plain:
        """What answers tell of it."""
        other = self.stream.account.streams.get(self.origin.name)
        lag = 0
        if other is not None and self._position is not None:
            lag = other.log.remaining(self._filter, self._position)
        return self.origin.info(lag)
