"""Streams as archives: taken at one moment whatever happens meanwhile, restored as they were or not at all.

With nats-server 2.14.5 on the PATH, or NATSKEEP_REFERENCE, archives go both ways between that server and natskeep; a
recorded one is restored in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from broker import Server
from broker.jetstream.snapshot import frames, records, restoring, tar
from broker.jetstream.snapshot import sending as broker_sending
from broker.jetstream.snapshot.records import Record
from broker.jetstream.store.environment import Environment
from broker.jetstream.store.tables import STATES, Checked
from tests.support.archives import Archive, held, rest, restored, sending, taken
from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, targets_at_hand
from tests.support.streams import SECONDS, ask, connected, keeping, made, said

RECORDED = Path(__file__).parents[1] / "support" / "recorded"
REFERENCES = [target for target in targets_at_hand() if target.is_reference]
HOUR = 3600 * 10**9


async def filled(client: Client, name: str = "S", **config: Any) -> None:
    """A stream with gaps, and a consumer that waits for some of it."""
    await made(client, name, subjects=[f"{name}.>"], **config)
    for number in range(300):
        header = {"Number": str(number)} if number % 3 == 0 else None
        await client.publish(f"{name}.{number % 7}", b"payload %d " % number * 9, headers=header)
    await said(client, f"{name}.end", b"", {"Nats-Msg-Id": "last"})
    for sequence in (50, 51, 99, 301):
        await ask(client, f"STREAM.MSG.DELETE.{name}", {"seq": sequence})
    await ask(client, f"STREAM.PURGE.{name}", {"seq": 10})
    consumer = {"durable_name": "C", "ack_policy": "explicit", "filter_subject": f"{name}.1", "ack_wait": HOUR}
    await ask(client, f"CONSUMER.CREATE.{name}.C.{name}.1", {"stream_name": name, "config": consumer})
    messages = await (await client.jetstream().pull_subscribe_bind(durable="C", stream=name)).fetch(8)
    for message in [*messages[:3], messages[5]]:
        await message.ack_sync()


async def consumer_of(client: Client, name: str = "S") -> dict[str, Any]:
    """What is told of a consumer, but for times of its life."""
    info = await ask(client, f"CONSUMER.INFO.{name}.C")
    for part in ("delivered", "ack_floor"):
        info[part].pop("last_active", None)
    return {key: value for key, value in info.items() if key != "ts"}


def left(directory: Path) -> int:
    """Streams of which the files of the account have anything; the server has ended."""
    environment = Environment(directory / "jetstream" / "%24G", Checked())
    count = len(list(environment.rows(STATES, b"")))
    environment.close()
    return count


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Server, Client]]:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        yield server, client


# What is taken comes back


@pytest.mark.parametrize("storage", ["file", "memory"])
async def test_a_stream_comes_back_as_it_was(storage: str, served: tuple[Server, Client], tmp_path: Path) -> None:
    server, client = served
    await filled(client, storage=storage)
    info, messages, consumer = await ask(client, "STREAM.INFO.S"), await held(client, "S"), await consumer_of(client)
    archive = await taken(client, "S", chunk_size=3000)
    assert archive.status == "204"
    assert archive.state == info["state"]
    refused = await restored(client, archive)
    assert refused["error"]["err_code"] == 10130
    await ask(client, "STREAM.DELETE.S")
    answer = await restored(client, archive, chunk=777)
    assert answer["type"] == "io.nats.jetstream.api.v1.stream_create_response"
    again = await ask(client, "STREAM.INFO.S")
    for one in (info, again):
        del one["ts"]
    assert again == info
    assert (answer["config"], answer["state"], answer["created"]) == (info["config"], info["state"], info["created"])
    assert await held(client, "S") == messages
    assert await consumer_of(client) == consumer
    # It goes on: sequences, duplicates and what is not acknowledged are where they were.
    assert await said(client, "S.1", b"new") == {"stream": "S", "seq": 302}
    assert (await said(client, "S.end", b"", {"Nats-Msg-Id": "other"}))["seq"] == 303
    if storage == "file":
        await client.close()
        await server.stop()
        assert left(tmp_path) == 1


async def test_consumers_stay_out_where_they_are_not_wanted(served: tuple[Server, Client]) -> None:
    _, client = served
    await filled(client)
    archive = await taken(client, "S", no_consumers=True)
    await ask(client, "STREAM.DELETE.S")
    assert (await restored(client, archive))["state"]["consumer_count"] == 0


async def test_any_stream_comes_back(served: tuple[Server, Client]) -> None:
    _, client = served
    for seed in range(12):
        chance = random.Random(seed)
        config: dict[str, Any] = {"first_seq": chance.choice([0, 5, 90_000]), "allow_msg_ttl": True}
        config["max_msgs_per_subject"] = chance.choice([-1, 3])
        await made(client, "R", subjects=["r.>"], **config)
        for _ in range(chance.randrange(60)):
            step = chance.random()
            state = (await ask(client, "STREAM.INFO.R"))["state"]
            if step < 0.8:
                payload = chance.choice([b"", b"x" * 9, chance.randbytes(70_000)])
                header = chance.choice([None, {"A": "b"}, {"Nats-TTL": "1h"}])
                await client.publish(f"r.{chance.randrange(4)}", payload, headers=header)
            elif step < 0.95:
                sequence = chance.randint(state["first_seq"], state["last_seq"] + 1)
                await ask(client, "STREAM.MSG.DELETE.R", {"seq": sequence})
            else:
                await ask(client, "STREAM.PURGE.R", {"keep": chance.randrange(9)})
        info, messages = await ask(client, "STREAM.INFO.R"), await held(client, "R")
        archive = await taken(client, "R", chunk_size=chance.choice([0, 1024]))
        await ask(client, "STREAM.DELETE.R")
        answer = await restored(client, archive, chunk=chance.choice([1 << 17, 5000]))
        assert answer["state"] == info["state"], seed
        assert await held(client, "R") == messages, seed
        await ask(client, "STREAM.DELETE.R")


async def test_a_recorded_archive_is_restored(served: tuple[Server, Client]) -> None:
    _, client = served
    facts = json.loads((RECORDED / "orders.json").read_text())
    archive = Archive(facts["config"], facts["state"], (RECORDED / "orders.s2").read_bytes(), "204")
    answer = await restored(client, archive, chunk=1000)
    assert (answer["state"], answer["created"]) == (facts["state"], facts["created"])
    messages = await held(client, "ORDERS")
    assert hashlib.sha256(json.dumps(messages).encode()).hexdigest() == facts["messages"]
    for name, expected in facts["consumers"].items():
        info = await ask(client, f"CONSUMER.INFO.ORDERS.{name}")
        for part in ("delivered", "ack_floor"):
            expected[part].pop("last_active", None)
        assert {key: info[key] for key in expected} == expected


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda target: str(target.name))
async def test_archives_go_both_ways(reference: Any, served: tuple[Server, Client], tmp_path: Path) -> None:
    _, client = served
    port = reserve_port()
    arguments = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(tmp_path / "reference")]
    with ServerProcess(reference, arguments, tmp_path) as process:
        assert process.wait_until_ready(), process.output
        other = await nats.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False)
        for source, target in ((client, other), (other, client)):
            await filled(source)
            messages, consumer = await held(source, "S"), await consumer_of(source)
            archive = await taken(source, "S")
            answer = await restored(target, archive)
            assert answer["state"] == (await ask(source, "STREAM.INFO.S"))["state"]
            assert await held(target, "S") == messages
            assert await consumer_of(target) == consumer
            for one in (source, target):
                await ask(one, "STREAM.DELETE.S")
        await other.close()


# One moment


async def test_an_archive_shows_one_moment(served: tuple[Server, Client]) -> None:
    _, client = served
    await made(client, "K", subjects=["k.*"], max_msgs_per_subject=1)
    for number in range(400):
        await client.publish(f"k.{number}", random.Random(number).randbytes(2000))
    await client.flush()
    messages = await held(client, "K")
    async with sending(client, "K", chunk_size=1024, window_size=1024) as (answer, chunks):
        first = await asyncio.wait_for(chunks.get(), SECONDS)
        # All but one chunk is still to come: keys change, and then everything goes.
        for number in range(400):
            await client.publish(f"k.{number}", b"later")
        await said(client, "k.new")
        assert (await ask(client, "STREAM.PURGE.K"))["purged"] == 401
        assert chunks.empty()
        await client.publish(first.reply)
        content, status = await rest(client, chunks)
    assert status == "204"
    assert (await ask(client, "STREAM.INFO.K"))["state"]["messages"] == 0
    await ask(client, "STREAM.DELETE.K")
    archive = Archive(answer["config"], answer["state"], first.data + content, status)
    assert (await restored(client, archive))["state"] == answer["state"]
    assert await held(client, "K") == messages


async def test_a_stream_that_goes_ends_its_archive(served: tuple[Server, Client]) -> None:
    _, client = served
    await filled(client)
    async with sending(client, "S", chunk_size=1024, window_size=1024) as (_, chunks):
        await asyncio.wait_for(chunks.get(), SECONDS)
        await ask(client, "STREAM.DELETE.S")
        assert (await rest(client, chunks))[1] == "500 stream closed"


# Who receives


async def test_who_does_not_answer_is_left(served: tuple[Server, Client], monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = served
    await filled(client)
    monkeypatch.setattr(broker_sending, "ANSWER_SECONDS", 0.05)
    async with sending(client, "S", chunk_size=1024, window_size=2048) as (_, chunks):
        found = [await asyncio.wait_for(chunks.get(), SECONDS) for _ in range(3)]
    assert [len(chunk.data) for chunk in found] == [1024, 1024, 0]
    assert found[2].headers == {"Status": "408", "Description": "No Flow Response"}
    assert [chunk.reply.rsplit(".", 2)[1:] for chunk in found[:2]] == [["1024", "1"], ["1024", "2"]]


async def test_who_does_not_listen_is_left(served: tuple[Server, Client], monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = served
    events: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE.S", cb=events.put)
    await made(client, "S", subjects=["s"])
    monkeypatch.setattr(broker_sending, "INTEREST_SECONDS", 0.05)
    assert "error" not in await ask(client, "STREAM.SNAPSHOT.S", {"deliver_subject": "nobody"})
    assert json.loads((await asyncio.wait_for(events.get(), SECONDS)).data)["error"] == "no interest"


async def test_who_listens_to_all_its_inboxes_is_waited_for(served: tuple[Server, Client]) -> None:
    """As ``nats stream backup`` does: it listens to the chunks when it has been answered."""
    _, client = served
    await filled(client)
    missed: list[bytes] = []

    async def miss(message: Msg) -> None:
        missed.append(message.data)

    inboxes = client.new_inbox()
    await client.subscribe(f"{inboxes}.*", cb=miss)
    assert "error" not in await ask(client, "STREAM.SNAPSHOT.S", {"deliver_subject": f"{inboxes}.chunks"})
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe(f"{inboxes}.chunks", cb=chunks.put)
    content, _ = await rest(client, chunks)
    assert content.startswith(b"\xff\x06\x00\x00")
    assert b"".join(missed) == content


async def test_a_small_stream_has_no_status(served: tuple[Server, Client]) -> None:
    _, client = served
    await made(client, "S", subjects=["s"])
    assert (await taken(client, "S")).status == ""


async def test_what_happens_is_told(served: tuple[Server, Client]) -> None:
    _, client = served
    events: asyncio.Queue[Msg] = asyncio.Queue()
    await client.subscribe("$JS.EVENT.ADVISORY.STREAM.*.S", cb=events.put)
    await made(client, "S", subjects=["s"])
    archive = await taken(client, "S")
    await ask(client, "STREAM.DELETE.S")
    await restored(client, archive)
    found = [json.loads((await asyncio.wait_for(events.get(), SECONDS)).data) for _ in range(7)]
    kinds = [one["type"].rpartition(".")[2] for one in found if "stream_action" not in one["type"]]
    assert kinds == ["snapshot_create", "snapshot_complete", "restore_create", "restore_complete"]
    create, complete, begun, done = (one for one in found if "stream_action" not in one["type"])
    assert list(create)[3:] == ["stream", "state", "client"]
    assert list(complete)[3:] == ["stream", "start", "end", "client"]
    assert list(begun)[3:] == ["stream", "client"]
    assert list(done)[3:] == ["stream", "start", "end", "bytes", "client"]
    assert done["bytes"] == len(archive.content)
    assert done["client"]["acc"] == "$G"


# What is refused


@pytest.mark.parametrize(
    ("request_", "body", "code"),
    [
        ("STREAM.SNAPSHOT.S", b"", 10003),
        ("STREAM.SNAPSHOT.S", {}, 10003),
        ("STREAM.SNAPSHOT.X", {"deliver_subject": "d"}, 10059),
        ("STREAM.SNAPSHOT.S", {"deliver_subject": "d.*"}, 10015),
        ("STREAM.SNAPSHOT.S", {"deliver": "d"}, 10025),
        ("STREAM.RESTORE.S", b"", 10003),
        ("STREAM.RESTORE.S", {"config": {"name": "S"}, "state": {}}, 10130),
        ("STREAM.RESTORE.S", {"config": {"name": "T"}}, 10056),
        ("STREAM.RESTORE.T", {"config": {"subjects": ["s"]}}, 10065),
        ("STREAM.RESTORE.T", {"config": {"num_replicas": 3}}, 10074),
        ("STREAM.RESTORE.T", {"config": {"max_age": 1}}, 10052),
        ("STREAM.RESTORE.T", {"config": {}, "state": {"messages": -1}}, 10025),
    ],
)
async def test_refusals(request_: str, body: object, code: int, served: tuple[Server, Client]) -> None:
    _, client = served
    await made(client, "S", subjects=["s"])
    answer = await ask(client, request_, body)
    assert answer["error"]["err_code"] == code
    if "RESTORE" in request_:
        assert answer["deliver_subject"] == ""


def made_of(**changed: bytes | None) -> bytes:
    """An archive with two messages, with other files in place of some of it."""
    meta = b'{"name":"S","subjects":["s"]}'
    block = b"".join(
        records.packed(Record(one, 0, one, b"s", b"", b"payload"), records.block_hash("S", 1)) for one in (1, 2)
    )
    kept = {"meta.inf": meta, "meta.sum": records.checksum("S", meta).hex().encode(), "msgs/1.blk": block, **changed}
    return b"".join(tar.written(name, content, 7) for name, content in kept.items() if content is not None) + tar.END


def record(**changed: Any) -> bytes:
    facts = {"sequence": 1, "marks": 0, "time": 1, "subject": b"s", "header": b"", "payload": b"", **changed}
    return records.packed(Record(**facts), records.block_hash("S", 1))


def packed(content: bytes) -> bytes:
    return frames.Writer().packed(content)


_META = b'{"Name":"C","durable_name":"C","ack_policy":"none"}'
_SUM = records.checksum("S/C", _META).hex().encode()
_OTHER_SUM = records.checksum("S/D", _META).hex().encode()
BAD: dict[str, bytes] = {
    "no archive": b"PK\x03\x04",
    "nothing": packed(b""),
    "cut off": packed(made_of())[:-9],
    "cut off between files": packed(made_of()[: -len(tar.END)]),
    "damaged": packed(made_of())[:40] + b"\x00" + packed(made_of())[41:],
    "another name": packed(made_of(**{"meta.inf": b'{"name":"T"}'})),
    "no configuration": packed(made_of(**{"meta.inf": None})),
    "wrong sum": packed(made_of(**{"meta.sum": b"0123456789abcdef"})),
    "no JSON": packed(made_of(**{"meta.inf": b"{"})),
    "path out of it": packed(made_of(**{"../../etc/cron.d/x": b"x"})),
    "absolute path": packed(made_of(**{"/etc/passwd": b"x"})),
    "consumer that leads elsewhere": packed(made_of(**{"obs/../meta.inf": b"x"})),
    "consumer with a wildcard": packed(made_of(**{"obs/a.>/meta.inf": b"x"})),
    "damaged message": packed(made_of(**{"msgs/1.blk": record()[:-1] + b"x"})),
    "message of another block": packed(made_of(**{"msgs/2.blk": record(sequence=3)})),
    "half a message": packed(made_of(**{"msgs/1.blk": record()[:-1]})),
    "subject with a wildcard": packed(made_of(**{"msgs/1.blk": record(subject=b"s.>")})),
    "subject with a line": packed(made_of(**{"msgs/1.blk": record(subject=b"s 1 5\r\nevil")})),
    "no header": packed(made_of(**{"msgs/1.blk": record(header=b"evil")})),
    "too large a message": packed(made_of(**{"msgs/1.blk": record(payload=bytes((1 << 20) + 1))})),
    "too high a sequence": packed(made_of(**{"msgs/1.blk": record(sequence=(1 << 62) - 1)})),
    "consumer without configuration": packed(made_of(**{"obs/C/o.dat": b"\x16\x02"})),
    "consumer with a wrong sum": packed(made_of(**{"obs/C/meta.inf": _META, "obs/C/meta.sum": b"0"})),
    "consumer nowhere": packed(made_of(**{"obs/C/meta.inf": _META, "obs/C/meta.sum": _SUM, "obs/C/o.dat": b"\x16"})),
    "consumer of another name": packed(made_of(**{"obs/D/meta.inf": _META, "obs/D/meta.sum": _OTHER_SUM})),
    "index that is damaged": packed(made_of(**{"msgs/index.db": b"\x0b\x04" + bytes(20)})),
    "a claim of terabytes": packed(tar.written("msgs/1.blk", b"", 7)[:124] + b"\x80" + bytes(6) + b"\xff" * 381),
}  # fmt: skip


async def test_a_bad_archive_leaves_nothing(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        for what, content in BAD.items():
            archive = Archive({"name": "S", "subjects": ["s"]}, {}, content, "")
            answer = await restored(client, archive)
            assert answer["error"]["err_code"] in (10062, 10019), (what, answer)
            assert (await ask(client, "STREAM.NAMES"))["total"] == 0, what
        good = Archive({"name": "S", "subjects": ["s"]}, {}, packed(made_of()), "")
        assert (await restored(client, good))["state"]["messages"] == 2
    assert left(tmp_path) == 1


async def test_a_bomb_is_stopped_by_the_limits(tmp_path: Path) -> None:
    options = keeping(tmp_path, max_store=8 << 20)
    block = b"".join(record(sequence=one, payload=bytes(1 << 19)) for one in range(1, 100))
    async with Server(options) as server, connected(server) as client:
        for content in (made_of(**{"msgs/1.blk": block}), made_of(**{"meta.inf": bytes(17 << 20)})):
            written = frames.Writer()
            small = b"".join(written.packed(content[at : at + 65_536]) for at in range(0, len(content), 65_536))
            answer = await restored(client, Archive({"name": "S", "subjects": ["s"]}, {}, small, ""))
            assert answer["error"]["err_code"] in (10047, 10062)
            assert (await ask(client, "INFO"))["storage"] == 0
    assert left(tmp_path) == 0


async def test_who_is_cut_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await filled(client)
        archive = await taken(client, "S")
        await ask(client, "STREAM.DELETE.S")
        monkeypatch.setattr(restoring, "IDLE_SECONDS", 0.2)
        answer = await ask(client, "STREAM.RESTORE.S", {"config": archive.config, "state": archive.state})
        half = archive.content[: len(archive.content) // 2]
        assert (await client.request(answer["deliver_subject"], half, timeout=SECONDS)).data == b""
        # The machine fails now: what is on disk belongs to no stream.
        shutil.copytree(tmp_path / "jetstream", tmp_path / "crashed" / "jetstream")
        streams = server._jetstream.account("$G") if server._jetstream is not None else None
        assert streams is not None
        async with asyncio.timeout(SECONDS):
            while streams.restores:
                await client.flush()
        with pytest.raises(NoRespondersError):
            await client.request(answer["deliver_subject"], b"", timeout=SECONDS)
        assert (await ask(client, "STREAM.NAMES"))["total"] == 0
        assert (await restored(client, archive))["state"] == archive.state
    assert left(tmp_path) == 1
    async with Server(keeping(tmp_path / "crashed")) as server, connected(server) as client:
        assert (await ask(client, "STREAM.NAMES"))["total"] == 0
    assert left(tmp_path / "crashed") == 0


async def test_chunks_without_a_reply_end_it(served: tuple[Server, Client]) -> None:
    _, client = served
    answer = await ask(client, "STREAM.RESTORE.S", {"config": {"subjects": ["s"]}, "state": {}})
    await client.publish(answer["deliver_subject"], b"x")
    told = json.loads((await client.request(answer["deliver_subject"], b"x", timeout=SECONDS)).data)
    assert "requires reply subject for each chunk" in told["error"]["description"]
    with pytest.raises(NoRespondersError):
        await client.request(answer["deliver_subject"], b"x", timeout=SECONDS)


# Nothing is plain


async def test_nothing_of_an_archive_is_plain_on_disk(tmp_path: Path) -> None:
    secret = b"nobody else may read this"
    async with Server(keeping(tmp_path, key="sesame")) as server, connected(server) as client:
        await made(client, "S", subjects=["s"])
        for _ in range(200):
            await client.publish("s", secret * 20)
        await client.flush()
        archive = await taken(client, "S")
        assert secret in b"".join(
            block for block in frames.blocks(source_of(archive.content)) if isinstance(block, bytes)
        )
        await ask(client, "STREAM.DELETE.S")
        assert (await restored(client, archive))["state"]["messages"] == 200
        assert not shows(tmp_path, secret)
    assert not shows(tmp_path, secret)


def shows(directory: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in directory.rglob("*") if path.is_file())


def source_of(content: bytes) -> frames.Source:
    source = frames.Source()
    source.feed(content)
    source.end()
    return source
