"""What an account keeps is on disk when it is said to be, all of a commit or nothing, and comes back as it was."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.log import Filter
from broker.jetstream.store.account import AccountStore
from broker.jetstream.store.environment import Environment
from broker.jetstream.store.journal import found
from broker.jetstream.store.packing import packed, unpacked
from broker.jetstream.store.tables import Change, Checked, DamagedError, StoreError
from broker.jetstream.store.tidying import GivenUpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broker.core.log import Log

EVERYTHING = Filter()


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[AccountStore]:
    """A store of its own, closed at the end."""
    with ThreadPoolExecutor(2) as executor:
        store = AccountStore(directory, asyncio.get_running_loop(), executor, lambda: None)
        yield store
        await store.close()


async def committed(store: AccountStore) -> None:
    """Waits until all that was changed is on disk. Raises what the store says."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    store.after(lambda error: done.set_result(None) if error is None else done.set_exception(error))
    await done


def copied(directory: Path) -> Path:
    """What a power failure would leave of a directory: nothing is closed."""
    made = directory / "crashed"
    made.mkdir()
    for path in directory.iterdir():
        if path.is_file():
            (made / path.name).write_bytes(path.read_bytes())
    return made


def told(log: Log) -> list[tuple[int, bytes, bytes | None, bytes]]:
    """All messages of a log."""
    made = []
    sequence = log.next(EVERYTHING, 0)
    while sequence:
        entry = log.get(sequence)
        assert entry is not None
        made.append((entry.sequence, entry.subject, entry.header, entry.payload))
        sequence = log.next(EVERYTHING, sequence + 1)
    return made


