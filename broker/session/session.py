"""One client's conversation: events from the parser in, bytes into its outbox and calls to the backend out.

There is no I/O here: bytes come through the lane, go to the client's outbox, and the transport is asked to close.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec

from auth.callout import Delegation
from auth.errors import AuthError
from broker.core.outbox import Hub
from broker.core.parser import Lane
from broker.core.plan import Client, Subscription
from broker.log.text import quoted
from broker.session.arrival import DIRECT
from broker.session.backend import Backend, LimitError, TraceRefusedError, Transport
from broker.session.liveness import Liveness
from broker.session.states import State, step
from broker.wire.connect import ConnectError, ConnectOptions, parse_connect
from broker.wire.errors import CloseReason, ErrorText, error_line, publish_violation, reply_violation
from broker.wire.events import Event
from broker.wire.malformed import message_problem
from broker.wire.redact import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from auth.evidence import CertificateFacts
    from auth.principal import Principal
    from broker.core.exchange import Crossing
    from broker.session.trace import Tracer

OK: Final = b"+OK\r\n"
PONG: Final = b"PONG\r\n"
PING: Final = b"PING\r\n"

NOTHING_SAID: Final = ConnectOptions()
"""What a client said of itself that has not sent CONNECT; no CONNECT is this very object."""

SNIPPET: Final = 32
"""Bytes of an unknown operation that the log shows, at most."""


EVENTS_A_TURN: Final = 128
"""Verbs other than messages that a session handles before all others have their turn."""


def shown(text: bytes) -> str:
    """Wire text as policy and logs see it; any bytes survive the way there and back."""
    return text.decode("utf-8", "surrogateescape")


def unless_json(text: bytes) -> bytes:
    """Misplaced text for the log; nothing of what looks like JSON, which may be CONNECT's under a wrong verb."""
    return UNREADABLE.encode() if b'"' in text or b"{" in text else text


