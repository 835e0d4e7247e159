"""Messages with an end of their own, the markers that stand for them, and what is published once more."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest
from nats.aio.client import Client

from broker import Server
from tests.support.streams import SECONDS, ask, connected, keeping, made, reached, said


async def header_of(client: Client, sequence: int) -> str:
    message = (await ask(client, "STREAM.MSG.GET.S", {"seq": sequence}))["message"]
    return b64decode(message.get("hdrs", "")).decode()


async def test_messages_end_when_they_say(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], allow_msg_ttl=True)
        await said(client, "s.1", b"", {"Nats-TTL": "1s"})
        await said(client, "s.2", b"", {"Nats-TTL": "1h"})
        await said(client, "s.3", b"", {"Nats-TTL": "never"})
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        assert (await reached(client, "S", "messages", 2))["first_seq"] == 2


async def test_what_never_ends_outlives_the_age_of_the_stream(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], allow_msg_ttl=True, max_age=200_000_000, duplicate_window=100_000_000)
        await said(client, "s.1", b"", {"Nats-TTL": "never"})
        await said(client, "s.2", b"")
        await said(client, "s.2", b"")
        assert (await reached(client, "S", "messages", 1))["first_seq"] == 1


async def test_a_marker_stands_where_the_last_message_was(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], max_age=100_000_000, subject_delete_marker_ttl=5_000_000_000)
        await said(client, "s.1", b"x")
        await reached(client, "S", "first_seq", 2)
        expected = "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 5s\r\nNats-Rollup: sub\r\n\r\n"
        assert await header_of(client, 2) == expected


@pytest.mark.parametrize(
    ("allowed", "value", "number"), [(False, "5s", 10166), (True, "10ms", 10165), (True, "soon", 10165)]
)
async def test_wrong_ends_are_refused(tmp_path: Path, allowed: bool, value: str, number: int) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], allow_msg_ttl=allowed)
        assert (await said(client, "s", b"", {"Nats-TTL": value}))["error"]["err_code"] == number


async def test_what_is_stored_is_published_once_more(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        heard = await client.subscribe("copy.>")
        await made(client, "S", subjects=["s.>"], republish={"src": "s.>", "dest": "copy.>"})
        await said(client, "s.1", b"one", {"A": "b"})
        await said(client, "s.1", b"two")
        first = await heard.next_msg(SECONDS)
        second = await heard.next_msg(SECONDS)
        assert (first.subject, first.data, second.data) == ("copy.1", b"one", b"two")
        assert first.headers is not None
        assert second.headers is not None
        assert {**first.headers, "Nats-Time-Stamp": ""} == {
            "A": "b", "Nats-Stream": "S", "Nats-Subject": "s.1", "Nats-Sequence": "1", "Nats-Time-Stamp": "",
            "Nats-Last-Sequence": "0",
        }  # fmt: skip
        assert second.headers["Nats-Last-Sequence"] == "1"
