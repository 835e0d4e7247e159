"""A connection whose session comes over WebSocket: TLS first, then one HTTP request, and from then on frames."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from auth.evidence import ConnectionType
from broker.net.certificates import WEBSOCKET
from broker.net.clear import answer_in_the_clear
from broker.net.connection import Connection
from broker.net.framing import FrameChannel, largest_message
from broker.net.securing import EARLY_READ, Securing
from broker.session import journal
from broker.session.arrival import Arrival
from broker.wire.errors import CloseReason, ErrorText
from broker.wire.frames import close_for
from broker.wire.upgrade import Origin, Request, RequestReader, Terms, Upgrade, UpgradeError, negotiate, refusal

if TYPE_CHECKING:
    import socket

    from broker.config.options import Options, ProxyOptions, TLSOptions, WebSocketOptions
    from broker.net.channel import Channel
    from broker.net.rate import HandshakeRate
    from broker.net.service import Service

LOGGER: Final = logging.getLogger("natskeep.net")

SPARE: Final = 64
"""Connections above the server's ceiling that may come as far as being told so."""

FIRST_MESSAGE: Final = 64 * 1024
"""Bytes of a compressed message from a client that has not said who it is; more where CONNECT may be longer."""


def terms(options: WebSocketOptions) -> Terms:
    """What the port asks of requests and offers."""
    return Terms(
        secured=options.tls is not None,
        compression=options.compression,
        same_origin=options.same_origin,
        allowed_origins=frozenset(map(Origin.parse, options.allowed_origins)),
        headers=options.headers,
    )


