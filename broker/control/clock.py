"""Time as the decisions of control see it: whoever runs the loop calls back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Calls it off."""


class Clock(Protocol):
    """Calls back later. What a call puts into outboxes is flushed when it returns."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls once, after so many seconds; 0 and less is at the next turn of the loop."""


class LoopClock:
    """The clock of the running event loop. ``after`` is called behind every call, for what it left to be written."""

    def __init__(self, after: Callable[[], None] | None = None) -> None:
        self._after = after

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """See `Clock`. There must be a running loop."""
        return asyncio.get_running_loop().call_later(max(seconds, 0.0), self._call, callback)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        finally:
            if self._after is not None:
                self._after()
