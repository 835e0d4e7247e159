"""The journal of an account: each commit is one frame at its end, on disk when `append` returns.

Writing behind what is there and syncing once is the quickest way to a durable commit. The tables follow later, many
commits at a time; what they do not have yet is read out of the journal when the environment is opened.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Final

from broker.jetstream.store.files import sync_directory
from broker.jetstream.store.tables import TABLES, Change, Drop, Row, StoreError, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FRAME: Final = struct.Struct("<II")
"""Length of the body and its checksum."""

_ROW: Final = struct.Struct("<BHI")
"""Table, length of the key and of the value."""

_MOST_PARTS: Final = 1000
"""Pieces of a frame that are written as they stand, without a copy of them all; the system takes 1024."""

_DELETED: Final = 0xFFFFFFFF
_DROP: Final = 0xFF
_SUFFIX: Final = ".journal"
_DIGITS: Final = 16


class Journal:
    """One file of frames. Only one thread appends at a time."""

    def __init__(self, directory: Path, number: int) -> None:
        """Makes the file, which must not be there yet. Raises StoreError."""
        self.path = directory / f"{number:0{_DIGITS}d}{_SUFFIX}"
        self.number = number
        self.size = 0
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_directory(directory)
        except OSError as error:
            raise _failure(self.path, error) from None

    def append(self, changes: Sequence[Change]) -> None:
        """Writes a frame, and returns when it is on disk; or leaves nothing of it. Raises StoreError."""
        if self._file < 0:
            raise StoreError(f"{self.path} cannot be written any more; restart the server")
        parts = list(_packed(changes))
        if len(parts) >= _MOST_PARTS:
            parts = [b"".join(parts)]
        length = sum(map(len, parts))
        parts.insert(0, _FRAME.pack(length, checksum(*parts)))
        size = _FRAME.size + length
        try:
            written = os.writev(self._file, parts)
            if written < size:
                left = memoryview(b"".join(parts))[written:]
                while left:
                    left = left[os.write(self._file, left) :]
            os.fdatasync(self._file)
        except OSError as error:
            self._take_back()
            raise _failure(self.path, error) from None
        self.size += size

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
            os.fdatasync(self._file)
        except OSError as error:
            # Half a frame may be there, and what is appended behind it would not be found.
            self.close()
            raise _failure(self.path, error) from None

    def discard(self) -> None:
        """Deletes the file: all that it says is in the tables."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _failure(path: Path, error: OSError) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "; make room on the disk" if full else ""
    return StoreError(f"cannot write {path}: {error.strerror}{remedy}", full=full)


def _packed(changes: Sequence[Change]) -> Iterator[bytes]:
    for change in changes:
        if isinstance(change, Drop):
            yield _ROW.pack(_DROP, len(change.stream), _DELETED)
            yield change.stream
            continue
        length = _DELETED if change.value is None else len(change.value)
        yield _ROW.pack(TABLES.index(change.table), len(change.key), length)
        yield change.key
        if change.value is not None:
            yield change.value


def _unpacked(body: bytes) -> Iterator[Change]:
    at = 0
    while at < len(body):
        table, key_length, length = _ROW.unpack_from(body, at)
        at += _ROW.size
        key = body[at : at + key_length]
        at += key_length
        if table == _DROP:
            yield Drop(key)
        elif length == _DELETED:
            yield Row(TABLES[table], key, None)
        else:
            yield Row(TABLES[table], key, body[at : at + length])
            at += length


def found(directory: Path) -> list[Path]:
    """The journals in a directory, the oldest first."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


def number_of(path: Path) -> int:
    """The number of a journal."""
    return int(path.name.removesuffix(_SUFFIX))


def read(path: Path) -> Iterator[list[Change]]:
    """The commits of a journal, up to the first frame that is not whole: that one was never said to be done."""
    with path.open("rb") as file:
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            length, expected = _FRAME.unpack(head)
            body = file.read(length)
            if len(body) < length or checksum(body) != expected:
                return
            yield list(_unpacked(body))
