"""How much moves a second, between one look and the next."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from broker.control.tenant import Traffic

SHORTEST: Final = 0.5
"""Seconds between two looks that are compared, at least."""

REMEMBERED: Final = 4096
"""Things whose last looks are kept."""


class Rate(NamedTuple):
    """Messages and bytes a second, from clients and to them."""

    in_messages: float
    in_bytes: float
    out_messages: float
    out_bytes: float


class Rates:
    """Remembers what had moved at the last look, by account or connection."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: dict[object, tuple[float, Traffic, Rate | None]] = {}

    def of(self, key: object, moved: Traffic) -> Rate | None:
        """The rate since the last look, None at the first one."""
        now = self._clock()
        known = self._looks.get(key)
        if known is None:
            if len(self._looks) >= REMEMBERED:
                self._looks.clear()
            self._looks[key] = (now, moved, None)
            return None
        then, before, rate = known
        seconds = now - then
        if seconds < SHORTEST:
            return rate
        change = moved.minus(before)
        rate = Rate(*(max(count, 0) / seconds for count in change))
        self._looks[key] = (now, moved, rate)
        return rate
