"""One accepted socket: its way to a session, and the bytes in and out from then on."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from auth.errors import AuthError
from broker.core.parser import Lane
from broker.core.plan import Client
from broker.net.proxied import Proxied, is_trusted
from broker.net.securing import EARLY_READ, HANDSHAKE_BYTES, Securing
from broker.net.writing import STALL_TURN
from broker.session import journal
from broker.session.liveness import Liveness
from broker.session.session import Session
from broker.session.states import State
from broker.wire.errors import CloseReason, ErrorText

if TYPE_CHECKING:
    import asyncio
    from asyncio import TimerHandle
    from collections.abc import Callable

    from auth.authenticate import Authenticator
    from auth.callout import Delegation
    from auth.principal import Principal
    from broker.config.options import Options
    from broker.net.channel import Channel
    from broker.net.framing import FrameChannel
    from broker.net.service import Service
    from broker.wire.connect import ConnectOptions

LOGGER: Final = logging.getLogger("natskeep.net")

LAST_READS: Final = 16
"""Reads of 64 KiB that a closing connection spends on what the client still sent."""

LONGEST_PAUSE: Final = 1.0
"""Seconds after which it is looked again whether a client that sent too much may go on: its rates may have changed."""

LONGEST_TIMER: Final = 3600.0
"""Expiry is a time of the wall clock, which can be set; it is looked at no less often than this, in seconds."""


class Connection(Proxied):
    """The transport of one session. All methods run in the loop's thread."""

    __slots__ = (
        "_connect_timer",
        "_expiry_timer",
        "_inside",
        "_messages_in",
        "_pause_timer",
        "_peer_ended",
        "_ping_timer",
        "_subscriptions",
        "connected",
        "lane",
        "started",
    )

    def __init__(self, service: Service, sock: socket.socket, host: str, port: int, cid: int) -> None:
        super().__init__(service, sock)
        self.started = time.time()
        self.connected: float | None = None
        """Unix time at which CONNECT was accepted."""
        self._inside: str | None = None
        """What its address counts under, once it is known who it is."""
        self._messages_in = 0
        self._subscriptions = 0
        self._handler = Connection._readable
        self._peer_ended = False
        self._connect_timer: TimerHandle | None = None
        self._expiry_timer: TimerHandle | None = None
        self._pause_timer: TimerHandle | None = None
        self._ping_timer: TimerHandle | None = None
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

    # Beginning

    def _begin(self) -> None:
        """Sends INFO or waits for TLS first, as the listener is configured."""
        tls = self.tls_options
        if tls is None:
            self._greet()
            self._open()
        elif tls.handshake_first is False:
            self._greet_before_tls()
        else:
            self.tls_first = True
            self._watch(Securing._first_bytes_before_info)
            if tls.handshake_first is True:
                self._upgrade_within(tls.timeout)
            else:
                self._upgrade_timer = self._later(float(tls.handshake_first), self._no_tls_first)

    def refuse(self, text: str, reason: CloseReason) -> None:
        """Sends INFO and an error, and closes: the server takes no further connection.

        Behind a proxy it closes without a word, since INFO would tell the address of the proxy.
        """
        journal.write(LOGGER, logging.DEBUG, self.session, "Client connection created")
        if is_trusted(self.proxy_of(self.service.options), self.session.remote_ip):
            self.session.close(reason)
            return
        self._greet()
        self.session.fail(text, reason)

    def _greet(self) -> None:
        self.session.greet()
        self.flush()

    def ping_interval_of(self, options: Options) -> float:
        """Seconds between PINGs, as these options have them."""
        return options.ping_interval

    @property
    def takes_text(self) -> bool:
        """Whether it can be told something: it needs no handshake, or is behind it."""
        return self._header is None and (self.tls_options is None or self.session.secured)

    @property
    def authentication_timeout(self) -> float:
        """Seconds in which the client must send CONNECT."""
        return self.service.options.authorization_timeout

    def _begin_secured(self, channel: Channel) -> None:
        if self.tls_first:
            self._greet()
        self._open()
        if self.ended is None:
            # The client's first words may have come in one piece with the end of its handshake.
            self._opened_records(channel)
            self._held_changed()

    def _connect_overdue(self) -> None:
        self.session.connect_overdue()

    def _open(self) -> None:
        """From here on bytes belong to the session."""
        if self.session.state is State.CLOSED:
            return
        service = self.service
        if service.control.must_authenticate(self.session):
            seconds = self.authentication_timeout
            self._connect_timer = self._later(seconds, self.service.overdue.take, self, Connection._connect_overdue)
        else:
            self._come_in()
        liveness = self.session.liveness
        liveness.last_heard = time.monotonic()
        self._ping_timer = self._later(liveness.first_delay(), self._ping)
        self._read_on()

    # Reading

    def _read_on(self) -> None:
        if self.ended is None and self._stall_timer is None and self.session.listens:
            self._watch(self._reader())

    def _reader(self) -> Callable[[Connection], None]:
        if self.guest is not None:
            return Connection._readable_early
        return Connection._readable if self.channel is None else Connection._readable_sealed

    def _readable_early(self) -> None:
        """Reads little at a time of a guest, and counts what it makes the server hold."""
        if self.channel is None:
            self._readable(EARLY_READ)
        else:
            self._readable_sealed(EARLY_READ)
        self._held_changed()

    def _held_changed(self) -> None:
        if self.guest is not None:
            self.service.hold(self.guest, self.held)

    @property
    def held(self) -> int:
        """Bytes that the server holds for what has come of it and is not complete."""
        return self.lane.unfinished + (0 if self.sealed is None else HANDSHAKE_BYTES)

    def _readable(self, limit: int = 0) -> None:
        lane = self.lane
        try:
            count = self.sock.recv_into(lane.room(), limit)
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

    def _readable_sealed(self, limit: int = 0) -> None:
        channel = self.channel
        if channel is None:
            return
        try:
            if channel.receive(limit) == 0:
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
        self._come_in()
        if self.connected is None:
            self.connected = time.time()
        self.active = time.monotonic()
        self._connect_came()

    def _connect_came(self) -> None:
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None
            # Its deadline may be over, and only its turn have not come yet.
            self.service.overdue.forget(self)

    def _come_in(self) -> None:
        """It is no guest any more."""
        guest, self.guest = self.guest, None
        if guest is not None:
            self._inside = guest.address
            self.service.admission.leave(guest)
            self.service.admission.logged_in(guest.address)
            if self._reading:
                self._watch(self._reader())

    def give_way(self) -> None:
        """Ends a guest at once, because another needs its place."""
        if self.takes_text:
            self.session.fail(ErrorText.CONNECTIONS_EXCEEDED, CloseReason.MAXIMUM_CONNECTIONS, level=logging.DEBUG)
        else:
            self.client.discard()
            self.session.close(CloseReason.MAXIMUM_CONNECTIONS)
        self._destroy()

    def verify_aside(self, connect: ConnectOptions) -> None:
        """Verifies in a thread, or once an account is found, reads nothing meanwhile, and tells the session the end."""
        self._unwatch()
        if self.guest is not None:
            self.guest.is_judged = True
        service = self.service
        search = service.control.search(self.session, connect)
        if search is not None:
            self._verification = search
            search.add_done_callback(partial(self._searched, connect))
            return
        work = self._verification = service.loop.run_in_executor(
            service.verifier(), service.control.judge, self.session, connect
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
                if isinstance(error, AuthError):
                    self.service.control.failed(self.session, error)
                elif error is not None:
                    raise error
                self._go_on(connect, by, work.result() if error is None else error)

    def delegate(self, connect: ConnectOptions, delegation: Delegation) -> None:
        """Has somebody else decide, reads nothing meanwhile, and tells the session what came of it.

        CONNECT has come in time, so from here on the time counts that whoever is asked may take.
        """
        self._unwatch()
        if self.guest is not None:
            self.guest.is_judged = True
        self._connect_came()
        self.service.presence.watch(self)
        control = self.service.control
        done = partial(self._decided, connect, control.authenticator)
        control.desk.ask(self.session, connect, delegation, self.secured_by, done)

    def peer_left(self) -> None:
        """The client ended its stream while somebody was asked who it is. The place of its login is for others."""
        self._peer_ended = True
        self.session.close(CloseReason.CLIENT_CLOSED)

    def _decided(self, connect: ConnectOptions, by: Authenticator, verdict: Principal | AuthError) -> None:
        with self:
            self.service.presence.forget(self)
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

    # The end

    def end(self, reason: CloseReason) -> None:
        """Called by the session: stops reading and clocks, writes out the rest for a moment, and closes."""
        self._stop()
        self._go_out(reason)
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

    def _go_out(self, reason: CloseReason) -> None:
        guest, self.guest = self.guest, None
        if guest is not None:
            self.service.guest_left(guest, reason)
        elif self._inside is not None:
            self.service.admission.logged_out(self._inside)
            self._inside = None

    def _stop(self) -> None:
        self._unwatch()
        service = self.service
        service.presence.forget(self)
        service.handshakes.forget(self)
        service.overdue.forget(self)
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
        if self.sealed is not None:
            self.sealed.let_go()
        self.sock.close()
        self.client.discard()
        self.service.connection_ended(self)
        self.session.let_go()
