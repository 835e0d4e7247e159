"""Streams that add up what is published, and those that add up several of them."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from broker import Server
from tests.support.streams import ask, connected, keeping, made, reached, said


async def add(client: Client, subject: str, amount: str, **others: str) -> Any:
    return await said(client, subject, b"", {"Nats-Incr": amount, **others})


async def last(client: Client, stream: str, subject: str) -> tuple[str, str]:
    """The header and the value that a subject has come to."""
    message = (await ask(client, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}))["message"]
    return b64decode(message["hdrs"]).decode(), json.loads(b64decode(message["data"]))["val"]


async def test_amounts_are_added_up_for_each_subject(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["c.*"], allow_msg_counter=True)
        assert await add(client, "c.a", "+5") == {"stream": "S", "seq": 1, "val": "5"}
        assert (await add(client, "c.a", "-7"))["val"] == "-2"
        assert (await add(client, "c.b", "123456789012345678901234567890"))["val"] == "123456789012345678901234567890"
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        assert (await add(client, "c.a", "1"))["val"] == "-1"
        assert await last(client, "S", "c.a") == ("NATS/1.0\r\nNats-Incr: 1\r\n\r\n", "-1")


@pytest.mark.parametrize(
    ("header", "body", "number"),
    [
        ({}, b"", 10169),
        ({"A": "b"}, b"", 10169),
        ({"Nats-Incr": "1"}, b"x", 10170),
        ({"Nats-Incr": "1.5"}, b"", 10171),
        ({"Nats-Incr": "1_0"}, b"", 10171),
        ({"Nats-Incr": "9" * 4001}, b"", 10171),
        ({"Nats-Incr": "1", "Nats-Rollup": "sub"}, b"", 10171),
        ({"Nats-Incr": "1", "Nats-Expected-Last-Sequence": "0"}, b"", 10171),
        ({"Nats-Incr": "1", "Nats-Stream-Source": "O 1 > > c.a"}, b"", 10227),
    ],
)
async def test_what_is_no_amount_is_refused(tmp_path: Path, header: dict[str, str], body: bytes, number: int) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["c.*"], storage="memory", allow_msg_counter=True)
        assert (await said(client, "c.a", body, header))["error"]["err_code"] == number
        assert (await add(client, "c.a", "1")) == {"stream": "S", "seq": 1, "val": "1"}


async def test_other_streams_take_no_amounts(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], storage="memory")
        assert (await add(client, "s", "1"))["error"]["err_code"] == 10168


async def test_an_amount_that_was_published_before_is_not_added_again(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["c"], storage="memory", allow_msg_counter=True)
        await add(client, "c", "2", **{"Nats-Msg-Id": "one"})
        assert await add(client, "c", "2", **{"Nats-Msg-Id": "one"}) == {"stream": "S", "seq": 1, "duplicate": True}
        assert (await add(client, "c", "1"))["val"] == "3"


async def test_a_stream_adds_up_what_its_sources_have_come_to(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        for name in ("EAST", "WEST"):
            await made(client, name, subjects=[f"{name.lower()}.*"], allow_msg_counter=True)
        sources = [
            {"name": name, "subject_transforms": [{"src": f"{name.lower()}.*", "dest": "all.{{wildcard(1)}}"}]}
            for name in ("EAST", "WEST")
        ]
        await made(client, "ALL", sources=sources, allow_msg_counter=True)
        for subject, amount in (("east.a", "1"), ("west.a", "10"), ("east.a", "2")):
            await add(client, subject, amount)
        await reached(client, "ALL", "messages", 3)
        header, value = await last(client, "ALL", "all.a")
        assert value == "13"
        assert 'Nats-Counter-Sources: {"EAST":{"east.a":"3"},"WEST":{"west.a":"10"}}\r\n' in header
