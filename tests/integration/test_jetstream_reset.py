"""Consumers begin again where they are told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from broker import Server
from tests.support.streams import SECONDS, ask, connected, keeping, made, said

KIND = "io.nats.jetstream.api.v1.consumer_reset_response"


async def filled(client: Client, **config: Any) -> None:
    await made(client, "S", subjects=["s"], **config)
    for number in range(10):
        await said(client, "s", b"%d" % (number + 1))


async def consumer(client: Client, name: str, **config: Any) -> None:
    body = {"stream_name": "S", "config": {"durable_name": name, "ack_policy": "explicit", **config}}
    assert "error" not in await ask(client, f"CONSUMER.CREATE.S.{name}", body)


async def taken(client: Client, name: str, count: int, settled: int = 0) -> list[tuple[bytes, str]]:
    """Messages that a consumer gives, with the numbers of consumer and stream; the first of them are acknowledged."""
    inbox = await client.subscribe(client.new_inbox())
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.S.{name}", b"%d" % count, reply=inbox.subject)
    found = [await inbox.next_msg(timeout=SECONDS) for _ in range(count)]
    for message in found[:settled]:
        await client.request(message.reply, b"+ACK", timeout=SECONDS)
    await inbox.unsubscribe()
    return [(message.data, ".".join(message.reply.split(".")[4:7])) for message in found]


async def test_a_consumer_begins_again(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await filled(client)
        await consumer(client, "D")
        assert (await taken(client, "D", 5, settled=2))[-1] == (b"5", "1.5.5")
        answer = await ask(client, "CONSUMER.RESET.S.D")
        assert (answer["type"], list(answer)[-1], answer["reset_seq"]) == (KIND, "reset_seq", 3)
        assert answer["delivered"] == answer["ack_floor"] == {"consumer_seq": 0, "stream_seq": 2}
        assert (answer["num_ack_pending"], answer["num_pending"]) == (0, 8)
        assert await taken(client, "D", 1, settled=1) == [(b"3", "1.3.1")]
        assert (await ask(client, "CONSUMER.RESET.S.D", {"seq": 9}))["num_pending"] == 2
        assert await taken(client, "D", 1) == [(b"9", "1.9.1")]
        assert (await ask(client, "CONSUMER.RESET.S.D", {"seq": 700}))["reset_seq"] == 700
        assert (await ask(client, "CONSUMER.RESET.S.D", {"seq": 4}))["reset_seq"] == 4
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        assert await taken(client, "D", 1) == [(b"4", "1.4.1")]


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("SEQUENCE", b'{"seq":3}', (10204, "invalid reset: below start seq")),
        ("TIME", b'{"seq":3}', (10204, "invalid reset: below start time")),
        ("NEW", b'{"seq":3}', (10204, "invalid reset: not allowed")),
        ("NEW", b"{", (10025, "invalid JSON: unexpected end of JSON input")),
        ("NEW", b" ", (10025, "invalid JSON: unexpected end of JSON input")),
        ("SEQUENCE", b'{"seq":4}', None),
        ("NEW", b'{"seqence":4}', None),
    ],
)
async def test_where_it_may_begin(tmp_path: Path, name: str, body: bytes, error: tuple[int, str] | None) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await filled(client, storage="memory")
        await consumer(client, "SEQUENCE", deliver_policy="by_start_sequence", opt_start_seq=4)
        await consumer(client, "TIME", deliver_policy="by_start_time", opt_start_time="2100-01-01T00:00:00Z")
        await consumer(client, "NEW", deliver_policy="new")
        answer = await ask(client, f"CONSUMER.RESET.S.{name}", body)
        found = answer.get("error")
        assert (found and (found["err_code"], found["description"])) == error
        assert answer["type"] == KIND
        newer = await ask(client, f"CONSUMER.RESET.S.{name}", header={"Nats-Required-Api-Level": "9"})
        assert newer["error"]["err_code"] == 10185
        with pytest.raises(NoRespondersError):
            await ask(client, "CONSUMER.RESET.S.NONE")


async def test_what_is_passed_over_goes_where_only_interest_keeps_it(tmp_path: Path) -> None:
    async with Server(keeping(tmp_path)) as server, connected(server) as client:
        await made(client, "S", subjects=["s"], retention="interest")
        await consumer(client, "D")
        await consumer(client, "E")
        for number in range(4):
            await said(client, "s", b"%d" % (number + 1))
        assert (await ask(client, "CONSUMER.RESET.S.D", {"seq": 4}))["num_pending"] == 1
        assert (await ask(client, "STREAM.INFO.S"))["state"]["messages"] == 4
        assert (await ask(client, "CONSUMER.RESET.S.E", {"seq": 3}))["num_pending"] == 2
        assert (await ask(client, "STREAM.INFO.S"))["state"]["first_seq"] == 3
