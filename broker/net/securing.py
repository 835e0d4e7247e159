"""The way of a connection through TLS: what its first bytes are, the handshake, and what comes of it."""

from __future__ import annotations

import logging
import socket
import time
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from broker.log.text import printable
from broker.net.admission import Guest, Refusal
from broker.net.certificates import CLIENT
from broker.net.channel import Channel
from broker.net.writing import Writing
from broker.session import journal
from broker.wire.errors import CloseReason, ErrorText
from tls.failures import NOT_TLS, HandshakeError, PeerRefusedError, UnverifiedPeerError
from tls.identity import CertificateFormatError, Secured
from tls.pins import PinMismatchError

if TYPE_CHECKING:
    import asyncio
    from asyncio import TimerHandle

    from broker.config.options import Options, TLSOptions
    from broker.net.rate import HandshakeRate
    from broker.net.service import Service
    from tls.engine import ServerContext
    from tls.revocation.answers import Finding

LOGGER: Final = logging.getLogger("natskeep.net")

TLS_HANDSHAKE_RECORD: Final = b"\x16"
"""The content type of a record that carries a ClientHello (RFC 8446, section 5.1)."""

EARLY_READ: Final = 16 * 1024
"""Bytes that are read at once of who has not logged in: what comes behind CONNECT waits where it is meanwhile."""

HANDSHAKE_BYTES: Final = 48 * 1024
"""What OpenSSL holds for one handshake, about."""


