"""Blocks of messages as nats-server has them in its files: records, each behind the other, each with a hash.

A record with the mark `ERASED` stands where a message was, or uses up a sequence; one with `TOMBSTONE` says that the
message of a sequence before is gone.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.jetstream.snapshot.highway import Highway
from broker.jetstream.snapshot.problems import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

ERASED: Final = 1 << 63
TOMBSTONE: Final = 1 << 62
LAST: Final = TOMBSTONE - 2
"""The highest sequence that a record can have."""

_HEAD: Final = struct.Struct("<IQqH")
"""Length with a mark for headers, sequence with its marks, time, and length of the subject."""
_LENGTH: Final = struct.Struct("<I")
_WITH_HEADER: Final = 1 << 31
_HASH: Final = 8


class Record(NamedTuple):
    """A message, or what stands in its place. ``time`` is in nanoseconds since 1970."""

    sequence: int
    marks: int
    time: int
    subject: bytes
    header: bytes
    payload: bytes


def block_hash(stream: str, number: int) -> Highway:
    """What the records of a block are hashed with."""
    return _hash(f"{stream}-{number}")


def _hash(key: str) -> Highway:
    return Highway(hashlib.sha256(key.encode()).digest())


def checksum(key: str, document: bytes) -> bytes:
    """What stands beside a document, for the stream or the consumer (`STREAM/NAME`) of that key."""
    return _hash(key).digest(document)


def packed(record: Record, hashing: Highway) -> bytes:
    """A record as it stands in a block."""
    sequence, marks, time, subject, header, payload = record
    size = _HEAD.size + len(subject) + len(payload) + _HASH
    middle = b""
    if header:
        middle = _LENGTH.pack(len(header)) + header
        size = (size + len(middle)) | _WITH_HEADER
    head = _HEAD.pack(size, sequence | marks, time, len(subject))
    return b"".join((head, subject, middle, payload, hashing.digest(b"".join((head[4:20], subject, header, payload)))))


def unpacked(block: bytes, hashing: Highway) -> Iterator[Record]:
    """The records of a block. Raises ArchiveError."""
    at = 0
    while at < len(block):
        if at + _HEAD.size + _HASH > len(block):
            raise ArchiveError("a block of messages ends within a record")
        size, marked, time, length = _HEAD.unpack_from(block, at)
        has_header, size = bool(size & _WITH_HEADER), size & ~_WITH_HEADER
        start, end = at + _HEAD.size, at + size - _HASH
        if size < _HEAD.size + _HASH or at + size > len(block) or start + length + 4 * has_header > end:
            raise ArchiveError("a block of messages ends within a record")
        subject = block[start : start + length]
        start += length
        header = b""
        if has_header:
            (width,) = _LENGTH.unpack_from(block, start)
            start += 4
            if start + width > end:
                raise ArchiveError("a block of messages ends within a header")
            header = block[start : start + width]
            start += width
        payload = block[start:end]
        marks = marked & (ERASED | TOMBSTONE)
        sequence = marked & ~(ERASED | TOMBSTONE)
        # What was erased has been overwritten with chance, under a hash that fits.
        if hashing.digest(b"".join((block[at + 4 : at + 20], subject, header, payload))) != block[end : at + size]:
            raise ArchiveError(f"message sequence {sequence} is damaged: its checksum does not fit")
        yield Record(sequence, marks, time, subject, header, payload)
        at += size
