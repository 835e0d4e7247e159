"""The listening socket: accepts, counts against the server's ceilings, and starts connections."""

from __future__ import annotations

import errno
import logging
import socket
import time
from typing import TYPE_CHECKING, Final

from broker.config.options import ANY_ADDRESS
from broker.net.admission import Eviction, Refusal
from broker.net.connection import Connection
from broker.net.proxied import is_trusted
from broker.wire.errors import CloseReason, ErrorText

if TYPE_CHECKING:
    from broker.net.service import Service

LOGGER: Final = logging.getLogger("natskeep.net")

BACKLOG: Final = 4096
ACCEPTS_A_TURN: Final = 64
"""Connections accepted before other sockets get their turn."""

RETRY_ACCEPT: Final = 0.1
"""Seconds to wait when the process has no file descriptor left."""

NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})

EVERYWHERE: Final = frozenset({"", ANY_ADDRESS, "::"})
"""Hosts that mean every address of this machine."""

MAPPED: Final = "::ffff:"


class ListenError(OSError):
    """The address cannot be listened on; the text says why and what to do."""


def open_socket(host: str, port: int, flag: str = "-p") -> socket.socket:
    """A listening socket; port -1 takes a free one. `flag` is what sets the port.

    An empty host, ``0.0.0.0`` and ``::`` are all addresses of this machine, of IPv6 as well where it has that; of the
    addresses that a name stands for it is the first one of IPv4, if there is one. Raises ListenError.
    """
    if host in EVERYWHERE and socket.has_dualstack_ipv6():
        return _listening(socket.AF_INET6, ("::", max(port, 0)), host, port, flag)
    try:
        found = socket.getaddrinfo(host or None, max(port, 0), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        why = error.strerror or error
        raise ListenError(f"cannot listen on {host}: {why}; give an address of this machine") from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return _listening(family, address, host, port, flag)


def _listening(
    family: socket.AddressFamily, address: tuple[object, ...], host: str, port: int, flag: str
) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host not in EVERYWHERE)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            why = f"listen tcp {host}:{port}: bind: address already in use"
            raise ListenError(f"{why}; stop the process that holds the port, or choose another with {flag}") from error
        raise ListenError(f"listen tcp {host}:{port}: {error.strerror or error}") from error
    return listening


def plain_address(ip: str) -> str:
    """The address of a peer, one of IPv4 as such where the socket shows it inside IPv6 (RFC 4291, section 2.5.5.2).

    Whoever compares addresses with networks counts on that.
    """
    return ip.removeprefix(MAPPED) if ip.startswith(MAPPED) and "." in ip else ip


class Listener:
    """One listening socket in the loop."""

    def __init__(
        self, service: Service, listening: socket.socket, carry: type[Connection] = Connection, spare: int = 0
    ) -> None:
        """`carry` is what its connections are made of; `spare` of them may come above the server's ceiling, to be told
        so, where that takes them a while."""
        self.service = service
        self.listening = listening
        self.carry = carry
        self.spare = spare
        self.accepting = False
        self.port = 0 if listening.family == socket.AF_UNIX else int(listening.getsockname()[1])
        """The port listened on, or once listened on; 0 of a Unix socket."""

    def start(self) -> None:
        """Begins to accept."""
        self.accepting = True
        self.service.loop.add_reader(self.listening.fileno(), self._accept)

    def close(self) -> None:
        """Accepts nothing more and frees the port; open connections stay."""
        if self.accepting:
            LOGGER.debug("Client accept loop exiting..")
            self.accepting = False
            self.service.loop.remove_reader(self.listening.fileno())
        self.listening.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self.accept_one():
                return

    def accept_one(self) -> bool:
        """Takes one that waits; False where nobody does, or nobody can be taken now."""
        try:
            sock, address = self.listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno in NO_FILES and self.service.makes_room(Eviction.DESCRIPTORS):
                return True
            # Accepting again at once would spin: the reason, mostly too many open files, does not pass so fast.
            LOGGER.error("cannot accept a connection: %s; raise the limit of open files", error.strerror)
            if self.accepting:
                self.accepting = False
                self.service.loop.remove_reader(self.listening.fileno())
                self.service.loop.call_later(RETRY_ACCEPT, self._accept_again)
            return False
        self._begin(sock, *self.source_of(address))
        return True

    def source_of(self, address: tuple[str, int]) -> tuple[str, int]:
        """The address and port that one comes from."""
        return plain_address(address[0]), address[1]

    def _accept_again(self) -> None:
        if not self.accepting and self.listening.fileno() >= 0:
            self.start()

    def _begin(self, sock: socket.socket, ip: str, port: int) -> None:
        service = self.service
        is_proxy = is_trusted(self.carry.proxy_of(service.options), ip)
        if not is_proxy and service.admission.turns_away(ip, time.monotonic()):
            # Nothing is spent on it, not even a word.
            service.count_refusal(Refusal.BACKED_OFF)
            sock.close()
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ceiling = service.options.max_connections
        full = 0 <= ceiling <= len(service.connections)
        if full and len(service.connections) - service.admission.guests < ceiling:
            full = not service.makes_room(Eviction.CONNECTIONS)
        if self.spare and ceiling >= 0 and len(service.connections) >= ceiling + self.spare:
            sock.close()
            return
        cid = service.next_cid()
        service.total_connections += 1
        connection = self.carry(service, sock, ip, port, cid)
        service.connections[cid] = connection
        with connection:
            if full:
                service.count_refusal(Refusal.CONNECTIONS)
                connection.refuse(ErrorText.CONNECTIONS_EXCEEDED.value, CloseReason.MAXIMUM_CONNECTIONS)
            else:
                connection.guest = guest = service.admission.enter(cid, ip, is_proxy=is_proxy)
                service.admit(guest)
                connection.start()
