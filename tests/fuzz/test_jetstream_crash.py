"""A server that is killed at random while it stores, acknowledges, purges, compacts, changes keys and shreds: nothing
that it said is untrue.

With NATSKEEP_FUZZ=long it is killed a thousand times.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError
from nats.js.errors import Error as JetStreamError

from tests.fuzz.inputs import LONG
from tests.support.ports import reserve_port
from tests.support.prefork import CONSTANTS
from tests.support.servers import NATSKEEP, ServerProcess

KILLS = 1000 if LONG else 4
SECONDS = 60.0
API = "$JS.API."
MOST = 400
"""Messages of the log from which on it is purged: each of them is read after each kill."""

ROOM = 20_000
"""Bytes of the stream that refuses what is too much."""

IN_THE_CLEAR = 2
"""Kills after which the server is given a key for the first time."""

KEYS = 'key: "server key {key}", prev_key: "server key {previous}", cipher: {cipher}'
CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}", {keys} }}
accounts {{
  B {{ users: [{{user: b, password: p}}], jetstream: {{}} }}
  A {{ users: [{{user: a, password: p}}], jetstream: {{ max_store: 64M, max_streams: 5, max_consumers: 5 }} }}
  SYS {{ users: [{{user: s, password: p}}] }}
}}
system_account: SYS
"""

HASTY = {
    "broker.jetstream.store.environment.COMPACT_FROM": 64 << 10,
    "broker.jetstream.store.environment.JOURNAL_BYTES": 96 << 10,
    "broker.jetstream.store.environment.STEP_BYTES": 32 << 10,
    "broker.jetstream.store.environment._ROWS_AT_ONCE": 4,
    "broker.jetstream.store.tidying.COMPACT_FROM": 64 << 10,
    "broker.jetstream.store.tidying.INTERVAL": 0.02,
}
"""What happens every few minutes happens many times a second."""


@dataclass
class Stream:
    """What the server has said of one stream."""

    name: str
    acknowledged: dict[int, int] = field(default_factory=dict)
    """Numbers of the messages that were acknowledged, by sequence."""
    removed: set[int] = field(default_factory=set)
    """Sequences whose removal was confirmed."""
    perhaps_removed: set[int] = field(default_factory=set)
    """Sequences that somebody asked to remove."""
    last: int = 0
    """The last sequence that was acknowledged."""

    def forget(self, first: int) -> None:
        """Lets go of what nothing is to be found of any more."""
        self.acknowledged = {one: number for one, number in self.acknowledged.items() if one >= first}
        self.removed = {one for one in self.removed if one >= first}
        self.perhaps_removed = {one for one in self.perhaps_removed if one >= first}