class Session:
    """The client's side of the protocol, from INFO to the end."""

    __slots__ = (
        "arrival",
        "backend",
        "certificate",
        "cid",
        "client",
        "close_reason",
        "connect",
        "data_ceiling",
        "delegated_to",
        "headers_supported",
        "hub",
        "lane",
        "last_subscriptions",
        "liveness",
        "nonce",
        "paused",
        "principal",
        "remote_ip",
        "remote_port",
        "secured",
        "state",
        "subscriptions",
        "tenant",
        "tracer",
        "transport",
    )

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        hub: Hub,
        client: Client,
        lane: Lane,
        *,
        cid: int,
        remote_ip: str,
        remote_port: int,
        nonce: str,
        liveness: Liveness,
    ) -> None:
        self.backend = backend
        self.transport = transport
        self.hub = hub
        self.client = client
        self.lane = lane
        self.cid = cid
        self.remote_ip = remote_ip
        self.remote_port = remote_port
        self.nonce = nonce
        self.liveness = liveness
        self.arrival = DIRECT
        self.state = State.GREETED
        self.connect = NOTHING_SAID
        self.principal: Principal | None = None
        self.tenant: object = None
        """Where control keeps the session's account; None while it is bound to none."""
        self.subscriptions: dict[bytes, Subscription] = {}
        self.last_subscriptions: tuple[Subscription, ...] = ()
        """Those that the session had when it closed."""
        self.headers_supported = lane.accept_headers
        self.close_reason: CloseReason | None = None
        self.paused = False
        """Whether it has had its turn, and what came is not all handled."""
        self.data_ceiling = 0
        """Bytes that the connection may move in all, both ways; 0 is unlimited."""
        self.delegated_to = ""
        """The account whose callout was asked who this is; empty where none was."""
        self.secured = False
        self.tracer: Tracer | None = None
        """Shows in the log what comes and goes; None where nothing is traced."""
        self.certificate: CertificateFacts | None = None
        """Facts of the verified client certificate, where the listener maps certificates to users."""

    @property
    def source(self) -> str:
        """Where it comes from: an address of IP, or whose process is at the other end of a Unix socket."""
        arrival = self.arrival
        if not arrival.socket_path:
            return self.remote_ip
        return "unix" if arrival.peer is None else f"unix:uid={arrival.peer.uid}"

    @property
    def address(self) -> str:
        """The same with the port, where there is one."""
        return self.source if self.arrival.socket_path else f"{self.remote_ip}:{self.remote_port}"

    @property
    def asynchronous_info(self) -> bool:
        """Whether the client takes INFO at any time: it speaks protocol 1 and has sent a PING."""
        return self.lane.answer_pings and self.connect.protocol >= 1

    @property
    def listens(self) -> bool:
        """Whether it takes bytes now: not while it is found out who it is, nor paused, nor after the end."""
        return self.state is not State.CLOSED and self.state is not State.VERIFYING and not self.paused

    def greet(self) -> None:
        """Sends the first INFO."""
        self.client.append(self.backend.info(self))

    def data_received(self) -> None:
        """Handles what the lane has, for one turn at most; called after `Lane.received`."""
        lane = self.lane
        for _ in range(EVENTS_A_TURN):
            if not self.listens:
                return
            event = lane.advance()
            if event == 0:
                self.check_data()
                return
            if self.tracer is not None:
                self.tracer.event(event)
            HANDLERS[event](self)
        self.wait_for_turn()

    def wait_for_turn(self) -> None:
        """Goes on when all others have had their turn; `go_on` is next."""
        if self.listens:
            self._pause()

    def _pause(self) -> None:
        """Lets all others have their turn before what is left of this one's bytes; longer where it sent too much."""
        self.paused = True
        self.lane.suspend()
        self.transport.pause(self.client.owed)

    def go_on(self) -> None:
        """Handles what was left when it paused."""
        self.paused = False
        self.lane.resume()
        self.data_received()

    def check_data(self) -> None:
        """Ends a session that has moved more bytes than its account or user may."""
        ceiling = self.data_ceiling
        if ceiling and self.client.in_bytes + self.client.out_bytes > ceiling:
            self.fail(ErrorText.DATA_EXCEEDED, CloseReason.MAXIMUM_DATA)

    def trace(self, tracer: Tracer | None) -> None:
        """Begins to show what comes and goes, or ends it."""
        self.tracer = self.client.tracer = tracer

    # Answers

    def _approve(self) -> None:
        self.client.append(OK)
        if self.tracer is not None:
            self.tracer.sent("OK")

    def refuse(self, text: str | ErrorText) -> None:
        self.client.append(error_line(text))
        if self.tracer is not None:
            self.tracer.sent(f"-ERR {text.value if isinstance(text, ErrorText) else text}")

    # Verbs

    def _connect(self) -> None:
        if self.state is State.ACTIVE:
            self.state = step(self.state, State.GREETED)
            self.lane.open = False
            self.backend.unbind(self)
        try:
            options = parse_connect(self.lane.arguments[0], self.connect)
        except ConnectError as error:
            self.backend.report(self, str(error))
            self.close(CloseReason.PROTOCOL_VIOLATION)
            return
        if self.arrival is not DIRECT:
            options = self.arrival.completed(options)
        self.connect = options
        if options.account or options.new_account:
            self.fail(
                ErrorText.AUTHORIZATION_VIOLATION,
                CloseReason.AUTHENTICATION_FAILURE,
                log="authentication error - CONNECT asks for an account by name",
            )
            return
        if self.backend.is_slow(self, options):
            self._wait()
            self.transport.verify_aside(options)
            return
        try:
            verdict = self.backend.authenticate(self, options)
        except AuthError as error:
            self.fail(error.client_text, CloseReason(error.closed_reason), log="")
            return
        if isinstance(verdict, Delegation):
            self._wait()
            self._delegate(verdict)
            return
        self._admit(verdict)

    def _delegate(self, delegation: Delegation) -> None:
        self.delegated_to = "" if delegation.account is None else delegation.account.name
        self.transport.delegate(self.connect, delegation)

    def _wait(self) -> None:
        """Holds back all that comes until it is known who sends it."""
        self.state = step(self.state, State.VERIFYING)
        self.lane.suspend()

    def verified(self, result: Principal | Delegation | AuthError) -> None:
        """What came of a verification in a thread, or of asking somebody else; parsing goes on."""
        if self.state is not State.VERIFYING:
            return
        if isinstance(result, AuthError):
            self.fail(result.client_text, CloseReason(result.closed_reason), log="")
            return
        if isinstance(result, Delegation):
            self._delegate(result)
            return
        self._admit(result)
        self.lane.resume()
        self.data_received()

    def _admit(self, principal: Principal) -> None:
        options = self.connect
        if options.protocol not in {0, 1}:
            self.fail(ErrorText.INVALID_PROTOCOL, CloseReason.BAD_PROTOCOL_VERSION)
            return
        if options.no_responders and not options.headers:
            self.fail(ErrorText.NO_RESPONDERS_REQUIRES_HEADERS, CloseReason.NO_RESPONDERS_REQUIRES_HEADERS)
            return
        if self.activate(principal) and options.verbose:
            self._approve()

    def activate(self, principal: Principal) -> bool:
        """Binds the session to the principal's account and opens the lane. False when the account refused."""
        try:
            self.backend.bind(self, principal)
        except LimitError as error:
            self.fail(error.text, error.reason)
            return False
        self.state = step(self.state, State.ACTIVE)
        self.principal = principal
        client, lane, options = self.client, self.lane, self.connect
        client.echo = options.echo
        client.headers = lane.accept_headers = options.headers and self.headers_supported
        client.no_responders = options.no_responders
        lane.verbose = options.verbose
        lane.pedantic = options.pedantic
        lane.open = True
        self.transport.authenticated()
        self.transport.expire_at(principal.expires_at)
        return True

    def _before_connect(self) -> None:
        principal = self.backend.principal_without_connect(self)
        if principal is None:
            self.fail(
                ErrorText.AUTHORIZATION_VIOLATION,
                CloseReason.AUTHENTICATION_FAILURE,
                log="authentication error - a verb came before CONNECT",
            )
            return
        self.activate(principal)

    def _subscribe(self) -> None:
        arguments = self.lane.arguments
        if len(arguments) == 2:
            subject, sid = arguments
            queue = None
        elif len(arguments) == 3:
            subject, queue, sid = arguments
        else:
            self._misspelled("processSub Parse Error:", b" ".join(arguments))
            return
        refused = self.backend.subscribe(self, subject, queue, sid)
        if refused is not None:
            self.refuse(refused)
        elif self.lane.verbose:
            self._approve()

    def _unsubscribe(self) -> None:
        arguments = self.lane.arguments
        if len(arguments) not in {1, 2}:
            self._misspelled("processUnsub Parse Error:", b" ".join(arguments))
            return
        maximum = arguments[1] if len(arguments) == 2 else b""
        # What is no number ends the subscription at once, as 0 does.
        count = int(maximum) if maximum.isdigit() and len(maximum) < 10 else 0
        self.backend.unsubscribe(self, arguments[0], count)
        if self.lane.verbose:
            self._approve()

    def _ping(self) -> None:
        # Only the first PING comes here; from then on the lane answers by itself.
        self.client.append(PONG)
        if self.tracer is not None:
            self.tracer.sent("PONG")
        self.lane.answer_pings = True
        if self.connect.protocol >= 1:
            self.client.append(self.backend.info(self))

    def _pong(self) -> None:
        self.liveness.pong(self.hub.now)
        self.client.forget_introductions()

    def _info(self) -> None:
        try:
            msgspec.json.decode(self.lane.arguments[0], type=dict[str, msgspec.Raw] | None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.backend.report(self, "INFO is not a JSON object")
            self.close(CloseReason.PROTOCOL_VIOLATION)

    def _error(self) -> None:
        self.backend.report(self, f"Client Error {shown(unless_json(self.lane.arguments[0]))}")
        self.close(CloseReason.PARSE_ERROR)

    def _publish_refused(self) -> None:
        subject = shown(self.lane.subject)
        self.refuse(publish_violation(subject))
        self.backend.publish_refused(self, subject)

    def _reply_refused(self) -> None:
        reply = shown(self.lane.subject)
        self.refuse(reply_violation(reply))
        self.backend.reply_refused(self, reply)

    def _trace_asked(self) -> None:
        lane = self.lane
        try:
            trace = self.backend.begin_trace(self, *lane.held_message)
        except TraceRefusedError as refused:
            if str(refused):
                self.refuse(str(refused))
            return
        event = lane.publish_held(None) if trace is None else lane.publish_held(trace.record, trace.only)
        if event:
            HANDLERS[event](self)
        if trace is None:
            return
        if event == Event.PUBLISH_REFUSED:
            trace.refused(publish_violation(shown(lane.subject)))
        elif event == Event.REPLY_REFUSED:
            trace.refused(reply_violation(shown(lane.subject)))
        trace.finish()

    def _unknown_operation(self) -> None:
        # What follows a verb may be a secret, as after a misspelled CONNECT, so the word is all that is shown.
        ahead = self.lane.ahead(SNIPPET)
        word = (ahead.split(maxsplit=1) or [ahead])[0]
        self.fail(
            ErrorText.UNKNOWN_OPERATION,
            CloseReason.PROTOCOL_VIOLATION,
            log=f"Client parser ERROR, state=0, i={self.lane.parsed}: proto='{quoted(unless_json(word))}...'",
        )

    def _control_line_exceeded(self) -> None:
        self.fail(ErrorText.CONTROL_LINE_EXCEEDED, CloseReason.MAXIMUM_CONTROL_LINE)

    def _payload_exceeded(self) -> None:
        self._trace_exceeded()
        size = shown(self.lane.line.split()[-1])
        self.fail(
            ErrorText.PAYLOAD_EXCEEDED,
            CloseReason.MAXIMUM_PAYLOAD,
            log=f"maximum payload exceeded: {size} vs {self.lane.maximum_payload}",
        )

    def _trace_exceeded(self) -> None:
        """Traces a message that is too large to be taken, by as much of its headers as has come."""
        verb, *words = self.lane.line.split()
        if verb != b"HPUB":
            return
        size = int(words[-2])
        _, _, rest = self.lane.ahead(self.lane.maximum_control_line + len(b"HPUB \r\n") + size).partition(b"\n")
        try:
            trace = self.backend.begin_trace(self, words[0], rest[:size], int(words[-1]))
        except TraceRefusedError:
            return
        if trace is not None:
            trace.refused("maximum payload exceeded")
            trace.finish()

    def _bad_arguments(self) -> None:
        line = self.lane.line
        problem = message_problem(line, headers=self.lane.accept_headers)
        if problem:
            self._misspelled(problem, line.split(b" ", 1)[1])
            return
        self.backend.report(self, "message headers not supported")
        self.close(CloseReason.PROTOCOL_VIOLATION)

    def _misspelled(self, problem: str, arguments: bytes) -> None:
        self.backend.report(self, f"{problem} {quoted(unless_json(arguments))}")
        self.close(CloseReason.PROTOCOL_VIOLATION)

    # Clocks

    def ping_due(self) -> None:
        """The ping clock ticked: asks the client for a sign of life, or ends a stale connection."""
        now = self.hub.now
        self.backend.report(self, "Client Ping Timer", logging.DEBUG)
        if not self.liveness.wants_ping(now):
            return
        if self.liveness.is_stale():
            self.fail(
                ErrorText.STALE_CONNECTION,
                CloseReason.STALE_CONNECTION,
                log="Stale Client Connection - Closing",
                level=logging.DEBUG,
            )
        else:
            self.liveness.pinged(now)
            self.client.append(PING)
            if self.tracer is not None:
                self.tracer.sent("PING")

    def connect_overdue(self) -> None:
        """No CONNECT came in time."""
        if self.state in {State.GREETED, State.VERIFYING}:
            self.fail(ErrorText.AUTHENTICATION_TIMEOUT, CloseReason.AUTHENTICATION_TIMEOUT, level=logging.DEBUG)

    def expired(self) -> None:
        """The moment came until which the principal holds."""
        principal = self.principal
        text = ErrorText.USER_EXPIRED.value if principal is None else principal.expiry_text
        self.fail(text, CloseReason.AUTHENTICATION_EXPIRED, level=logging.DEBUG)

    def request_info(self, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        """What the account behind a gate is told about this client; see `Backend.request_info`."""
        return self.backend.request_info(self, gate, first, last)

    def lame_duck(self) -> None:
        """Tells the client that the server is about to go, so that it moves on by itself."""
        if self.asynchronous_info:
            self.client.append(self.backend.info(self))

    # The end

    def fail(
        self, text: str | ErrorText, reason: CloseReason, *, log: str | None = None, level: int = logging.ERROR
    ) -> None:
        """Tells the client why, unless there are no words for it, and closes.

        `log` is what the log is told: None is what the client is told, nothing at all when it knows already.
        """
        if self.state is State.CLOSED:
            return
        shown_text = text.value if isinstance(text, ErrorText) else text
        known = shown_text if log is None else log
        if known:
            self.backend.report(self, known, level)
        if shown_text:
            self.refuse(text)
        self.close(reason)

    def close(self, reason: CloseReason) -> None:
        """Leaves the account and closes; what waits in the outbox is written as far as the socket takes it."""
        if self.state is State.CLOSED:
            return
        self.state = step(self.state, State.CLOSED)
        self.close_reason = reason
        self.backend.report(self, f"Client connection closed: {reason.value}", logging.DEBUG)
        self.lane.open = False
        self.client.close()
        self.last_subscriptions = tuple(self.subscriptions.values())
        self.backend.unbind(self)
        self.transport.end(reason)

    def let_go(self) -> None:
        """Forgets all that refers back to it: when the transport is gone, memory must not wait for a search for cycles.

        The last call: there is no transport any more.
        """
        self.trace(None)
        self.client.owner = None
        self.last_subscriptions = ()
        del self.transport


HANDLERS: Final[dict[int, Callable[[Session], None]]] = {
    Event.CONNECT: Session._connect,
    Event.SUB: Session._subscribe,
    Event.UNSUB: Session._unsubscribe,
    Event.PING: Session._ping,
    Event.PONG: Session._pong,
    Event.INFO: Session._info,
    Event.ERR: Session._error,
    Event.PUBLISH_REFUSED: Session._publish_refused,
    Event.REPLY_REFUSED: Session._reply_refused,
    Event.NOT_OPEN: Session._before_connect,
    Event.UNKNOWN_OPERATION: Session._unknown_operation,
    Event.CONTROL_LINE_EXCEEDED: Session._control_line_exceeded,
    Event.PAYLOAD_EXCEEDED: Session._payload_exceeded,
    Event.BAD_ARGUMENTS: Session._bad_arguments,
    Event.TURN_SPENT: Session._pause,
    Event.TRACE_ASKED: Session._trace_asked,
}
"""What each event of the parser leads to."""
