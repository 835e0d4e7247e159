"""Messages that are published when others say so."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from broker import Server
from tests.support.streams import SECONDS, ask, connected, keeping, made, reached, said

PAST, FUTURE = "@at 2020-01-01T00:00:00Z", "@at 2099-01-01T00:00:00Z"


async def schedule(client: Client, subject: str, pattern: str, body: bytes = b"", **others: str) -> Any:
    header = {"Nats-Schedule": pattern, "Nats-Schedule-Target": "s.out", **others}
    return await said(client, subject, body, header)


async def last(client: Client, subject: str) -> tuple[str, bytes]:
    """Header and payload of the last message of a subject."""
    message = (await ask(client, "STREAM.MSG.GET.S", {"last_by_subj": subject}))["message"]
    return b64decode(message["hdrs"]).decode(), b64decode(message.get("data", ""))


async def subjects(client: Client) -> dict[str, int]:
    """How many messages each subject has."""
    answer = await ask(client, "STREAM.INFO.S", {"subjects_filter": ">"})
    found: dict[str, int] = answer["state"].get("subjects", {})
    return found


async def test_a_moment_comes_once_and_the_schedule_is_gone(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], allow_msg_schedules=True, allow_msg_ttl=True)
        others = {"A": "b", "Nats-Msg-Id": "one", "Nats-Schedule-TTL": "1h"}
        assert await schedule(client, "s.in", PAST, b"body", **others) == {"stream": "S", "seq": 1}
        await reached(client, "S", "first_seq", 2)
        assert await subjects(client) == {"s.out": 1}
        lines = "A: b\r\nNats-Scheduler: s.in\r\nNats-Schedule-Next: purge\r\nNats-TTL: 1h\r\n"
        assert await last(client, "s.out") == (f"NATS/1.0\r\n{lines}\r\n", b"body")


async def test_a_schedule_takes_what_is_last_of_another_subject(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], storage="memory", allow_msg_schedules=True)
        await said(client, "s.out", b"before")
        await said(client, "s.state", b"state", {"B": "c"})
        others = {"Nats-Schedule-Source": "s.state", "Nats-Schedule-Rollup": "sub"}
        await schedule(client, "s.in", PAST, b"own", **others)
        await reached(client, "S", "last_seq", 4)
        assert await subjects(client) == {"s.out": 1, "s.state": 1}
        lines = "B: c\r\nNats-Scheduler: s.in\r\nNats-Schedule-Next: purge\r\nNats-Rollup: sub\r\n"
        assert await last(client, "s.out") == (f"NATS/1.0\r\n{lines}\r\n", b"state")


async def test_a_repeated_schedule_stays_and_says_when_it_is_next(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        heard = await client.subscribe("copy.>")
        republish = {"src": "s.out", "dest": "copy.out"}
        await made(client, "S", subjects=["s.>"], allow_msg_schedules=True, republish=republish)
        await schedule(client, "s.in", "* * * * * *", b"tick", **{"Nats-Schedule-Time-Zone": "Asia/Tokyo"})
        first, second = await heard.next_msg(SECONDS), await heard.next_msg(SECONDS)
        assert first.headers is not None
        assert second.headers is not None
        assert first.headers["Nats-Scheduler"] == "s.in"
        assert first.headers["Nats-Schedule-Next"].endswith("+09:00")
        assert first.headers["Nats-Schedule-Next"] < second.headers["Nats-Schedule-Next"]
        assert (await last(client, "s.in"))[0].endswith("Nats-Rollup: sub\r\n\r\n")
        # Who publishes on its subject ends it.
        ended = await said(client, "s.in", b"no more")
        assert "error" not in ended
        held = (await subjects(client))["s.out"]
        await schedule(client, "s.other", "@every 2s", b"tock", **{"Nats-Schedule-Target": "s.out.other"})
        await reached(client, "S", "num_subjects", 4)
        assert (await subjects(client))["s.out"] == held


async def test_schedules_are_kept_and_those_that_were_due_meanwhile_come_once(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], allow_msg_schedules=True)
        await schedule(client, "s.far", FUTURE, b"far")
        await schedule(client, "s.every", "@every 1s", b"every", **{"Nats-Schedule-Target": "s.out.every"})
        await reached(client, "S", "num_subjects", 3)
        await ask(client, "STREAM.PURGE.S", {"filter": "s.out.every"})
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await reached(client, "S", "num_subjects", 3)
        assert set(await subjects(client)) == {"s.far", "s.every", "s.out.every"}


async def test_a_client_ends_a_schedule_with_a_message(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], storage="memory", allow_msg_schedules=True)
        await schedule(client, "s.in", FUTURE)
        await said(client, "s.plain")
        purge = {"Nats-Schedule-Next": "purge"}
        for header in (purge, {**purge, "Nats-Scheduler": "s.plain"}, {**purge, "Nats-Scheduler": "s.end"}):
            assert (await said(client, "s.end", b"", header))["error"]["err_code"] == 10212
        assert (await said(client, "s.end", b"", {"Nats-Scheduler": "s.in"}))["error"]["err_code"] == 10212
        assert (await said(client, "s.end", b"", {**purge, "Nats-Scheduler": "s.in"}))["seq"] == 3
        assert await subjects(client) == {"s.end": 1, "s.plain": 1}


async def test_a_batch_may_bring_schedules(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], allow_msg_schedules=True, allow_atomic=True)
        batch = {"Nats-Batch-Id": "one", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"}
        assert (await schedule(client, "s.in", PAST, b"body", **batch))["count"] == 1
        await reached(client, "S", "first_seq", 2)
        assert (await last(client, "s.out"))[1] == b"body"


@pytest.mark.parametrize(
    ("header", "number"),
    [
        ({"Nats-Schedule": "@at noon"}, 10189),
        ({"Nats-Schedule": "@every 1s", "Nats-Schedule-Time-Zone": "UTC"}, 10189),
        ({"Nats-Schedule-Time-Zone": "Nowhere/At-All"}, 10223),
        ({"Nats-Schedule-Time-Zone": "../UTC"}, 10223),
        ({"Nats-Schedule-Target": "s.*"}, 10190),
        ({"Nats-Schedule-Target": "s.in"}, 10190),
        ({"Nats-Schedule-Target": "elsewhere"}, 10190),
        ({"Nats-Schedule-Source": "s.out"}, 10203),
        ({"Nats-Schedule-Source": "elsewhere"}, 10203),
        ({"Nats-Schedule-TTL": "soon"}, 10191),
        ({"Nats-Schedule-TTL": "1h"}, 10166),
        ({"Nats-Schedule-Rollup": "all"}, 10192),
        ({"Nats-Rollup": "all"}, 10192),
    ],
)
async def test_wrong_schedules_are_refused(tmp_path: Path, header: dict[str, str], number: int) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], storage="memory", allow_msg_schedules=True)
        lines = {"Nats-Schedule": FUTURE, "Nats-Schedule-Target": "s.out", **header}
        assert (await said(client, "s.in", b"", lines))["error"]["err_code"] == number


async def test_streams_say_whether_they_keep_schedules(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], storage="memory")
        assert (await schedule(client, "s.in", FUTURE))["error"]["err_code"] == 10188
        assert (await schedule(client, "s.in", "never"))["error"]["err_code"] == 10188