@dataclass
class Truth:
    """What the server has said."""

    log: Stream = field(default_factory=lambda: Stream("LOG"))
    full: Stream = field(default_factory=lambda: Stream("FULL"))
    sent: int = 0
    done: set[int] = field(default_factory=set)
    """Sequences of the work queue whose acknowledgement was confirmed."""
    read: int = 0
    """The sequence of the log up to which its reader has had each acknowledgement confirmed."""
    key: int = 1
    """The key of the server."""
    before: int = 0
    """The one before it, which may still be needed; 0 where the server said that it is not."""
    said: Counter[str] = field(default_factory=Counter)
    """How often something was said to be done."""
    shredded: bool | None = True
    """Whether the other account has nothing any more; None where nobody knows."""
    wanted: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when so many messages were acknowledged."""


async def ask(client: Client, request: str, body: object = b"") -> Any:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads((await client.request(API + request, payload, timeout=SECONDS)).data)


async def prepare(client: Client) -> None:
    for config in (
        {"name": "LOG", "subjects": ["log.*"], "compression": "s2"},
        {"name": "FULL", "subjects": ["full"], "max_bytes": ROOM, "discard": "new"},
        {"name": "WORK", "subjects": ["work"], "retention": "workqueue"},
    ):
        answer = await ask(client, f"STREAM.CREATE.{config['name']}", config)
        assert "error" not in answer, answer
    for stream, name, policy in (("WORK", "W", "explicit"), ("LOG", "R", "all")):
        config = {"durable_name": name, "ack_policy": policy, "ack_wait": 10**9, "max_ack_pending": 5000}
        answer = await ask(client, f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
        assert "error" not in answer, answer


async def publish(client: Client, truth: Truth) -> None:
    """Publishes without end, some messages large, and notes what was acknowledged."""
    while True:
        numbers = range(truth.sent, truth.sent + 20)
        truth.sent += 20
        size = random.choice((0, 0, 0, 3000))
        answers = await asyncio.gather(
            *(client.request(f"log.{number % 5}", b"%d %b" % (number, b"x" * size), SECONDS) for number in numbers)
        )
        for number, answer in zip(numbers, answers, strict=True):
            note(truth.log, number, json.loads(answer.data))
            truth.said["published"] += 1
        if truth.said["published"] >= truth.wanted:
            truth.reached.set()


async def fill(client: Client, truth: Truth) -> None:
    """Publishes to the stream that refuses, and purges it when it does."""
    while True:
        number = truth.sent
        truth.sent += 1
        answer = json.loads((await client.request("full", b"%d %b" % (number, b"x" * 900), SECONDS)).data)
        if "error" not in answer:
            note(truth.full, number, answer)
            continue
        assert answer["error"]["err_code"] == 10077, answer
        truth.said["refused"] += 1
        await purge(client, truth, truth.full)


def note(stream: Stream, number: int, answer: Any) -> None:
    assert "error" not in answer, answer
    sequence = int(answer["seq"])
    assert sequence not in stream.acknowledged
    stream.acknowledged[sequence] = number
    stream.last = max(stream.last, sequence)


async def purge(client: Client, truth: Truth, stream: Stream) -> None:
    """Purges all that is known to be there, up to some sequence, and notes when it is confirmed."""
    up_to = random.choice((stream.last + 1, max(stream.last - 30, 1)))
    asked = set(range(min(stream.acknowledged, default=up_to), up_to))
    stream.perhaps_removed |= asked
    answer = await ask(client, f"STREAM.PURGE.{stream.name}", {"seq": up_to})
    assert answer.get("success"), answer
    stream.removed |= asked
    truth.said["purged"] += 1


async def remove(client: Client, truth: Truth) -> None:
    while True:
        left = [one for one in truth.log.acknowledged if one not in truth.log.perhaps_removed]
        if len(left) > MOST:
            await purge(client, truth, truth.log)
        elif left:
            sequence = random.choice(left)
            truth.log.perhaps_removed.add(sequence)
            answer = await ask(client, "STREAM.MSG.DELETE.LOG", {"seq": sequence, "no_erase": random.random() < 0.5})
            if answer.get("success"):
                truth.log.removed.add(sequence)
                truth.said["removed"] += 1
        await asyncio.sleep(0.001)


async def work(client: Client, truth: Truth) -> None:
    """Puts messages into the queue, takes them out, and has each acknowledgement confirmed."""
    subscription = await client.jetstream().pull_subscribe_bind("W", stream="WORK")
    number = 0
    while True:
        await client.request("work", b"%d" % number, SECONDS)
        number += 1
        for message in await subscription.fetch(2, timeout=SECONDS):
            assert message.metadata.sequence.stream not in truth.done
            await message.ack_sync(SECONDS)
            truth.done.add(message.metadata.sequence.stream)
            truth.said["worked"] += 1


async def read(client: Client, truth: Truth) -> None:
    """Reads the log, and has it confirmed how far it came."""
    subscription = await client.jetstream().pull_subscribe_bind("R", stream="LOG")
    while True:
        messages = await subscription.fetch(50, timeout=SECONDS)
        for message in messages:
            assert message.metadata.sequence.stream > truth.read
        await messages[-1].ack_sync(SECONDS)
        truth.read = messages[-1].metadata.sequence.stream
        truth.said["read"] += 1


async def rotate(system: Client, server: str, truth: Truth) -> None:
    """Has the account sealed by another key, again and again."""
    while True:
        answer = await system.request(f"$SYS.REQ.SERVER.{server}.ROTATE", b'{"account": "A"}', timeout=SECONDS)
        found = json.loads(answer.data)
        if "error" in found:
            assert "ask again" in found["error"]["description"], found
            await asyncio.sleep(0.002)
        else:
            truth.said["rotated"] += 1
            await asyncio.sleep(random.random() * 0.2)


async def rekey(system: Client, server: str, truth: Truth, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Gives the server another key now and then."""
    while True:
        await asyncio.sleep(random.random() * 0.5)
        truth.before, truth.key = truth.key, truth.key + 1
        await write()
        answer = await system.request(f"$SYS.REQ.SERVER.{server}.RELOAD", b"", timeout=SECONDS)
        assert "error" not in json.loads(answer.data), answer.data
        truth.before = 0
        truth.said["reloaded"] += 1


