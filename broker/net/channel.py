"""TLS over a socket that the loop watches: ciphertext goes through memory, the library never sees the socket.

One `recv` may so bring many records, and one `send` carry many; OpenSSL alone would ask the kernel for each.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import TYPE_CHECKING, Final

from broker.core.records import Outlet, Records, install
from tls.failures import HandshakeError

if TYPE_CHECKING:
    import socket

    from tls.engine import Judge, ServerConnection, ServerContext

CIPHERTEXT_BUFFER: Final = 256 * 1024
TLS_1_3: Final = "TLSv1.3"

MOST_BARREN: Final = 64 * 1024
"""Bytes of ciphertext that may come without a byte of plaintext: four times the largest record. A client that does
nothing but change its keys costs much more than it sends."""


class Ciphertext:
    """What all TLS connections of a loop share: the one buffer that they read into, and the one that they send from."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CIPHERTEXT_BUFFER))
        self._outlet = Outlet()
        self._is_installed = False
        self._borrower: Records | None = None
        """Whose records stand in the buffer that is read into."""

    def records_of(self, connection: ServerConnection) -> Records:
        """What moves the records of a connection."""
        if not self._is_installed:
            # The library is loaded where there is TLS, and only there.
            install(import_module("tls.native").functions())
            self._is_installed = True
        return Records(connection, connection.handle, self._outlet)

    def lend(self, records: Records) -> memoryview:
        """The buffer to read into; what has not been opened of it yet is kept."""
        if self._borrower is not None:
            self._borrower.keep()
        self._borrower = records
        return self.view

    def let_go(self, records: Records) -> None:
        """A connection is at its end."""
        if self._borrower is records:
            self._borrower = None


class Channel:
    """One TLS connection on a non-blocking socket."""

    __slots__ = ("_barren", "_is_barren", "_records", "_shared", "_tickets", "connection", "sent", "sock")
    has_more = False
    """Whether `read_into` has held something back: never here."""
    has_had_turn = False
    """Whether all others should have their turn before it goes on: never here."""

    def __init__(
        self, sock: socket.socket, context: ServerContext, shared: Ciphertext, judge: Judge | None = None
    ) -> None:
        """``judge`` is asked about the peer's certificates, as :meth:`tls.engine.ServerContext.connection` says."""
        self.sock = sock
        self._shared = shared
        self.connection: ServerConnection = context.connection(judge)
        self._records = shared.records_of(self.connection)
        self._barren = 0
        """Bytes of ciphertext that have come since the last byte of plaintext."""
        self._is_barren = False
        """Whether they were too many."""
        self.sent = 0
        """Bytes of ciphertext that the socket has taken."""
        self._tickets = 0
        """Bytes of session tickets that wait for something to go out with: alone they would only wake the client."""

    @property
    def at_end(self) -> bool:
        """Whether nothing more can be read: the peer has ended its stream, or broken it; set by `read_into`."""
        return self._records.at_end or self._is_barren

    @property
    def broken(self) -> bool:
        """Whether the stream ended with what is no valid record."""
        return self._records.broken or self._is_barren

    def receive(self, limit: int = 0) -> int:
        """Reads ciphertext off the socket, up to `limit` bytes where that is not 0. Returns the count, 0 at its end.

        Raises BlockingIOError and OSError.
        """
        records = self._records
        view = self._shared.lend(records)
        count = self.sock.recv_into(view, limit)
        records.feed(view, count)
        self._barren += count
        return count

    def handshake(self) -> bool:
        """Goes on with the handshake. True when it is done.

        Raises HandshakeError when it failed (the alert is sent), OSError when the socket is broken.
        """
        try:
            done = self.connection.handshake()
        except HandshakeError:
            with contextlib.suppress(OSError):
                self.send_sealed()
            raise
        if done and self.connection.version == TLS_1_3:
            # What waits behind the client's last word is tickets, which nobody waits for.
            self._tickets = self._records.waiting
        else:
            self.send_sealed()
        self._barren = 0
        return done

    def read_into(self, room: memoryview) -> int:
        """Opens records into room. Returns the bytes of plaintext, 0 when more ciphertext is needed or at the end.

        What came before the end, or before a record that is not valid, is read first.
        """
        count = self._records.read_into(room)
        if count:
            self._barren = 0
        elif self._barren > MOST_BARREN:
            self._is_barren = True
        return count

    def write(self, plaintext: memoryview) -> int:
        """Seals plaintext and sends what the socket takes. Returns how much was sealed, 0 while older bytes wait.

        Without plaintext it sends what else waits, such as an alert. Raises OSError when nothing can be sent any more.
        """
        if not self.send_sealed():
            return 0
        records = self._records
        sealed = 0
        size = len(plaintext)
        while sealed < size:
            sealed += records.seal(plaintext[sealed:] if sealed else plaintext)
            if not self.send_sealed():
                break
        return sealed

    def send_sealed(self) -> bool:
        """Sends waiting ciphertext; True when none is left. Raises OSError when the socket is broken."""
        records = self._records
        has_tickets = False
        while self.waiting:
            if self._tickets:
                has_tickets, self._tickets = True, 0
            sealed = records.sealed()
            size = len(sealed)
            try:
                count = self.sock.send(sealed)
            except (BlockingIOError, InterruptedError):
                count = 0
            records.sent(count)
            self.sent += count
            if count < size:
                return False
        if has_tickets:
            # The handshake is over, whose messages are larger than most that are to come.
            records.shrink()
        return True

    @property
    def waiting(self) -> int:
        """Bytes of ciphertext that the socket has not taken yet."""
        waiting = self._records.waiting
        return 0 if waiting == self._tickets else waiting

    def finish(self) -> None:
        """Says the end of the stream, if the socket takes it at once."""
        self.connection.end()
        with contextlib.suppress(OSError):
            self.send_sealed()

    def let_go(self) -> None:
        """Nothing is read or written any more."""
        self._shared.let_go(self._records)
