"""What one account has on disk: a journal of commits, and the tables of an lmdb environment that follow it.

A commit is written to the journal, and is in force; the tables take many commits at a time. Until they have, the rows
stand in memory too, in `_recent`, and while the tables take them in `_passing`. Readers look at both before the tables.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from broker.core.log import GAPS, INDEX, RECORDS
from broker.jetstream.store import journal
from broker.jetstream.store.files import overwrite, sync_directory
from broker.jetstream.store.journal import Journal
from broker.jetstream.store.packing import packed, unpacked
from broker.jetstream.store.tables import (
    DOCUMENTS,
    IDENTIFIER,
    STATES,
    STREAM_TABLES,
    TABLES,
    DamagedError,
    Drop,
    Row,
    StoreError,
    row_key,
    sequence_of,
    unpack_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.core.log import Log
    from broker.jetstream.store.tables import Change, Codec

SMALLEST_MAP: Final = 64 << 20
"""Bytes of address space that an environment begins with; it doubles when they are used up."""

COMPACT_FROM: Final = 32 << 20
"""Bytes of unused pages from which on space is given back, when they are more than half of the file."""

JOURNAL_BYTES: Final = 16 << 20
"""Bytes of a journal from which on the tables take what it says."""

LARGEST_RECORDS: Final = 64 << 10
"""Bytes that one row of records takes, mostly at most."""

STEP_BYTES: Final = 4 << 20
"""Bytes of values that are written anew in one transaction."""

_ROWS_AT_ONCE: Final = 64
_DATA: Final = "data.mdb"
_APART: Final = "compacting"
_BEFORE: Final = "before.mdb"


class MapFullError(StoreError):
    """The environment needs a larger map; nothing was written."""


class Rows:
    """Rows of commits, as the tables are to have them: the last value of each, and which streams are gone."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, bytes], bytes | None] = {}
        self.dropped: set[bytes] = set()
        self.journals: list[Journal | Path] = []
        """Where they stand on disk."""

    def take(self, changes: Sequence[Change]) -> None:
        """Another commit."""
        for change in changes:
            if isinstance(change, Row):
                self.values[change.table, change.key] = change.value
            else:
                self.dropped.add(change.stream)
                gone = [key for key in self.values if key[0] in STREAM_TABLES and key[1][:IDENTIFIER] == change.stream]
                for key in gone:
                    del self.values[key]

    def __bool__(self) -> bool:
        return bool(self.values or self.dropped)


