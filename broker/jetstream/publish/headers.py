"""Reads and changes header blocks as streams do: names as they are written, the first of equal ones counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.wire.info import API_LEVEL

if TYPE_CHECKING:
    from collections.abc import Iterable

MESSAGE_ID: Final = b"Nats-Msg-Id"
EXPECTED_STREAM: Final = b"Nats-Expected-Stream"
EXPECTED_LAST_SEQUENCE: Final = b"Nats-Expected-Last-Sequence"
EXPECTED_LAST_SUBJECT_SEQUENCE: Final = b"Nats-Expected-Last-Subject-Sequence"
EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: Final = b"Nats-Expected-Last-Subject-Sequence-Subject"
EXPECTED_LAST_MESSAGE_ID: Final = b"Nats-Expected-Last-Msg-Id"
ROLLUP: Final = b"Nats-Rollup"
REQUEST_INFO: Final = b"Nats-Request-Info"
REQUIRED_API_LEVEL: Final = b"Nats-Required-Api-Level"
STREAM_SOURCE: Final = b"Nats-Stream-Source"

_NUMBER: Final = re.compile(rb"[+-]?[0-9]{1,18}")
_OWN: Final = b"Nats-"
_EMPTY_BLOCK: Final = len(b"NATS/1.0\r\n\r\n")


def own_lines(block: bytes | None) -> dict[bytes, bytes]:
    """The lines of a header block whose names begin with ``Nats-``."""
    found: dict[bytes, bytes] = {}
    if block is None or _OWN not in block:
        return found
    for line in block.split(b"\r\n")[1:]:
        if line.startswith(_OWN):
            name, colon, value = line.partition(b":")
            if colon and name not in found:
                found[name] = value.lstrip(b" ")
    return found


def asks_too_much(block: bytes | None) -> bool:
    """Whether a request wants a newer server than this one (ADR-44)."""
    level = own_lines(block).get(REQUIRED_API_LEVEL, b"")
    return bool(level) and not (_NUMBER.fullmatch(level) and int(level) <= API_LEVEL)


def with_lines(block: bytes | None, lines: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block with further lines at its end."""
    start = b"NATS/1.0\r\n" if block is None or len(block) <= _EMPTY_BLOCK else block.removesuffix(b"\r\n")
    return start + b"".join(b"%b: %b\r\n" % line for line in lines) + b"\r\n"


def with_value(block: bytes, name: bytes, value: bytes) -> bytes:
    """A header block in which the first line of a name has a value; it comes to the end where there was none."""
    lines = block.split(b"\r\n")
    for position, line in enumerate(lines):
        if line.startswith(name + b":"):
            lines[position] = b"%b: %b" % (name, value)
            return b"\r\n".join(lines)
    return with_lines(block, [(name, value)])


def without_prefix(block: bytes, prefix: bytes) -> bytes | None:
    """A header block without the lines whose names begin so; None where none are left."""
    kept = [line for line in block.split(b"\r\n") if not line.startswith(prefix)]
    rest = b"\r\n".join(kept)
    return rest if len(rest) > _EMPTY_BLOCK else None


def without(block: bytes, name: bytes) -> bytes | None:
    """A header block without the lines of a name; None where none are left."""
    lines = block.split(b"\r\n")
    beginning = name + b":"
    kept = [line for line in lines if not line.startswith(beginning)]
    if len(kept) == len(lines):
        return block
    rest = b"\r\n".join(kept)
    return rest if len(rest) > _EMPTY_BLOCK else None
