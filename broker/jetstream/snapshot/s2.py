"""Unpacks blocks of S2, in which nats-server writes archives: Snappy with offsets that are taken again.

Blocks without such offsets are plain Snappy, and a library reads them. The others are read here, step by step and
without a compiled part: anybody may have made them, and archives are not the path of messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cramjam

from broker.jetstream.snapshot.problems import ArchiveError, Step

if TYPE_CHECKING:
    from collections.abc import Generator

LARGEST: Final = 4 << 20
"""Bytes of the largest block."""

_ELEMENTS: Final = 2000
"""Elements that are read before others have their turn: about a millisecond."""

_LONG_LITERAL: Final = 59
_REPEATED: Final = {5: (1, 4), 6: (2, 1 << 8), 7: (3, 1 << 16)}
"""By length code of a repeat: how many bytes of length follow, and what is added to them."""


def unpacked(block: bytes) -> Generator[Step, None, bytes]:
    """The content of a block. Raises ArchiveError."""
    length, at = _length(block)
    try:
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError:
        return (yield from _elements(block, at, length))


def _length(block: bytes) -> tuple[int, int]:
    """The length of the content, and where its elements begin. Raises ArchiveError for what no block may be."""
    length = 0
    for at in range(min(len(block), 5)):
        length |= (block[at] & 0x7F) << (7 * at)
        if block[at] < 0x80:
            if length > LARGEST:
                raise ArchiveError(f"a block of {length} bytes is larger than any may be")
            return length, at + 1
    raise ArchiveError("a block does not say how long it is")


def _elements(block: bytes, at: int, length: int) -> Generator[Step, None, bytes]:
    made = bytearray()
    offset = 0
    end = len(block)
    count = 0
    while at < end:
        count += 1
        if count % _ELEMENTS == 0:
            yield Step.PAUSE
        tag = block[at]
        kind = tag & 3
        if kind == 0:
            size = tag >> 2
            at += 1
            if size > _LONG_LITERAL:
                more = size - _LONG_LITERAL
                size = int.from_bytes(block[at : at + more], "little")
                at += more
            size += 1
            if at + size > end or len(made) + size > length:
                raise ArchiveError("a block is damaged: it is shorter than its literals")
            made += block[at : at + size]
            at += size
            continue
        width = (0, 2, 3, 5)[kind]
        if at + width > end:
            raise ArchiveError("a block is damaged: it ends within an element")
        if kind == 1:
            size = (tag >> 2) & 7
            found = (tag & 0xE0) << 3 | block[at + 1]
            if found:
                offset = found
            elif size in _REPEATED:
                more, base = _REPEATED[size]
                size = int.from_bytes(block[at + 2 : at + 2 + more], "little") + base
                width += more
            size += 4
        else:
            size = (tag >> 2) + 1
            offset = int.from_bytes(block[at + 1 : at + width], "little")
        at += width
        if at > end or not 0 < offset <= len(made) or len(made) + size > length:
            raise ArchiveError("a block is damaged: it repeats what is not there")
        start = len(made) - offset
        if size <= offset:
            made += made[start : start + size]
        else:
            pattern = bytes(made[start:])
            made += (pattern * (size // offset + 1))[:size]
    if len(made) != length:
        raise ArchiveError("a block is damaged: it is shorter than it says")
    return bytes(made)
