"""A socket in the loop, and the guard under which everything runs that the loop calls for it."""

from __future__ import annotations

import logging
import socket
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

from broker.net.failures import described
from broker.session import journal
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from broker.core.plan import Client
    from broker.net.service import Service
    from broker.session.session import Session

LOGGER: Final = logging.getLogger("natskeep.net")

Arguments = TypeVarTuple("Arguments")


class Guarded(ABC):
    """What of a connection stands between it and the loop.

    Whatever the loop calls runs inside `with self`: a failure that nobody foresaw ends this connection, is logged, and
    goes no further, so that nothing follows what was left half done and no other connection notices.
    """

    __slots__ = ("_broken", "_handler", "_reading", "client", "descriptor", "ended", "service", "session", "sock")
    client: Client
    session: Session
    _handler: Callable[[Any], None]
    """A method of its own class, not bound: an idle connection holds no more than it must."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self.service = service
        self.sock = sock
        self.descriptor = sock.fileno()
        self.ended: float | None = None
        """Unix time at which the socket was closed."""
        self._reading = False
        self._broken = False
        """Whether the socket held an error, as after a reset."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._break_off(error)
        return True

    def _break_off(self, error: Exception) -> None:
        journal.write(LOGGER, logging.ERROR, self.session, "Internal error: %s", described(error))
        try:
            self.client.discard()
            self.session.close(CloseReason.INTERNAL_ERROR)
        finally:
            # Closing may be what failed.
            self._stop()
            self._destroy()

    def _later(
        self, seconds: float, callback: Callable[[*Arguments], None], *arguments: *Arguments
    ) -> TimerHandle:
        return self.service.loop.call_later(seconds, self._on_time, partial(callback, *arguments))

    def _on_time(self, callback: Callable[[], None]) -> None:
        with self:
            callback()

    def _something_to_read(self) -> None:
        with self:
            self._handler(self)
            # uvloop tells of a reset once, if need be together with the bytes before it, and then watches no more.
            if self.ended is None and self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._broken = True
                if self._reading:
                    self._unwatch()
                    self._watch(self._handler)

    def _watch(self, handler: Callable[[Self], None]) -> None:
        """Calls handler when there is something to read; the socket is registered once, whoever handles it."""
        self._handler = handler
        if not self._reading:
            self.service.loop.add_reader(self.descriptor, self._something_to_read)
            self._reading = True

    def _unwatch(self) -> None:
        if self._reading:
            self.service.loop.remove_reader(self.descriptor)
            self._reading = False

    @abstractmethod
    def _stop(self) -> None:
        """Ends reading and all clocks."""

    @abstractmethod
    def _destroy(self) -> None:
        """Closes the socket, and forgets what it was for."""
