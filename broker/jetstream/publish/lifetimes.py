"""Messages that end at a time of their own (`Nats-TTL`), and the markers that stand for their subjects (ADR-43)."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from broker.jetstream.config.durations import SECOND, parse_duration, shown_duration
from broker.jetstream.errors import ApiError
from broker.jetstream.publish import headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.log import Log

TTL: Final = b"Nats-TTL"
MARKER_REASON: Final = b"Nats-Marker-Reason"
KV_OPERATION: Final = b"KV-Operation"
NEVER: Final = -1


def lifetime(lines: Mapping[bytes, bytes]) -> int:
    """Nanoseconds after which a message ends: 0 where it does not say, `NEVER` where it never does.

    Raises JetStreamError.
    """
    value = lines.get(TTL)
    if not value:
        return 0
    text = value.decode("utf-8", "replace")
    if text.lower() == "never":
        return NEVER
    try:
        nanoseconds = parse_duration(text)
    except ValueError:
        if not text.isdigit():
            raise ApiError.MESSAGE_TTL_INVALID.error() from None
        return int(text) * SECOND
    if text.isdigit() and nanoseconds == 0:
        return 0
    if nanoseconds < SECOND:
        raise ApiError.MESSAGE_TTL_INVALID.error()
    return nanoseconds // SECOND * SECOND


def marker(ttl: int) -> bytes:
    """The header of what stands in place of a subject's last message, whose time was over, for ``ttl`` nanoseconds."""
    return (
        f"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {shown_duration(ttl)}\r\nNats-Rollup: sub\r\n\r\n"
    ).encode()


def is_marker(header: bytes | None) -> bool:
    """Whether a message stands where others were, and leaves no marker itself."""
    if header is None:
        return False
    return MARKER_REASON + b":" in header or KV_OPERATION + b": PURGE" in header


class Lifetimes:
    """When the messages of one stream end that say so themselves."""

    def __init__(self) -> None:
        self._ends: list[tuple[int, int]] = []
        self.lasting: set[int] = set()
        """Those that never end, whatever the stream says."""

    def note(self, sequence: int, ttl: int, moment: int) -> None:
        """A message was stored."""
        if ttl > 0:
            heappush(self._ends, (moment + ttl, sequence))
        elif ttl == NEVER:
            self.lasting.add(sequence)

    def due(self, now: int, most: int) -> list[int]:
        """Messages whose time is over, in its order and at most so many; they are not named again."""
        found: list[int] = []
        while self._ends and self._ends[0][0] <= now and len(found) < most:
            found.append(heappop(self._ends)[1])
        return found

    @property
    def next(self) -> int:
        """When the next one ends, in nanoseconds since 1970; 0 for none."""
        return self._ends[0][0] if self._ends else 0

    def recall(self, log: Log) -> None:
        """Looks through all messages, as after a restart."""
        at = log.headed(0)
        while at:
            entry = log.get(at)
            if entry is not None and entry.header and TTL in entry.header:
                ttl = lifetime(headers.own_lines(entry.header))
                if ttl > 0:
                    self._ends.append((entry.time + ttl, at))
                elif ttl == NEVER:
                    self.lasting.add(at)
            at = log.headed(at + 1)
        heapify(self._ends)
