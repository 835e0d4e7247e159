"""Archives of streams as a client takes them and gives them back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.support.streams import SECONDS, ask


class Archive(NamedTuple):
    """What the server said of a stream, what it sent, and the status at the end."""

    config: dict[str, Any]
    state: dict[str, Any]
    content: bytes
    status: str


@asynccontextmanager
async def sending(client: Client, name: str, **wanted: object) -> AsyncIterator[tuple[Any, asyncio.Queue[Msg]]]:
    """The answer to the request for an archive, and its chunks, which nobody answers for."""
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    listening = await client.subscribe(inbox, cb=chunks.put)
    yield await ask(client, f"STREAM.SNAPSHOT.{name}", {"deliver_subject": inbox, **wanted}), chunks
    await listening.unsubscribe()


async def rest(client: Client, chunks: asyncio.Queue[Msg]) -> tuple[bytes, str]:
    """The chunks that are still to come, each answered for, and the status at the end."""
    content = bytearray()
    while True:
        chunk = await asyncio.wait_for(chunks.get(), SECONDS)
        if not chunk.data:
            found = chunk.headers or {}
            return bytes(content), " ".join(found[key] for key in ("Status", "Description") if key in found)
        content += chunk.data
        if chunk.reply:
            await client.publish(chunk.reply)


async def taken(client: Client, name: str, **wanted: object) -> Archive:
    """The archive of a stream."""
    async with sending(client, name, **wanted) as (answer, chunks):
        assert "error" not in answer, answer
        return Archive(answer["config"], answer["state"], *await rest(client, chunks))


async def restored(client: Client, archive: Archive, *, chunk: int = 50_000, **changes: object) -> Any:
    """What the server says when it has an archive, or to the chunk that it does not take."""
    config = {**archive.config, **changes}
    answer = await ask(client, f"STREAM.RESTORE.{config['name']}", {"config": config, "state": archive.state})
    if "error" in answer:
        return answer
    for at in range(0, len(archive.content), chunk):
        told = await client.request(answer["deliver_subject"], archive.content[at : at + chunk], timeout=SECONDS)
        if told.data:
            return json.loads(told.data)
    return json.loads((await client.request(answer["deliver_subject"], b"", timeout=SECONDS)).data)


async def held(client: Client, name: str) -> dict[int, tuple[str, str, str, str]]:
    """All messages of a stream by their sequences: subject, headers, payload and time as the API tells them."""
    state = (await ask(client, f"STREAM.INFO.{name}"))["state"]
    found: dict[int, tuple[str, str, str, str]] = {}
    at = state["first_seq"]
    while at <= state["last_seq"]:
        answer = await ask(client, f"STREAM.MSG.GET.{name}", {"seq": at, "next_by_subj": ">"})
        if "error" in answer:
            break
        message = answer["message"]
        at = message["seq"] + 1
        found[message["seq"]] = (
            message["subject"], message.get("hdrs", ""), message.get("data", ""), message["time"],
        )  # fmt: skip
    return found
