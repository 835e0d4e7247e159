"""One accepted socket: its way through TLS to a session, and the bytes in and out from then on.

Nothing is read from a socket before its first byte was looked at, so bytes in the clear never reach the parser of a
secured connection.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVarTuple

from auth.errors import AuthError
from broker.config.options import WriteTimeout
from broker.core.parser import Lane
from broker.core.plan import Client
from broker.net.channel import Channel
from broker.net.failures import described
from broker.session import journal
from broker.session.liveness import Liveness
from broker.session.session import Session
from broker.session.states import State
from broker.wire.errors import CloseReason
from tls.identity import CertificateFormatError, Secured, verified_chain
from tls.pins import PinMismatchError

if TYPE_CHECKING:
    import asyncio
    from asyncio import TimerHandle
    from collections.abc import Callable
    from types import TracebackType

    from auth.authenticate import Authenticator
    from auth.callout import Delegation
    from auth.principal import Principal
    from broker.config.options import Options, TLSOptions
    from broker.net.framing import FrameChannel
    from broker.net.rate import HandshakeRate
    from broker.net.service import Service
    from broker.wire.connect import ConnectOptions

LOGGER: Final = logging.getLogger("natskeep.net")

TLS_HANDSHAKE_RECORD: Final = b"\x16"
"""The content type of a record that carries a ClientHello (RFC 8446, section 5.1)."""

LINGER: Final = 1.0
"""Seconds that a closing connection may take to write out its last bytes."""

LAST_READS: Final = 16
"""Reads of 64 KiB that a closing connection spends on what the client still sent."""

STALL_TURN: Final = 0.01
"""Seconds after which it is looked whether the receiver that a publisher waits for takes anything."""

STALL_PROGRESS: Final = 64 * 1024
"""Bytes that such a receiver must have taken in one stall turn to be waited for longer."""

LONGEST_PAUSE: Final = 1.0
"""Seconds after which it is looked again whether a client that sent too much may go on: its rates may have changed."""

LONGEST_TIMER: Final = 3600.0
"""Expiry is a time of the wall clock, which can be set; it is looked at no less often than this, in seconds."""


Arguments = TypeVarTuple("Arguments")


class Connection:
    """The transport of one session. All methods run in the loop's thread.

    Whatever the loop calls runs inside `with self`: a failure that nobody foresaw ends this connection, is logged, and
    goes no further, so that nothing follows what was left half done and no other connection notices.
    """

    __slots__ = (
        "_behind_since",
        "_broken",
        "_connect_timer",
        "_deadline_timer",
        "_expiry_timer",
        "_given_up_at",
        "_handler",
        "_messages_in",
        "_messages_out",
        "_moved_before",
        "_pause_timer",
        "_peer_ended",
        "_ping_timer",
        "_reading",
        "_sent_by_deadline",
        "_stall_timer",
        "_subscriptions",
        "_upgrade_timer",
        "_verification",
        "_waiting",
        "_writing",
        "_written",
        "_written_by_deadline",
        "active",
        "channel",
        "client",
        "connected",
        "descriptor",
        "ended",
        "lane",
        "sealed",
        "service",
        "session",
        "sock",
        "stalls",
        "started",
        "tls_first",
    )

    def __init__(self, service: Service, sock: socket.socket, host: str, port: int, cid: int) -> None:
        self.service = service
        self.sock = sock
        self.descriptor = sock.fileno()
        self.channel: Channel | FrameChannel | None = None
        """What bytes pass between session and socket; None where they pass as they are."""
        self.sealed: Channel | None = None
        """TLS on the socket."""
        self.tls_first = False
        self.ended: float | None = None
        self.started = time.time()
        self.connected: float | None = None
        """Unix time at which CONNECT was accepted."""
        self.active = time.monotonic()
        """Monotonic time of the last message, subscription or CONNECT; signs of life do not count."""
        self.stalls = 0
        """How often it had to wait as a publisher for its receivers."""
        self._messages_in = 0
        self._messages_out = 0
        self._subscriptions = 0
        self._handler: Callable[[Connection], None] = Connection._readable
        self._peer_ended = False
        self._reading = False
        self._broken = False
        """Whether the socket held an error, as after a reset."""
        self._writing = False
        self._written = 0
        self._written_by_deadline = 0
        self._sent_by_deadline = 0
        self._moved_before = 0
        """Bytes that the socket had taken when the deadline began."""
        self._behind_since: float | None = None
        """Monotonic time at which the first deadline was missed by what still waits."""
        self._given_up_at = -STALL_PROGRESS
        """What had been written when a publisher last waited in vain."""
        self._waiting: list[Connection] | None = None
        self._connect_timer: TimerHandle | None = None
        self._deadline_timer: TimerHandle | None = None
        self._expiry_timer: TimerHandle | None = None
        self._pause_timer: TimerHandle | None = None
        self._ping_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None
        self._upgrade_timer: TimerHandle | None = None
        self._verification: asyncio.Future[Principal | Delegation] | asyncio.Future[None] | None = None
        options = service.options
        client = Client(service.hub)
        client.ceiling = options.max_pending
        client.soft_ceiling = service.soft_ceiling
        lane = Lane(client, service.read_buffer)
        lane.maximum_control_line = options.max_control_line
        lane.maximum_payload = options.max_payload
        lane.accept_headers = not options.no_header_support
        self.client = client
        self.lane = lane
        self.session = Session(
            service.control,
            self,
            service.hub,
            client,
            lane,
            cid=cid,
            remote_ip=host,
            remote_port=port,
            nonce=service.control.new_nonce(),
            liveness=Liveness(self.ping_interval_of(options), options.ping_max, time.monotonic()),
        )
        client.owner = self.session
        service.trace(self.session)

    # What the loop calls

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

    def _room_to_write(self) -> None:
        with self:
            self._write()

    # Beginning

    def start(self) -> None:
        """Sends INFO or waits for TLS first, as the listener is configured."""
        journal.write(LOGGER, logging.DEBUG, self.session, "Client connection created")
        tls = self.tls_options
        if tls is None:
            self._greet()
            self._open()
        elif tls.handshake_first is False:
            self._greet_before_tls()
        else:
            self.tls_first = True
            self._watch(Connection._first_bytes_before_info)
            if tls.handshake_first is True:
                self._upgrade_within(tls.timeout)
            else:
                self._upgrade_timer = self._later(float(tls.handshake_first), self._no_tls_first)

    def refuse(self, text: str, reason: CloseReason) -> None:
        """Sends INFO and an error, and closes: the server takes no further connection."""
        journal.write(LOGGER, logging.DEBUG, self.session, "Client connection created")
        self._greet()
        self.session.fail(text, reason)

    def _greet(self) -> None:
        self.session.greet()
        self.flush()

    def _greet_before_tls(self) -> None:
        self.tls_first = False
        self._greet()
        if self.ended is None:
            self._watch(Connection._first_bytes_after_info)
            if self.service.options.allow_non_tls:
                # Who says nothing until then is taken for a client in the clear, whose own deadlines begin.
                self._upgrade_timer = self._later(self._tls_timeout, self._stay_in_the_clear)
            else:
                self._upgrade_within(self._tls_timeout)

    def _no_tls_first(self) -> None:
        self._unwatch()
        self._greet_before_tls()

    def tls_of(self, options: Options) -> TLSOptions | None:
        """TLS of the port that it came to, as these options have it."""
        return options.tls

    def ping_interval_of(self, options: Options) -> float:
        """Seconds between PINGs, as these options have them."""
        return options.ping_interval

    @property
    def tls_options(self) -> TLSOptions | None:
        """TLS of the port that it came to, as it is now."""
        return self.tls_of(self.service.options)

    @property
    def takes_text(self) -> bool:
        """Whether it can be told something: it needs no handshake, or is behind it."""
        return self.tls_options is None or self.session.secured

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """What it is secured with, where it is not yet."""
        return self.service.tls_context

    @property
    def handshake_rate(self) -> HandshakeRate:
        """What counts the handshakes of the port that it came to."""
        return self.service.handshake_rate

    @property
    def authentication_timeout(self) -> float:
        """Seconds in which the client must send CONNECT."""
        return self.service.options.authorization_timeout

    @property
    def _tls_timeout(self) -> float:
        tls = self.tls_options
        return 0.0 if tls is None else tls.timeout

    def _upgrade_within(self, seconds: float) -> None:
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
        self._upgrade_timer = self._later(seconds, self._upgrade_overdue)

    def _upgrade_overdue(self) -> None:
        self._upgrade_failed("no TLS handshake within the timeout", logging.DEBUG)

    def _upgrade_failed(self, why: str, level: int = logging.ERROR) -> None:
        journal.write(LOGGER, level, self.session, "TLS handshake error: %s", why)
        self.client.discard()
        self.session.close(CloseReason.TLS_HANDSHAKE_FAILURE)

    def _peek(self) -> bytes | None:
        """The first byte, left where it is; b"" at the end of the stream, None when there is nothing yet."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def _first_bytes_before_info(self) -> None:
        first = self._peek()
        if first is None:
            return
        if first == TLS_HANDSHAKE_RECORD:
            self._begin_upgrade()
        elif first == b"":
            self.session.close(CloseReason.CLIENT_CLOSED)
        else:
            self._upgrade_failed("bytes in the clear where TLS is required", logging.DEBUG)

    def _first_bytes_after_info(self) -> None:
        first = self._peek()
        if first is None:
            return
        if first == TLS_HANDSHAKE_RECORD:
            self._begin_upgrade()
        elif first == b"":
            self.session.close(CloseReason.CLIENT_CLOSED)
        elif self.service.options.allow_non_tls:
            self._stay_in_the_clear()
        else:
            self._upgrade_failed("bytes in the clear where TLS is required", logging.DEBUG)

    def _stay_in_the_clear(self) -> None:
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
            self._upgrade_timer = None
        self._open()

    def _begin_upgrade(self) -> None:
        context = self.tls_context
        if context is None:
            self._upgrade_failed("no certificate is loaded")
            return
        tls = self.tls_options
        if tls is not None and not self.handshake_rate.admits(tls.connection_rate_limit, time.monotonic()):
            self.session.close(CloseReason.MAXIMUM_CONNECTIONS)
            return
        journal.write(LOGGER, logging.DEBUG, self.session, "Starting TLS client connection handshake")
        self._upgrade_within(self._tls_timeout)
        self.channel = self.sealed = Channel(self.sock, context, self.service.ciphertext)
        self._watch(Connection._handshake)
        self._handshake()

    def _handshake(self) -> None:
        channel = self.sealed
        if channel is None:
            return
        try:
            if channel.receive() == 0:
                self._upgrade_failed("the client closed the connection")
                return
            done = channel.handshake()
        except (BlockingIOError, InterruptedError):
            return
        except ssl.SSLError as error:
            self._upgrade_failed(error.reason or "no valid handshake")
            return
        except OSError as error:
            self._upgrade_failed(error.strerror or "the connection broke")
            return
        if done:
            self._upgraded(channel)

    def _upgraded(self, channel: Channel) -> None:
        try:
            self.session.certificate = self.service.check_peer(channel.connection, self.tls_options)
        except (CertificateFormatError, PinMismatchError) as error:
            self._upgrade_failed(str(error))
            return
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
            self._upgrade_timer = None
        self.session.secured = True
        self._log_handshake(channel)
        self._begin_secured(channel)

    def _begin_secured(self, channel: Channel) -> None:
        """TLS stands."""
        if self.tls_first:
            self._greet()
        self._open()
        if self.ended is None:
            # The client's first words may have come in one piece with the end of its handshake.
            self._opened_records(channel)

    def _log_handshake(self, channel: Channel) -> None:
        if LOGGER.isEnabledFor(logging.DEBUG):
            cipher = channel.connection.cipher()
            journal.write(LOGGER, logging.DEBUG, self.session, "TLS handshake complete")
            journal.write(LOGGER, logging.DEBUG, self.session, "TLS version %s, cipher suite %s",
                          (channel.connection.version() or "").removeprefix("TLSv"), cipher[0] if cipher else "none")

    def _open(self) -> None:
        """From here on bytes belong to the session."""
        if self.session.state is State.CLOSED:
            return
        service = self.service
        if service.control.must_authenticate(self.session):
            self._connect_timer = self._later(self.authentication_timeout, self.session.connect_overdue)
        liveness = self.session.liveness
        liveness.last_heard = time.monotonic()
        self._ping_timer = self._later(liveness.first_delay(), self._ping)
        self._read_on()

    # Reading

    def _watch(self, handler: Callable[[Connection], None]) -> None:
        """Calls handler when there is something to read; the socket is registered once, whoever handles it."""
        self._handler = handler
        if not self._reading:
            self.service.loop.add_reader(self.descriptor, self._something_to_read)
            self._reading = True

    def _unwatch(self) -> None:
        if self._reading:
            self.service.loop.remove_reader(self.descriptor)
            self._reading = False

    def _read_on(self) -> None:
        if self.ended is None and self._stall_timer is None and self.session.listens:
            self._watch(Connection._readable if self.channel is None else Connection._readable_sealed)

    def _readable(self) -> None:
        lane = self.lane
        try:
            count = self.sock.recv_into(lane.room())
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.session.close(CloseReason.READ_ERROR)
            return
        if count == 0:
            self._peer_ended = True
            self.session.close(CloseReason.READ_ERROR if self._broken else CloseReason.CLIENT_CLOSED)
            return
        service = self.service
        service.hub.now = self.session.liveness.last_heard = time.monotonic()
        lane.received(count)
        self.session.data_received()
        self._turn_over()

    def _readable_sealed(self) -> None:
        channel = self.channel
        if channel is None:
            return
        try:
            if channel.receive() == 0:
                self._peer_ended = True
                self.session.close(CloseReason.READ_ERROR if self._broken else CloseReason.CLIENT_CLOSED)
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.session.close(CloseReason.READ_ERROR)
            return
        self._opened_records(channel)

    def _opened_records(self, channel: Channel | FrameChannel) -> None:
        service, session, lane = self.service, self.session, self.lane
        service.hub.now = session.liveness.last_heard = time.monotonic()
        while session.listens:
            if channel.at_end:
                self._stream_ended(channel)
                break
            room = lane.room()
            size = len(room)
            count = channel.read_into(room)
            if count:
                lane.received(count)
                session.data_received()
            if channel.has_had_turn:
                session.wait_for_turn()
            if count < size and not channel.at_end and not channel.has_more:
                break
        if channel.waiting and not self._writing and self.ended is None:
            # TLS answers by itself, as to a key update; until the next message that would only pile up.
            self._write()
        self._turn_over()

    def _stream_ended(self, channel: Channel | FrameChannel) -> None:
        self.session.close(CloseReason.READ_ERROR if channel.broken else CloseReason.CLIENT_CLOSED)

    def pause(self, seconds: float = 0.0) -> None:
        """Reads nothing until all others have had their turn, and for so long at least."""
        self._unwatch()
        self._pause_timer = self._later(min(seconds, LONGEST_PAUSE), self._pause_over)

    def _pause_over(self) -> None:
        self.service.hub.now = time.monotonic()
        # Others that share its meter may have spent meanwhile what it waited for, but they take turns.
        if self.client.owed > LONGEST_PAUSE:
            self.pause(self.client.owed)
            return
        if self._stall_timer is not None:
            # It waits for a receiver besides, and would only heap up more for it.
            self._pause_timer = self._later(STALL_TURN, self._pause_over)
            return
        self._pause_timer = None
        self.session.go_on()
        self._take_up()

    def _take_up(self) -> None:
        """Goes on reading after a time in which nothing was read."""
        if self.channel is None:
            self._turn_over()
        else:
            # Records that came meanwhile wait in the channel, and the socket will not announce them again.
            self._opened_records(self.channel)
        self._read_on()

    def _turn_over(self) -> None:
        """The end of a read turn: everyone who got bytes is flushed, and a publisher may have to wait."""
        received, subscribed = self.client.in_messages, len(self.session.subscriptions)
        if received != self._messages_in or subscribed != self._subscriptions:
            self._messages_in, self._subscriptions = received, subscribed
            self.active = self.service.hub.now
        self.service.flush_dirty()
        congested = self.client.take_congested()
        if congested is not None and congested.pending > congested.soft_ceiling:
            owner = congested.owner
            if isinstance(owner, Session) and isinstance(owner.transport, Connection):
                self._stall(owner.transport)

    # Waiting for receivers that lag

    def _stall(self, receiver: Connection) -> None:
        """Reads nothing more for a while: until the receiver has room again, or takes nothing.

        A receiver that was waited for in vain is not waited for again before it takes something.
        """
        if self.service.options.no_fast_producer_stall or self.ended is not None or self._stall_timer is not None:
            return
        if receiver._written - receiver._given_up_at < STALL_PROGRESS:
            return
        self._unwatch()
        self.service.stalls += 1
        self.stalls += 1
        if receiver._waiting is None:
            receiver._waiting = []
        receiver._waiting.append(self)
        self._stall_timer = self._later(STALL_TURN, self._stall_over, receiver, receiver._written)

    def _stall_over(self, receiver: Connection, written: int) -> None:
        self._stall_timer = None
        if receiver.ended is None and receiver._congested():
            if receiver._written - written >= STALL_PROGRESS:
                self._stall_timer = self._later(STALL_TURN, self._stall_over, receiver, receiver._written)
                return
            receiver._given_up_at = receiver._written
        if receiver._waiting is not None and self in receiver._waiting:
            receiver._waiting.remove(self)
        self._read_on()

    def _congested(self) -> bool:
        return self.client.pending > self.client.soft_ceiling // 2

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        for publisher in waiting or ():
            if publisher._stall_timer is not None:
                publisher._stall_timer.cancel()
                publisher._stall_timer = None
            publisher._read_on()

    # Writing

    def flush(self) -> None:
        """Writes what waits, as far as the socket takes it."""
        with self:
            self._flush()

    def _flush(self) -> None:
        client = self.client
        if client.overflowed and self.session.state is not State.CLOSED:
            self.service.slow_consumer(self.session, f"MaxPending of {client.ceiling} Exceeded")
            self.session.close(CloseReason.SLOW_CONSUMER_PENDING)
            return
        if self.ended is not None or self._writing or not client.pending:
            client.settle()
            return
        sent = client.out_messages
        if sent != self._messages_out:
            self._messages_out = sent
            self.active = self.service.hub.now
        self._write()
        self.session.check_data()

    def _write(self) -> None:
        client = self.client
        channel = self.channel
        try:
            if channel is None:
                count = self.sock.send(client.view())
                rest = client.consume(count)
            else:
                count = channel.write(client.view())
                rest = client.consume(count) + channel.waiting
        except (BlockingIOError, InterruptedError):
            count = 0
            rest = client.pending
        except (OSError, ssl.SSLError):
            client.discard()
            if self.session.state is State.CLOSED:
                self._destroy()
            else:
                self.session.close(CloseReason.WRITE_ERROR)
            return
        self._written += count
        if rest:
            self._write_on()
        else:
            self._written_out()
        if self._waiting and not self._congested():
            self._release_waiting()

    def _write_on(self) -> None:
        if self._writing:
            return
        self._writing = True
        self.service.loop.add_writer(self.descriptor, self._room_to_write)
        self._expect_progress()

    def _written_out(self) -> None:
        if self._writing:
            self._writing = False
            self.service.loop.remove_writer(self.descriptor)
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None
        if self._behind_since is not None:
            seconds = time.monotonic() - self._behind_since
            self._behind_since = None
            journal.write(LOGGER, logging.INFO, self.session, "Slow Consumer Recovered: Flush took %.3fs", seconds)
        if self.session.state is State.CLOSED and self.ended is None:
            self._destroy()

    @property
    def _moved(self) -> int:
        """Bytes that the socket has taken, those of TLS included."""
        return self._written if self.channel is None else self.channel.sent

    def _expect_progress(self) -> None:
        """Whatever waits now must be written before the deadline; a receiver that trickles does not count as alive."""
        self._written_by_deadline = self._written + self.client.pending
        if self.channel is not None:
            self._sent_by_deadline = self.channel.sent + self.channel.waiting
        self._moved_before = self._moved
        seconds = LINGER if self.session.state is State.CLOSED else self.service.options.write_deadline
        self._deadline_timer = self._later(seconds, self._deadline)

    def _deadline(self) -> None:
        self._deadline_timer = None
        if self.session.state is State.CLOSED:
            self._destroy()
        elif self._written < self._written_by_deadline or (
            self.channel is not None and self.channel.sent < self._sent_by_deadline
        ):
            self._miss_deadline()
        else:
            self._expect_progress()

    def _miss_deadline(self) -> None:
        """Ends a client that lags, unless writes are to be retried and it took something at least."""
        seconds = self.service.options.write_deadline
        self.service.slow_consumer(
            self.session,
            f"WriteDeadline of {seconds:g}s exceeded with {self.client.pending} bytes",
            again=self._behind_since is not None,
        )
        retry = self.service.options.write_timeout is WriteTimeout.RETRY and self.session.state is State.ACTIVE
        if retry and self._moved > self._moved_before:
            if self._behind_since is None:
                self._behind_since = time.monotonic() - seconds
            self._expect_progress()
        else:
            self.client.discard()
            self.session.close(CloseReason.SLOW_CONSUMER_DEADLINE)

    # Clocks

    def _ping(self) -> None:
        session = self.session
        self.service.hub.now = time.monotonic()
        if self.client.owed:
            # Nothing is read of a client that sent too much, so its silence says nothing.
            session.liveness.last_heard = self.service.hub.now
        if session.state is State.ACTIVE or not self.service.control.must_authenticate(session):
            session.ping_due()
            self.service.flush_dirty()
        if self.ended is None and session.state is not State.CLOSED:
            self._ping_timer = self._later(session.liveness.interval, self._ping)

    def authenticated(self) -> None:
        """CONNECT has come: its deadline is over."""
        if self.connected is None:
            self.connected = time.time()
        self.active = time.monotonic()
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None

    def verify_aside(self, connect: ConnectOptions) -> None:
        """Verifies in a thread, or once an account is found, reads nothing meanwhile, and tells the session the end."""
        self._unwatch()
        service = self.service
        search = service.control.search(self.session, connect)
        if search is not None:
            self._verification = search
            search.add_done_callback(partial(self._searched, connect))
            return
        work = self._verification = service.loop.run_in_executor(
            service.verifier(), service.control.authenticate, self.session, connect
        )
        work.add_done_callback(partial(self._verified, connect, service.control.authenticator))

    def _searched(self, connect: ConnectOptions, search: asyncio.Future[None]) -> None:
        self._verification = None
        if search.cancelled():
            return
        with self:
            search.result()
            self.service.hub.now = time.monotonic()
            try:
                result: Principal | Delegation | AuthError = self.service.control.authenticate(self.session, connect)
            except AuthError as error:
                result = error
            self.session.verified(result)
            self._take_up()

    def _verified(
        self, connect: ConnectOptions, by: Authenticator, work: asyncio.Future[Principal | Delegation]
    ) -> None:
        self._verification = None
        if not work.cancelled():
            with self:
                error = work.exception()
                if error is not None and not isinstance(error, AuthError):
                    raise error
                self._go_on(connect, by, work.result() if error is None else error)

    def delegate(self, connect: ConnectOptions, delegation: Delegation) -> None:
        """Has somebody else decide, reads nothing meanwhile, and tells the session what came of it.

        CONNECT has come in time, so from here on the time counts that whoever is asked may take.
        """
        self._unwatch()
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None
        control = self.service.control
        done = partial(self._decided, connect, control.authenticator)
        control.desk.ask(self.session, connect, delegation, self._secured(), done)

    def _secured(self) -> Secured | None:
        if self.sealed is None or self.tls is None:
            return None
        return Secured(*self.tls, verified_chain(self.sealed.connection))

    def _decided(self, connect: ConnectOptions, by: Authenticator, verdict: Principal | AuthError) -> None:
        with self:
            self._go_on(connect, by, verdict)

    def _go_on(self, connect: ConnectOptions, by: Authenticator, verdict: Principal | Delegation | AuthError) -> None:
        if by is not self.service.control.authenticator and self.session.state is State.VERIFYING:
            # The settings were replaced meanwhile, and those of before admit nobody any more.
            self.verify_aside(connect)
            return
        self.service.hub.now = time.monotonic()
        self.session.verified(verdict)
        self._take_up()

    def expire_at(self, moment: float | None) -> None:
        """Ends the session at a Unix time; None calls it off."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        if moment is None:
            return
        left = moment - time.time()
        if left <= 0:
            self._expiry_timer = self._later(0, self.session.expired)
        else:
            self._expiry_timer = self._later(min(left, LONGEST_TIMER), self.expire_at, moment)

    # Facts

    @property
    def tls(self) -> tuple[str, str] | None:
        """Version and cipher suite as OpenSSL names them; None in the clear."""
        if self.sealed is None or not self.session.secured:
            return None
        cipher = self.sealed.connection.cipher()
        return self.sealed.connection.version() or "", "" if cipher is None else cipher[0]

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate in DER, None where it showed none."""
        if self.sealed is None or not self.session.secured:
            return None
        return self.sealed.connection.getpeercert(binary_form=True)

    # The end

    def end(self, reason: CloseReason) -> None:
        """Called by the session: stops reading and clocks, writes out the rest for a moment, and closes."""
        self._stop()
        self._release_waiting()
        if reason in {CloseReason.SLOW_CONSUMER_PENDING, CloseReason.SLOW_CONSUMER_DEADLINE}:
            self.client.discard()
            self._destroy()
        elif self._writing:
            self._expect_progress()
        elif self.client.pending or (self.channel is not None and self.channel.waiting):
            self._write()
        else:
            self._written_out()

    def _stop(self) -> None:
        self._unwatch()
        if self._verification is not None:
            # Clients that come, ask and go must not keep those who stay waiting for the thread.
            self._verification.cancel()
        for timer in (
            self._connect_timer, self._expiry_timer, self._pause_timer, self._ping_timer, self._stall_timer,
            self._upgrade_timer, self._deadline_timer,
        ):
            if timer is not None:
                timer.cancel()
        self._connect_timer = self._expiry_timer = self._pause_timer = self._ping_timer = None
        self._stall_timer = self._upgrade_timer = self._deadline_timer = None

    def _say_goodbye(self) -> None:
        """Ends the stream in order. A client that has ended its own waits for nothing any more."""
        if self.channel is not None:
            self.channel.finish()
        with contextlib.suppress(OSError):
            # Unread bytes would turn the close into a reset, and the client might not see what it was told.
            self.sock.shutdown(socket.SHUT_WR)
            for _ in range(LAST_READS):
                if not self.sock.recv(64 * 1024):
                    break

    def _destroy(self) -> None:
        if self.ended is not None:
            return
        self.ended = time.time()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
            self._deadline_timer = None
        if self._writing:
            self.service.loop.remove_writer(self.descriptor)
            self._writing = False
        if not self._peer_ended:
            self._say_goodbye()
        self.sock.close()
        self.client.discard()
        self.service.connection_ended(self)
        self.session.let_go()
