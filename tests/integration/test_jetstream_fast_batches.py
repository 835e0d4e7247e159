"""Fast batches: the publisher is told how far it has come, and steers by its reply subjects."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from broker import Server
from broker.config.options import JetStreamCeilings
from tests.support.streams import SECONDS, ask, connected, keeping, made, said

START, APPEND, COMMIT, END, PING = range(5)
PREFIX = "_FAST"


class Publisher:
    """Publishes one batch after the other, and hears the answers."""

    def __init__(self, client: Client, answers: Any) -> None:
        self._client = client
        self._answers = answers

    async def send(
        self, sequence: int, operation: int, *, batch: str = "one", flow: int = 10, gap: str = "fail", **header: str
    ) -> None:
        reply = f"{PREFIX}.{batch}.{flow}.{gap}.{sequence}.{operation}.$FI"
        await self._client.publish("s", b"%d" % sequence, reply=reply, headers=header or None)

    async def heard(self) -> Any:
        return json.loads((await self._answers.next_msg(SECONDS)).data)


@asynccontextmanager
async def publishing(
    directory: Path, *, limits: JetStreamCeilings | None = None, **config: Any
) -> AsyncIterator[Publisher]:
    others = {} if limits is None else {"ceilings": limits}
    async with Server(keeping(directory, **others)) as server, connected(server) as client:
        await made(client, "S", **{"subjects": ["s"], "storage": "memory", "allow_batched": True, **config})
        yield Publisher(client, await client.subscribe(f"{PREFIX}.>"))


def flow(sequence: int, messages: int) -> dict[str, Any]:
    return {"type": "ack", "seq": sequence, "msgs": messages}


def end(sequence: int, count: int) -> dict[str, Any]:
    return {"stream": "S", "seq": sequence, "batch": "one", "count": count}


async def test_a_batch_is_answered_now_and_then_and_at_its_end(tmp_path: Path) -> None:
    async with publishing(tmp_path, storage="file") as publisher:
        await publisher.send(1, START)
        assert await publisher.heard() == flow(0, 10)
        for sequence in range(2, 25):
            await publisher.send(sequence, APPEND)
        assert [await publisher.heard(), await publisher.heard()] == [flow(10, 10), flow(20, 10)]
        await publisher.send(24, PING)
        assert await publisher.heard() == flow(20, 10)
        await publisher.send(25, COMMIT)
        assert await publisher.heard() == end(25, 25)
        await publisher.send(1, COMMIT)
        assert await publisher.heard() == end(26, 1)


async def test_a_batch_may_end_with_a_message_that_is_not_stored(tmp_path: Path) -> None:
    async with publishing(tmp_path) as publisher:
        await publisher.send(1, START)
        await publisher.heard()
        await publisher.send(2, END)
        assert await publisher.heard() == end(1, 1)


async def test_several_batches_begin_slowly_and_share(tmp_path: Path) -> None:
    async with publishing(tmp_path) as publisher:
        await publisher.send(1, START, batch="other", flow=1000)
        assert await publisher.heard() == flow(0, 500)
        await publisher.send(1, START, flow=1000)
        assert await publisher.heard() == flow(0, 1)
        for sequence, expected in ((1, 2), (2, None), (3, 4)):
            if sequence > 1:
                await publisher.send(sequence, APPEND)
            if expected is not None:
                assert await publisher.heard() == flow(sequence, expected)


async def test_a_gap_ends_a_batch_that_takes_none(tmp_path: Path) -> None:
    async with publishing(tmp_path) as publisher:
        await publisher.send(1, START)
        await publisher.heard()
        await publisher.send(3, APPEND)
        assert await publisher.heard() == {"type": "gap", "last_seq": 2, "seq": 3}
        assert await publisher.heard() == end(1, 1)
        await publisher.send(4, APPEND)
        assert (await publisher.heard())["error"]["err_code"] == 10208


async def test_a_batch_that_takes_gaps_goes_on(tmp_path: Path) -> None:
    async with publishing(tmp_path) as publisher:
        await publisher.send(1, START, gap="ok")
        await publisher.heard()
        await publisher.send(3, APPEND, gap="ok")
        assert await publisher.heard() == {"type": "gap", "last_seq": 2, "seq": 3}
        await publisher.send(5, PING, gap="ok")
        assert await publisher.heard() == {"type": "gap", "last_seq": 4, "seq": 6}
        assert await publisher.heard() == flow(0, 10)
        await publisher.send(6, COMMIT, gap="ok")
        assert await publisher.heard() == end(3, 6)


async def test_what_something_stands_against_is_told_and_ends_a_batch_that_takes_no_gaps(tmp_path: Path) -> None:
    wrong = {"Nats-Expected-Last-Sequence": "9"}
    async with publishing(tmp_path) as publisher:
        await publisher.send(1, START, **wrong)
        assert await publisher.heard() == flow(0, 10)
        assert (await publisher.heard())["error"]["err_code"] == 10071
        await publisher.send(1, START)
        await publisher.heard()
        await publisher.send(2, APPEND, **wrong)
        told = await publisher.heard()
        assert (told["type"], told["seq"], told["error"]["err_code"]) == ("err", 2, 10071)
        assert await publisher.heard() == end(1, 1)
        await publisher.send(1, START, gap="ok")
        await publisher.heard()
        await publisher.send(2, APPEND, gap="ok", **wrong)
        assert (await publisher.heard())["type"] == "err"
        await publisher.send(3, COMMIT, gap="ok")
        assert await publisher.heard() == end(3, 3)


async def test_what_was_published_before_is_passed_over(tmp_path: Path) -> None:
    known = {"Nats-Msg-Id": "known"}
    async with publishing(tmp_path) as publisher:
        await publisher.send(1, COMMIT, **known)
        assert await publisher.heard() == end(1, 1)
        await publisher.send(1, COMMIT, **known)
        assert await publisher.heard() == {**end(1, 1), "duplicate": True}
        await publisher.send(1, START)
        await publisher.heard()
        await publisher.send(2, APPEND, **known)
        await publisher.send(3, COMMIT, **known)
        assert await publisher.heard() == end(2, 3)


@pytest.mark.parametrize(
    ("sequence", "operation", "others", "number"),
    [
        (1, 5, {}, 10206),
        (0, PING, {}, 10206),
        (2, START, {}, 10206),
        (1, APPEND, {}, 10206),
        (1, END, {}, 10206),
        (1, START, {"gap": "maybe"}, 10206),
        (1, START, {"batch": "i" * 65}, 10207),
        (2, APPEND, {}, 10208),
        (1, START, {"Nats-Required-Api-Level": "99"}, 10185),
    ],
)
async def test_what_is_no_batch_is_refused(
    tmp_path: Path, sequence: int, operation: int, others: dict[str, Any], number: int
) -> None:
    async with publishing(tmp_path) as publisher:
        await publisher.send(sequence, operation, **others)
        assert (await publisher.heard())["error"]["err_code"] == number


async def test_streams_say_whether_they_take_batches(tmp_path: Path) -> None:
    async with publishing(tmp_path, allow_batched=False) as publisher:
        await publisher.send(1, START)
        assert (await publisher.heard())["error"]["err_code"] == 10205


async def test_batches_are_bounded_and_end_when_nothing_comes(tmp_path: Path) -> None:
    ceilings = JetStreamCeilings(batch_inflight_per_stream=1, batch_timeout=100_000_000)
    async with publishing(tmp_path, limits=ceilings) as publisher:
        await publisher.send(1, START)
        await publisher.heard()
        await publisher.send(1, START, batch="other")
        refused = await publisher.heard()
        while "error" in refused:
            assert refused["error"]["err_code"] == 10211
            await publisher.send(1, START, batch="other")
            refused = await publisher.heard()
        assert refused == flow(0, 10)


async def test_other_messages_of_the_stream_are_acknowledged_as_ever(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], allow_batched=True)
        assert await said(client, "s", b"x") == {"stream": "S", "seq": 1}
        assert (await ask(client, "STREAM.INFO.S"))["config"]["allow_batched"]
