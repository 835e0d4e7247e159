"""What all connections of one server share: loop, hub, buffers, and the flush at the end of a turn."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from auth.evidence import CertificateFacts
from broker.control.tenant import Tenant
from broker.core.parser import ReadBuffer
from broker.net.admission import Admission, Eviction, Guest, Refusal
from broker.net.certificates import NOTHING_SERVED, Certificates
from broker.net.channel import Ciphertext
from broker.net.failures import Contained
from broker.net.inspection import Inspection
from broker.net.presence import Presence
from broker.net.rate import HandshakeRate
from broker.net.staples import Staples
from broker.net.turns import Turns
from broker.session import journal
from broker.session.record import ConnectionRecord
from broker.session.session import Session
from broker.session.trace import Tracer
from broker.wire.errors import CloseReason
from tls.identity import peer_certificate
from tls.pins import check_pin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.config.options import Options, TLSOptions
    from broker.control.control import Control
    from broker.net.connection import Connection
    from tls.engine import ServerConnection
    from tls.served import Served

LOGGER: Final = logging.getLogger("natskeep.net")

READ_BUFFER: Final = 256 * 1024

MOST_CONNECTIONS: Final = 65536
"""Connections that are reckoned with where nothing limits them."""

OTHER_FILES: Final = 128
"""Descriptors that are kept for what is no connection."""

FAILURES: Final = frozenset(
    {
        CloseReason.AUTHENTICATION_TIMEOUT,
        CloseReason.AUTHENTICATION_FAILURE,
        CloseReason.AUTHENTICATION_EXPIRED,
        CloseReason.TLS_HANDSHAKE_FAILURE,
        CloseReason.PARSE_ERROR,
        CloseReason.PROTOCOL_VIOLATION,
        CloseReason.BAD_PROTOCOL_VERSION,
        CloseReason.MAXIMUM_CONTROL_LINE,
        CloseReason.REVOKED,
        CloseReason.PROXY_NOT_TRUSTED,
        CloseReason.PROXY_REQUIRED,
    }
)
"""Ends of a guest that are held against its address."""

GAVE_UP: Final = frozenset({CloseReason.CLIENT_CLOSED, CloseReason.READ_ERROR, CloseReason.WRITE_ERROR})
"""So are these, where somebody was busy with it: who asks and does not wait must not ask without end."""
VERIFIERS: Final = 1
"""Threads that compare passwords with bcrypt hashes."""

SOFT_CEILING: Final = 1024 * 1024
"""Bytes waiting for a receiver above which its publishers are asked to wait."""


def room_for_connections(maximum: int) -> int:
    """How many connections there can be, by the configuration and by the open files that the process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    rooms = [room for room in (maximum, limit - OTHER_FILES) if room > 0]
    return min(rooms, default=MOST_CONNECTIONS)


