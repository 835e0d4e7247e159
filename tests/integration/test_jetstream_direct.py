"""Messages that are asked for directly come as they are, with lines that say where they were."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from broker import Server
from tests.support.streams import SECONDS, connected, keeping, made, said


async def answers(client: Client, subject: str, body: object = b"") -> list[Msg]:
    """All answers up to the one with a status."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(subject, body if isinstance(body, bytes) else json.dumps(body).encode(), reply=inbox)
    found = []
    while not found or not is_last(found[-1]):
        found.append(await asyncio.wait_for(subscription.next_msg(SECONDS), SECONDS))
    await subscription.unsubscribe()
    return found


def is_last(message: Msg) -> bool:
    headers: Mapping[str, str] = message.headers or {}
    return "Status" in headers or "Nats-Num-Pending" not in headers


def lines(message: Msg) -> Mapping[str, str]:
    assert message.headers is not None
    return message.headers


async def fill(client: Client) -> None:
    await made(client, "S", subjects=["s.>"], allow_direct=True)
    for number in range(1, 7):
        await said(client, f"s.{number % 3}", b"%d" % number, {"A": "b"} if number == 2 else None)


GET = "$JS.API.DIRECT.GET.S"


async def test_one_message(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await fill(client)
        (message,) = await answers(client, GET, {"seq": 2})
        assert message.data == b"2"
        assert dict(lines(message)) | {"Nats-Time-Stamp": ""} == {
            "A": "b", "Nats-Stream": "S", "Nats-Subject": "s.2", "Nats-Sequence": "2", "Nats-Time-Stamp": "",
        }  # fmt: skip
        (message,) = await answers(client, f"{GET}.s.1")
        assert (message.data, lines(message)["Nats-Sequence"]) == (b"4", "4")
        (message,) = await answers(client, GET, {"next_by_subj": "s.*", "seq": 5})
        assert message.data == b"5"
        (message,) = await answers(client, GET, {"last_by_subj": "s.0", "no_hdr": True})
        assert (message.data, message.headers) == (b"6", None)


@pytest.mark.parametrize(
    ("subject", "body", "status"),
    [
        (GET, b"", "408 Empty Request"),
        (GET, {}, "408 Empty Request"),
        (GET, b"{", "408 Malformed Request"),
        (GET, {"seq": 1, "last_by_subj": "s.1"}, "408 Bad Request"),
        (f"{GET}.s.1", {"seq": 1}, "408 Bad Request"),
        (GET, {"seq": 99}, "404 Message Not Found"),
        (f"{GET}.s.9", b"", "404 Message Not Found"),
        (GET, {"multi_last": ["t"]}, "404 No Results"),
    ],
)
async def test_what_cannot_be_answered(tmp_path: Path, subject: str, body: object, status: str) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await fill(client)
        (message,) = await answers(client, subject, body)
        assert f"{lines(message)['Status']} {lines(message)['Description']}" == status


async def test_batches_end_with_what_is_left(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await fill(client)
        *found, end = await answers(client, GET, {"next_by_subj": "s.>", "seq": 2, "batch": 3})
        assert [message.data for message in found] == [b"2", b"3", b"4"]
        assert [lines(message)["Nats-Num-Pending"] for message in found] == ["4", "3", "2"]
        assert [lines(message)["Nats-Last-Sequence"] for message in found] == ["0", "2", "3"]
        assert (lines(end)["Status"], lines(end)["Nats-Num-Pending"], lines(end)["Nats-Last-Sequence"]) == (
            "204",
            "2",
            "4",
        )


async def test_last_messages_of_many_subjects(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await fill(client)
        *found, end = await answers(client, GET, {"multi_last": ["s.>"], "up_to_seq": 5})
        assert [message.data for message in found] == [b"3", b"4", b"5"]
        assert lines(end)["Nats-UpTo-Sequence"] == "5"
