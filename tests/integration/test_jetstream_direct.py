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
from broker.config.language import parse_bytes
from broker.config.load import read_options
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


HEADERS: list[dict[str, str] | None] = [None, {"A": "b"}, {"A": "b", "Nats-Msg-Id": "x"}]


@pytest.mark.parametrize("subject", ["s.a", "s.ä." + "x" * 300])
@pytest.mark.parametrize("payload", [b"", b"y" * 100_000])
@pytest.mark.parametrize("storage", ["file", "memory"])
async def test_the_short_way_says_what_the_long_one_does(
    tmp_path: Path, subject: str, payload: bytes, storage: str
) -> None:
    """A request with a body, which asks for the same, is answered by other means."""
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.>"], storage=storage, allow_direct=True)
        for headers in HEADERS:
            await said(client, subject, payload, headers)
            (short,) = await answers(client, f"{GET}.{subject}")
            (long,) = await answers(client, f"{GET}.{subject}", {})
            assert (short.data, short.headers) == (long.data, long.headers)
            assert short.data == payload
            assert lines(short)["Nats-Subject"] == subject


async def test_what_is_not_on_disk_yet_is_waited_for(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await fill(client)
        for number in range(20):
            await client.publish("s.1", b"new %d" % number)
            (message,) = await answers(client, f"{GET}.s.1")
            assert message.data == b"new %d" % number
        await client.publish("$JS.API.STREAM.MSG.DELETE.S", b'{"seq": 26}', reply=client.new_inbox())
        (message,) = await answers(client, f"{GET}.s.1")
        assert message.data == b"new 18"


async def test_who_may_not_answer_there_gets_nothing(tmp_path: Path) -> None:
    """Somebody whose permissions name subjects is answered like everyone, as far as they reach."""
    users = """
        accounts { A { jetstream: enabled, users: [
            { user: all, password: p },
            { user: some, password: p, permissions: {
                publish: { allow: ["$JS.API.DIRECT.GET.S.s.1"] }, subscribe: { allow: ["_INBOX.>"] } } } ] } }
    """
    text = f'listen: "127.0.0.1:-1"\njetstream {{ store_dir: "{tmp_path}" }}\n{users}'
    async with Server(read_options(parse_bytes(text.encode(), "t.conf", {})).options) as server:
        async with connected(server, user="all", password="p") as client:
            await fill(client)
        async with connected(server, user="some", password="p") as client:
            (message,) = await answers(client, f"{GET}.s.1")
            assert message.data == b"4"
            inbox = client.new_inbox()
            subscription = await client.subscribe(inbox)
            await client.publish(f"{GET}.s.2", reply=inbox)
            await client.flush()
            assert subscription.pending_msgs == 0
