"""TLS over a socket that the loop watches: ciphertext in and out of two memory BIOs, never the socket itself.

One `recv` may so bring many records, and one `send` carry many; OpenSSL alone would ask the kernel for each.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    import socket

CIPHERTEXT_BUFFER: Final = 256 * 1024
PLAINTEXT_TURN: Final = 256 * 1024
"""Bytes of plaintext that are sealed in one go before the socket is asked to take them."""


class Records(Protocol):
    """What of `ssl.SSLObject` carries data, with the types that it has when it reads into a buffer."""

    def read(self, length: int, buffer: memoryview) -> int: ...

    def write(self, data: memoryview) -> int: ...


class CiphertextBuffer:
    """The one buffer that all TLS connections of a loop read ciphertext into."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CIPHERTEXT_BUFFER))


class Channel:
    """One TLS connection on a non-blocking socket."""

    __slots__ = (
        "_buffer", "_incoming", "_outgoing", "_records", "_unsent", "at_end", "broken", "connection", "sent", "sock",
    )
    has_more = False
    """Whether `read_into` has held something back: never here."""
    has_had_turn = False
    """Whether all others should have their turn before it goes on: never here."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, buffer: CiphertextBuffer) -> None:
        self.sock = sock
        self._buffer = buffer.view
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent: memoryview | None = None
        self.sent = 0
        """Bytes of ciphertext that the socket has taken."""
        self.at_end = False
        """Whether nothing more can be read: the peer has ended its stream, or broken it; set by `read_into`."""
        self.broken = False
        """Whether the stream ended with what is no valid record."""
        self.connection = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._records = cast(Records, self.connection)

    def receive(self, limit: int = 0) -> int:
        """Reads ciphertext off the socket, up to `limit` bytes where that is not 0. Returns the count, 0 at its end.

        Raises BlockingIOError and OSError.
        """
        count = self.sock.recv_into(self._buffer, limit)
        if count:
            self._incoming.write(self._buffer[:count])
        return count

    def handshake(self) -> bool:
        """Goes on with the handshake. True when it is done; raises ssl.SSLError when it failed (the alert is sent)."""
        try:
            self.connection.do_handshake()
        except ssl.SSLWantReadError:
            self.send_sealed()
            return False
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self.send_sealed()
            raise
        self.send_sealed()
        return True

    def read_into(self, room: memoryview) -> int:
        """Opens records into room. Returns the bytes of plaintext, 0 when more ciphertext is needed or at the end.

        What came before the end, or before a record that is not valid, is read first.
        """
        total = 0
        size = len(room)
        while total < size:
            try:
                count = self._records.read(size - total, room[total:])
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                self.broken = True
                count = 0
            if count == 0:
                # The ssl module raises nothing when the peer has said the end of its stream.
                self.at_end = True
                break
            total += count
        return total

    def write(self, plaintext: memoryview) -> int:
        """Seals plaintext and sends what the socket takes. Returns how much was sealed, 0 while older bytes wait.

        Without plaintext it sends what else waits, such as an alert.
        """
        if not self.send_sealed():
            return 0
        sealed = 0
        size = len(plaintext)
        while sealed < size:
            sealed += self._records.write(plaintext[sealed : sealed + PLAINTEXT_TURN])
            if not self.send_sealed():
                break
        return sealed

    def send_sealed(self) -> bool:
        """Sends waiting ciphertext; True when none is left. Raises OSError when the socket is broken."""
        unsent = self._unsent
        if unsent is None:
            if not self._outgoing.pending:
                return True
            unsent = memoryview(self._outgoing.read())
        try:
            count = self.sock.send(unsent)
        except (BlockingIOError, InterruptedError):
            count = 0
        self.sent += count
        if count == len(unsent):
            self._unsent = None
            return not self._outgoing.pending or self.send_sealed()
        self._unsent = unsent[count:]
        return False

    @property
    def waiting(self) -> int:
        """Bytes of ciphertext that the socket has not taken yet."""
        return (0 if self._unsent is None else len(self._unsent)) + self._outgoing.pending

    def finish(self) -> None:
        """Says the end of the stream, if the socket takes it at once."""
        with contextlib.suppress(ssl.SSLError, OSError):
            self.connection.unwrap()
        with contextlib.suppress(OSError):
            self.send_sealed()
