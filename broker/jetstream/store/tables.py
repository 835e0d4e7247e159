"""The tables of an account's environment, and the form of their keys and values.

A key is a stream's identifier and a sequence, both big-endian, so that a stream's rows stand together and in order. A
value carries what shows that it is what was written: a checksum, or the tag of a seal.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import google_crc32c

from broker.core.log import GAPS, INDEX, RECORDS

if TYPE_CHECKING:
    pass

DOCUMENTS: Final = "documents"
"""Small documents by their key, such as the configuration of a stream."""

STATES: Final = "states"
"""Bounds of each stream."""

TABLES: Final = (RECORDS, INDEX, GAPS, STATES, DOCUMENTS)

STREAM_TABLES: Final = (RECORDS, INDEX, GAPS, STATES)

IDENTIFIER: Final = 8
"""Bytes of a stream's identifier."""

PLAIN: Final = b"\x00"
"""What a value in the clear begins with."""

_CHECKSUM: Final = struct.Struct("<I")
_STATE: Final = struct.Struct("<QQq")


class StoreError(Exception):
    """The store cannot do what it was asked; the text says what and which remedy there is."""

    def __init__(self, text: str, *, full: bool = False) -> None:
        super().__init__(text)
        self.full = full
        """Whether it is for want of space."""

    @property
    def told(self) -> str:
        """What clients hear: not where the server keeps what it has, which the log says."""
        return "No space left on device" if self.full else "the store cannot be written"


class DamagedError(StoreError):
    """What is on disk is not what was written."""


class Row(NamedTuple):
    """One change of a table: a value to be put, or None for one to be deleted."""

    table: str
    key: bytes
    value: bytes | None


class Drop(NamedTuple):
    """All rows of one stream are to be deleted."""

    stream: bytes


Change = Row | Drop


class Codec(Protocol):
    """How values stand on disk."""

    def encode(self, table: str, key: bytes, value: bytes) -> bytes:
        """What is written. Runs in any thread."""

    def decode(self, table: str, key: bytes, stored: bytes) -> bytes:
        """What was encoded. Raises DamagedError."""

    def places(self, name: bytes) -> tuple[bytes, ...]:
        """The keys under which a document of that name may stand: first where it is written, then where it was."""

    def beginnings(self, prefix: bytes) -> tuple[bytes, ...]:
        """What the keys of documents begin with whose names begin so, in the order in which they are to be read."""

    def encode_document(self, key: bytes, name: bytes, document: bytes) -> bytes:
        """What is written of a document."""

    def decode_document(self, key: bytes, stored: bytes) -> tuple[bytes, bytes]:
        """Name and document. Raises DamagedError."""

    def prepare(self) -> None:
        """Is called before an account's files are opened, or made. Raises StoreError."""

    def is_current(self, stored: bytes) -> bool:
        """Whether a value is written as it would be written now."""

    @property
    def is_turning(self) -> bool:
        """Whether there may be values that are not."""

    @property
    def has_plain(self) -> bool:
        """Whether some of them, or their names, may be in the clear that are not to be."""


def checksum(*parts: bytes) -> int:
    """The CRC-32C of some bytes, one part behind the other."""
    made = 0
    for part in parts:
        made = google_crc32c.extend(made, part)
    return made


class Checked:
    """Values as they are, with a checksum that finds decay, not malice."""

    is_turning = False
    has_plain = False

    def encode(self, table: str, key: bytes, value: bytes) -> bytes:
        """The value behind a mark and the checksum of key and value."""
        return PLAIN + _CHECKSUM.pack(checksum(key, value)) + value

    def decode(self, table: str, key: bytes, stored: bytes) -> bytes:
        """The value. Raises DamagedError when it is not the one that was written."""
        if stored[:1] != PLAIN or len(stored) < 5:
            raise DamagedError(f"a row of {table} has a form that is not known")
        (expected,) = _CHECKSUM.unpack_from(stored, 1)
        value = stored[5:]
        if checksum(key, value) != expected:
            raise DamagedError(f"a row of {table} is damaged: its checksum does not fit; restore it from a backup")
        return value

    def places(self, name: bytes) -> tuple[bytes, ...]:
        """The name itself."""
        return (name,)

    def beginnings(self, prefix: bytes) -> tuple[bytes, ...]:
        """The prefix itself."""
        return (prefix,)

    def encode_document(self, key: bytes, name: bytes, document: bytes) -> bytes:
        """As any value; the key is the name."""
        return self.encode(DOCUMENTS, key, document)

    def decode_document(self, key: bytes, stored: bytes) -> tuple[bytes, bytes]:
        """Name and document. Raises DamagedError."""
        return key, self.decode(DOCUMENTS, key, stored)

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def is_current(self, stored: bytes) -> bool:
        """There is only one way."""
        return True


def row_key(stream: bytes, sequence: int) -> bytes:
    """Where a stream's row of a sequence stands."""
    return stream + sequence.to_bytes(8, "big")


def sequence_of(key: bytes) -> int:
    """The sequence in such a key."""
    return int.from_bytes(key[IDENTIFIER:], "big")


def pack_state(first: int, last: int, last_time: int) -> bytes:
    """The bounds of a stream as they stand on disk."""
    return _STATE.pack(first, last, last_time)


def unpack_state(value: bytes) -> tuple[int, int, int]:
    """The bounds of a stream: first and last sequence, and when the last message came."""
    first, last, last_time = _STATE.unpack(value)
    return first, last, last_time
