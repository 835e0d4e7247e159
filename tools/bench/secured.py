"""TLS connections of the generator, on either end, by natskeep's own records: it must cost as little as may be.

With the ssl module the two ends of the load took more of the machine for TLS than the server between them.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from OpenSSL import SSL

from broker.core.records import Outlet, Records, install
from tls import native
from tls.failures import HandshakeError
from tools.bench.errors import BenchError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

CIPHERTEXT_BYTES: Final = 224 * 1024
"""Read at once: what is in them, and in the part of a record that came before, fits the buffers that are read into."""

NAME: Final = b"localhost"


class _Scratch(threading.local):
    """A buffer of each thread."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CIPHERTEXT_BYTES))
        self.outlet = Outlet()
        self._borrower: Records | None = None

    def lend(self, records: Records) -> memoryview:
        """The buffer to read into; what has not been opened of it yet is kept."""
        if self._borrower is not None:
            self._borrower.keep()
        self._borrower = records
        return self.view


_SCRATCH: Final = _Scratch()


def client_context(certificates: Path) -> SSL.Context:
    """TLS 1.3 only, with the generated authority, whose certificates are verified."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.load_verify_locations(str(certificates / "ca.pem"))
    context.set_verify(SSL.VERIFY_PEER)
    return context


class Side(Protocol):
    """One side of a handshake over memory."""

    @property
    def handle(self) -> int:
        """Where OpenSSL keeps the connection."""

    def handshake(self) -> bool:
        """Goes on with what has come; True when it is done. Raises HandshakeError."""


class ClientSide:
    """The client's side."""

    def __init__(self, context: SSL.Context) -> None:
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.connection.set_tlsext_host_name(NAME)

    @property
    def handle(self) -> int:
        """Where OpenSSL keeps the connection."""
        return native.handle(self.connection)

    def handshake(self) -> bool:
        """Goes on with what has come; True when it is done. Raises HandshakeError."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise HandshakeError(str(error)) from None
        return True


class SecureSocket(socket.socket):
    """A socket whose bytes are those inside TLS.

    Without blocking, `send` takes what it is given, or nothing while older bytes wait; `unsent` tells whether some do,
    and the next `send`, of nothing if need be, sends them. A smaller buffer to read into than 256 KiB may leave some of
    what has come, though the socket says nothing of it.
    """

    _is_installed = False

    @classmethod
    def over(cls, raw: socket.socket, side: Side) -> Self:
        """Takes a connected socket, which must block, and shakes hands. Raises BenchError, OSError."""
        if not SecureSocket._is_installed:
            install(native.functions())
            SecureSocket._is_installed = True
        timeout = raw.gettimeout()
        made = cls(raw.family, raw.type, raw.proto, raw.detach())
        made.settimeout(timeout)
        made._records = Records(side, side.handle, _SCRATCH.outlet)
        try:
            while not side.handshake():
                made._flush()
                if not made._fill():
                    raise BenchError("the other end closed the connection in the handshake")
            made._flush()
        except HandshakeError as error:
            made.close()
            raise BenchError(f"the handshake failed: {error}") from None
        except BaseException:
            made.close()
            raise
        return made

    _records: Records

    @property
    def unsent(self) -> bool:
        """Whether bytes wait for room."""
        return self._records.waiting > 0

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Takes it, or the beginning of very much; raises BlockingIOError while older bytes wait for room."""
        if not self._flush():
            raise BlockingIOError
        count = self._records.seal(memoryview(data))
        self._flush()
        return count

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Sends all of it; the socket must block."""
        rest = memoryview(data)
        while rest or self.unsent:
            if self._flush():
                rest = rest[self._records.seal(rest) :]

    def recv(self, buflen: int, flags: int = 0) -> bytes:
        """What is there, b"" at the end."""
        room = bytearray(buflen)
        return bytes(room[: self.recv_into(room)])

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """What is there; 0 at the end."""
        room = memoryview(buffer)[: nbytes or None]
        while True:
            count = self._records.read_into(room)
            if count or self._records.at_end or not self._fill():
                return count

    def _fill(self) -> int:
        scratch = _SCRATCH.lend(self._records)
        count = super().recv_into(scratch)
        self._records.feed(scratch, count)
        return count

    def _flush(self) -> bool:
        """Sends what is sealed; False when the socket takes no more."""
        while self._records.waiting:
            try:
                count = super().send(self._records.sealed())
            except BlockingIOError:
                count = 0
            self._records.sent(count)
            if not count:
                return False
        return True
