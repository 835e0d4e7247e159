"""A WebSocket of the generator, over TLS: prebuilt frames out, and no more than the headers of frames looked at.

What is published is framed and masked beforehand, one frame for each message, so that it costs the generator nothing
while the clock runs. What arrives is counted without its headers.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from tools.bench.errors import BenchError
from tools.bench.secured import SecureSocket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BINARY = 0x82
"""The first byte of a binary message in one frame (RFC 6455, section 5.2)."""
MASK = b"\x37\xfa\x21\x3d"
ANSWER_BYTES = 16 * 1024


def masked(data: bytes) -> bytes:
    """One frame as a client sends it."""
    size = len(data)
    if size < 126:
        head = bytes((BINARY, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((BINARY, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((BINARY, 0x80 | 127)) + size.to_bytes(8, "big")
    key = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    return head + MASK + (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


class FrameCounter:
    """Tells payload from headers in what a server sends, which masks nothing."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def payload(self, data: memoryview) -> list[memoryview]:
        """The pieces of payload in these bytes."""
        pieces = []
        place, size = 0, len(data)
        while place < size:
            if self._left:
                piece = data[place : place + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                place += len(piece)
                continue
            head = self._head + data[place : place + 10 - len(self._head)]
            wanted = 2 if len(head) < 2 else {126: 4, 127: 10}.get(head[1], 2)
            if len(head) < wanted:
                self._head = head
                return pieces
            if head[0] != BINARY:
                raise BenchError(f"the server sent a frame that begins with {head[0]:#04x}")
            place += wanted - len(self._head)
            self._head = b""
            self._left = head[1] if wanted == 2 else int.from_bytes(head[2:wanted], "big")
        return pieces


class WebSocket(SecureSocket):
    """A TLS connection that speaks frames in `sendall` and `recv`; `send` and `recv_into` move bytes as they are."""

    frames: FrameCounter
    waiting: bytes

    def upgrade(self) -> None:
        """The HTTP request. Raises BenchError when the server refuses it."""
        self.frames = FrameCounter()
        key = base64.b64encode(os.urandom(16)).decode()
        super().sendall(
            f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = super().recv(ANSWER_BYTES)
            if not data:
                raise BenchError("the server closed the connection instead of answering the upgrade")
            answer += data
        if b" 101 " not in answer[:16]:
            raise BenchError(f"the server refused the upgrade: {answer[:60]!r}")
        self.waiting = answer.partition(b"\r\n\r\n")[2]

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Sends a frame, or frames that are made already."""
        sent = bytes(data)
        super().sendall(sent if sent[:1] == bytes((BINARY,)) else masked(sent), flags)

    def recv(self, buflen: int = ANSWER_BYTES, flags: int = 0) -> bytes:
        """The payload of what has arrived, b"" at the end."""
        while True:
            data, self.waiting = self.waiting or super().recv(buflen, flags), b""
            payload = b"".join(self.frames.payload(memoryview(data)))
            if payload or not data:
                return payload
