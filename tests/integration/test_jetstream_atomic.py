"""Batches of messages that are stored whole or not at all."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from broker import Server
from broker.config.options import JetStreamCeilings
from broker.jetstream.publish import atomic
from broker.jetstream.store.environment import Environment
from broker.jetstream.store.tables import StoreError
from tests.support.streams import SECONDS, ask, connected, keeping, made, reached, said

ABANDONED = "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.S"


def batch(sequence: int, commit: str = "", identifier: str = "one", **others: str) -> dict[str, str]:
    header = {"Nats-Batch-Id": identifier, "Nats-Batch-Sequence": str(sequence), **others}
    return {**header, "Nats-Batch-Commit": commit} if commit else header


async def stage(client: Client, subject: str, sequence: int, body: bytes = b"", **others: str) -> None:
    """Publishes a message that waits for the commit; the answer to it is empty."""
    answer = await client.request(subject, body, timeout=SECONDS, headers=batch(sequence, **others))
    assert (answer.data, answer.headers) == (b"", None)


async def refused(client: Client, subject: str, header: dict[str, str], body: bytes = b"") -> int:
    """The number of the error that a message is refused with."""
    number: int = (await said(client, subject, body, header))["error"]["err_code"]
    return number


async def stored(client: Client, sequence: int) -> tuple[str, str, bytes]:
    """Subject, header and payload of a message."""
    message = (await ask(client, "STREAM.MSG.GET.S", {"seq": sequence}))["message"]
    return message["subject"], b64decode(message["hdrs"]).decode(), b64decode(message.get("data", ""))


async def held(client: Client) -> int:
    messages: int = (await ask(client, "STREAM.INFO.S"))["state"]["messages"]
    return messages


async def test_nothing_is_stored_before_the_commit_and_all_with_it(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], allow_atomic=True)
        await stage(client, "s.1", 1, b"one")
        await stage(client, "s.2", 2, b"two")
        await said(client, "s.0", b"between")
        assert await held(client) == 1
        answer = await said(client, "s.3", b"three", batch(3, "1"))
        assert answer == {"stream": "S", "seq": 4, "batch": "one", "count": 3}
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        begin = "NATS/1.0\r\nNats-Batch-Id: one\r\nNats-Batch-Sequence: "
        assert [await stored(client, sequence) for sequence in (2, 3, 4)] == [
            ("s.1", f"{begin}1\r\n\r\n", b"one"),
            ("s.2", f"{begin}2\r\n\r\n", b"two"),
            ("s.3", f"{begin}3\r\nNats-Batch-Commit: 1\r\n\r\n", b"three"),
        ]


async def test_a_batch_may_end_with_a_message_that_is_not_stored(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], allow_atomic=True)
        await stage(client, "s.1", 1, b"one")
        answer = await said(client, "s.1", b"end", batch(2, "eob"))
        assert answer == {"stream": "S", "seq": 1, "batch": "one", "count": 1}
        expected = "NATS/1.0\r\nNats-Batch-Id: one\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1\r\n\r\n"
        assert await stored(client, 1) == ("s.1", expected, b"one")
        assert await held(client) == 1


async def test_a_message_that_something_stands_against_lets_none_be_stored(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], storage="memory", allow_atomic=True, allow_rollup_hdrs=True)
        await said(client, "s.1", b"", {"Nats-Msg-Id": "known"})
        for number, header in (
            (10201, {"Nats-Msg-Id": "known"}),
            (10071, {"Nats-Expected-Last-Sequence": "1"}),
            (10164, {"Nats-Expected-Last-Sequence": "2"}),
            (10071, {"Nats-Expected-Last-Subject-Sequence": "1"}),
            (10164, {"Nats-Expected-Last-Subject-Sequence": "1", "Nats-Expected-Last-Subject-Sequence-Subject": "s.2"}),
            (10060, {"Nats-Expected-Stream": "T"}),
            (10177, {"Nats-Expected-Last-Msg-Id": "known"}),
            (10166, {"Nats-TTL": "1s"}),
            (10168, {"Nats-Incr": "1"}),
            (10111, {"Nats-Rollup": "all"}),
        ):
            await stage(client, "s.2", 1)
            assert await refused(client, "s.3", batch(2, "1", **header)) == number
        assert await held(client) == 1
        # The batch is over: what comes then begins none.
        assert await refused(client, "s.3", batch(2, "1")) == 10176


async def test_ids_are_unique_within_a_batch_and_remembered_with_it(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], storage="memory", allow_atomic=True)
        await stage(client, "s.1", 1, **{"Nats-Msg-Id": "a"})
        assert await refused(client, "s.1", batch(2, "1", **{"Nats-Msg-Id": "a"})) == 10201
        await stage(client, "s.1", 1, **{"Nats-Msg-Id": "a"})
        assert (await said(client, "s.1", b"", batch(2, "1", **{"Nats-Msg-Id": "b"})))["count"] == 2
        assert (await said(client, "s.1", b"", {"Nats-Msg-Id": "a"}))["duplicate"]


async def test_counters_are_added_up_within_a_batch(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], storage="memory", allow_atomic=True, allow_msg_counter=True)
        await stage(client, "s.1", 1, **{"Nats-Incr": "2"})
        await said(client, "s.1", b"", batch(2, "1", **{"Nats-Incr": "3"}))
        assert [(await stored(client, sequence))[2] for sequence in (1, 2)] == [b'{"val":"2"}', b'{"val":"5"}']


async def test_a_full_stream_that_refuses_takes_all_or_nothing(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], storage="memory", allow_atomic=True, max_msgs=2, discard="new")
        await stage(client, "s.1", 1)
        await stage(client, "s.2", 2)
        assert await refused(client, "s.3", batch(3, "1")) == 10077
        assert await held(client) == 0
        await stage(client, "s.1", 1)
        assert (await said(client, "s.2", b"", batch(2, "1")))["seq"] == 2


@pytest.mark.parametrize(
    ("header", "number"),
    [
        ({"Nats-Batch-Id": "one"}, 10175),
        ({"Nats-Batch-Id": "one", "Nats-Batch-Sequence": "x"}, 10175),
        (batch(1, identifier="i" * 65), 10179),
        (batch(2), 10176),
        (batch(1001), 10199),
        (batch(1001, "eob"), 10176),
        (batch(1, "0"), 10200),
        (batch(1, "eob"), 10176),
        (batch(1, "1", **{"Nats-Required-Api-Level": "99"}), 10185),
    ],
)
async def test_what_is_no_batch_is_refused(tmp_path: Path, header: dict[str, str], number: int) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], storage="memory", allow_atomic=True)
        assert await refused(client, "s.1", header) == number
        assert await held(client) == 0


async def test_streams_say_whether_they_take_batches(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], storage="memory")
        assert await refused(client, "s", batch(1)) == 10174


async def told(subscription: Any) -> tuple[str, str]:
    """The batch and the reason of an advisory."""
    event = json.loads((await subscription.next_msg(SECONDS)).data)
    assert (event["type"], event["stream"]) == ("io.nats.jetstream.advisory.v1.stream_batch_abandoned", "S")
    return event["batch"], event["reason"]


async def test_whoever_listens_is_told_of_batches_that_are_given_up(tmp_path: Path) -> None:
    ceilings = JetStreamCeilings(batch_messages=2, batch_inflight_per_stream=2, batch_timeout=300_000_000)
    async with Server(keeping(tmp_path, ceilings=ceilings)) as server, connected(server) as client:
        abandoned = await client.subscribe(ABANDONED)
        await made(client, "S", subjects=["s"], storage="memory", allow_atomic=True)
        await stage(client, "s", 1)
        assert await refused(client, "s", batch(3)) == 10176
        assert await told(abandoned) == ("one", "incomplete")
        await stage(client, "s", 1)
        await stage(client, "s", 2)
        assert await refused(client, "s", batch(3)) == 10199
        assert await told(abandoned) == ("one", "large")
        await stage(client, "s", 1, identifier="slow")
        await stage(client, "s", 1, identifier="slower")
        assert await refused(client, "s", batch(1, identifier="third")) == 10210
        assert await told(abandoned) == ("slow", "timeout")
        assert await told(abandoned) == ("slower", "timeout")
        assert (await said(client, "s", b"", batch(1, "1")))["seq"] == 1


async def test_batches_that_wait_are_gone_with_their_stream(tmp_path: Path) -> None:
    ceilings = JetStreamCeilings(batch_inflight_total=1)
    async with Server(keeping(tmp_path, ceilings=ceilings)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], storage="memory", allow_atomic=True)
        await stage(client, "s", 1)
        await ask(client, "STREAM.DELETE.S")
        await made(client, "S", subjects=["s"], allow_atomic=True)
        await stage(client, "s", 1)
        assert (await said(client, "s", b"", batch(2, "1")))["count"] == 2
        await reached(client, "S", "messages", 2)


async def test_a_batch_that_cannot_be_written_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Environment, changes: object) -> None:
        raise StoreError("no space left")

    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s.*"], allow_atomic=True)
        await stage(client, "s.1", 1)
        with monkeypatch.context() as patch:
            patch.setattr(Environment, "write", full)
            assert await refused(client, "s.2", batch(2, "1")) == 10077
        assert await held(client) == 0
        await stage(client, "s.1", 1)
        assert (await said(client, "s.2", b"", batch(2, "1")))["seq"] == 2


async def test_what_waits_for_commits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "STAGED_AT_MOST", 2000)
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        abandoned = await client.subscribe(ABANDONED)
        await made(client, "S", subjects=["s"], storage="memory", allow_atomic=True)
        await stage(client, "s", 1, b"x" * 1000)
        await stage(client, "s", 1, b"x" * 700, identifier="other")
        assert await refused(client, "s", batch(2), b"x" * 1000) == 10023
        assert await told(abandoned) == ("one", "large")
        await stage(client, "s", 2, b"x" * 1000, identifier="other")
        assert (await said(client, "s", b"", batch(3, "1", identifier="other")))["count"] == 3
