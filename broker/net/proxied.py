"""What stands before everything else on a port behind proxies: a PROXY header, or none where none may."""

from __future__ import annotations

import logging
import socket
import time
from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from auth.windows import Network, is_within, parse_networks
from broker.net.admission import Refusal
from broker.net.securing import Securing
from broker.session import journal
from broker.wire.errors import CloseReason
from broker.wire.proxy_header import LARGEST_HEADER, SIGNATURE, ProxyHeaderError, ProxyHeaderReader, begins_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from broker.config.options import Options, ProxyOptions
    from broker.net.service import Service
    from broker.wire.proxy_header import Source

LOGGER: Final = logging.getLogger("natskeep.net")


@lru_cache(maxsize=16)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return parse_networks(texts)


def is_trusted(proxy: ProxyOptions | None, ip: str) -> bool:
    """Whether a header is taken from an address, and so has to come from there."""
    return proxy is not None and is_within(ip, _networks(proxy.trusted))


class Proxied(Securing):
    """What of a connection finds out where it comes from.

    From a trusted address a header must come, before TLS and before anything is said; from all others none may. The
    address in it is the client's from then on, for whoever asks.
    """

    __slots__ = ("_first_handler", "_header")

    _first_handler: Callable[[Any], None] | None

    def __init__(self, service: Service, sock: socket.socket) -> None:
        super().__init__(service, sock)
        self._header: ProxyHeaderReader | None = None
        """Collects the header; None where none is awaited."""
        self._first_handler = None

    @staticmethod
    def proxy_of(options: Options) -> ProxyOptions | None:
        """The PROXY protocol of the port that it came to, as these options have it."""
        return options.proxy_protocol

    def start(self) -> None:
        """Begins: with the header where one must come."""
        journal.write(LOGGER, logging.DEBUG, self.session, "Client connection created")
        proxy = self.proxy_of(self.service.options)
        if proxy is None:
            self._begin()
        elif is_trusted(proxy, self.session.remote_ip):
            self._header = ProxyHeaderReader()
            self._upgrade_timer = self._later(proxy.timeout, self.service.overdue.take, self, Proxied._header_overdue)
            self._watch(Proxied._take_header)
        else:
            self._begin()
            if self._reading:
                self._first_handler = self._handler
                self._watch(Proxied._look_for_header)

    # From a proxy

    def _take_header(self) -> None:
        header = self._header
        if header is None:
            return
        try:
            data = self.sock.recv(LARGEST_HEADER, socket.MSG_PEEK)
            taken = header.take(data)
            # Not a byte more than the header has: what follows may be a handshake, which OpenSSL reads by itself.
            self.sock.recv(taken)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        except ProxyHeaderError as error:
            self._refuse_header(str(error))
            return
        if not data:
            self.session.close(CloseReason.CLIENT_CLOSED)
        elif header.is_whole:
            self._introduced(header.source)
        elif self.guest is not None:
            self.service.hold(self.guest, len(header))

    def _header_overdue(self) -> None:
        self._refuse_header("it did not come in time")

    def _introduced(self, source: Source | None) -> None:
        self._header = None
        self._in_time()
        session, admission = self.session, self.service.admission
        if source is not None:
            proxy = journal.address(session)
            session.remote_ip, session.remote_port = source.ip, source.port
            journal.write(LOGGER, logging.DEBUG, session, "Comes through the proxy at %s", proxy)
            if admission.turns_away(source.ip, time.monotonic()):
                self.service.count_refusal(Refusal.BACKED_OFF)
                session.close(CloseReason.MAXIMUM_CONNECTIONS)
                return
        if self.guest is not None:
            if source is not None:
                admission.move(self.guest, source.ip)
            self.service.hold(self.guest, 0)
        if self.ended is None:
            self._begin()

    # From anybody else

    def _look_for_header(self) -> None:
        """Looks at the first bytes once, whatever has come of them, and goes on as if nothing had been looked at."""
        handler, self._first_handler = self._first_handler, None
        try:
            start = self.sock.recv(len(SIGNATURE), socket.MSG_PEEK)
        except OSError:
            start = b""
        if begins_header(start):
            self._refuse_header("its address is not trusted")
        elif handler is not None:
            self._watch(handler)
            handler(self)

    def _refuse_header(self, why: str) -> None:
        self.service.count_refusal(Refusal.PROXY)
        self.service.control.trail.header_refused(self.session, why)
        self.client.discard()
        self.session.close(CloseReason.PROTOCOL_VIOLATION)

    @abstractmethod
    def _begin(self) -> None:
        """Goes on as its port is configured."""
