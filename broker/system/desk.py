"""How requests to the system account are taken and answered, whatever they ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import msgspec

from broker.monitor.query import QueryError
from broker.system.encoding import accepted, encoded
from broker.system.envelope import Envelope, Fault
from broker.system.requests import Filters, RequestError, read
from broker.system.turns import Turns

if TYPE_CHECKING:
    from broker.control.internal import Internal, Received
    from broker.monitor.watched import Watched
    from broker.system.envelope import Voice

RequestT = TypeVar("RequestT", bound=Filters)


class SilentError(Exception):
    """A request that this server does not answer."""


class Desk:
    """Takes requests in the name of one server.

    Users of the system account are answered at once. All others, who reach what it exports to them, are answered one by
    one between the turns of everybody.
    """

    def __init__(self, watched: Watched, internal: Internal, voice: Voice) -> None:
        self.watched = watched
        self._internal = internal
        self._voice = voice
        self._turns = Turns(watched.service.control.clock)

    def close(self) -> None:
        """Forgets what waits."""
        self._turns.close()

    def take(self, handler: Callable[[Received], None], received: Received) -> None:
        """Has a request handled, at once or when it is the account's turn."""
        account = self.account_of(received)
        if account in {None, self._internal.tenant.account.name}:
            handler(received)
        else:
            self._turns.put(str(account), partial(handler, received))

    def account_of(self, received: Received) -> str | None:
        """The account of the client that asks; None where the server itself does."""
        principal = None if received.session is None else received.session.principal
        return None if principal is None else principal.account.name

    def serve(
        self, kind: type[RequestT], build: Callable[[RequestT, Received], object]
    ) -> Callable[[Received], None]:
        """A handler that answers with what ``build`` makes, which may raise QueryError and SilentError."""

        def handle(received: Received) -> None:
            request = self.understood(kind, received)
            if request is None:
                return
            try:
                data = build(request, received)
            except SilentError:
                return
            except QueryError as error:
                self.refuse(received, HTTPStatus.INTERNAL_SERVER_ERROR, str(error), data=None)
                return
            self.answer(received, data)

        return handle

    def answer(self, received: Received, data: object = msgspec.UNSET, *, plain: bool = False) -> None:
        """Says what was asked for, packed as far as the request accepts it; a `plain` answer never is."""
        envelope = Envelope(server=self._voice.sender(), data=data)
        if plain:
            self.say(received.reply, envelope.encoded())
            return
        header, body = encoded(envelope.encoded(), accepted(received.header))
        self._internal.publish(received.reply, body, header=header)

    def understood(self, kind: type[RequestT], received: Received) -> RequestT | None:
        """The request where it wants an answer, can be read and means this server; who wrote nonsense is told."""
        if not received.reply:
            return None
        try:
            request = read(kind, received.payload)
        except RequestError as error:
            self.refuse(received, HTTPStatus.BAD_REQUEST, str(error))
            return None
        return request if request.mean(self.watched) else None

    def refuse(self, received: Received, status: HTTPStatus, text: str, data: object = msgspec.UNSET) -> None:
        """Says why a request is not fulfilled."""
        self.fail(received, Fault(code=status, description=text), data)

    def fail(self, received: Received, error: object, data: object = msgspec.UNSET) -> None:
        """Says in any form why a request is not fulfilled."""
        self.say(received.reply, Envelope(server=self._voice.sender(), data=data, error=error).encoded())

    def done(self, received: Received) -> None:
        """Says that a request is fulfilled."""
        self.say(received.reply, Envelope(server=self._voice.sender()).encoded())

    def say(self, subject: str, body: bytes) -> None:
        """Publishes in the system account."""
        self._internal.publish(subject, body)