async def shred(client: Client, system: Client, server: str, truth: Truth) -> None:
    """Destroys another account, which begins anew each time."""
    while True:
        truth.shredded = None
        answer = await asked_again(client, "STREAM.CREATE.B", {"name": "B", "subjects": ["b"]})
        assert "error" not in answer, answer
        assert "error" not in json.loads((await client.request("b", b"x" * 5000, SECONDS)).data)
        truth.shredded = False
        await asyncio.sleep(random.random() * 0.1)
        truth.shredded = None
        found = await system.request(f"$SYS.REQ.SERVER.{server}.SHRED", b'{"account": "B"}', timeout=SECONDS)
        assert "error" not in json.loads(found.data), found.data
        truth.shredded = True
        truth.said["shredded"] += 1


async def asked_again(client: Client, request: str, body: object = b"") -> Any:
    """As `ask`, of an account whose streams are being opened."""
    while True:
        with suppress(NoRespondersError):
            return await ask(client, request, body)
        await asyncio.sleep(0.001)


async def check_other(client: Client, truth: Truth) -> None:
    """Looks whether the other account is there as a whole or not at all."""
    answer = await asked_again(client, "STREAM.INFO.B")
    if truth.shredded is not None:
        assert ("error" in answer) is truth.shredded, answer
    if "error" not in answer:
        assert truth.shredded is None or answer["state"]["messages"] > 0


async def check(client: Client, truth: Truth) -> None:
    """Looks whether every word of the server was true."""
    sizes = 0
    account = await ask(client, "INFO")
    for stream, subject in ((truth.log, "log.*"), (truth.full, "full")):
        state = (await ask(client, f"STREAM.INFO.{stream.name}"))["state"]
        found, size = await everything(client, subject, state["messages"])
        for sequence, number in stream.acknowledged.items():
            if sequence not in stream.perhaps_removed:
                assert found.get(sequence) == number, f"message {number}, acknowledged as {sequence}, is not there"
        assert not stream.removed & set(found)
        assert len(found) == len(set(found.values()))
        # What counts is what is there, to the byte.
        assert (state["messages"], state["bytes"]) == (len(found), size)
        assert state["last_seq"] >= stream.last
        stream.forget(state["first_seq"])
        sizes += size
    assert size <= ROOM
    queue = (await ask(client, "STREAM.INFO.WORK"))["state"]
    consumer = await ask(client, "CONSUMER.INFO.WORK.W")
    assert consumer["num_pending"] + consumer["num_ack_pending"] == queue["messages"]
    reader = await ask(client, "CONSUMER.INFO.LOG.R")
    assert reader["ack_floor"]["stream_seq"] >= truth.read
    assert (account["streams"], account["consumers"]) == (3, 2)
    assert account["storage"] == sizes + queue["bytes"]


