"""Streams over the wire: made, changed, filled, read, emptied and deleted; and there again after a restart."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from pathlib import Path

from nats.aio.msg import Msg

from broker import Server
from tests.support.streams import SECONDS, ask, connected, keeping, made, said


async def test_a_stream_keeps_what_is_published(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"])
        assert await said(client, "s.1", b"one") == {"stream": "S", "seq": 1}
        assert await said(client, "s.2", b"two", {"A": "b"}) == {"stream": "S", "seq": 2}
        message = (await ask(client, "STREAM.MSG.GET.S", {"last_by_subj": "s.2"}))["message"]
        assert (message["seq"], b64decode(message["data"])) == (2, b"two")
        assert b64decode(message["hdrs"]) == b"NATS/1.0\r\nA: b\r\n\r\n"
        info = await ask(client, "STREAM.INFO.S", {"subjects_filter": "s.*"})
        assert info["state"]["subjects"] == {"s.1": 1, "s.2": 1}
        assert info["cluster"] == {"leader": "one"}


async def test_all_is_there_again_after_a_restart(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        before = await made(client, "S", subjects=["s"], metadata={"a": "b"})
        await made(client, "M", subjects=["m"], storage="memory")
        await said(client, "s", b"x", {"Nats-Msg-Id": "1"})
        consumer = await ask(
            client, "CONSUMER.CREATE.S.C", {"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "all"}}
        )
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        assert (await ask(client, "STREAM.NAMES"))["streams"] == ["S"]
        after = await ask(client, "STREAM.INFO.S")
        assert (after["config"], after["created"]) == (before["config"], before["created"])
        assert after["state"]["consumer_count"] == 1
        again = await ask(client, "CONSUMER.INFO.S.C")
        assert (again["config"], again["created"]) == (consumer["config"], consumer["created"])
        assert await said(client, "s", b"x", {"Nats-Msg-Id": "1"}) == {"stream": "S", "seq": 1, "duplicate": True}


async def test_compressed_messages_are_there_again(tmp_path: Path) -> None:
    line = b"twelve boxes of nails, the large ones, to be brought on Monday; " * 9
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], compression="s2")
        for _ in range(300):
            await client.publish("s", line)
        assert (await said(client, "s", line))["seq"] == 301
        assert (await ask(client, "STREAM.INFO.S"))["state"]["bytes"] == 301 * (31 + len(line))
    assert not any(line in path.read_bytes() for path in kept(tmp_path))
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await ask(client, "STREAM.UPDATE.S", {"name": "S", "subjects": ["s"], "compression": "none"})
        assert (await said(client, "s", b"in the clear, and not packed"))["seq"] == 302
        for sequence in (1, 150, 301):
            message = (await ask(client, "STREAM.MSG.GET.S", {"seq": sequence}))["message"]
            assert b64decode(message["data"]) == line
    assert any(b"and not packed" in path.read_bytes() for path in kept(tmp_path))


def kept(directory: Path) -> list[Path]:
    """The files of a server's streams."""
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_who_asks_is_told_where_others_hear_of_it(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server, name="asker") as client:
        events: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()

        async def hear(message: Msg) -> None:
            events.put_nowait((message.subject, json.loads(message.data)))

        await client.subscribe("$JS.EVENT.ADVISORY.>", cb=hear)
        await made(client, "S", subjects=["s"])
        found = dict([await asyncio.wait_for(events.get(), SECONDS) for _ in range(2)])
        assert found["$JS.EVENT.ADVISORY.STREAM.CREATED.S"]["action"] == "create"
        audit = found["$JS.EVENT.ADVISORY.API"]
        assert (audit["server"], audit["subject"]) == ("one", "$JS.API.STREAM.CREATE.S")
        assert json.loads(str(audit["response"]))["did_create"] is True
        client_info = audit["client"]
        assert isinstance(client_info, dict)
        assert (client_info["name"], client_info["acc"], client_info["server"]) == ("asker", "$G", "one")
