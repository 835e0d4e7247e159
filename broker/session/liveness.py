"""Signs of life: when a client is asked for one, when it counts as stale, and how long its answers take."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

FIRST_PING: Final = 2.0
"""Seconds after which a new client gets its first PING, where the interval is not shorter."""

ROUND_TRIP_AGE: Final = 3600.0
"""Seconds after which a measured round trip is measured again."""

_JITTER: Final = 0.2


@dataclass(slots=True)
class Liveness:
    """The ping clock of one connection; all times are monotonic seconds."""

    interval: float
    maximum: int
    """PINGs that may stay unanswered."""
    last_heard: float
    outstanding: int = 0
    ping_sent: float = 0.0
    round_trip: float = 0.0
    """Seconds between the last PING and its PONG; 0 until measured."""
    round_trip_at: float = 0.0

    def first_delay(self) -> float:
        """Seconds to the first PING; jittered, so that clients that came together are not asked together."""
        return min(FIRST_PING, self.interval) * (1.0 + _JITTER * secrets.randbelow(1000) / 1000)

    def is_stale(self) -> bool:
        """Whether another unanswered PING would be one too many."""
        return self.outstanding + 1 > self.maximum

    def wants_ping(self, now: float) -> bool:
        """A client that was heard within the interval, and whose round trip is known, is not asked."""
        heard = now - self.last_heard < self.interval
        measured = self.round_trip > 0.0 and now - self.round_trip_at < ROUND_TRIP_AGE
        return not (heard and measured)

    def pinged(self, now: float) -> None:
        self.outstanding += 1
        self.ping_sent = now

    def pong(self, now: float) -> None:
        if self.outstanding:
            self.round_trip = max(now - self.ping_sent, 1e-9)
            self.round_trip_at = now
        self.outstanding = 0
