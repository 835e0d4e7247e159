"""The twin of broker.core.outbox: a string of bytes with a ceiling."""

from __future__ import annotations


class Hub:
    """Knows which outboxes got bytes, or overflowed, since they were last looked at."""

    def __init__(self) -> None:
        self.dirty: list[Outbox] = []

    def take_dirty(self) -> list[Outbox]:
        """Return the outboxes to look at, each once."""
        taken, self.dirty = self.dirty, []
        return taken


class Outbox:
    """Bytes that wait to be written. What would go over ``ceiling`` is not taken, and nothing after it."""

    def __init__(self, hub: Hub, ceiling: int = 64 << 20) -> None:
        self.hub = hub
        self.ceiling = ceiling
        self.waiting = b""
        self.closed = False
        self.overflowed = False
        self.reported = False

    def append(self, data: bytes) -> bool:
        """Put ``data`` behind what waits; return whether it was taken."""
        if self.closed or not data:
            return not self.closed
        if not self.reported:
            self.reported = True
            self.hub.dirty.append(self)
        if len(self.waiting) + len(data) > self.ceiling:
            self.closed = self.overflowed = True
            return False
        self.waiting += data
        return True

    @property
    def pending(self) -> int:
        """How many bytes wait."""
        return len(self.waiting)

    def view(self) -> bytes:
        """Return what waits; the next append reports this outbox as dirty again."""
        self.reported = False
        return self.waiting

    def consume(self, count: int) -> int:
        """Forget the first ``count`` bytes, which are written; return how many still wait."""
        if not 0 <= count <= len(self.waiting):
            raise ValueError("more bytes consumed than wait")
        self.waiting = self.waiting[count:]
        return len(self.waiting)

    def settle(self) -> None:
        """Note that there was nothing to write: the next append reports this outbox as dirty again."""
        self.reported = False

    def close(self) -> None:
        """Take nothing any more."""
        self.closed = True

    def discard(self) -> None:
        """Take nothing any more and drop what waits."""
        self.closed = True
        self.waiting = b""
