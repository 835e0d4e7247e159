"""Opens an authenticated client connection: INFO, TLS where asked for, CONNECT with a signed nonce, PING and PONG."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.forge import Credentials
from tools.bench.frames import SID
from tools.bench.secured import ClientSide, SecureSocket
from tools.bench.websocket import WebSocket

if TYPE_CHECKING:
    from OpenSSL import SSL

ANSWER_SECONDS = 20.0
PING = b"PING\r\n"
PONG = b"PONG\r\n"
NONCE = re.compile(rb'"nonce":\s*"([^"]+)"')
MAXIMUM_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where to connect, as whom, and with TLS or without: one user of each account, the one with the load first."""

    port: int
    users: Sequence[Credentials]
    tls: SSL.Context | None = None
    is_websocket: bool = False
    """Whether the port speaks WebSocket, which it does over TLS."""


def connect(target: Target, name: str, *, account: int = 0, source: str = HOST) -> socket.socket:
    """An open connection whose credentials the server has accepted.

    `account` numbers the user of the target. `source` is the loopback address to connect from; several of them keep
    local ports from running short.

    Raises:
        BenchError: the server refused, or did not answer in time.
    """
    return _opened(target, lambda info: connect_line(target.users[account], info, name), source)


def log_in(port: int, user: str, password: str) -> socket.socket:
    """An open connection of a user with a password.

    Raises:
        BenchError: as `connect`.
    """
    options = {"verbose": False, "pedantic": False, "headers": True, "protocol": 1, "user": user, "pass": password}
    return _opened(Target(port, ()), lambda info: f"CONNECT {json.dumps(options)}\r\n".encode())


def _opened(target: Target, introduction: Callable[[bytes], bytes], source: str = HOST) -> socket.socket:
    """A connection that was opened with what `introduction` says to the server's INFO."""
    connection = socket.create_connection((HOST, target.port), timeout=ANSWER_SECONDS, source_address=(source, 0))
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.is_websocket and target.tls is not None:
            connection = WebSocket.over(connection, ClientSide(target.tls))
            connection.upgrade()
            info = _read_until(connection, b"\r\n", "INFO")
        else:
            info = _read_until(connection, b"\r\n", "INFO")
            if target.tls is not None:
                connection = SecureSocket.over(connection, ClientSide(target.tls))
        connection.sendall(introduction(info) + PING)
        _read_until(connection, PONG, "the PONG to CONNECT")
    except BaseException:
        connection.close()
        raise
    return connection


def subscribe(connection: socket.socket, subject: str, sid: int = SID) -> None:
    """Subscribe and wait until the server has processed it, along with any INFO that it sends after CONNECT."""
    connection.sendall(f"SUB {subject} {sid}\r\n".encode() + PING)
    _read_until(connection, PONG, "the PONG to SUB")


def settle(connection: socket.socket) -> None:
    """Wait until the server has processed everything sent so far.

    Raises:
        BenchError: it answered with an error, or closed.
    """
    connection.sendall(PING)
    _read_until(connection, PONG, "the PONG to PING")


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """The next `size` bytes, in which the server's own PINGs do not count."""
    received = bytearray()
    while len(received) < size:
        try:
            chunk = connection.recv(min(size - len(received), MAXIMUM_ANSWER))
        except TimeoutError:
            raise BenchError(f"only {len(received)} of {size} bytes arrived within {ANSWER_SECONDS:g} s") from None
        if not chunk:
            raise BenchError(f"the server closed the connection after {len(received)} of {size} bytes")
        received += chunk
        received = received.replace(PING, b"")
    return bytes(received)


def connect_line(credentials: Credentials, info: bytes, name: str) -> bytes:
    """CONNECT with a signature over the nonce of INFO. Raises BenchError where that has none."""
    nonce = NONCE.search(info)
    if nonce is None:
        raise BenchError("the server's INFO has no nonce, so it does not run in operator mode")
    signature = credentials.signature(nonce.group(1).decode())
    return (
        f'CONNECT {{"verbose":false,"pedantic":false,"jwt":"{credentials.jwt}","sig":"{signature}","name":"{name}",'
        '"lang":"bench","version":"1.0.0","protocol":1,"echo":true,"headers":true,"no_responders":true}\r\n'
    ).encode()


def _read_until(connection: socket.socket, mark: bytes, what: str) -> bytes:
    received = b""
    while mark not in received:
        try:
            chunk = connection.recv(MAXIMUM_ANSWER)
        except TimeoutError:
            raise BenchError(f"the server did not send {what} within {ANSWER_SECONDS:g} s") from None
        received += chunk
        # Only at the start of a line: INFO's nonce is random text, and may hold the word as well.
        refusals = [line for line in received.split(b"\r\n") if line.startswith(b"-ERR")]
        if refusals:
            raise BenchError(f"the server answered {refusals[0].decode(errors='replace')} instead of {what}")
        if not chunk:
            raise BenchError(f"the server closed the connection instead of sending {what}")
        if len(received) > MAXIMUM_ANSWER:
            raise BenchError(f"the server sent {len(received)} bytes, but not {what}")
    return received
