"""The frames that archives travel in: chunks with a length and a checksum (the framing format of Snappy, and of S2).

What is written here is plain Snappy, which readers of S2 know as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cramjam
import google_crc32c

from broker.jetstream.snapshot import s2
from broker.jetstream.snapshot.problems import ArchiveError, Step

if TYPE_CHECKING:
    from collections.abc import Generator

_BEGIN: Final = b"\xff\x06\x00\x00"
_SNAPPY: Final = b"sNaPpY"
_S2: Final = b"S2sTwO"
_COMPRESSED: Final = 0x00
_UNCOMPRESSED: Final = 0x01
_SKIPPABLE: Final = 0x80
_IDENTIFIER: Final = 0xFF
_HEAD: Final = 4
_CHECKSUM: Final = 4
_LARGEST_CHUNK: Final = s2.LARGEST + s2.LARGEST // 6 + 64
"""Bytes of a chunk that holds the largest block, which may grow a little by being packed."""
SNAPPY_BLOCK: Final = 1 << 16
"""Bytes that one chunk of what is written holds."""


class Writer:
    """Packs what it is given into chunks."""

    def __init__(self) -> None:
        self._has_begun = False

    def packed(self, content: bytes) -> bytes:
        """The chunks of a piece."""
        made = bytes(cramjam.snappy.compress(content))
        if self._has_begun:
            # Each piece is packed as a stream of its own; one identifier is enough for all.
            return made[len(_BEGIN) + len(_SNAPPY) :]
        self._has_begun = True
        return made


class Source:
    """Bytes as they come; `end` says that no more do."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.is_ended = False

    def feed(self, content: bytes) -> None:
        """More of them."""
        self._bytes += content

    def end(self) -> None:
        """There are no more."""
        self.is_ended = True

    def __len__(self) -> int:
        return len(self._bytes)

    def take(self, count: int) -> bytes | None:
        """So many of them; None where there are fewer."""
        if len(self._bytes) < count:
            return None
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken


def blocks(source: Source) -> Generator[bytes | Step, None, None]:
    """What the chunks hold, one by one. Raises ArchiveError."""
    has_begun = False
    largest = s2.LARGEST
    while True:
        head = source.take(_HEAD)
        if head is None:
            if source.is_ended:
                if source:
                    raise ArchiveError("the archive ends within a chunk")
                return
            yield Step.STARVED
            continue
        kind, length = head[0], int.from_bytes(head[1:], "little")
        if not has_begun and kind != _IDENTIFIER:
            raise ArchiveError("this is no archive: it does not begin with the mark of S2 or Snappy")
        if length > _LARGEST_CHUNK:
            raise ArchiveError(f"a chunk of {length} bytes is larger than any may be")
        while (body := source.take(length)) is None:
            if source.is_ended:
                raise ArchiveError("the archive ends within a chunk")
            yield Step.STARVED
        if kind == _IDENTIFIER:
            if body not in (_SNAPPY, _S2):
                raise ArchiveError("this is no archive: it does not begin with the mark of S2 or Snappy")
            largest = SNAPPY_BLOCK if body == _SNAPPY else s2.LARGEST
            has_begun = True
        elif kind in (_COMPRESSED, _UNCOMPRESSED):
            if length < _CHECKSUM:
                raise ArchiveError("a chunk has no checksum")
            expected, content = int.from_bytes(body[:_CHECKSUM], "little"), body[_CHECKSUM:]
            if kind == _COMPRESSED:
                content = yield from s2.unpacked(content)
            if len(content) > largest:
                raise ArchiveError(f"a block of {len(content)} bytes is larger than any may be")
            if _checksum(content) != expected:
                raise ArchiveError("a chunk is damaged: its checksum does not fit")
            yield content
        elif kind < _SKIPPABLE:
            raise ArchiveError(f"a chunk is of a kind that is not known: {kind:#04x}")
        else:
            yield Step.PAUSE


def _checksum(content: bytes) -> int:
    """CRC-32C, turned and shifted as the format wants it."""
    value: int = google_crc32c.value(content)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
