"""Whether clients are still there of which nothing is read.

A loop tells only of sockets that it reads, and what has come of a client that waits must stay where it is. So the end
of its stream is looked for, of all who wait at once.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from broker.net.connection import Connection

LOOK: Final = 0.25
"""Seconds after which it is looked again."""

_LEFT: Final = getattr(select, "POLLRDHUP", 0)
"""The end of a peer's stream, whatever of it is unread; where the system has no such event, a reset alone shows."""


class Presence:
    """Those whose leaving is looked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._poll = select.poll()
        self._waiting: dict[int, Connection] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: Connection) -> None:
        """Looks for the end of a connection; it is told by `Connection.peer_left`."""
        self._waiting[connection.descriptor] = connection
        self._poll.register(connection.descriptor, _LEFT)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)

    def forget(self, connection: Connection) -> None:
        """It is read again, or at its end."""
        if self._waiting.pop(connection.descriptor, None) is not None:
            self._poll.unregister(connection.descriptor)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        # Errors and resets are told of without being asked for.
        for descriptor, _ in self._poll.poll(0):
            connection = self._waiting.get(descriptor)
            if connection is not None:
                with connection:
                    connection.peer_left()
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)