class Environment:
    """The files of an account. Commits come one after the other; any thread may read."""

    def __init__(self, directory: Path, codec: Codec) -> None:
        """Opens them, and makes them where there are none. Raises StoreError."""
        self.directory = directory
        self.codec = codec
        codec.prepare()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._remove_apart()
            size = (directory / _DATA).stat().st_size if (directory / _DATA).exists() else 0
        except OSError as error:
            raise StoreError(f"cannot use {directory}: {error.strerror}; check its owner and mode") from None
        self._open(max(SMALLEST_MAP, size * 2))
        self._recent = Rows()
        self._passing: Rows | None = None
        self.packs: frozenset[bytes] = frozenset()
        """The streams whose records are packed when they are written."""
        self.removed = 0
        """About how many bytes were removed since somebody looked whether the file is wasteful, at most."""
        self._recover()

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

    def _recover(self) -> None:
        """Takes what the journals say into the tables, and begins a new one. Raises StoreError."""
        left = journal.found(self.directory)
        for path in left:
            for changes in journal.read(path):
                self._recent.take(changes)
        self._recent.journals += left
        number = journal.number_of(left[-1]) + 1 if left else 1
        if self._recent:
            self.settle()
        else:
            self._forget(self._recent)
        self._check_key()
        self._journal = Journal(self.directory, number)
        self._recent.journals = [self._journal]

    def _check_key(self) -> None:
        """Looks whether documents can be read: with another key none of them would be found, as if nothing were there.

        Raises DamagedError.
        """
        for key, stored in islice(self._stored(DOCUMENTS, b"", b""), 1):
            try:
                self.codec.decode_document(key, stored)
            except DamagedError:
                remedy = "put back the key file that belongs to it, or restore it from a backup"
                raise DamagedError(f"{self.directory} does not fit its data key, or is damaged; {remedy}") from None

    def close(self) -> None:
        """Has the tables take everything, and closes the files. Nobody may use the environment after that."""
        with contextlib.suppress(StoreError):
            self.settle()
            self._remove(self._journal.path)
        self._journal.close()
        self._environment.close()

    # Writing

    def write(self, changes: Sequence[Change]) -> None:
        """Makes all changes, and returns when they are on disk; or none of them. Raises StoreError.

        When the journal is long it begins a new one, and what was committed is ready to be passed on.
        """
        kept = [one for change in changes for one in self._encoded(change)]
        self._journal.append(kept)
        self._recent.take(kept)
        if self._journal.size > JOURNAL_BYTES:
            # The commit is done all the same; the next one tries again.
            with contextlib.suppress(StoreError):
                self.turn_over()

    def _encoded(self, change: Change) -> Iterator[Change]:
        """A change as it stands on disk."""
        if isinstance(change, Drop):
            self.removed += COMPACT_FROM
            yield change
        elif change.table == DOCUMENTS:
            place, *earlier = self.codec.places(change.key)
            value = change.value
            yield Row(
                DOCUMENTS, place, None if value is None else self.codec.encode_document(place, change.key, value)
            )
            yield from (Row(DOCUMENTS, other, None) for other in earlier)
        elif change.value is None:
            # What the tables never had frees none of their pages.
            if change.table == RECORDS and (RECORDS, change.key) not in self._recent.values:
                self.removed += LARGEST_RECORDS
            yield change
        else:
            value = change.value
            if change.table == RECORDS and change.key[:IDENTIFIER] in self.packs:
                value = packed(value)
            yield Row(change.table, change.key, self.codec.encode(change.table, change.key, value))

    @property
    def lags(self) -> bool:
        """Whether something is ready to be passed on."""
        return self._passing is not None

    def turn_over(self) -> bool:
        """Makes ready what was committed, to be passed on; returns whether it could, and nothing was ready already.

        Raises StoreError.
        """
        if self._passing is not None:
            return False
        if self._recent:
            following = Journal(self.directory, self._journal.number + 1)
            self._passing, self._recent = self._recent, Rows()
            self._journal.close()
            self._journal = following
            self._recent.journals = [following]
        return True

    def pass_on(self) -> None:
        """Has the tables take what was made ready. Commits may go on meanwhile. Raises StoreError, MapFullError."""
        if self._passing is not None:
            self._put(self._passing)
            self._forget(self._passing)
            self._passing = None

    def settle(self) -> None:
        """Has the tables take everything at once. Nobody may be reading or writing. Raises StoreError."""
        for rows in (self._passing, self._recent):
            while rows:
                try:
                    self._put(rows)
                except MapFullError:
                    self.widen()
                else:
                    break
        if self._passing is not None:
            self._forget(self._passing)
            self._passing = None
        for path in self._recent.journals:
            if isinstance(path, Path):
                self._remove(path)
        self._recent.values, self._recent.dropped = {}, set()

    def _forget(self, rows: Rows) -> None:
        for one in rows.journals:
            if isinstance(one, Journal):
                one.close()
            self._remove(one.path if isinstance(one, Journal) else one)

    def _remove(self, path: Path) -> None:
        """Deletes a file; what may not be read by anybody is overwritten before."""
        if self.codec.has_plain:
            overwrite(path)
        path.unlink(missing_ok=True)

    def _put(self, rows: Rows) -> None:
        with self._transaction() as transaction:
            for stream in rows.dropped:
                self._drop(transaction, stream)
            for (table, key), value in rows.values.items():
                if value is None:
                    transaction.delete(key, db=self._tables[table])
                else:
                    transaction.put(key, value, db=self._tables[table])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[lmdb.Transaction]:
        """Changes of the tables that are made together. Raises StoreError, MapFullError."""
        try:
            with self._environment.begin(write=True) as transaction:
                yield transaction
        except lmdb.MapFullError:
            raise MapFullError(f"{self.directory} needs a larger map") from None
        except lmdb.Error as error:
            text = str(error)
            full = os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text
            remedy = "; make room on the disk" if full else ""
            raise StoreError(f"cannot write {self.directory}: {text}{remedy}", full=full) from None

    def _drop(self, transaction: lmdb.Transaction, stream: bytes) -> None:
        for table in STREAM_TABLES:
            with transaction.cursor(db=self._tables[table]) as cursor:
                found = cursor.set_range(stream)
                while found and cursor.key()[:IDENTIFIER] == stream:
                    found = cursor.delete()

    def widen(self) -> None:
        """Doubles the map. Nobody may be reading or writing the tables."""
        self._environment.set_mapsize(self._environment.info()["map_size"] * 2)

    # Reading

    def _layers(self) -> list[Rows]:
        """What is newer than the tables, the newest first."""
        return [self._recent] if self._passing is None else [self._recent, self._passing]

    def rows(self, table: str, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of a table whose keys begin so, in order, from `start` on. Raises DamagedError."""
        for key, value in self._rows(table, prefix, start):
            yield key, self.codec.decode(table, key, value)

    def documents(self, prefix: bytes) -> dict[bytes, bytes]:
        """The documents whose names begin so; a prefix names at least what stands before a name's last slash.

        Raises DamagedError.
        """
        found = {}
        for beginning in self.codec.beginnings(prefix):
            for key, value in self._rows(DOCUMENTS, beginning):
                name, document = self.codec.decode_document(key, value)
                if name.startswith(prefix):
                    found[name] = document
        return found

    def _rows(self, table: str, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        newer: dict[bytes, bytes | None] = {}
        is_dropped = False
        for layer in reversed(self._layers()):
            if prefix[:IDENTIFIER] in layer.dropped and table in STREAM_TABLES:
                is_dropped = True
                newer.clear()
            for (name, key), value in list(layer.values.items()):
                if name == table and key.startswith(prefix) and key >= start:
                    newer[key] = value
        stored = iter(()) if is_dropped else self._stored(table, prefix, max(prefix, start))
        yield from _merged(stored, sorted(newer.items()))

    def _stored(self, table: str, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        with (
            self._environment.begin() as transaction,
            transaction.cursor(db=self._tables[table]) as cursor,
        ):
            found = cursor.set_range(start)
            while found:
                key, value = cursor.item()
                if not key.startswith(prefix):
                    return
                yield key, value
                found = cursor.next()

    def read(self, table: str, key: bytes) -> bytes | None:
        """One value, or None. Raises DamagedError."""
        for layer in self._layers():
            if (table, key) in layer.values:
                value = layer.values[table, key]
                return None if value is None else self.codec.decode(table, key, value)
            if table in STREAM_TABLES and key[:IDENTIFIER] in layer.dropped:
                return None
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
            made.append(unpacked(value))
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
        for key, value in self.rows(RECORDS, stream, row_key(stream, behind)):
            sequence = sequence_of(key)
            begins = begins or sequence
            log.load_piece(sequence, unpacked(value), gaps.get(begins), begins == sequence)
        log.restored()
        return True

    # Giving space back

    @property
    def size(self) -> int:
        """Bytes of the tables' file."""
        return (self.directory / _DATA).stat().st_size

    @property
    def used(self) -> int:
        """Bytes of it that hold something."""
        with self._environment.begin() as transaction:
            statistics = [transaction.stat(table) for table in self._tables.values()]
        pages = sum(one["branch_pages"] + one["leaf_pages"] + one["overflow_pages"] for one in statistics)
        return int(pages * statistics[0]["psize"])

    @property
    def wasteful(self) -> bool:
        """Whether so much of the file is unused that copying it pays."""
        return self.size - self.used > max(COMPACT_FROM, self.size // 2)

    @property
    def backlog(self) -> int:
        """Bytes of the journal that is being written."""
        return self._journal.size

    def copy(self, is_enough: Callable[[], bool]) -> Path | None:
        """Writes the tables into a new file, without the unused pages; returns its directory.

        Commits may go on, but nothing may be passed on until the copy has taken over. It is given up, and None is
        returned, when ``is_enough`` says so. Raises StoreError.
        """
        apart = self.directory / _APART
        try:
            shutil.rmtree(apart, ignore_errors=True)
            apart.mkdir(mode=0o700)
            if self._copied(apart, is_enough):
                return apart
        except (OSError, lmdb.Error) as error:
            shutil.rmtree(apart, ignore_errors=True)
            raise StoreError(f"cannot compact {self.directory}: {error}") from None
        shutil.rmtree(apart, ignore_errors=True)
        return None

    def _copied(self, apart: Path, is_enough: Callable[[], bool]) -> bool:
        size = self._environment.info()["map_size"]
        made = lmdb.open(str(apart), map_size=size, max_dbs=len(TABLES), mode=0o600, readahead=False, sync=False)
        try:
            with self._environment.begin() as reading:
                for name, table in self._tables.items():
                    into = made.open_db(name.encode())
                    with reading.cursor(db=table) as cursor:
                        rows = iter(cursor)
                        while piece := list(islice(rows, _ROWS_AT_ONCE)):
                            if is_enough():
                                return False
                            with made.begin(write=True) as writing, writing.cursor(db=into) as end:
                                end.putmulti(piece, append=True)
            made.sync(True)
        finally:
            made.close()
        return True

    def take_over(self, apart: Path) -> None:
        """Puts such a copy in place of the file. Nobody may be reading the tables.

        Raises StoreError, and then goes on with the file that is there.
        """
        size = self._environment.info()["map_size"]
        self._environment.close()
        try:
            # The file that gives way is kept until `clear_away`, which may have to overwrite it.
            (apart / _BEFORE).hardlink_to(self.directory / _DATA)
            (apart / _DATA).rename(self.directory / _DATA)
            sync_directory(self.directory)
        except OSError as error:
            raise StoreError(f"cannot compact {self.directory}: {error.strerror}") from None
        finally:
            self._open(max(SMALLEST_MAP, min(size, self.size * 2)))

    def clear_away(self) -> None:
        """Frees what a copy has left. Raises StoreError."""
        try:
            self._remove_apart()
        except OSError as error:
            raise StoreError(f"cannot remove {self.directory / _APART}: {error.strerror}") from None

    def _remove_apart(self) -> None:
        apart = self.directory / _APART
        before, data = apart / _BEFORE, self.directory / _DATA
        # Where the copy did not take over, both names mean the one file that is in use.
        if self.codec.has_plain and before.exists() and data.exists() and not before.samefile(data):
            overwrite(before)
        shutil.rmtree(apart, ignore_errors=True)

    # Writing anew

    def renew(self, table: str, start: bytes) -> bytes | None:
        """Writes values of a table as they are written now, some of them, from a key on; commits may go on.

        Returns where to go on, None at the end. Nothing else may use the tables but for reading.
        Raises StoreError, MapFullError.
        """
        following: bytes | None = None
        written = 0
        with self._transaction() as transaction, transaction.cursor(db=self._tables[table]) as cursor:
            found = cursor.set_range(start)
            while found:
                key, stored = bytes(cursor.key()), bytes(cursor.value())
                if written > STEP_BYTES:
                    following = key
                    break
                if not self.codec.is_current(stored):
                    written += len(stored)
                    self._renew_row(transaction, table, key, stored)
                    # What was put may stand elsewhere, and the cursor with it.
                    found = cursor.set_range(key + b"\0")
                else:
                    written += len(stored) // 64
                    found = cursor.next()
        return following

    def _renew_row(self, transaction: lmdb.Transaction, table: str, key: bytes, stored: bytes) -> None:
        if table != DOCUMENTS:
            transaction.put(
                key, self.codec.encode(table, key, self.codec.decode(table, key, stored)), db=self._tables[table]
            )
            return
        name, document = self.codec.decode_document(key, stored)
        place = self.codec.places(name)[0]
        transaction.delete(key, db=self._tables[table])
        transaction.put(
            place, self.codec.encode_document(place, name, document), overwrite=False, db=self._tables[table]
        )


def _merged(
    stored: Iterator[tuple[bytes, bytes]], newer: list[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Both in the order of their keys; a newer value, or that there is none, stands for the stored one."""
    at = 0
    for key, value in stored:
        while at < len(newer) and newer[at][0] < key:
            other, recent = newer[at]
            at += 1
            if recent is not None:
                yield other, recent
        if at < len(newer) and newer[at][0] == key:
            recent = newer[at][1]
            at += 1
            if recent is not None:
                yield key, recent
            continue
        yield key, value
    for other, recent in newer[at:]:
        if recent is not None:
            yield other, recent


def discard(directory: Path) -> None:
    """Deletes an environment that nobody has open."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)
