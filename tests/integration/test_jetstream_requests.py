"""Requests for messages: who is served first, and what those hear that wait when the server ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from broker import Server
from tests.support.streams import SECONDS, ask, connected, keeping, made, said

SECOND = 10**9
NEXT = "$JS.API.CONSUMER.MSG.NEXT.S.C"


def wanted(**how: object) -> bytes:
    """A request for ten messages that waits for long."""
    return json.dumps({"batch": 10, "expires": 60 * SECOND, **how}).encode()


async def test_of_requests_that_come_together_the_most_important_is_served_first(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"])
        how = {"ack_policy": "explicit", "priority_policy": "prioritized", "priority_groups": ["g"]}
        await ask(client, "CONSUMER.CREATE.S.C", {"stream_name": "S", "config": {"name": "C", **how}})
        for _ in range(10):
            await said(client, "s")
        minor, major = await client.subscribe("minor"), await client.subscribe("major")
        await client.publish(NEXT, wanted(group="g", priority=1), reply="minor")
        await client.publish(NEXT, wanted(group="g", priority=0), reply="major")
        for _ in range(10):
            await major.next_msg(SECONDS)
        await client.flush()
        assert minor.pending_msgs == 0


async def test_who_waits_hears_that_the_server_ends(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"])
        consumer = {"stream_name": "S", "config": {"name": "C", "ack_policy": "none", "mem_storage": True}}
        await ask(client, "CONSUMER.CREATE.S.C", consumer)
        inbox = await client.subscribe("inbox")
        await client.publish(NEXT, wanted(), reply="inbox")
        await client.flush()
        hearing = asyncio.create_task(inbox.next_msg(SECONDS))
        await server.stop()
        told = (await hearing).headers
        assert told == {
            "Status": "409", "Description": "Server Shutdown",
            "Nats-Pending-Messages": "10", "Nats-Pending-Bytes": "0",
        }  # fmt: skip
