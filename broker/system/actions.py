"""What the system account can have done: read the configuration again, end a connection, or ask a client to move on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broker.control.custody import CustodyError
from broker.log.text import printable, quoted
from broker.session.states import State
from broker.system.requests import ClientRequest, Filters, KeyRequest, RequestError, read
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    from broker.control.custody import Custody
    from broker.control.internal import Received
    from broker.session.session import Session
    from broker.system.desk import Desk

LOGGER: Final = logging.getLogger("natskeep.system")


class Actions:
    """Handlers of requests that change something."""

    def __init__(
        self, desk: Desk, reload: Callable[[], Awaitable[str]], custody: Callable[[], Custody | None]
    ) -> None:
        """``reload`` reads the configuration again and returns why it could not, nothing where it could; ``custody``
        has the keys of what accounts keep on disk."""
        self._custody = custody
        self._desk = desk
        self._service = desk.watched.service
        self._reload = reload
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Tells nobody any more what came of what takes long."""
        for task in self._tasks:
            task.cancel()

    def reload(self, received: Received) -> None:
        """Reads the configuration again, and says what came of it."""
        if self._desk.understood(Filters, received) is None:
            return
        self._begin(self._reload_and_tell(received))

    def _begin(self, what: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_and_tell(self, received: Received) -> None:
        problem = await self._reload()
        if problem:
            self._desk.refuse(received, HTTPStatus.INTERNAL_SERVER_ERROR, problem)
        else:
            self._desk.answer(received)
        self._service.flush_dirty()

    def rotate(self, received: Received) -> None:
        """Has an account's data sealed by another key."""
        self._begin(self._with_key(received, lambda custody, account: custody.rotate(account, received.session)))

    def shred(self, received: Received) -> None:
        """Destroys an account's data by destroying its key."""
        self._begin(self._with_key(received, lambda custody, account: custody.shred(account, received.session)))

    async def _with_key(
        self, received: Received, act: Callable[[Custody, str], Awaitable[dict[str, object]]]
    ) -> None:
        """Does something with the key of the account that a request names, and says what came of it."""
        request = self._desk.understood(KeyRequest, received)
        if request is None:
            return
        custody = self._custody()
        if self._desk.account_of(received) != self._desk.watched.system_account:
            # What the system account exports may reach others, who destroy nothing.
            self._desk.refuse(received, HTTPStatus.FORBIDDEN, "only users of the system account may ask for that")
        elif not request.account:
            self._desk.refuse(received, HTTPStatus.BAD_REQUEST, "name the account in 'account'")
        elif custody is None:
            self._desk.refuse(received, HTTPStatus.NOT_FOUND, "this server has no JetStream")
        else:
            try:
                found = await act(custody, request.account)
            except CustodyError as error:
                self._desk.refuse(received, HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            else:
                self._desk.answer(received, found)
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
