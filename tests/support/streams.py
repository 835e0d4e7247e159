"""A broker that keeps messages, and a client that asks it for streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import NoRespondersError

from broker import Options, Server
from broker.config.options import JetStreamOptions

SECONDS = 10.0
API = "$JS.API."


def keeping(directory: Path, **others: Any) -> Options:
    """Options of a server whose streams are kept in a directory; ``others`` are those of JetStream."""
    return Options(
        host="127.0.0.1", port=-1, server_name="one", jetstream=JetStreamOptions(store_dir=str(directory), **others)
    )


@asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[Client]:
    """A client of the server, closed at the end."""
    client = await nats.connect(server.url, allow_reconnect=False, **options)
    try:
        yield client
    finally:
        await client.close()


async def ask(client: Client, request: str, body: object = b"", header: dict[str, str] | None = None) -> Any:
    """The answer to a request of the API, whose name stands behind ``$JS.API``."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.request(API + request, payload, timeout=SECONDS, headers=header)
    return json.loads(answer.data)


async def ask_again(client: Client, request: str) -> Any:
    """As `ask`, of an account that has just been given its streams back: what it had is still being written."""
    async with asyncio.timeout(SECONDS):
        while True:
            with suppress(NoRespondersError):
                return await ask(client, request)


async def said(client: Client, subject: str, body: bytes = b"", header: dict[str, str] | None = None) -> Any:
    """What a stream says to a message that is published."""
    return json.loads((await client.request(subject, body, timeout=SECONDS, headers=header)).data)


async def made(client: Client, name: str, **config: Any) -> Any:
    """A stream that was made; its description."""
    answer = await ask(client, f"STREAM.CREATE.{name}", {"name": name, **config})
    assert "error" not in answer, answer
    return answer


async def reached(client: Client, name: str, key: str, wanted: int) -> dict[str, Any]:
    """Waits until the state of a stream says so; the state."""
    async with asyncio.timeout(SECONDS):
        while True:
            found: dict[str, Any] = (await ask(client, f"STREAM.INFO.{name}"))["state"]
            if found[key] == wanted:
                return found
            await asyncio.sleep(0.02)