async def test_messages_come_back_as_they_were(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        for number in range(5000):
            log.append(
                b"s.%d" % (number % 7), b"NATS/1.0\r\n\r\n" if number % 3 else None, b"x" * (number % 90), number + 1
            )
        store.changed(name)
        assert log.durable == 0
        await committed(store)
        assert log.durable == 5000
        for sequence in (1, 2, 4000, 5000):
            log.remove(sequence)
        log.append(b"late", None, b"", 6000)
        store.changed(name)
        store.put("stream/" + name, b"{}")
        await committed(store)
        before = told(log)
    async with opened(tmp_path) as store:
        assert store.documents("stream/") == {"stream/" + name: b"{}"}
        again = store.load(name)
        assert again.held < 64 << 10
        assert told(again) == before
        assert (again.first, again.last, again.bytes, again.subjects) == (3, 5001, log.bytes, log.subjects)


async def test_dropped_streams_leave_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        other, kept = store.create(memory=False)
        for number in range(3000):
            log.append(b"a", None, b"secret %d" % number, 1)
        kept.append(b"b", None, b"", 1)
        store.changed(name)
        store.changed(other)
        await committed(store)
        store.drop(name)
        await committed(store)
        assert store.load(name).messages == 0
        assert store.load(other).messages == 1


async def test_memory_streams_are_not_written(tmp_path: Path) -> None:
    async with opened(tmp_path / "account") as store:
        name, log = store.create(memory=True)
        log.append(b"a", None, b"", 1)
        store.changed(name)
        await committed(store)
        assert log.durable == 1
    assert not (tmp_path / "account").exists()


async def test_a_failed_commit_undoes_what_was_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        log.append(b"a", None, b"kept", 1)
        store.changed(name)
        await committed(store)
        write = Environment.write

        def full(self: Environment, changes: list[Change]) -> None:
            raise StoreError("no room", full=True)

        monkeypatch.setattr(Environment, "write", full)
        reloads: list[StoreError] = []
        store.reloaded = reloads.append
        log.append(b"b", None, b"lost", 2)
        store.changed(name)
        with pytest.raises(StoreError, match="no room"):
            await committed(store)
        assert told(log) == [(1, b"a", None, b"kept")]
        assert [error.full for error in reloads] == [True]
        monkeypatch.setattr(Environment, "write", write)
        assert log.append(b"c", None, b"again", 3) == 2
        store.changed(name)
        await committed(store)
        assert store.failure is None
    async with opened(tmp_path) as store:
        assert told(store.load(name)) == [(1, b"a", None, b"kept"), (2, b"c", None, b"again")]


async def test_a_disk_that_is_full_is_not_tried_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.jetstream.store.account.RETRY", 3600.0)
    tried: list[list[Change]] = []

    def full(self: Environment, changes: list[Change]) -> None:
        tried.append(changes)
        raise StoreError("no room", full=True)

    async with opened(tmp_path) as store:
        # Each new beginning has something to write, as streams have whose messages end.
        store.reloaded = lambda _: store.put("begun", b"anew")
        with monkeypatch.context() as patch:
            patch.setattr(Environment, "write", full)
            store.put("a", b"lost")
            with pytest.raises(StoreError, match="no room"):
                await committed(store)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(tried) == 1
            # Nor does what needs no disk wait for the next try.
            store.forget()
            store.when_quiet(lambda: tried.append([]))
            assert tried[1:] == [[]]
        store.put("b", b"kept")
    async with opened(tmp_path) as store:
        assert store.documents("") == {"b": b"kept"}


async def test_what_only_the_journal_says_is_there_after_a_crash(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        store = AccountStore(tmp_path, asyncio.get_running_loop(), executor, lambda: None)
        name, log = store.create(memory=False)
        other, gone = store.create(memory=False)
        for number in range(50):
            log.append(b"a", None, b"message %d" % number, number)
            gone.append(b"g", None, b"", number)
            store.changed(name)
            store.changed(other)
            await committed(store)
        log.remove(7)
        store.changed(name)
        store.drop(other)
        await committed(store)
        before = told(log)
        crashed = copied(tmp_path)
        (journal_file,) = found(crashed)
        whole = journal_file.read_bytes()
        for torn in (whole, whole + whole[:20], whole + b"\xff" * 9):
            journal_file.write_bytes(torn)
            other_store = AccountStore(crashed, asyncio.get_running_loop(), executor, lambda: None)
            assert told(other_store.load(name)) == before
            assert other_store.load(other).messages == 0
            await other_store.close()
        await store.close()


async def test_the_map_grows_while_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.jetstream.store.environment.SMALLEST_MAP", 1 << 20)
    monkeypatch.setattr("broker.jetstream.store.environment.JOURNAL_BYTES", 1 << 20)
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        for number in range(100):
            log.append(b"a", None, b"x" * 60_000, number)
            store.changed(name)
            await committed(store)
        assert log.durable == 100
    async with opened(tmp_path) as store:
        assert store.load(name).messages == 100


async def test_space_is_given_back_while_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.jetstream.store.environment.COMPACT_FROM", 1 << 20)
    monkeypatch.setattr("broker.jetstream.store.environment.JOURNAL_BYTES", 1)
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        for number in range(200):
            log.append(b"a", None, b"x" * 60_000, number)
        store.changed(name)
        await committed(store)
        await store.passed()
        log.truncate_before(190)
        for number in range(3):
            log.append(b"b", None, b"", number)
            store.changed(name)
            await committed(store)
            await store.passed()
        size = store.environment.size
        compacting = asyncio.ensure_future(store.tidying.compact())
        for number in range(300):
            log.append(b"b", None, b"meanwhile", number)
            store.changed(name)
            await committed(store)
        assert await compacting
        log.append(b"c", None, b"after", 1000)
        store.changed(name)
        await committed(store)
        assert store.environment.size < size // 2
        before = told(log)
        assert len(before) == 11 + 3 + 301
    async with opened(tmp_path) as store:
        assert told(store.load(name)) == before


async def test_a_copy_for_which_too_much_has_to_wait_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.jetstream.store.environment.COMPACT_FROM", 1 << 20)
    monkeypatch.setattr("broker.jetstream.store.tidying.MOST_WAITING", -1)
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        for number in range(100):
            log.append(b"a", None, b"x" * 60_000, number)
        store.changed(name)
        await committed(store)
        await store.turn_over()
        log.truncate_before(95)
        store.changed(name)
        await committed(store)
        size = store.environment.size
        with pytest.raises(GivenUpError):
            await store.tidying.compact()
        assert store.environment.size >= size
        assert not (tmp_path / "compacting").exists()
        log.append(b"b", None, b"afterwards", 100)
        store.changed(name)
        await committed(store)
        before = told(log)
        monkeypatch.setattr("broker.jetstream.store.tidying.MOST_WAITING", 1 << 30)
        assert await store.tidying.compact()
        assert store.environment.size < size // 2
    async with opened(tmp_path) as store:
        assert told(store.load(name)) == before


async def test_removed_messages_are_overwritten_where_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        name, log = store.create(memory=False)
        for number in range(10):
            log.append(b"a", None, b"message %d" % number, 1)
        store.changed(name)
        await committed(store)
        log.remove(4)
        store.changed(name, erase=True)
        await committed(store)
        rows = b"".join(value for _, value in store.environment.rows("records", b""))
        assert b"message 3" not in rows
        assert b"message 4" in rows


def test_damage_is_found(tmp_path: Path) -> None:
    codec = Checked()
    stored = codec.encode("records", b"key", b"value")
    assert codec.decode("records", b"key", stored) == b"value"
    for damaged in (stored[:-1], stored[:3], b"", b"\x07" + stored[1:], stored[:-1] + b"X"):
        with pytest.raises(DamagedError):
            codec.decode("records", b"key", damaged)
    with pytest.raises(DamagedError):
        codec.decode("records", b"other", stored)


async def test_messages_are_compressed_where_that_is_wanted(tmp_path: Path) -> None:
    text = b"a line of a log that says much the same as the one before it; "
    async with opened(tmp_path / "plain") as store:
        name, log = store.create(memory=False)
        await filled(store, name, log, text)
        usual = store.environment.used
    async with opened(tmp_path / "packed") as store:
        name, log = store.create(memory=False)
        store.pack(name, wanted=True)
        await filled(store, name, log, text)
        assert store.environment.used < usual // 3
        # What is written from now on is not, and what was is read all the same.
        store.pack(name, wanted=False)
        await filled(store, name, log, text)
        before = told(log)
    async with opened(copied(tmp_path / "packed")) as store:
        assert told(store.load(name)) == before
        store.drop(name)
        assert not store.environment.packs


async def filled(store: AccountStore, name: str, log: Log, text: bytes) -> None:
    """Commits messages, with what does not become smaller among them, and has the tables take them."""
    for turn in range(40):
        for number in range(20):
            log.append(b"s", None, text * (number % 9), turn)
        if turn == 7:
            log.append(b"s", None, os.urandom(3000), turn)
        store.changed(name)
        await committed(store)
    store.environment.settle()


@given(st.lists(st.sampled_from([b"abc" * 99, b"\0", os.urandom(60)]), max_size=30).map(b"".join))
def test_packed_records_are_read(records: bytes) -> None:
    assert unpacked(packed(records)) == records
    assert len(packed(records)) <= len(records)


def test_damaged_packed_records_are_found() -> None:
    with pytest.raises(DamagedError, match="packed records"):
        unpacked(packed(b"abc" * 99)[:-1])
