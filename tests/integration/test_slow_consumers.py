"""Receivers that lag: who is cut and why, and that nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from functools import partial

import pytest

from broker import Server
from broker.config.options import WriteTimeout
from tests.support.loops import in_every_loop
from tests.support.serving import Client, assert_idle, close_reason, closed_record, serving, session_of, turn, until

SMALL = 4096
"""Receive buffer of a client that lags; the system doubles it."""

PAYLOAD = b"x" * 30_000


def message(number: int) -> bytes:
    return b"PUB a %d\r\n%08d%b\r\n" % (len(PAYLOAD) + 8, number, PAYLOAD)


def delivered(number: int) -> bytes:
    return b"MSG a 1 %d\r\n%08d%b" % (len(PAYLOAD) + 8, number, PAYLOAD)


async def subscribed(server: Server, *, receive_buffer: int = 0) -> Client:
    client = await Client.connect(server, receive_buffer=receive_buffer)
    await client.send(b"SUB a 1\r\n")
    assert await client.ping() == []
    return client


@in_every_loop
async def test_who_never_reads_is_cut_at_the_ceiling(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_pending=1_000_000, max_payload=100_000, write_deadline=60.0) as server:
        slow, quick, publisher = (
            await subscribed(server, receive_buffer=SMALL), await subscribed(server), await Client.connect(server)
        )  # fmt: skip
        with caplog.at_level(logging.INFO, "natskeep.net"):
            count = 0
            while slow.cid in server.service.connections:
                await publisher.send(message(count))
                assert await quick.frame() == delivered(count)
                count += 1
        record = await closed_record(server, slow)
        assert record.reason == "Slow Consumer (Pending Bytes)"
        assert record.subscription_count == 1
        assert record.pending == 0
        assert server.service.slow_consumers == 1
        assert "MaxPending of 1000000 Exceeded" in caplog.text
        assert await publisher.ping() == []
        assert await quick.ping() == []
        assert b"-ERR" not in await slow.rest()


@in_every_loop
async def test_one_batch_above_the_ceiling_is_enough() -> None:
    async with serving(max_pending=200_000, max_payload=100_000) as server:
        slow, publisher = await subscribed(server, receive_buffer=SMALL), await Client.connect(server)
        await publisher.send(b"".join(map(message, range(400))))
        assert await publisher.ping() == []
        assert await close_reason(server, slow) == "Slow Consumer (Pending Bytes)"


@in_every_loop
async def test_who_takes_nothing_is_cut_at_the_write_deadline(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(write_deadline=0.1) as server:
        slow, quick, publisher = (
            await subscribed(server, receive_buffer=SMALL), await subscribed(server), await Client.connect(server)
        )  # fmt: skip
        with caplog.at_level(logging.INFO, "natskeep.net"):
            # What lies in the buffers of the sockets does not wait, so it takes some to wait at all.
            count = 0
            while not session_of(server, slow).client.pending:
                await publisher.send(message(count))
                assert await quick.frame() == delivered(count)
                count += 1
            assert await close_reason(server, slow) == "Slow Consumer (Write Deadline)"
        assert "WriteDeadline of 0.1s exceeded with" in caplog.text
        assert server.service.slow_consumers == 1
        assert await publisher.ping() == []
        assert await quick.ping() == []


@in_every_loop
async def test_who_only_trickles_is_cut_too() -> None:
    async with serving(write_deadline=0.2) as server:
        slow, publisher = await subscribed(server, receive_buffer=SMALL), await Client.connect(server)
        await publisher.send(b"".join(map(message, range(500))))
        assert await publisher.ping() == []
        while slow.cid in server.service.connections:
            with contextlib.suppress(BlockingIOError):
                slow.sock.recv(1)
            await turn()
        assert await close_reason(server, slow) == "Slow Consumer (Write Deadline)"


@in_every_loop
async def test_who_trickles_may_go_on_where_writes_are_retried(caplog: pytest.LogCaptureFixture) -> None:
    count = 100
    async with serving(write_deadline=0.5, write_timeout=WriteTimeout.RETRY) as server:
        slow, publisher = await subscribed(server, receive_buffer=SMALL * 16), await Client.connect(server)
        connection = server.service.connections[slow.cid]
        # With a small buffer on its side too the server soon learns that something was taken.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL * 4)
        with caplog.at_level(logging.INFO, "natskeep.net"):
            await publisher.send(b"".join(map(message, range(count))))
            assert await publisher.ping() == []
            deadline = None
            while server.service.slow_consumers < 3:
                if connection._deadline_timer is not deadline:
                    # Within each deadline it takes just so much that the server can write on.
                    deadline, written = connection._deadline_timer, connection._written
                    while connection._written == written:
                        slow.buffer += await slow.receive()
                await turn()
            for number in range(count):
                assert await slow.frame() == delivered(number)
            assert await slow.ping() == []
        lines = [line for line in caplog.messages if "Slow Consumer" in line]
        assert "Slow Consumer Detected: WriteDeadline of 0.5s exceeded with" in lines[0]
        assert "Slow Consumer State: WriteDeadline of 0.5s exceeded with" in lines[1]
        assert "Slow Consumer Recovered: Flush took " in lines[-1]
        assert slow.cid in server.service.connections


@in_every_loop
async def test_who_takes_nothing_is_cut_where_writes_are_retried_too() -> None:
    async with serving(write_deadline=0.1, write_timeout=WriteTimeout.RETRY) as server:
        slow, publisher = await subscribed(server, receive_buffer=SMALL), await Client.connect(server)
        await publisher.send(b"".join(map(message, range(300))))
        assert await publisher.ping() == []
        assert await close_reason(server, slow) == "Slow Consumer (Write Deadline)"


@in_every_loop
async def test_who_lags_but_reads_gets_every_message_in_order() -> None:
    count = 2_000
    async with serving(max_pending=20_000_000, write_deadline=60.0) as server:
        lagging = [await subscribed(server, receive_buffer=SMALL * 16) for _ in range(2)]
        publisher = await Client.connect(server)

        taken = [0, 0]

        async def publish() -> None:
            for start in range(0, count, 50):
                # A stall is short, so on a busy machine the rest is up to who publishes.
                behind = partial(lambda sent: not server.service.stalls or sent - min(taken) <= count // 5, start)
                await until(behind)
                await publisher.send(b"".join(map(message, range(start, start + 50))))

        async def read(place: int) -> None:
            await until(lambda: server.service.stalls > 0)
            for number in range(count):
                assert await lagging[place].frame() == delivered(number)
                taken[place] = number + 1

        await asyncio.gather(publish(), read(0), read(1))
        assert await publisher.ping() == []
        assert server.service.slow_consumers == 0
        # Sixty megabytes went through receivers that may hold twenty.
        assert all(session_of(server, client).client.out_bytes > 3 * 20_000_000 * 0.99 for client in lagging)


@in_every_loop
async def test_a_publisher_is_not_held_up_by_who_takes_nothing() -> None:
    async with serving(write_deadline=60.0) as server:
        stuck, publisher = await subscribed(server, receive_buffer=SMALL), await Client.connect(server)
        for _ in range(4):
            await publisher.send(b"".join(map(message, range(50))))
            assert await publisher.ping() == []
        assert session_of(server, stuck).client.pending > 1 << 20
        assert server.service.stalls > 0
        stuck.reset()


@in_every_loop
async def test_a_publisher_that_subscribes_to_itself_never_waits_for_itself() -> None:
    async with serving(write_deadline=60.0) as server:
        client = await subscribed(server)
        count = 200
        sent = asyncio.create_task(client.send(b"".join(map(message, range(count)))))
        for number in range(count):
            assert await client.frame() == delivered(number)
        await sent
        assert server.service.stalls == 0


@in_every_loop
async def test_many_slow_receivers_end_together_and_leave_nothing() -> None:
    async with serving(max_pending=300_000, max_payload=100_000) as server:
        slow = [await subscribed(server, receive_buffer=SMALL) for _ in range(30)]
        publisher = await Client.connect(server)
        await publisher.send(b"".join(map(message, range(300))))
        assert await publisher.ping() == []
        for client in slow:
            assert await close_reason(server, client) == "Slow Consumer (Pending Bytes)"
        assert server.service.slow_consumers == 30
        publisher.close()
        await until(lambda: not server.service.connections)
        assert_idle(server)


async def test_a_queue_group_is_served_by_the_members_that_can() -> None:
    async with serving(max_pending=200_000, max_payload=100_000) as server:
        slow, able, publisher = (
            await Client.connect(server, receive_buffer=SMALL), await Client.connect(server),
            await Client.connect(server),
        )  # fmt: skip
        for client in (slow, able):
            await client.send(b"SUB a q 1\r\n")
            assert await client.ping() == []
        taken = 0
        while slow.cid in server.service.connections:
            await publisher.send(message(taken))
            assert await publisher.ping() == []
            taken += len(await able.ping())
        assert await close_reason(server, slow) == "Slow Consumer (Pending Bytes)"
        for number in range(10):
            await publisher.send(message(number))
            assert await able.frame() == delivered(number)
