"""WebSocket frames as a server sends them, and what a close frame says (RFC 6455, sections 5.2 and 7.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from broker.wire.errors import CloseReason

FINAL: Final = 0x80
COMPRESSED: Final = 0x40
LARGEST_BODY: Final = 125
"""Bytes of a control frame's payload, at most."""

BROWSER_FRAME: Final = 4096
"""Bytes of payload in a frame to a browser: many small ones suit them, as nats-server found."""

_RESERVED: Final = frozenset({1004, 1005, 1006, 1015})
"""Codes that say why a connection ended without a close frame, and so stand in none."""


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Code(IntEnum):
    """Why a connection is closed."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011


class CloseFrameError(ValueError):
    """A close frame that says nothing valid; the text says what is wrong with it."""


CODES: Final = {
    CloseReason.CLIENT_CLOSED: Code.NORMAL,
    CloseReason.AUTHENTICATION_TIMEOUT: Code.POLICY_VIOLATION,
    CloseReason.AUTHENTICATION_FAILURE: Code.POLICY_VIOLATION,
    CloseReason.AUTHENTICATION_EXPIRED: Code.POLICY_VIOLATION,
    CloseReason.SLOW_CONSUMER_PENDING: Code.POLICY_VIOLATION,
    CloseReason.SLOW_CONSUMER_DEADLINE: Code.POLICY_VIOLATION,
    CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS: Code.POLICY_VIOLATION,
    CloseReason.MAXIMUM_CONNECTIONS: Code.POLICY_VIOLATION,
    CloseReason.MAXIMUM_CONTROL_LINE: Code.POLICY_VIOLATION,
    CloseReason.MAXIMUM_SUBSCRIPTIONS: Code.POLICY_VIOLATION,
    CloseReason.MISSING_ACCOUNT: Code.POLICY_VIOLATION,
    CloseReason.REVOKED: Code.POLICY_VIOLATION,
    CloseReason.PARSE_ERROR: Code.PROTOCOL_ERROR,
    CloseReason.PROTOCOL_VIOLATION: Code.PROTOCOL_ERROR,
    CloseReason.BAD_PROTOCOL_VERSION: Code.PROTOCOL_ERROR,
    CloseReason.MAXIMUM_PAYLOAD: Code.TOO_BIG,
    CloseReason.WRITE_ERROR: Code.GOING_AWAY,
    CloseReason.READ_ERROR: Code.GOING_AWAY,
    CloseReason.STALE_CONNECTION: Code.GOING_AWAY,
    CloseReason.SERVER_SHUTDOWN: Code.GOING_AWAY,
}
"""The code for each reason; all others are internal errors to the peer, as with nats-server."""


def header(size: int, opcode: int = Opcode.BINARY, flags: int = FINAL) -> bytes:
    """What stands in front of so many bytes of payload; a server masks nothing."""
    first = flags | opcode
    if size <= LARGEST_BODY:
        return bytes((first, size))
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size)
    return struct.pack("!BBQ", first, 127, size)


def message(payload: memoryview | bytes, *, compressed: bool = False, largest: int = 0) -> bytes:
    """The frames of one message, none of them with more than `largest` bytes of payload; 0 is any number."""
    first = COMPRESSED if compressed else 0
    size = len(payload)
    if not largest or size <= largest:
        return b"".join((header(size, Opcode.BINARY, FINAL | first), payload))
    return b"".join(_fragments(payload, first, largest)) if compressed else b"".join(_messages(payload, largest))


def _messages(payload: memoryview | bytes, largest: int) -> Iterator[memoryview | bytes]:
    """Each piece as a message of its own: what is inside is a stream, and a browser hands out messages only whole."""
    for start in range(0, len(payload), largest):
        piece = payload[start : start + largest]
        yield header(len(piece))
        yield piece


def _fragments(payload: memoryview | bytes, first: int, largest: int) -> Iterator[memoryview | bytes]:
    """What is compressed together stays one message."""
    opcode = Opcode.BINARY
    size = len(payload)
    for start in range(0, size, largest):
        piece = payload[start : start + largest]
        yield header(len(piece), opcode, first | (FINAL if start + largest >= size else 0))
        yield piece
        first, opcode = 0, Opcode.CONTINUATION


def control(opcode: Opcode, body: bytes = b"") -> bytes:
    """A control frame."""
    return header(len(body), opcode) + body


def close(code: int, text: str = "") -> bytes:
    """A close frame; a text that is too long for one ends in dots."""
    body = text.encode()
    if len(body) > LARGEST_BODY - 2:
        body = body[: LARGEST_BODY - 5].decode(errors="ignore").encode() + b"..."
    return control(Opcode.CLOSE, struct.pack("!H", code) + body)


def close_for(reason: CloseReason) -> bytes:
    """The close frame that tells the peer why its session ended."""
    return close(CODES.get(reason, Code.INTERNAL_ERROR), reason.value)


def answer_to_close(body: bytes) -> bytes:
    """The close frame that answers one of the peer: the same, where it says something.

    Raises CloseFrameError for a body that is not valid.
    """
    if not body:
        return control(Opcode.CLOSE)
    if len(body) == 1:
        raise CloseFrameError("close frame payload cannot be 1 byte")
    code = int.from_bytes(body[:2], "big")
    if not 1000 <= code < 5000 or code in _RESERVED or 1016 <= code <= 2999:
        raise CloseFrameError(f"invalid close status code {code}")
    try:
        return close(code, body[2:].decode())
    except UnicodeDecodeError:
        return close(Code.INVALID_DATA, "invalid utf8 body in close frame")
