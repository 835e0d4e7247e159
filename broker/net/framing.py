"""WebSocket frames over a socket, or over TLS on it: what the session reads and writes is what is inside the frames.

It has the face of a TLS channel, so that a connection carries its session over either in the same way.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING, Final

from broker.core.unframer import Unframer
from broker.wire import frames
from broker.wire.frames import Code, Opcode

if TYPE_CHECKING:
    import socket

    from broker.net.channel import Channel
    from broker.wire.upgrade import Upgrade

READ_SIZE: Final = 64 * 1024
MESSAGE_TURN: Final = 256 * 1024
"""Bytes that are framed in one go before the socket is asked to take them."""

COMPRESSED_FROM: Final = 64
"""Bytes up to which compressing costs more than it saves, as nats-server found."""

COMPRESSION_LEVEL: Final = 1
RAW_DEFLATE: Final = -zlib.MAX_WBITS
"""As a number for zlib: no header and no checksum, the whole window (RFC 7692, section 7)."""

FLUSH_TAIL: Final = b"\x00\x00\xff\xff"
"""What stands behind every compressed message, and is left out (RFC 7692, section 7.2.1)."""

ACTS_A_TURN: Final = 128
"""Control frames and compressed messages that one connection has handled before all others have their turn."""

MESSAGE_MULTIPLE: Final = 8
LARGEST_MESSAGE: Final = 64 * 1024 * 1024

_, CONTROL, DEFLATED, VIOLATION, TOO_BIG = range(5)
"""The events of broker.core.unframer."""


def largest_message(maximum_payload: int) -> int:
    """Bytes of a compressed message, before and after it is inflated: enough for several of the largest payloads."""
    return min(maximum_payload * MESSAGE_MULTIPLE, LARGEST_MESSAGE)


class FrameChannel:
    """One WebSocket on a non-blocking socket."""

    __slots__ = (
        "_acts", "_closing", "_compressed", "_deflated", "_inflated", "_inflater", "_is_admitted", "_largest",
        "_plaintext", "_pong", "_sealed", "_sent", "_unframer", "_unsent", "at_end", "broken", "has_more", "problem",
        "sock",
    )

    def __init__(
        self, sock: socket.socket, sealed: Channel | None, plaintext: memoryview, upgrade: Upgrade, maximum: int
    ) -> None:
        """Answers the request first. `plaintext` is a buffer that nobody else uses between two turns; `maximum` is for
        compressed messages, in bytes."""
        self.sock = sock
        self._sealed = sealed
        self._plaintext = plaintext
        self._unframer = Unframer(masked=upgrade.masked, deflate=upgrade.compressed)
        self._unframer.maximum = maximum
        self._compressed = upgrade.compressed
        is_limited = upgrade.browser and not (upgrade.compressed and upgrade.whole_messages)
        self._largest = frames.BROWSER_FRAME if is_limited else 0
        self._unsent = memoryview(upgrade.answer)
        """What is framed and has not been taken by the layer below."""
        self._pong = b""
        """The answer to the latest PING, which stands for those to all before it (RFC 6455, section 5.5.3)."""
        self._closing = b""
        """The close frame that will be the last."""
        self._inflater: zlib._Decompress | None = None
        self._deflated = b""
        """What the inflater has not seen yet."""
        self._inflated = 0
        self._acts = 0
        """Control frames and compressed messages in the last `read_into`."""
        self._sent = 0
        self._is_admitted = False
        self.has_more = False
        """Whether `read_into` has held back what the session may have to be told of first."""
        self.at_end = False
        """Whether nothing more can be read; set by `read_into`."""
        self.broken = False
        """Whether what came last was not valid."""
        self.problem = ""
        """What was not valid about it."""

    @property
    def held(self) -> int:
        """Bytes that have come and of which more has to come, or which the session has not taken yet."""
        return self._unframer.held + len(self._deflated)

    def admit(self, maximum: int) -> None:
        """Lets compressed messages have so many bytes from now on."""
        self._unframer.maximum = maximum
        self._is_admitted = True

    # Reading

    @property
    def has_had_turn(self) -> bool:
        """Whether the last `read_into` met so much that is no plain data that all others should have their turn."""
        return self._acts >= ACTS_A_TURN

    def receive(self, limit: int = 0) -> int:
        """Reads off the socket, up to `limit` bytes where that is not 0. Returns the count, 0 at its end.

        Raises BlockingIOError and OSError.
        """
        if self._sealed is not None:
            return self._sealed.receive(limit)
        data = self.sock.recv(limit or READ_SIZE)
        self._unframer.feed(data)
        return len(data)

    def read_into(self, room: memoryview) -> int:
        """Puts what is inside the frames into room. Returns the bytes, 0 when more is needed or at the end."""
        total = 0
        size = len(room)
        self.has_more = False
        self._acts = 0
        while total < size and not self.at_end:
            if self.has_had_turn:
                self.has_more = True
                break
            if self._inflater is not None:
                total += self._inflate(self._inflater, room[total:])
            elif self._unframer.left or self._refill():
                total += self._unframer.take(room[total:])
                if total and not self._is_admitted and self._unframer.event in {DEFLATED, TOO_BIG}:
                    # What came before it may be the CONNECT that lets it be larger.
                    self.has_more = True
                    if self._unframer.event == DEFLATED:
                        self._act()
                    break
                self._act()
            else:
                break
        return total

    def _refill(self) -> bool:
        sealed = self._sealed
        if sealed is None:
            return False
        count = 0 if sealed.at_end else sealed.read_into(self._plaintext)
        if count:
            self._unframer.feed(bytes(self._plaintext[:count]))
            return True
        self.at_end, self.broken = sealed.at_end, sealed.broken
        return False

    def _act(self) -> None:
        unframer = self._unframer
        event = unframer.event
        if event in {CONTROL, DEFLATED}:
            self._acts += 1
        if event == DEFLATED:
            self._inflater = zlib.decompressobj(RAW_DEFLATE)
            self._deflated, unframer.body = unframer.body + FLUSH_TAIL, b""
            self._inflated = 0
        elif event == VIOLATION:
            self._fail(Code.PROTOCOL_ERROR, unframer.problem)
        elif event == TOO_BIG:
            self._fail(Code.TOO_BIG, "compressed message is too large")
        elif event == CONTROL and unframer.opcode == Opcode.PING:
            self._pong = frames.control(Opcode.PONG, unframer.body)
        elif event == CONTROL and unframer.opcode == Opcode.CLOSE:
            try:
                self._closing = frames.answer_to_close(unframer.body)
            except frames.CloseFrameError as error:
                self._fail(Code.PROTOCOL_ERROR, str(error))
            self.at_end = True

    def _inflate(self, inflater: zlib._Decompress, room: memoryview) -> int:
        """Puts the next piece of a compressed message into room; no more of it is in memory than that."""
        try:
            piece = inflater.decompress(self._deflated, len(room))
        except zlib.error:
            self._inflater = None
            self._fail(Code.INVALID_DATA, "compressed message cannot be inflated")
            return 0
        count = len(piece)
        self._deflated = inflater.unconsumed_tail
        self._inflated += count
        if self._inflated > self._unframer.maximum:
            self._inflater = None
            self._fail(Code.TOO_BIG, "compressed message is too large")
            return 0
        room[:count] = piece
        if inflater.eof or (not self._deflated and count < len(room)):
            self._inflater = None
        return count

    def _fail(self, code: Code, problem: str) -> None:
        self._closing = frames.close(code, problem)
        self.problem = problem
        self.at_end = self.broken = True

    # Writing

    def write(self, plaintext: memoryview) -> int:
        """Frames bytes and sends what the socket takes. Returns how many were framed, 0 while older ones wait."""
        if not self.send_sealed():
            return 0
        framed = 0
        size = len(plaintext)
        while framed < size:
            piece = plaintext[framed : framed + MESSAGE_TURN]
            self._unsent = memoryview(self._message(piece))
            framed += len(piece)
            if not self.send_sealed():
                break
        return framed

    def _message(self, piece: memoryview) -> bytes:
        if not self._compressed or len(piece) <= COMPRESSED_FROM:
            return frames.message(piece, largest=self._largest)
        # A new one for each message: nothing of one message can then show in another.
        deflater = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, RAW_DEFLATE)
        deflated = deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return frames.message(deflated[: -len(FLUSH_TAIL)], compressed=True, largest=self._largest)

    def send_sealed(self) -> bool:
        """Sends what waits; True when nothing is left. Raises OSError when the socket is broken."""
        while self._unsent or self._pong:
            if not self._unsent:
                self._unsent, self._pong = memoryview(self._pong), b""
            self._unsent = self._unsent[self._send(self._unsent) :]
            if self._unsent:
                return False
        return self._sealed is None or self._sealed.send_sealed()

    def _send(self, data: memoryview) -> int:
        if self._sealed is not None:
            return self._sealed.write(data)
        try:
            count = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        self._sent += count
        return count

    @property
    def sent(self) -> int:
        """Bytes that the socket has taken."""
        return self._sent if self._sealed is None else self._sealed.sent

    @property
    def waiting(self) -> int:
        """Bytes that the socket has not taken yet."""
        return len(self._unsent) + len(self._pong) + (0 if self._sealed is None else self._sealed.waiting)

    def close_with(self, frame: bytes) -> None:
        """Says which close frame will be the last, unless there is a better reason for one already."""
        self._closing = self._closing or frame

    def finish(self) -> None:
        """Says the end of the stream, if the socket takes it at once."""
        with contextlib.suppress(OSError):
            if self.send_sealed():
                self._send(memoryview(self._closing))
        if self._sealed is not None:
            self._sealed.finish()