class WebSocketConnection(Connection):
    """The transport of one session over WebSocket. It has no say before the HTTP request has been answered."""

    __slots__ = ("_is_full", "_request")
    listener = WEBSOCKET

    def __init__(self, service: Service, sock: socket.socket, host: str, port: int, cid: int) -> None:
        super().__init__(service, sock, host, port, cid)
        self.session.arrival = Arrival(connection_type=ConnectionType.WEBSOCKET)
        self._request: RequestReader | None = RequestReader()
        """Collects the request; None once it is answered."""
        self._is_full = False

    # What its port has of its own

    @staticmethod
    def proxy_of(options: Options) -> ProxyOptions | None:
        """The PROXY protocol of the WebSocket port."""
        return options.websocket.proxy_protocol

    def tls_of(self, options: Options) -> TLSOptions | None:
        """TLS of the WebSocket port."""
        return options.websocket.tls

    def ping_interval_of(self, options: Options) -> float:
        """Seconds between PINGs."""
        own = options.websocket.ping_interval
        return options.ping_interval if own is None else own

    @property
    def handshake_rate(self) -> HandshakeRate:
        """What counts the handshakes of the WebSocket port."""
        return self.service.websocket_handshake_rate

    @property
    def authentication_timeout(self) -> float:
        """Seconds in which the client must send CONNECT."""
        own = self.service.options.websocket.authorization_timeout
        return self.service.options.authorization_timeout if own is None else own

    @property
    def takes_text(self) -> bool:
        """Whether the session can be heard: the request is answered."""
        return isinstance(self.channel, FrameChannel)

    @property
    def held(self) -> int:
        """Bytes that the server holds for what has come of it and is not complete."""
        own = self.channel.held if isinstance(self.channel, FrameChannel) else len(self._request or b"")
        return super().held + own

    # Beginning

    def _begin(self) -> None:
        """Waits for the handshake of TLS, or for the request where there is none."""
        if self.tls_options is None:
            self._await_request()
        else:
            self._watch(Securing._first_bytes_before_info)
            self._upgrade_within(self._tls_timeout)

    def refuse(self, text: str, reason: CloseReason) -> None:
        """Answers the request, so that the client can be told that the server takes no further connection."""
        self._is_full = True
        self.start()

    def _in_the_clear(self) -> None:
        self._upgrade_failed(answer_in_the_clear(self.sock), logging.DEBUG)

    def _begin_secured(self, channel: Channel) -> None:
        self._await_request()
        if self.ended is None:
            # The request may have come in one piece with the end of the handshake.
            self._opened_request(channel)

    def _await_request(self) -> None:
        self._upgrade_within(self.service.options.websocket.handshake_timeout)
        self._watch(_readable_request)

    def _upgrade_overdue(self) -> None:
        if self.tls_options is not None and not self.session.secured:
            super()._upgrade_overdue()
        else:
            # A crowd that says nothing must not fill the log.
            late = UpgradeError(HTTPStatus.REQUEST_TIMEOUT, "no request within the timeout")
            self._refuse_request(late, logging.DEBUG)

    # The request

    def read_request(self) -> None:
        """Takes what has come of the request."""
        channel = self.sealed
        data = b""
        try:
            if channel is None:
                data = self.sock.recv(EARLY_READ)
                count = len(data)
            else:
                count = channel.receive(EARLY_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if count == 0:
            self._peer_ended = True
            self.session.close(CloseReason.CLIENT_CLOSED)
        elif channel is None:
            self._take_request(data)
        else:
            self._opened_request(channel)
        self._held_changed()

    def _opened_request(self, channel: Channel) -> None:
        plaintext = self.service.plaintext.view
        while self._request is not None and self.ended is None:
            count = channel.read_into(plaintext)
            if count:
                self._take_request(plaintext[:count])
            elif channel.at_end:
                self.session.close(CloseReason.READ_ERROR if channel.broken else CloseReason.CLIENT_CLOSED)
            else:
                return

    def _take_request(self, data: bytes | memoryview) -> None:
        if self._request is None:
            return
        try:
            request = self._request.feed(data)
            if request is None:
                return
            upgrade = negotiate(request, terms(self.service.options.websocket))
        except UpgradeError as error:
            self._refuse_request(error)
            return
        self._upgraded_to_frames(request, upgrade)

    def _refuse_request(self, error: UpgradeError, level: int = logging.ERROR) -> None:
        LOGGER.log(level, "%s - websocket handshake error: %s", journal.address(self.session), error)
        answer = memoryview(refusal(error.status))
        with contextlib.suppress(OSError):
            if self.sealed is None:
                self.sock.send(answer)
            else:
                self.sealed.write(answer)
        self.session.close(CloseReason.PROTOCOL_VIOLATION)

    def _upgraded_to_frames(self, request: Request, upgrade: Upgrade) -> None:
        service = self.service
        options = service.options
        self._in_time()
        self._request = None
        block, cookies = options.websocket, upgrade.cookies
        self.session.arrival = Arrival(
            connection_type=ConnectionType.WEBSOCKET,
            forwarded_for=upgrade.forwarded_for,
            unverified_jwt=cookies.get(block.jwt_cookie, ""),
            unverified_user=cookies.get(block.user_cookie, ""),
            unverified_password=cookies.get(block.password_cookie, ""),
            unverified_token=cookies.get(block.token_cookie, ""),
        )
        maximum = max(FIRST_MESSAGE, 2 * options.max_control_line)
        self.channel = FrameChannel(self.sock, self.sealed, service.plaintext.view, upgrade, maximum)
        self._greet()
        if self._is_full:
            self.session.fail(ErrorText.CONNECTIONS_EXCEEDED, CloseReason.MAXIMUM_CONNECTIONS)
            return
        self._open()

    # Frames

    def authenticated(self) -> None:
        """CONNECT has come: it may send larger messages from now on."""
        super().authenticated()
        if isinstance(self.channel, FrameChannel):
            self.channel.admit(largest_message(self.lane.maximum_payload))

    def _stream_ended(self, channel: Channel | FrameChannel) -> None:
        if isinstance(channel, FrameChannel) and channel.problem:
            journal.write(LOGGER, logging.ERROR, self.session, "read error: %s", channel.problem)
        super()._stream_ended(channel)

    def end(self, reason: CloseReason) -> None:
        """Called by the session: the last that the client hears is a close frame that says why."""
        if isinstance(self.channel, FrameChannel):
            self.channel.close_with(close_for(reason))
        else:
            # What the session says has no place in HTTP.
            self.client.discard()
        super().end(reason)


def _readable_request(connection: Connection) -> None:
    if isinstance(connection, WebSocketConnection):
        connection.read_request()