class Service:
    """The shared side of all connections of one server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Options,
        control: Control,
        served: Mapping[str, Served] = NOTHING_SERVED,
        *,
        staples: Staples | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        self.loop = loop
        self.options = options
        self.control = control
        self.hub = control.hub
        control.after_call = self.flush_dirty
        control.trail.later = self._later
        self.certificates = Certificates(served)
        self.staples = staples or Staples()
        self.inspection = inspection or Inspection(loop)
        self.read_buffer = ReadBuffer(READ_BUFFER)
        self.ciphertext = Ciphertext()
        self.plaintext = Ciphertext()
        """What is opened of TLS and is not yet out of its WebSocket frames."""
        self.admission = Admission(options.admission, room_for_connections(options.max_connections))
        self.presence = Presence(loop)
        self.handshakes = Turns(loop, newest_first=True)
        """Handshakes that are to begin."""
        self.overdue = Turns(loop, newest_first=False)
        """Connections that have missed a deadline before login."""
        self.handshake_rate = HandshakeRate()
        self.websocket_handshake_rate = HandshakeRate()
        self.soft_ceiling = min(SOFT_CEILING, options.max_pending * 3 // 4)
        self.connections: dict[int, Connection] = {}
        self.closed: deque[ConnectionRecord] = deque(maxlen=max(options.max_closed_clients, 0))
        self.reloaded_at: float | None = None
        """Unix time of the last reload."""
        self._last_cid = 0
        self.total_connections = 0
        self.slow_consumers = 0
        self.stale_connections = 0
        self.stalls = 0
        self.closed_counts = [0, 0, 0, 0]
        """Messages and bytes in, messages and bytes out of the connections that are gone."""
        self._all_ended: asyncio.Event | None = None

        self._verifier: ThreadPoolExecutor | None = None

    def _later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self._called, callback)

    def _called(self, callback: Callable[[], None]) -> None:
        with Contained():
            callback()

    # Guests

    def admit(self, guest: Guest) -> None:
        """Drops who has to go for a guest, or for what it makes the server hold."""
        while (found := self.admission.surplus(guest)) is not None:
            self._drop(*found)

    def hold(self, guest: Guest, size: int) -> None:
        """Notes how many bytes a guest makes the server hold now, and drops who has to go for that."""
        self.admission.hold(guest, size)
        self.admit(guest)

    def makes_room(self, why: Eviction) -> bool:
        """Drops a guest so that another connection can come; whether there was one."""
        found = self.admission.makes_room(why)
        if found is not None:
            self._drop(*found)
        return found is not None

    def _drop(self, cid: int, why: Eviction) -> None:
        self.admission.evicted[why] += 1
        self.control.trail.crowded("dropped", why.value)
        connection = self.connections[cid]
        guest = connection.guest
        with connection:
            connection.give_way()
        if guest is not None:
            # Also where that failed: who is dropped makes room.
            self.admission.leave(guest)

    def count_refusal(self, why: Refusal) -> None:
        """Notes that somebody was not let in, or no further."""
        self.admission.refused[why] += 1
        self.control.trail.crowded("refused", why.value)

    def guest_left(self, guest: Guest, reason: CloseReason) -> None:
        """Notes that somebody left, or was turned out, before it was known who it was."""
        self.admission.leave(guest)
        gave_up = guest.is_judged and reason in GAVE_UP
        if (reason in FAILURES or gave_up) and not self.control.trail.is_unrecorded():
            seconds = self.admission.failed(guest, time.monotonic())
            if seconds:
                self.control.trail.backed_off(guest.address, seconds)

    def next_cid(self) -> int:
        """The number of one more connection."""
        self._last_cid += 1
        return self._last_cid

    def verifier(self) -> ThreadPoolExecutor:
        """The threads in which passwords are compared with their hashes; few, so that a flood leaves a core free."""
        if self._verifier is None:
            self._verifier = ThreadPoolExecutor(VERIFIERS, "natskeep-verifier")
        return self._verifier

    def shut_verifier(self) -> None:
        """Ends the threads; comparisons that have not begun are dropped."""
        if self._verifier is not None:
            self._verifier.shutdown(wait=True, cancel_futures=True)
            self._verifier = None

    def flush_dirty(self) -> None:
        """Writes out everything that the last turn put into outboxes, and ends what reached its end."""
        hub = self.hub
        finished = hub.take_finished()
        if finished:
            self.control.finish(finished)
        while deferred := hub.take_deferred():
            for call, arguments in deferred:
                with Contained():
                    call(*arguments)
        while hub.has_dirty:
            for outbox in hub.take_dirty():
                owner = outbox.owner
                if isinstance(owner, Session):
                    owner.transport.flush()

    def slow_consumer(self, session: Session, why: str, *, again: bool = False) -> None:
        """Counts and reports a client that does not take what it is sent; `again` says that it was reported before."""
        self.slow_consumers += 1
        if isinstance(session.tenant, Tenant):
            session.tenant.slow_consumers += 1
        journal.write(LOGGER, logging.INFO, session, "Slow Consumer %s: %s",
                      "State" if again else "Detected", why)

    def retrace(self) -> None:
        """Traces all connections, or none, as the options say now."""
        for connection in self.connections.values():
            self.trace(connection.session)

    def trace(self, session: Session) -> None:
        """Traces one connection, or does not, as the options say."""
        logging_options = self.options.logging
        session.trace(
            Tracer(session, maximum=logging_options.max_traced_msg_len, headers_only=logging_options.trace_headers)
            if logging_options.trace
            else None
        )

    def check_peer(self, connection: ServerConnection, tls: TLSOptions | None) -> CertificateFacts | None:
        """What the peer's certificate says of its holder, where users are found by it on the port that it came to.

        Raises CertificateFormatError for one that cannot be read, PinMismatchError for one that is not pinned.
        """
        if tls is None or not (tls.verify or tls.pinned_certs):
            # Nobody was asked for one.
            return None
        der = connection.peer_certificate
        peer = None if der is None else peer_certificate(der)
        check_pin(None if peer is None else peer.public_key_sha256, tls.pinned_certs)
        if peer is None or not tls.verify_and_map:
            return None
        return CertificateFacts(
            emails=peer.emails, dns_names=peer.dns_names, uris=peer.uris, subject=peer.subject
        )

    def connection_ended(self, connection: Connection) -> None:
        """Moves a connection from the open ones to those that monitoring remembers."""
        self.connections.pop(connection.session.cid, None)
        client = connection.client
        counts = self.closed_counts
        counts[0] += client.in_messages
        counts[1] += client.in_bytes
        counts[2] += client.out_messages
        counts[3] += client.out_bytes
        if connection.session.close_reason is CloseReason.STALE_CONNECTION:
            self.stale_connections += 1
        if self.closed.maxlen:
            self.closed.append(ConnectionRecord.of(connection, time.time(), time.monotonic()))
        if not self.connections and self._all_ended is not None:
            self._all_ended.set()

    async def all_ended(self) -> None:
        """Returns once no connection is open."""
        if self.connections:
            self._all_ended = asyncio.Event()
            await self._all_ended.wait()
            self._all_ended = None
