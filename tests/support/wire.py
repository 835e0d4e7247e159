"""A NATS connection at the level of frames, for tests that check every byte a server sends."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

FRAME_SECONDS = 10.0
"""How long a frame that must come may take; generous, because only a failing test waits for it."""


class BrokenFrameError(Exception):
    """The server sent a message whose payload does not end where its control line says."""


class WireConnection:
    """One TCP or TLS connection to a server on 127.0.0.1.

    A frame is a control line without its CRLF; for MSG and HMSG followed by CRLF, headers and payload. PINGs of the
    server are answered and not handed on, unless ``keep_pings``. ``trace`` is told each direction's bytes.
    """

    def __init__(
        self, port: int, *, keep_pings: bool = False, trace: Callable[[str, bytes], None] | None = None
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=FRAME_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._keep_pings = keep_pings
        self._trace = trace or (lambda direction, data: None)
        self._buffer = b""
        self.ended = False
        """Whether the server has ended the connection."""
        self.info: dict[str, Any] = {}
        """The latest INFO that was read with :meth:`read_info` or put here by the caller."""

    @property
    def local_port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def unread(self) -> bytes:
        """Bytes that do not make a whole frame."""
        return self._buffer

    def start_tls(self, context: ssl.SSLContext) -> None:
        """The client's side of the handshake; raises ssl.SSLError or OSError when it fails."""
        self._socket.settimeout(FRAME_SECONDS)
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")

    def send(self, data: bytes) -> None:
        """Sends all of ``data``; that the server has hung up shows in what is read afterwards."""
        self._trace("<-", data)
        with contextlib.suppress(OSError):
            self._socket.sendall(data)

    def finish_sending(self) -> None:
        """Tells the server that nothing more will be sent; what it still sends can be read."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def frame(self, seconds: float = FRAME_SECONDS) -> bytes | None:
        """The next frame, or None after ``seconds`` or at the end of the stream."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self._cut()
            if frame == b"PING" and not self._keep_pings:
                self.send(b"PONG\r\n")
            elif frame is not None:
                self._trace("->", frame)
                return frame
            elif not self._fill(deadline):
                return None

    def read_info(self) -> bytes | None:
        """The next frame, kept as :attr:`info` when it is a well-formed INFO."""
        frame = self.frame()
        if frame is not None and frame.startswith(b"INFO {") and frame.endswith(b"} "):
            self.info = json.loads(frame[5:])
        return frame

    def close(self) -> None:
        self._socket.close()

    def _fill(self, deadline: float) -> bool:
        remaining = deadline - time.monotonic()
        if self.ended or remaining <= 0:
            return False
        try:
            self._socket.settimeout(remaining)
            data = self._socket.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            data = b""
        self.ended = not data
        self._buffer += data
        return bool(data)

    def _cut(self) -> bytes | None:
        """One whole frame off the buffer."""
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        size = end
        if self._buffer[:4].upper() in (b"MSG ", b"HMSG"):
            size = end + 2 + int(self._buffer[:end].split()[-1])
        if len(self._buffer) < size + 2:
            return None
        if self._buffer[size : size + 2] != b"\r\n":
            raise BrokenFrameError(f"payload without CRLF: {self._buffer[: size + 2]!r}")
        frame, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return frame