class Securing(Writing):
    """What of a connection secures it.

    Nothing is read from a socket before its first byte was looked at, so bytes in the clear never reach the parser of a
    secured connection.
    """

    __slots__ = ("_is_timed", "_upgrade_timer", "_verification", "guest", "sealed", "tls_first")
    listener: ClassVar[str] = CLIENT
    """What its port is called among those with TLS."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        super().__init__(service, sock)
        self.sealed: Channel | None = None
        """TLS on the socket."""
        self.tls_first = False
        self.guest: Guest | None = None
        """What it counts as while it is not known who it is."""
        self._upgrade_timer: TimerHandle | None = None
        self._verification: asyncio.Future[Any] | None = None
        """What somebody finds out about the client; nothing is read meanwhile."""
        self._is_timed = False
        """Whether that timer is the deadline of the handshake, which what has come of it does not put off."""

    # What its port has of its own

    def tls_of(self, options: Options) -> TLSOptions | None:
        """TLS of the port that it came to, as these options have it."""
        return options.tls

    @property
    def tls_options(self) -> TLSOptions | None:
        """TLS of the port that it came to, as it is now."""
        return self.tls_of(self.service.options)

    @property
    def allows_clear(self) -> bool:
        """Whether clients of its port may go without TLS where it has that."""
        return self.service.options.allow_non_tls

    @property
    def tls_context(self) -> ServerContext | None:
        """What it is secured with, where it is not yet."""
        return self.service.certificates.context(self.listener)

    @property
    def handshake_rate(self) -> HandshakeRate:
        """What counts the handshakes of the port that it came to."""
        return self.service.handshake_rate

    @property
    def _tls_timeout(self) -> float:
        tls = self.tls_options
        return 0.0 if tls is None else tls.timeout

    # Upgrading

    def _greet_before_tls(self) -> None:
        self.tls_first = False
        self._greet()
        if self.ended is None:
            self._watch(Securing._first_bytes_after_info)
            if self.allows_clear:
                # Who says nothing until then is taken for a client in the clear, whose own deadlines begin.
                self._upgrade_timer = self._later(self._tls_timeout, self._stay_in_the_clear)
            else:
                self._upgrade_within(self._tls_timeout)

    def _no_tls_first(self) -> None:
        self._unwatch()
        self._greet_before_tls()

    def _upgrade_within(self, seconds: float) -> None:
        self._in_time()
        self._upgrade_timer = self._later(seconds, self.service.overdue.take, self, Securing._overdue)
        self._is_timed = True

    def _in_time(self) -> None:
        """What was waited for has come."""
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
            self._upgrade_timer = None
        # Its deadline may be over, and only its turn have not come yet.
        self.service.overdue.forget(self)

    def _overdue(self) -> None:
        self._upgrade_overdue()

    def _upgrade_overdue(self) -> None:
        if self._verification is not None:
            self._upgrade_failed("nothing was found out about the certificate within the timeout")
            return
        journal.write(LOGGER, logging.DEBUG, self.session, "TLS handshake timeout")
        self._end_unsecured()

    def _upgrade_failed(self, why: str, level: int = logging.ERROR, *, denial: str = "") -> None:
        journal.write(LOGGER, level, self.session, "TLS handshake error: %s", printable(why), denial=denial)
        self._end_unsecured()

    def _refuse_peer(self, why: str, whose: str = "") -> None:
        denial = self.service.control.trail.certificate_refused(self.session, whose, why)
        self._upgrade_failed(f"{why} - denial {denial}" if denial else why, denial=denial)

    def _end_unsecured(self) -> None:
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
            self._in_the_clear()

    def _first_bytes_after_info(self) -> None:
        first = self._peek()
        if first is None:
            return
        if first == TLS_HANDSHAKE_RECORD:
            self._begin_upgrade()
        elif first == b"":
            self.session.close(CloseReason.CLIENT_CLOSED)
        elif self.allows_clear:
            self._stay_in_the_clear()
        else:
            self._in_the_clear()

    def _in_the_clear(self) -> None:
        self._upgrade_failed(NOT_TLS, logging.DEBUG)

    def _stay_in_the_clear(self) -> None:
        self._in_time()
        self._open()

    def _begin_upgrade(self) -> None:
        refusal = self._handshake_refusal()
        if refusal is not None:
            self.service.count_refusal(refusal)
            # In the clear, as nats-server says it: there will be no handshake.
            self.session.fail(ErrorText.THROTTLED, CloseReason.MAXIMUM_CONNECTIONS, level=logging.DEBUG)
            return
        journal.write(LOGGER, logging.DEBUG, self.session, "Starting TLS client connection handshake")
        if not self._is_timed:
            self._upgrade_within(self._tls_timeout)
        self.service.handshakes.take(self, Securing._shake_hands)
        if self in self.service.handshakes:
            self._unwatch()

    def _shake_hands(self) -> None:
        """The handshake begins: its first step costs most of it."""
        context = self.tls_context
        if context is None:
            self._upgrade_failed("no certificate is loaded")
            return
        service = self.service
        problem = service.staples.problem(self.listener)
        if problem:
            self._upgrade_failed(problem)
            return
        judge = service.inspection.judge(self.tls_options, service.certificates.lists(self.listener))
        self.channel = self.sealed = Channel(self.sock, context, service.ciphertext, judge)
        if self.guest is not None:
            self.service.hold(self.guest, HANDSHAKE_BYTES)
        if self.ended is None:
            self._watch(Securing._handshake)
            self._handshake()

    def _handshake_refusal(self) -> Refusal | None:
        """Why no handshake may begin now: one address is looked at before all, so that it cannot take what all have."""
        now, guest, tls = time.monotonic(), self.guest, self.tls_options
        if guest is not None and not self.service.admission.may_shake_hands(guest, now):
            return Refusal.HANDSHAKES
        if tls is not None and not self.handshake_rate.admits(tls.connection_rate_limit, now):
            return Refusal.HANDSHAKE_RATE
        return None

    def _handshake(self) -> None:
        channel = self.sealed
        if channel is None:
            return
        try:
            if channel.receive(EARLY_READ) == 0:
                self._upgrade_failed("EOF")
                return
            done = channel.handshake()
        except (BlockingIOError, InterruptedError):
            return
        except PeerRefusedError as error:
            self._certificate_refused(cast("Finding", error.reason))
            return
        except UnverifiedPeerError as error:
            self._refuse_peer(str(error), error.subject)
            return
        except CertificateFormatError as error:
            self._refuse_peer(str(error))
            return
        except HandshakeError as error:
            self._upgrade_failed(str(error))
            return
        except OSError as error:
            self._upgrade_failed((error.strerror or "connection broken").lower())
            return
        if done:
            self._upgraded(channel)

    def _upgraded(self, channel: Channel) -> None:
        tls = self.tls_options
        try:
            self.session.certificate = self.service.check_peer(channel.connection, tls)
            asked = None if tls is None else self._ask(channel, tls)
        except CertificateFormatError as error:
            self._refuse_peer(str(error))
            return
        except PinMismatchError as error:
            journal.write(LOGGER, logging.DEBUG, self.session, "Failed pinned cert test %s", error.how)
            self._refuse_peer(str(error), error.whose)
            return
        if asked is not None:
            self._unwatch()
            self._verification = asked
            asked.add_done_callback(partial(self._answered, channel))
        else:
            self._secured(channel)

    def _ask(self, channel: Channel, tls: TLSOptions) -> asyncio.Task[Finding | None] | None:
        """What is to be waited for before the client goes on. Raises CertificateFormatError."""
        if not tls.ocsp_peer.verify:
            return None
        service = self.service
        left = 0.0 if self._upgrade_timer is None else self._upgrade_timer.when() - service.loop.time()
        return service.inspection.ask(channel.connection.verified_chain, tls, left)

    def _answered(self, channel: Channel, asked: asyncio.Task[Finding | None]) -> None:
        self._verification = None
        if asked.cancelled():
            return
        with self:
            finding = asked.result()
            if finding is None:
                self._secured(channel)
            else:
                self._certificate_refused(finding)

    def _certificate_refused(self, finding: Finding) -> None:
        control = self.service.control
        denial = control.trail.certificate_refused(self.session, finding.subject, finding.reason)
        what = "client not OCSP valid" if finding.is_ocsp else "client certificate not accepted"
        known_as = f" - denial {denial}" if denial else ""
        self._upgrade_failed(f"{what}{known_as}: {finding.subject}: {finding.reason}", denial=denial)
        if finding.is_ocsp:
            control.observer.peer_invalid(finding.chain, finding.certificate, finding.reason, "Client")

    def _secured(self, channel: Channel) -> None:
        self._in_time()
        self.session.secured = True
        self._log_handshake(channel)
        self._begin_secured(channel)

    @abstractmethod
    def _begin_secured(self, channel: Channel) -> None:
        """TLS stands."""

    def _log_handshake(self, channel: Channel) -> None:
        if LOGGER.isEnabledFor(logging.DEBUG):
            journal.write(LOGGER, logging.DEBUG, self.session, "TLS handshake complete")
            journal.write(LOGGER, logging.DEBUG, self.session, "TLS version %s, cipher suite %s",
                          channel.connection.version.removeprefix("TLSv"), channel.connection.suite)

    # Facts

    @property
    def tls(self) -> tuple[str, str] | None:
        """Version and cipher suite as OpenSSL names them; None in the clear."""
        if self.sealed is None or not self.session.secured:
            return None
        return self.sealed.connection.version, self.sealed.connection.suite

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate in DER, None where it showed none."""
        if self.sealed is None or not self.session.secured:
            return None
        return self.sealed.connection.peer_certificate

    @property
    def secured_by(self) -> Secured | None:
        """What somebody else is told of its TLS who decides about the login; None in the clear."""
        if self.sealed is None or self.tls is None:
            return None
        return Secured(*self.tls, self.sealed.connection.verified_chain)

    # What the rest of a connection does for it

    @abstractmethod
    def _greet(self) -> None:
        """Sends INFO."""

    @abstractmethod
    def _open(self) -> None:
        """From here on bytes belong to the session."""
