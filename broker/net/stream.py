"""Secured connections for a library that speaks its protocol through an asyncio transport, as HTTP monitoring does.

They go through the same channel, contexts and policy as those of clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.config.options import DEFAULT_TLS_TIMEOUT
from broker.net.channel import Channel
from broker.net.clear import answer_in_the_clear
from broker.net.listener import plain_address
from broker.net.securing import TLS_HANDSHAKE_RECORD
from tls.failures import HandshakeError

if TYPE_CHECKING:
    from broker.net.service import Service
    from tls.engine import ServerContext

LOGGER: Final = logging.getLogger("natskeep.net")

HIGH_WATER: Final = 256 * 1024
"""Bytes that wait to be sent above which the protocol is asked to pause."""

LINGER: Final = 1.0
"""Seconds that a closing connection may take to write out its last bytes."""

MOST_HANDSHAKES: Final = 64
"""Connections that have not shaken hands, at one time; for one more, the one that came first goes."""

ACCEPTS_A_TURN: Final = 16
RETRY_ACCEPT: Final = 0.1
"""Seconds to wait when no connection can be accepted, as with too many open files."""


class SecuredStreams:
    """A listening socket; each connection that has shaken hands gets a protocol."""

    def __init__(
        self,
        service: Service,
        listening: socket.socket,
        context: Callable[[], ServerContext | None],
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        """`context` says what a connection that begins is secured with; where that is None, it is what it was last."""
        self.service = service
        self.make = make
        self._context = context
        self._last: ServerContext | None = None
        self._listening = listening
        self._open: dict[SecuredStream, None] = {}

    def start(self) -> None:
        """Begins to accept."""
        self.service.loop.add_reader(self._listening.fileno(), self._accept)

    def close(self) -> None:
        """Accepts nothing more, frees the port, and ends what has not shaken hands yet."""
        if self._listening.fileno() >= 0:
            self.service.loop.remove_reader(self._listening.fileno())
            self._listening.close()
        for stream in list(self._open):
            if not stream.is_secured:
                stream.abort()

    def ended(self, stream: SecuredStream) -> None:
        """A connection is gone."""
        self._open.pop(stream, None)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                LOGGER.error("cannot accept a connection: %s; raise the limit of open files", error.strerror)
                self.service.loop.remove_reader(self._listening.fileno())
                self.service.loop.call_later(RETRY_ACCEPT, self._accept_again)
                return
            self._begin(sock, address)

    def _begin(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self._last = context = self._context() or self._last
        if context is None:
            sock.close()
            return
        tls = self.service.options.tls
        sock.setblocking(False)
        stream = SecuredStream(self, sock, address, context)
        self._open[stream] = None
        shaking = [one for one in self._open if not one.is_secured]
        if len(shaking) > MOST_HANDSHAKES:
            shaking[0].abort()
        stream.begin(DEFAULT_TLS_TIMEOUT if tls is None else tls.timeout)

    def _accept_again(self) -> None:
        if self._listening.fileno() >= 0:
            self.start()


class SecuredStream(asyncio.Transport):
    """One connection: the handshake first, and then whatever the protocol reads and writes."""

    def __init__(
        self, streams: SecuredStreams, sock: socket.socket, address: tuple[str, int], context: ServerContext
    ) -> None:
        names = {"socket": sock, "sslcontext": context, "peername": address}
        with contextlib.suppress(OSError):
            names["sockname"] = sock.getsockname()
        self._peer = f"{plain_address(address[0])}:{address[1]}"
        super().__init__(names)
        self._streams = streams
        self._loop = streams.service.loop
        self._sock = sock
        self._room = streams.service.plaintext.view
        self._channel = Channel(sock, context, streams.service.ciphertext)
        self._protocol: asyncio.Protocol | None = None
        self._unsent = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._is_reading = self._is_writing = self._is_closing = self._is_ended = False
        self._has_begun = False
        """Whether the first byte was that of a handshake."""
        self._is_paused = False
        """Whether the protocol was asked to pause."""

    @property
    def is_secured(self) -> bool:
        """Whether it has shaken hands."""
        return self._protocol is not None

    def begin(self, seconds: float) -> None:
        """Waits for the handshake, so long at most."""
        self._timer = self._loop.call_later(seconds, self._overdue)
        self.resume_reading()

    def _overdue(self) -> None:
        self._fail("timeout", logging.DEBUG)

    def _fail(self, why: str, level: int = logging.ERROR) -> None:
        LOGGER.log(level, "monitoring: TLS handshake error from %s: %s", self._peer, why)
        self._end(None)

    # Reading

    def is_reading(self) -> bool:
        """Whether the protocol gets what comes."""
        return self._is_reading

    def pause_reading(self) -> None:
        """The protocol wants nothing more for now."""
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        """The protocol goes on; what was opened meanwhile comes first."""
        if self._is_reading or self._is_closing:
            return
        self._is_reading = True
        self._loop.add_reader(self._sock.fileno(), self._something_to_read)
        if self._protocol is not None:
            self._loop.call_soon(self._deliver)

    def _something_to_read(self) -> None:
        self._readable()
        # uvloop tells of a reset once, if need be together with the bytes before it, and then watches no more.
        if self._is_reading and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._broken(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def _readable(self) -> None:
        try:
            if not self._has_begun and not self._begins():
                return
            if self._channel.receive() == 0:
                if self._protocol is None:
                    self._fail("EOF")
                self._end(None)
                return
            if self._protocol is None and not self._shake_hands():
                return
        except (BlockingIOError, InterruptedError):
            return
        except HandshakeError as error:
            self._fail(str(error))
            return
        except OSError as error:
            self._broken(error)
            return
        self._deliver()

    def _broken(self, error: OSError) -> None:
        if self._protocol is None:
            self._fail((error.strerror or "connection broken").lower())
        self._end(error)

    def _begins(self) -> bool:
        """Looks at the first byte, and ends the connection where no handshake begins with it."""
        first = self._sock.recv(1, socket.MSG_PEEK)
        self._has_begun = first == TLS_HANDSHAKE_RECORD
        if not first:
            # Whoever only looks whether the port is open is no failure.
            self._end(None)
        elif not self._has_begun:
            self._fail(answer_in_the_clear(self._sock), logging.DEBUG)
        return self._has_begun

    def _shake_hands(self) -> bool:
        if not self._channel.handshake():
            return False
        self._cancel_timer()
        self._protocol = self._streams.make()
        self._protocol.connection_made(self)
        return True

    def _deliver(self) -> None:
        while self._is_reading and self._protocol is not None:
            count = self._channel.read_into(self._room)
            if count:
                self._protocol.data_received(bytes(self._room[:count]))
            elif self._channel.at_end:
                self._end(None)
            else:
                break

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends data, what the socket does not take at once as soon as it does."""
        if self._is_ended or self._is_closing:
            return
        self._unsent += data
        if not self._is_writing:
            self._flush()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._unsent) + self._channel.waiting

    def can_write_eof(self) -> bool:
        """TLS has no half of a connection to close."""
        return False

    def _flush(self) -> None:
        try:
            with memoryview(self._unsent) as view:
                count = self._channel.write(view)
        except OSError as error:
            self._end(error)
            return
        del self._unsent[:count]
        waits = self.get_write_buffer_size()
        if bool(waits) != self._is_writing:
            self._is_writing = bool(waits)
            if waits:
                self._loop.add_writer(self._sock.fileno(), self._flush)
            else:
                self._loop.remove_writer(self._sock.fileno())
        self._steer(waits)
        if not waits and self._is_closing:
            self._end(None)

    def _steer(self, waits: int) -> None:
        if self._protocol is None:
            return
        if waits > HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()
        elif self._is_paused and not waits:
            self._is_paused = False
            self._protocol.resume_writing()

    # The end

    def is_closing(self) -> bool:
        """Whether it takes nothing more."""
        return self._is_closing or self._is_ended

    def close(self) -> None:
        """Ends when everything is sent, or cannot be for a while."""
        if self._is_closing or self._is_ended:
            return
        self.pause_reading()
        self._is_closing = True
        if self._is_writing:
            self._timer = self._loop.call_later(LINGER, self.abort)
        else:
            self._end(None)

    def abort(self) -> None:
        """Ends at once."""
        self._unsent.clear()
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        if self._is_ended:
            return
        self.pause_reading()
        self._is_ended = self._is_closing = True
        self._cancel_timer()
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._sock.fileno())
        self._channel.finish()
        self._channel.let_go()
        self._sock.close()
        self._streams.ended(self)
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
