"""Finds messages that were published before: their ``Nats-Msg-Id`` is remembered for a while (ADR-8)."""

from __future__ import annotations

from collections import deque


class Duplicates:
    """The ids of one stream, as long as they count."""

    def __init__(self) -> None:
        self.window = 0
        """Nanoseconds that an id is remembered; 0 remembers none."""
        self._last = (0, b"")
        """The last message that had an id, or was asked for one: its sequence, and the id."""
        self._sequences: dict[bytes, int] = {}
        self._ages: deque[tuple[int, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._sequences)

    def find(self, message_id: bytes, now: int) -> int:
        """The sequence of the message with this id, 0 where none is remembered."""
        self._forget(now)
        return self._sequences.get(message_id, 0)

    def last_of(self, sequence: int) -> bytes:
        """The id of the stream's last message, whose sequence is given; empty where it had none."""
        return self._last[1] if self._last[0] == sequence else b""

    def remember(self, message_id: bytes, sequence: int, now: int) -> None:
        """Notes that a message was stored; an empty id is that of one without."""
        self._last = (sequence, message_id)
        if message_id and self.window:
            self._sequences[message_id] = sequence
            self._ages.append((now, message_id))

    def clear(self) -> None:
        """Forgets all."""
        self._last = (0, b"")
        self._sequences.clear()
        self._ages.clear()

    def _forget(self, now: int) -> None:
        while self._ages and now - self._ages[0][0] >= self.window:
            _, message_id = self._ages.popleft()
            self._sequences.pop(message_id, None)
