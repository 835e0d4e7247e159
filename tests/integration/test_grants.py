"""Users with grants against natskeep, by nats-py: each can do what its grants say, and nothing beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext, api
from nats.js.errors import APIError

from broker import Options, Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.support.streams import SECONDS

VIOLATION, FORBIDDEN = 19001, 403
USERS: dict[str, list[str]] = {
    "reader": ["stream:read ORDERS"],
    "european": ["stream:read ORDERS orders.eu.>"],
    "writer": ["stream:write ORDERS orders.>"],
    "worker": ["consumer:use ORDERS worker"],
    "pushed": ["consumer:use ORDERS pushed deliver.orders"],
    "manager": ["stream:manage ORDERS"],
    "maker": ["stream:manage COPY"],
    "keys": ["kv:read CONFIG"],
    "key": ["kv:read CONFIG key.*"],
    "putter": ["kv:write CONFIG key.*"],
    "keeper": ["kv:read CONFIG", "kv:write CONFIG", "kv:manage CONFIG"],
    "viewer": ["object:read FILES"],
    "uploader": ["object:write FILES"],
    "archivist": ["object:read FILES", "object:write FILES", "object:manage FILES"],
    "clerk": ["jetstream:list"],
    "chief": ["jetstream:admin", "stream:write ORDERS orders.>"],
}


def options(path: Path) -> Options:
    users = "".join(
        f"{{user: {name}, password: p, permissions: {{grants: {json.dumps(grants)}}}}}\n"
        for name, grants in USERS.items()
    )
    text = f"""
    listen: "127.0.0.1:-1"
    jetstream {{ store_dir: {path} }}
    accounts {{ SHOP {{ jetstream: enabled, users: [{{user: owner, password: p}}\n{users}] }} }}
    """
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


class Person:
    """A client with what it was refused."""

    def __init__(self) -> None:
        self.client = Client()
        self.refusals: asyncio.Queue[str] = asyncio.Queue()
        self.js: JetStreamContext

    async def told(self, error: Exception) -> None:
        """nats-py reports a refusal."""
        await self.refusals.put(str(error).lower())

    async def may(self, doing: Awaitable[object]) -> bool:
        """Whether something is done. A publish that is refused would only time out, so the refusal ends it."""
        task, refused = asyncio.ensure_future(self._flushed(doing)), asyncio.ensure_future(self.refusals.get())
        await asyncio.wait({task, refused}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if refused.done() or not self.refusals.empty():
            assert "permissions violation" in await refused
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return False
        refused.cancel()
        assert task.done()
        error = task.exception()
        if error is None:
            return True
        # The answer to a request whose payload asks for too much, by API or by status.
        if isinstance(error, APIError) and (error.err_code == VIOLATION or error.code == FORBIDDEN):
            return False
        raise error

    async def _flushed(self, doing: Awaitable[object]) -> None:
        """Does something, and gives its refusal the time to come."""
        await doing
        await self.client.flush(round(SECONDS))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Person]]]:
    """Connects users to a server with a stream, a bucket and an object store."""
    people: list[Person] = []
    async with Server(options(tmp_path)) as server:

        async def connect(name: str) -> Person:
            person = Person()
            await person.client.connect(
                server.url, user=name, password="p", error_cb=person.told, allow_reconnect=False
            )
            person.js = person.client.jetstream(timeout=SECONDS)
            people.append(person)
            return person

        owner = await connect("owner")
        js = owner.js
        await js.add_stream(name="ORDERS", subjects=["orders.>"], allow_direct=True)
        await js.add_stream(name="OTHER", subjects=["other.>"], allow_direct=True)
        for number, where in enumerate(("eu.1", "us.2", "eu.3")):
            await js.publish(f"orders.{where}", b"%d" % number)
        await js.publish("other.x", b"!")
        await js.add_consumer("ORDERS", durable_name="worker", ack_policy=api.AckPolicy.EXPLICIT)
        await js.add_consumer("ORDERS", durable_name="idle", ack_policy=api.AckPolicy.EXPLICIT)
        await js.add_consumer(
            "ORDERS", durable_name="pushed", deliver_subject="deliver.orders", ack_policy=api.AckPolicy.EXPLICIT
        )
        bucket = await js.create_key_value(bucket="CONFIG", history=5, direct=True)
        for key in ("key.a", "key.b", "other"):
            await bucket.put(key, key.encode())
        files = await js.create_object_store(bucket="FILES")
        await files.put("one", b"1" * 10)
        try:
            yield connect
        finally:
            for person in people:
                await person.client.close()


Shop = Callable[[str], Awaitable[Person]]
ALL, EUROPE = [b"0", b"1", b"2"], [b"0", b"2"]


async def pushed(
    js: JetStreamContext, subject: str, count: int, *, durable: str | None = None, ordered_consumer: bool = False
) -> list[bytes]:
    subscription = await js.subscribe(
        subject, stream="ORDERS", durable=durable, ordered_consumer=ordered_consumer
    )
    found = [await subscription.next_msg(SECONDS) for _ in range(count)]
    for message in found:
        if not ordered_consumer:
            await message.ack_sync(SECONDS)
    await subscription.unsubscribe()
    return [message.data for message in found]


async def pulled(js: JetStreamContext, subject: str, count: int, durable: str | None = None) -> list[bytes]:
    subscription = await js.pull_subscribe(subject, durable=durable, stream="ORDERS")
    found = await subscription.fetch(count, timeout=SECONDS)
    for message in found:
        await message.ack_sync(SECONDS)
    return [message.data for message in found]


async def test_who_reads_a_stream(shop: Shop) -> None:
    reader = await shop("reader")
    js = reader.js
    assert await pushed(js, "orders.>", 3) == ALL
    assert await pushed(js, "orders.>", 3, ordered_consumer=True) == ALL
    assert await pushed(js, "orders.>", 3, durable="d") == ALL
    assert await pulled(js, "orders.>", 3) == ALL
    assert await pulled(js, "orders.eu.*", 2, durable="mine") == EUROPE
    assert (await js.get_msg("ORDERS", 2)).data == b"1"
    assert (await js.get_last_msg("ORDERS", "orders.eu.1", direct=True)).data == b"0"
    assert (await js.stream_info("ORDERS")).state.messages == 3
    await js.delete_consumer("ORDERS", "mine")
    for doing in (
        lambda: js.get_msg("OTHER", 1),
        lambda: js.stream_info("OTHER"),
        lambda: js.pull_subscribe("other.>", stream="OTHER"),
        lambda: js.publish("orders.eu.1", b"x", timeout=SECONDS),
        lambda: js.purge_stream("ORDERS"),
        lambda: js.delete_stream("ORDERS"),
        lambda: js.delete_msg("ORDERS", 1),
        lambda: js.add_stream(name="MINE", sources=[api.StreamSource(name="ORDERS")]),
        lambda: reader.client.subscribe("orders.>"),
    ):
        assert not await reader.may(doing())


async def test_who_reads_some_subjects_of_a_stream(shop: Shop) -> None:
    european = await shop("european")
    js = european.js
    assert await pushed(js, "orders.eu.>", 2) == EUROPE
    assert await pushed(js, "orders.eu.*", 2, ordered_consumer=True) == EUROPE
    assert await pulled(js, "orders.eu.>", 2) == EUROPE
    assert await pulled(js, "orders.eu.>", 2, durable="mine") == EUROPE
    assert (await js.get_msg("ORDERS", 1)).data == b"0"
    assert (await js.get_last_msg("ORDERS", "orders.eu.3")).data == b"2"
    for doing in (
        lambda: js.subscribe("orders.>", stream="ORDERS"),
        lambda: js.subscribe("orders.us.*", stream="ORDERS", ordered_consumer=True),
        lambda: js.pull_subscribe("orders.>", stream="ORDERS"),
        lambda: js.pull_subscribe("orders.*.1", stream="ORDERS", durable="more"),
        lambda: js.get_msg("ORDERS", 2),
        lambda: js.get_msg("ORDERS", 2, direct=True),
        lambda: js.get_last_msg("ORDERS", "orders.us.2", direct=True),
        lambda: js.get_last_msg("ORDERS", "orders.us.2"),
    ):
        assert not await european.may(doing())
    idle = await js.pull_subscribe_bind("idle", stream="ORDERS")
    assert not await european.may(idle.fetch(1, timeout=SECONDS))


async def test_who_writes(shop: Shop) -> None:
    writer = await shop("writer")
    assert (await writer.js.publish("orders.new", b"x")).stream == "ORDERS"
    for doing in (lambda: writer.js.publish("other.x", b"x"), lambda: writer.js.get_msg("ORDERS", 1)):
        assert not await writer.may(doing())


async def test_who_uses_a_consumer(shop: Shop) -> None:
    worker, reached = await shop("worker"), await shop("pushed")
    assert await pulled(worker.js, "", 3, durable="worker") == ALL
    assert (await worker.js.consumer_info("ORDERS", "worker")).ack_floor.stream_seq == 3
    for doing in (
        lambda: worker.js.consumer_info("ORDERS", "idle"),
        lambda: worker.js.pull_subscribe("orders.>", stream="ORDERS"),
        lambda: worker.js.delete_consumer("ORDERS", "worker"),
        lambda: worker.js.get_msg("ORDERS", 1),
    ):
        assert not await worker.may(doing())
    idle = await worker.js.pull_subscribe_bind("idle", stream="ORDERS")
    assert not await worker.may(idle.fetch(1, timeout=SECONDS))
    info = await reached.js.consumer_info("ORDERS", "pushed")
    subscription = await reached.js.subscribe_bind("ORDERS", info.config, "pushed")
    message = await subscription.next_msg(SECONDS)
    await message.ack_sync(SECONDS)
    assert message.data == b"0"


async def test_who_manages_a_stream(shop: Shop) -> None:
    manager, maker = await shop("manager"), await shop("maker")
    js = manager.js
    info = await js.stream_info("ORDERS")
    await js.update_stream(info.config.evolve(max_msgs=10))
    await js.add_consumer("ORDERS", durable_name="new", filter_subject="orders.eu.>")
    assert len(await js.consumers_info("ORDERS")) == 4
    await js.delete_consumer("ORDERS", "new")
    await js.delete_msg("ORDERS", 2)
    await js.purge_stream("ORDERS", subject="orders.eu.1")
    assert not await manager.may(js.publish("orders.eu.1", b"x"))
    assert not await manager.may(js.purge_stream("OTHER"))
    await js.delete_stream("ORDERS")
    # What a stream takes from others is read by who has it taken.
    js = maker.js
    assert not await maker.may(js.add_stream(name="COPY", sources=[api.StreamSource(name="OTHER")]))
    assert not await maker.may(js.add_stream(name="COPY", subjects=["x"], republish=api.RePublish("x", "other.y")))
    assert not await maker.may(js.add_stream(name="ELSE", subjects=["x"]))
    await js.add_stream(name="COPY", subjects=["x"])


async def test_who_reads_keys(shop: Shop) -> None:
    keys, key = await shop("keys"), await shop("key")
    bucket = await keys.js.key_value("CONFIG")
    assert sorted(await bucket.keys()) == ["key.a", "key.b", "other"]
    assert (await bucket.get("other")).value == b"other"
    assert [entry.value for entry in await bucket.history("key.a")] == [b"key.a"]
    assert not await keys.may(bucket.put("key.a", b"x"))
    assert not await keys.may(keys.js.key_value("FILES"))
    bucket = await key.js.key_value("CONFIG")
    assert (await bucket.get("key.a")).value == b"key.a"
    assert (await bucket.get("key.b", revision=2)).value == b"key.b"
    assert [entry.value for entry in await bucket.history("key.b")] == [b"key.b"]
    watcher = await bucket.watch("key.*")
    assert {(await watcher.updates(SECONDS)).key for _ in range(2)} == {"key.a", "key.b"}
    await watcher.stop()
    for doing in (
        lambda: bucket.get("other"),
        lambda: bucket.get("other", revision=3),
        bucket.keys,
        lambda: bucket.watch("other"),
        lambda: bucket.watch("key.>"),
        lambda: bucket.put("key.a", b"x"),
    ):
        assert not await key.may(doing())


async def test_who_writes_keys(shop: Shop) -> None:
    putter, keeper = await shop("putter"), await shop("keeper")
    bucket = await putter.js.key_value("CONFIG")
    revision = await bucket.put("key.a", b"2")
    await bucket.update("key.a", b"3", last=revision)
    await bucket.create("key.c", b"new")
    await bucket.delete("key.a")
    await bucket.purge("key.b")
    for doing in (lambda: bucket.put("other", b"x"), lambda: bucket.get("key.c"), lambda: bucket.watch("key.*")):
        assert not await putter.may(doing())
    bucket = await keeper.js.key_value("CONFIG")
    await bucket.purge_deletes()
    assert sorted(await bucket.keys()) == ["key.c", "other"]
    await keeper.js.delete_key_value("CONFIG")
    await keeper.js.create_key_value(bucket="CONFIG")
    assert not await keeper.may(keeper.js.create_key_value(bucket="ELSE"))


async def test_objects(shop: Shop) -> None:
    viewer, uploader, archivist = await shop("viewer"), await shop("uploader"), await shop("archivist")
    files = await viewer.js.object_store("FILES")
    assert (await files.get("one")).data == b"1" * 10
    assert [one.name for one in await files.list()] == ["one"]
    assert not await viewer.may(viewer.js.publish("$O.FILES.C.x", b"2"))
    assert not await viewer.may(viewer.js.purge_stream("OBJ_FILES"))
    files = await uploader.js.object_store("FILES")
    await files.put("two", b"2" * 300_000)
    await files.put("one", b"3")
    assert (await files.get_info("two")).size == 300_000
    await files.delete("two")
    assert not await uploader.may(files.get("one"))
    first = (await uploader.js.stream_info("OBJ_FILES")).state.first_seq
    assert not await uploader.may(uploader.js.get_msg("OBJ_FILES", first))
    files = await archivist.js.object_store("FILES")
    assert (await files.get("one")).data == b"3"
    await files.seal()
    await archivist.js.delete_object_store("FILES")
    await archivist.js.create_object_store(bucket="FILES")
    assert not await archivist.may(archivist.js.create_object_store(bucket="ELSE"))


def test_the_rules_name_their_grants(tmp_path: Path) -> None:
    (account,) = options(tmp_path).accounts
    user = next(user for user in account.users if user.user == "keeper")
    assert user.permissions is not None
    origins = {one.subject: one.origin for one in user.permissions.publish.allow}
    place = origins["$KV.CONFIG.>"].partition(", ")[0]
    assert place.startswith("t.conf:")
    assert origins["$KV.CONFIG.>"] == f'{place}, grant "kv:write CONFIG"'
    assert origins["$JS.API.STREAM.DELETE.KV_CONFIG"] == f'{place}, grant "kv:manage CONFIG"'


async def test_who_looks_and_who_has_it_all(shop: Shop) -> None:
    clerk, chief = await shop("clerk"), await shop("chief")
    assert len(await clerk.js.streams_info()) == 4
    assert (await clerk.js.account_info()).streams == 4
    assert not await clerk.may(clerk.js.stream_info("ORDERS"))
    await chief.js.add_stream(name="NEW", subjects=["new"])
    await chief.js.publish("orders.eu.1", b"x")
    assert (await chief.js.get_msg("ORDERS", 4)).data == b"x"
    assert not await chief.may(chief.js.publish("new", b"x"))
