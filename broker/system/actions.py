"""What the system account can have done: read the configuration again, end a connection, or ask a client to move on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broker.log.text import printable, quoted
from broker.session.states import State
from broker.system.requests import ClientRequest, Filters, RequestError, read
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    from broker.control.internal import Received
    from broker.session.session import Session
    from broker.system.desk import Desk

LOGGER: Final = logging.getLogger("natskeep.system")


class Actions:
    """Handlers of requests that change something."""

    def __init__(self, desk: Desk, reload: Callable[[], Awaitable[str]]) -> None:
        """``reload`` reads the configuration again and returns why it could not, nothing where it could."""
        self._desk = desk
        self._service = desk.watched.service
        self._reload = reload
        self._reloads: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Tells nobody any more what came of a reload."""
        for task in self._reloads:
            task.cancel()

    def reload(self, received: Received) -> None:
        """Reads the configuration again, and says what came of it."""
        if self._desk.understood(Filters, received) is None:
            return
        task = asyncio.get_running_loop().create_task(self._reload_and_tell(received))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_and_tell(self, received: Received) -> None:
        problem = await self._reload()
        if problem:
            self._desk.refuse(received, HTTPStatus.INTERNAL_SERVER_ERROR, problem)
        else:
            self._desk.answer(received)
        self._service.flush_dirty()

    def kick(self, received: Received) -> None:
        """Ends a connection."""
        self._to_client(received, self._kick)

    def send_away(self, received: Received) -> None:
        """Asks a client to move on, as a lame duck does."""
        self._to_client(received, self._send_away)

    def _to_client(self, received: Received, act: Callable[[int, Session | None], str]) -> None:
        """Does something to the connection that a request names; one that names none is not answered."""
        try:
            request = read(ClientRequest, received.payload)
        except RequestError as error:
            LOGGER.error("A request on %s cannot be understood: %s", quoted(received.subject), printable(str(error)))
            return
        if not received.payload or not received.reply or not request.mean(self._desk.watched):
            return
        problem = act(request.cid, received.session)
        if problem:
            self._desk.refuse(received, HTTPStatus.INTERNAL_SERVER_ERROR, problem)
        else:
            self._desk.done(received)

    def _session(self, cid: int) -> Session | None:
        connection = self._service.connections.get(cid)
        if connection is None or connection.session.state is State.CLOSED:
            return None
        return connection.session

    def _kick(self, cid: int, by: Session | None) -> str:
        session = self._session(cid)
        if session is None:
            return "no such client or leafnode id"
        self._service.control.trail.kicked(session, by)
        session.close(CloseReason.KICKED)
        return ""

    def _send_away(self, cid: int, _by: Session | None) -> str:
        session = self._session(cid)
        if session is None:
            return "no such client id"
        if not session.asynchronous_info:
            return "client does not support Lame Duck Mode or is not ready to receive the notification"
        session.client.append(self._service.control.info(session, lame_duck=True))
        return ""
