"""Requests of tenants, answered one in each turn of the loop and in turn for each account."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.control.clock import Clock, Timer

MOST_WAITING: Final = 64
"""Requests of one account that wait; what comes beyond is not answered."""


class Turns:
    """Puts off calls, so that one account that asks for much holds up nobody but itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        self._timer: Timer | None = None

    def put(self, account: str, call: Callable[[], None]) -> None:
        """Calls when it is the account's turn; does not where too much of its own waits already."""
        calls = self._waiting.setdefault(account, deque())
        if len(calls) < MOST_WAITING:
            calls.append(call)
            self._arm()

    def close(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(0.0, self._next)

    def _next(self) -> None:
        self._timer = None
        account = next(iter(self._waiting))
        calls = self._waiting.pop(account)
        call = calls.popleft()
        if calls:
            # Behind all others that wait.
            self._waiting[account] = calls
        if self._waiting:
            self._arm()
        call()
