"""One account's lmdb environment: reading, writing a list of changes as a whole, and giving space back."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from broker.core.log import GAPS, INDEX, RECORDS
from broker.jetstream.store.tables import (
    IDENTIFIER,
    STATES,
    STREAM_TABLES,
    TABLES,
    DamagedError,
    Drop,
    StoreError,
    row_key,
    sequence_of,
    unpack_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broker.core.log import Log
    from broker.jetstream.store.tables import Change, Codec

SMALLEST_MAP: Final = 64 << 20
"""Bytes of address space that an environment begins with; it doubles when they are used up."""

COMPACT_FROM: Final = 32 << 20
"""Bytes of unused pages from which on space is given back, when they are more than half of the file."""

_DATA: Final = "data.mdb"
_NEW: Final = "data.mdb.new"
_APART: Final = "compacting"


class MapFullError(StoreError):
    """The environment needs a larger map; nothing was written."""


class Environment:
    """The open environment of an account. Only one thread writes at a time; any may read."""

    def __init__(self, directory: Path, codec: Codec) -> None:
        """Opens it, and makes it where there is none. Raises StoreError."""
        self.directory = directory
        self.codec = codec
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (directory / _NEW).unlink(missing_ok=True)
            size = (directory / _DATA).stat().st_size if (directory / _DATA).exists() else 0
        except OSError as error:
            raise StoreError(f"cannot use {directory}: {error.strerror}; check its owner and mode") from None
        self._open(max(SMALLEST_MAP, size * 2))

    def _open(self, size: int) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        try:
            self._environment = lmdb.open(
                str(self.directory),
                map_size=(size + page - 1) // page * page,
                max_dbs=len(TABLES),
                mode=0o600,
                readahead=False,
                max_spare_txns=4,
            )
            self._tables = {name: self._environment.open_db(name.encode()) for name in TABLES}
        except lmdb.Error as error:
            raise StoreError(f"cannot open {self.directory}: {error}; restore it from a backup") from None

    def close(self) -> None:
        """Closes the files. Nobody may use the environment after that."""
        self._environment.close()

    # Writing

    def write(self, changes: Iterable[Change]) -> None:
        """Makes all changes, and returns when they are on disk; or none of them. Raises StoreError, MapFullError."""
        try:
            with self._environment.begin(write=True) as transaction:
                for change in changes:
                    if isinstance(change, Drop):
                        self._drop(transaction, change.stream)
                    elif change.value is None:
                        transaction.delete(change.key, db=self._tables[change.table])
                    else:
                        value = self.codec.encode(change.table, change.key, change.value)
                        transaction.put(change.key, value, db=self._tables[change.table])
        except lmdb.MapFullError:
            raise MapFullError(f"{self.directory} needs a larger map") from None
        except lmdb.Error as error:
            raise self._failure(error) from None
        except OSError as error:
            raise StoreError(f"cannot write {self.directory}: {error.strerror}") from None

    def _failure(self, error: lmdb.Error) -> StoreError:
        text = str(error)
        full = os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text
        remedy = "; make room on the disk" if full else ""
        return StoreError(f"cannot write {self.directory}: {text}{remedy}", full=full)

    def _drop(self, transaction: lmdb.Transaction, stream: bytes) -> None:
        for table in STREAM_TABLES:
            with transaction.cursor(db=self._tables[table]) as cursor:
                found = cursor.set_range(stream)
                while found and cursor.key()[:IDENTIFIER] == stream:
                    found = cursor.delete()

    def widen(self) -> None:
        """Doubles the map. Nobody may be reading or writing."""
        self._environment.set_mapsize(self._environment.info()["map_size"] * 2)

    # Reading

    def rows(self, table: str, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of a table whose keys begin so, in order. Raises DamagedError."""
        with (
            self._environment.begin() as transaction,
            transaction.cursor(db=self._tables[table]) as cursor,
        ):
            found = cursor.set_range(prefix)
            while found:
                key, value = cursor.item()
                if not key.startswith(prefix):
                    return
                yield key, self.codec.decode(table, key, value)
                found = cursor.next()

    def read(self, table: str, key: bytes) -> bytes | None:
        """One value, or None. Raises DamagedError."""
        with self._environment.begin() as transaction:
            value = transaction.get(key, db=self._tables[table])
        return None if value is None else self.codec.decode(table, key, value)

    def records(self, stream: bytes, pieces: tuple[int, ...]) -> list[bytes]:
        """The records of a block, which stand under these sequences. Raises DamagedError."""
        made = []
        for sequence in pieces:
            value = self.read(RECORDS, row_key(stream, sequence))
            if value is None:
                raise DamagedError(f"the records of sequence {sequence} are missing; restore them from a backup")
            made.append(value)
        return made

    def load(self, stream: bytes, log: Log) -> bool:
        """Loads what there is of a stream into its empty log; returns whether there is any. Raises DamagedError."""
        state = self.read(STATES, stream)
        if state is None:
            return False
        log.restore(*unpack_state(state))
        gaps = {sequence_of(key): value for key, value in self.rows(GAPS, stream)}
        behind = 0
        for key, value in self.rows(INDEX, stream):
            sequence = sequence_of(key)
            log.load_index(sequence, value, gaps.get(sequence))
            behind = sequence + 1
        begins = 0
        for key, value in self._from(RECORDS, stream, behind):
            sequence = sequence_of(key)
            begins = begins or sequence
            log.load_piece(sequence, value, gaps.get(begins), begins == sequence)
        log.restored()
        return True

    def _from(self, table: str, stream: bytes, sequence: int) -> Iterator[tuple[bytes, bytes]]:
        with (
            self._environment.begin() as transaction,
            transaction.cursor(db=self._tables[table]) as cursor,
        ):
            found = cursor.set_range(row_key(stream, sequence))
            while found:
                key, value = cursor.item()
                if key[:IDENTIFIER] != stream:
                    return
                yield key, self.codec.decode(table, key, value)
                found = cursor.next()

    # Giving space back

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return (self.directory / _DATA).stat().st_size

    @property
    def used(self) -> int:
        """Bytes of the file that hold something."""
        with self._environment.begin() as transaction:
            statistics = [transaction.stat(table) for table in self._tables.values()]
        pages = sum(one["branch_pages"] + one["leaf_pages"] + one["overflow_pages"] for one in statistics)
        return int(pages * statistics[0]["psize"])

    @property
    def wasteful(self) -> bool:
        """Whether so much of the file is unused that copying it pays."""
        return self.size - self.used > max(COMPACT_FROM, self.size // 2)

    def copy(self) -> Path:
        """Writes what is there now into a new file, without the unused pages; returns its path. Raises StoreError."""
        made = self.directory / _NEW
        apart = self.directory / _APART
        try:
            shutil.rmtree(apart, ignore_errors=True)
            apart.mkdir(mode=0o700)
            self._environment.copy(str(apart), compact=True)
            (apart / _DATA).rename(made)
        except (OSError, lmdb.Error) as error:
            made.unlink(missing_ok=True)
            raise StoreError(f"cannot compact {self.directory}: {error}") from None
        finally:
            shutil.rmtree(apart, ignore_errors=True)
        return made

    def bring_up(self, made: Path, since: list[list[Change]]) -> Path:
        """Writes what was committed since a copy was begun into the copy; returns the directory that it stands in then.

        Raises StoreError.
        """
        apart = self.directory / _APART
        try:
            apart.mkdir(mode=0o700)
            made.rename(apart / _DATA)
        except OSError as error:
            raise StoreError(f"cannot compact {self.directory}: {error.strerror}") from None
        other = Environment(apart, self.codec)
        try:
            for changes in since:
                other.grow_for(changes)
        finally:
            other.close()
        return apart

    def take_over(self, apart: Path) -> None:
        """Puts such a copy in place of the file. Nobody may be reading or writing.

        Raises StoreError, and then goes on with the file that is there.
        """
        size = self._environment.info()["map_size"]
        self._environment.close()
        try:
            (apart / _DATA).rename(self.directory / _DATA)
            sync_directory(self.directory)
        except OSError as error:
            raise StoreError(f"cannot compact {self.directory}: {error.strerror}") from None
        finally:
            self._open(max(SMALLEST_MAP, min(size, self.size * 2)))
            shutil.rmtree(apart, ignore_errors=True)

    def grow_for(self, changes: list[Change]) -> None:
        """As `write`, with as large a map as it needs. Nobody may be reading."""
        while True:
            try:
                self.write(changes)
            except MapFullError:
                self.widen()
            else:
                return


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(directory: Path) -> None:
    """Deletes an environment that nobody has open."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)