async def everything(client: Client, subject: str, count: int) -> tuple[dict[int, int], int]:
    """What a stream has: numbers by sequence, and its bytes as the server is to count them."""
    found: dict[int, int] = {}
    size = 0
    subscription = await client.jetstream().subscribe(subject, ordered_consumer=True)
    for _ in range(count):
        message = await subscription.next_msg(SECONDS)
        found[message.metadata.sequence.stream] = int(message.data.split()[0])
        size += 22 + len(message.subject) + len(message.data) + 8
    await subscription.unsubscribe()
    return found, size


async def run(
    port: int, truth: Truth, process: ServerProcess, write: Callable[[], Coroutine[Any, Any, None]], kill: int
) -> None:
    client, other, system = [
        await nats.connect(f"nats://127.0.0.1:{port}", user=user, password="p", allow_reconnect=False)
        for user in ("a", "b", "s")
    ]
    server = str(client._server_info["server_id"])
    try:
        if kill == 0:
            await prepare(client)
        await check(client, truth)
        await check_other(other, truth)
        truth.wanted = truth.said["published"] + random.randrange(20, 300)
        truth.reached.clear()
        doing = [deed(client, truth) for deed in (publish, fill, remove, work, read)]
        if kill >= IN_THE_CLEAR:
            doing.append(rotate(system, server, truth))
            doing.append(rekey(system, server, truth, write))
            doing.append(shred(other, system, server, truth))
        tasks = [asyncio.ensure_future(one) for one in doing]
        reached = asyncio.ensure_future(truth.reached.wait())
        await asyncio.wait([reached, *tasks], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        for task in tasks:
            if task.done():
                # None of them ends by itself.
                task.result()
        await asyncio.sleep(random.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        while pending := [task for task in tasks if not task.done()]:
            # One is lost where an answer comes in the same turn.
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.1)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, AssertionError):
                raise result
    finally:
        for one in (client, other, system):
            with suppress(Error, JetStreamError, OSError):
                await one.close()


async def test_what_was_said_is_true_after_each_kill(tmp_path: Path) -> None:
    truth = Truth()
    config = tmp_path / "server.conf"
    begun = time.monotonic()
    for kill in range(KILLS + 1):
        port = reserve_port()
        cipher = random.choice(("chacha", "aes"))

        async def write(kill: int = kill, port: int = port, cipher: str = cipher) -> None:
            keys = KEYS.format(key=truth.key, previous=truth.before, cipher=cipher) if kill >= IN_THE_CLEAR else ""
            text = CONFIGURATION.format(port=port, directory=tmp_path / "store", keys=keys)
            await asyncio.to_thread(config.write_text, text)

        await write()
        arguments = ["-c", str(config)]
        constants = {CONSTANTS: json.dumps(HASTY)}
        with ServerProcess(NATSKEEP, arguments, tmp_path, constants, preforked=True) as process:
            assert await asyncio.to_thread(process.wait_until_ready), process.output
            try:
                await run(port, truth, process, write, kill)
            except BaseException:
                print(f"after {kill} kills; the server says:\n{process.output}")
                raise
            await asyncio.to_thread(process.wait_until_exit, SECONDS)
            truth.said["compacted"] += process.output.count("gave back")
            truth.said["sealed anew"] += process.output.count("the one before it is destroyed")
            assert "Internal error" not in process.output, process.output
            assert "[ERR]" not in process.output, process.output
        if LONG and kill % 50 == 0:
            print(f"{kill} kills in {time.monotonic() - begun:.0f} s: {dict(truth.said)}", flush=True)
    assert all(truth.said[what] for what in ("published", "read", "worked", "rotated"))
    print(f"{KILLS} kills in {time.monotonic() - begun:.0f} s: {dict(truth.said)}")
