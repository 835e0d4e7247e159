"""A bucket of many keys, with the official client: watchers see every change once, and it all comes back.

With NATSKEEP_FUZZ=long they are ten thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from broker import Server
from tests.fuzz.inputs import LONG
from tests.support.streams import SECONDS, connected, keeping

KEYS = 10_000 if LONG else 2_000
AT_ONCE = 1000


async def seen(watcher: KeyValue.KeyWatcher) -> AsyncIterator[KeyValue.Entry]:
    """What a watcher has for who begins to watch, up to the sign that there is no more."""
    while (entry := await watcher.updates(timeout=SECONDS)) is not None:
        yield entry


async def test_many_keys(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        values = await client.jetstream().create_key_value(
            KeyValueConfig(bucket="MANY", history=2, storage=StorageType.FILE)
        )
        early = await values.watchall()
        assert await early.updates(timeout=SECONDS) is None
        for start in range(0, KEYS, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            puts = [values.put(f"key.{number % 100}.{number}", b"%d" % number) for number in numbers]
            assert sorted(await asyncio.gather(*puts)) == [number + 1 for number in numbers]
        heard = [await early.updates(timeout=SECONDS) for _ in range(KEYS)]
        assert [entry.revision for entry in heard if entry is not None] == list(range(1, KEYS + 1))
        await early.stop()

        await asyncio.gather(*(values.delete(f"key.7.{number}") for number in range(7, KEYS, 100)))
        await asyncio.gather(*(values.purge(f"key.8.{number}") for number in range(8, KEYS, 100)))
        gone = {f"key.{group}.{number}" for group in (7, 8) for number in range(group, KEYS, 100)}
        late = await values.watchall(ignore_deletes=True)
        left = {entry.key async for entry in seen(late)}
        await late.stop()
        assert left == {f"key.{number % 100}.{number}" for number in range(KEYS)} - gone
        part = await values.watch("key.42.*")
        assert len([entry async for entry in seen(part)]) == KEYS // 100
        await values.put("key.42.42", b"other")
        changed = await part.updates(timeout=SECONDS)
        assert changed is not None
        assert (changed.key, changed.value, changed.revision) == ("key.42.42", b"other", KEYS + KEYS // 50 + 1)
        await part.stop()
        with pytest.raises(KeyWrongLastSequenceError):
            await values.update("key.42.42", b"late", last=43)
        assert await values.update("key.42.42", b"in time", last=KEYS + KEYS // 50 + 1) == KEYS + KEYS // 50 + 2
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        values = await client.jetstream().key_value("MANY")
        assert set(await values.keys()) == left
        assert (await values.get("key.42.42")).value == b"in time"
        assert [entry.value for entry in await values.history("key.42.42")] == [b"other", b"in time"]
        with pytest.raises(KeyNotFoundError):
            await values.get("key.7.7")
        assert (await values.status()).values == KEYS + KEYS // 100 + 1
