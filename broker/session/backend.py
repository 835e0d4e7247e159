"""What a session needs from the broker around it, and what it tells it; control implements the one, net the other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from auth.callout import Delegation
    from auth.principal import Principal
    from broker.core.exchange import Crossing
    from broker.core.plan import Recorder
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions
    from broker.wire.errors import CloseReason


class Backend(Protocol):
    """The decisions and registers behind a session."""

    def authenticate(self, session: Session, connect: ConnectOptions) -> Principal | Delegation:
        """Verifies what CONNECT claims, or says who has to be asked about it. Raises auth.errors.AuthError."""

    def is_slow(self, session: Session, connect: ConnectOptions) -> bool:
        """Whether verifying takes so long that it must not hold up the loop."""

    def principal_without_connect(self, session: Session) -> Principal | None:
        """Who a client is that sends other verbs before CONNECT: None when it must authenticate."""

    def bind(self, session: Session, principal: Principal) -> None:
        """Binds the session to its account. Raises LimitError when the account takes no further connection."""

    def unbind(self, session: Session) -> None:
        """Takes the session and its subscriptions out of its account; does nothing when it is in none."""

    def subscribe(self, session: Session, subject: bytes, queue: bytes | None, sid: bytes) -> str | None:
        """Subscribes, or returns the error text that the client is told."""

    def unsubscribe(self, session: Session, sid: bytes, maximum: int) -> None:
        """Ends a subscription: at once when maximum is 0, else after so many deliveries in all."""

    def publish_refused(self, session: Session, subject: str) -> None:
        """Keeps a trail of a message that policy refused."""

    def reply_refused(self, session: Session, reply: str) -> None:
        """Keeps a trail of a message whose reply subject policy refused."""

    def request_info(self, session: Session, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        """The header line that tells the account behind a gate who asks.

        `first` and `last` are the gates that the request came through before, None for none.
        """

    def begin_trace(self, session: Session, subject: bytes, header: bytes, size: int) -> Trace | None:
        """The trace of a message that is about to be published, None for one that is not traced.

        `header` is its header block, `size` the bytes of header and payload. Raises TraceRefusedError for a message
        that must not be published.
        """

    def info(self, session: Session) -> bytes:
        """The INFO line for the session as it stands."""

    def report(self, session: Session, text: str, level: int = logging.ERROR) -> None:
        """Logs what happened on the connection. The text may hold anything that the client sent, but no secret."""


class Trace(Protocol):
    """What is to be told of one message."""

    @property
    def record(self) -> Recorder:
        """Is told each step of the message."""

    @property
    def only(self) -> bool:
        """Whether the message is traced and not delivered."""

    def refused(self, error: str) -> None:
        """The message was not published, and why."""

    def finish(self) -> None:
        """All that is to come of the message has come of it."""


class TraceRefusedError(Exception):
    """A message must not be published because of the trace that it asks for; says what the client is told, if any."""


class LimitError(Exception):
    """A ceiling of the account or of the server; carries what the client is told and the reason of the close."""

    def __init__(self, text: str, reason: CloseReason) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason


class Transport(Protocol):
    """What a session may ask of the connection that carries it."""

    started: float
    """Unix time at which it was accepted."""
    connected: float | None
    """Unix time at which CONNECT was accepted."""

    def end(self, reason: CloseReason) -> None:
        """Writes out what waits as far as the socket takes it, and closes."""

    def expire_at(self, moment: float | None) -> None:
        """Calls `Session.expired` at a Unix time; None calls it off."""

    def verify_aside(self, connect: ConnectOptions) -> None:
        """Verifies in a thread, reads nothing meanwhile, and calls `Session.verified` with what came of it."""

    def delegate(self, connect: ConnectOptions, delegation: Delegation) -> None:
        """Has somebody else decide, reads nothing meanwhile, and calls `Session.verified` with what came of it."""

    def pause(self, seconds: float = 0.0) -> None:
        """Lets all others have their turn, reads nothing for so long at least, and calls `Session.go_on`."""

    def flush(self) -> None:
        """Writes out what waits, as far as the socket takes it."""

    def authenticated(self) -> None:
        """The time for CONNECT is over: it has come."""
