"""A disk without room: what cannot be kept is refused, what is there is served, and it goes on when there is room."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from tests.support.ports import reserve_port
from tests.support.servers import NATSKEEP, ServerProcess
from tests.support.streams import SECONDS, ask, made, reached, said

KEEPING = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}" }}
"""
PAYLOAD = b"x" * 2000


def leave_room(server: ServerProcess, size: int) -> None:
    """Lets no file of a server become larger: whatever it writes fails, as on a disk that is full."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, most))


async def published(client: Client, count: int) -> list[Any]:
    """What the stream says to messages that are published together."""
    answers = [said(client, "s", b"%d %b" % (number, PAYLOAD)) for number in range(count)]
    return await asyncio.gather(*answers)


async def taken(client: Client, count: int) -> list[int]:
    """Messages of the consumer, which are acknowledged."""
    inbox = await client.subscribe(client.new_inbox())
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.S.C", b"%d" % count, reply=inbox.subject)
    found = [await inbox.next_msg(timeout=SECONDS) for _ in range(count)]
    for message in found:
        await client.publish(message.reply, b"")
    await inbox.unsubscribe()
    return [int(message.reply.split(".")[5]) for message in found]


async def test_a_full_disk(tmp_path: Path) -> None:
    port = reserve_port()
    config = tmp_path / "natskeep.conf"
    config.write_text(KEEPING.format(port=port, directory=tmp_path / "store"))
    with ServerProcess(NATSKEEP, ["-c", str(config)], tmp_path, preforked=True) as server:
        assert server.wait_until_ready(), server.output
        await use_up(server, f"nats://127.0.0.1:{port}")
        assert "cannot write" in server.output
        assert "can be written again" in server.output


async def use_up(server: ServerProcess, url: str) -> None:
    """Has a server write until it cannot, and then again."""
    client = await nats.connect(url, allow_reconnect=False)
    try:
        await made(client, "S", subjects=["s"])
        config = {"name": "C", "durable_name": "C", "ack_policy": "explicit"}
        await ask(client, "CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})
        assert all("error" not in one for one in await published(client, 50))
        leave_room(server, 1)
        refused = await published(client, 20)
        errors = {(one["error"]["err_code"], one["error"]["description"]) for one in refused}
        # Where the server keeps it is no concern of theirs.
        assert errors <= {(10077, "No space left on device"), (10077, "the store cannot be written")}
        assert {(one["stream"], one["seq"]) for one in refused} == {("S", 0)}
        state = (await ask(client, "STREAM.INFO.S"))["state"]
        assert (state["messages"], state["last_seq"]) == (50, 50)
        assert await taken(client, 10) == list(range(1, 11))
        leave_room(server, 1 << 30)
        async with asyncio.timeout(SECONDS):
            while True:
                again = await said(client, "s", PAYLOAD)
                if "error" not in again:
                    break
                await asyncio.sleep(0.05)
        assert again["seq"] == 51
        assert (await ask(client, "STREAM.MSG.GET.S", {"seq": 51}))["message"]["seq"] == 51
        assert await taken(client, 5) == list(range(11, 16))
        await reached(client, "S", "last_seq", 51)
    finally:
        await client.close()
