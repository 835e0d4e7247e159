"""A server that is killed at random while it stores, acknowledges and removes: nothing that it said is untrue.

With NATSKEEP_FUZZ=long it is killed a thousand times.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error
from nats.js.errors import Error as JetStreamError

from tests.fuzz.inputs import LONG
from tests.support.ports import reserve_port
from tests.support.servers import NATSKEEP, ServerProcess

KILLS = 1000 if LONG else 4
SECONDS = 20.0
API = "$JS.API."
KEEPING = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}" }}
"""


@dataclass
class Truth:
    """What the server has said."""

    sent: int = 0
    acknowledged: dict[int, int] = field(default_factory=dict)
    """Sequences by the numbers of messages that were acknowledged."""
    removed: set[int] = field(default_factory=set)
    """Sequences whose removal was confirmed."""
    perhaps_removed: set[int] = field(default_factory=set)
    """Sequences that somebody asked to remove."""
    done: set[int] = field(default_factory=set)
    """Sequences of the work queue whose acknowledgement was confirmed."""
    wanted: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when so many messages were acknowledged."""


async def ask(client: Client, request: str, body: object = b"") -> Any:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads((await client.request(API + request, payload, timeout=SECONDS)).data)


async def prepare(client: Client) -> None:
    await ask(client, "STREAM.CREATE.LOG", {"name": "LOG", "subjects": ["log.*"]})
    await ask(client, "STREAM.CREATE.WORK", {"name": "WORK", "subjects": ["work"], "retention": "workqueue"})
    worker = {"stream_name": "WORK", "config": {"durable_name": "W", "ack_policy": "explicit", "ack_wait": 10**9}}
    await ask(client, "CONSUMER.CREATE.WORK.W", worker)


async def publish(client: Client, truth: Truth, subject: str) -> None:
    """Publishes without end, some messages large, and notes what was acknowledged."""
    while True:
        numbers = range(truth.sent, truth.sent + 20)
        truth.sent += 20
        size = random.choice((0, 0, 0, 3000))
        answers = await asyncio.gather(
            *(client.request(f"{subject}.{number % 5}", b"%d %b" % (number, b"x" * size)) for number in numbers)
        )
        for number, answer in zip(numbers, answers, strict=True):
            truth.acknowledged[number] = int(json.loads(answer.data)["seq"])
        if len(truth.acknowledged) >= truth.wanted:
            truth.reached.set()


async def remove(client: Client, truth: Truth) -> None:
    while True:
        await asyncio.sleep(0)
        left = [one for one in truth.acknowledged.values() if one not in truth.perhaps_removed]
        if left:
            sequence = random.choice(left)
            truth.perhaps_removed.add(sequence)
            answer = await ask(client, "STREAM.MSG.DELETE.LOG", {"seq": sequence, "no_erase": random.random() < 0.5})
            if answer.get("success"):
                truth.removed.add(sequence)
        await client.flush()


async def work(client: Client, truth: Truth) -> None:
    """Puts messages into the queue, takes them out, and has each acknowledgement confirmed."""
    subscription = await client.jetstream().pull_subscribe_bind("W", stream="WORK")
    number = 0
    while True:
        await client.request("work", b"%d" % number)
        number += 1
        for message in await subscription.fetch(2, timeout=SECONDS):
            assert message.metadata.sequence.stream not in truth.done
            await message.ack_sync()
            truth.done.add(message.metadata.sequence.stream)


async def check(client: Client, truth: Truth) -> None:
    """Looks whether every word of the server was true."""
    found: dict[int, int] = {}
    state = (await ask(client, "STREAM.INFO.LOG", {"deleted_details": True}))["state"]
    subscription = await client.jetstream().subscribe("log.*", ordered_consumer=True)
    for _ in range(state["messages"]):
        message = await subscription.next_msg(SECONDS)
        found[message.metadata.sequence.stream] = int(message.data.split()[0])
    await subscription.unsubscribe()
    for number, sequence in truth.acknowledged.items():
        if sequence not in truth.perhaps_removed:
            assert found.get(sequence) == number, f"message {number}, acknowledged as {sequence}, is not there"
    assert not truth.removed & set(found)
    assert len(found) == len(set(found.values()))
    # What counts is what is there.
    assert state["messages"] == len(found)
    assert state["last_seq"] >= max(truth.acknowledged.values(), default=0)
    queue = (await ask(client, "STREAM.INFO.WORK"))["state"]
    consumer = await ask(client, "CONSUMER.INFO.WORK.W")
    assert consumer["num_pending"] + consumer["num_ack_pending"] == queue["messages"]


async def run(port: int, truth: Truth, process: ServerProcess, *, first: bool) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False)
    try:
        if first:
            await prepare(client)
        await check(client, truth)
        tasks = [
            asyncio.ensure_future(publish(client, truth, "log")),
            asyncio.ensure_future(remove(client, truth)),
            asyncio.ensure_future(work(client, truth)),
        ]
        truth.wanted = len(truth.acknowledged) + random.randrange(20, 400)
        truth.reached.clear()
        await truth.reached.wait()
        process.send_signal(signal.SIGKILL)
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError, Error, JetStreamError, OSError):
            await asyncio.gather(*tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        with suppress(Error, OSError):
            await client.close()


async def test_what_was_said_is_true_after_each_kill(tmp_path: Path) -> None:
    truth = Truth()
    for kill in range(KILLS + 1):
        port = reserve_port()
        config = tmp_path / "server.conf"
        await asyncio.to_thread(config.write_text, KEEPING.format(port=port, directory=tmp_path / "store"))
        with ServerProcess(NATSKEEP, ["-c", str(config)], tmp_path, preforked=True) as process:
            assert await asyncio.to_thread(process.wait_until_ready), process.output
            await run(port, truth, process, first=kill == 0)
            await asyncio.to_thread(process.wait_until_exit, SECONDS)
    assert truth.acknowledged
