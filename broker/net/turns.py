"""Work that a crowd of strangers causes, in turns with everything else that the loop has to do.

Thousands may begin a handshake, or miss a deadline, at one moment. What that costs is spread over turns of a few
milliseconds, between which the loop accepts, delivers and serves those who have logged in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broker.net.guarded import Guarded

TURN_SECONDS: Final = 0.005
"""How long such work goes on before the loop has its turn."""


class Turns:
    """Steps of connections that wait for their turn, one of each connection.

    ``newest_first`` says who is next. Where more comes than can be done, the newest are those whose time is not up yet;
    taking the oldest first would be late for everybody.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, newest_first: bool) -> None:
        self._loop = loop
        self._newest_first = newest_first
        self._waiting: dict[Guarded, Callable[[Any], None]] = {}
        self._spent = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, connection: Guarded) -> bool:
        """Whether a connection waits for its turn."""
        return connection in self._waiting

    def take(self, connection: Guarded, step: Callable[[Any], None]) -> None:
        """Does a step of a connection: now, if this turn has time left, else in one of the next."""
        self._waiting[connection] = step
        if self._spent < TURN_SECONDS:
            self._work()
        if self._timer is None:
            self._timer = self._loop.call_later(0, self._next_turn)

    def forget(self, connection: Guarded) -> None:
        """A connection is at its end."""
        self._waiting.pop(connection, None)

    def _next_turn(self) -> None:
        self._timer = None
        self._spent = 0.0
        self._work()
        if self._waiting:
            self._timer = self._loop.call_later(0, self._next_turn)

    def _work(self) -> None:
        start = time.perf_counter()
        spent = self._spent
        while self._waiting and self._spent < TURN_SECONDS:
            if self._newest_first:
                connection, step = self._waiting.popitem()
            else:
                connection = next(iter(self._waiting))
                step = self._waiting.pop(connection)
            with connection:
                step(connection)
            self._spent = spent + time.perf_counter() - start
