"""Clients that cut, reset, babble and die: the server survives each of them, serves the others and keeps nothing."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import Server
from broker.config.options import AuthorizationOptions
from broker.net.connection import Connection
from broker.session.session import Session
from tests.support.loops import in_every_loop
from tests.support.serving import Client, assert_idle, closed_record, connect_line, serving, session_of, until

SEED = 20240229
CONVERSATION = connect_line(headers=True) + (
    b"SUB a.* 1\r\nSUB a.* q 2\r\nPUB a.b r 5\r\nhello\r\n"
    b"HPUB a.c 12 17\r\nNATS/1.0\r\n\r\nhello\r\nUNSUB 1 5\r\nPING\r\nPONG\r\n"
)
BABBLE = [
    b"PUB a 5\r\n", b"PUB ", b"HPUB a 3 2\r\n", b"SUB > 1\r\n", b"UNSUB 1 9\r\n", b"PING\r\n", b"-ERR 'x'\r\n",
    b"+OK\r\n", b"CONNECT {}\r\n", b'CONNECT {"verbose":', b"INFO {\r\n", b"\r\n", b"\0\0\0", b"\x16\x03\x01\x02\x00",
    b"RS+ A a 1\r\n", b"MSG a 1 3\r\nabc\r\n", b"PUB a 99999999\r\n", b"{" * 50, b"GET / HTTP/1.1\r\n\r\n", b"9" * 12,
]  # fmt: skip


def sockets() -> int:
    """How many sockets this process holds."""
    return sum(link.is_socket() for link in Path("/proc/self/fd").iterdir())


async def emptied(server: Server) -> None:
    """Returns once every connection is gone, and checks that nothing is left of them."""
    await until(lambda: not server.service.connections)
    assert_idle(server)
    assert all(tenant.namespace.queues == 0 for tenant in server.service.control.tenants.values())


async def is_served(server: Server) -> None:
    """A newcomer is served as ever."""
    client = await Client.connect(server)
    await client.send(b"SUB still.there 1\r\nPUB still.there 2\r\nok\r\n")
    assert await client.ping() == [b"MSG still.there 1 2\r\nok"]
    client.close()


# Cuts


def half_close(client: Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)


@in_every_loop
@pytest.mark.parametrize("cut", [Client.close, Client.reset, half_close], ids=lambda cut: cut.__name__)
async def test_a_cut_at_every_place(cut: Callable[[Client], None]) -> None:
    async with serving() as server:
        for place in range(len(CONVERSATION) + 1):
            client = await Client.open(server)
            await client.send(CONVERSATION[:place])
            cut(client)
        await emptied(server)
        await is_served(server)


@in_every_loop
async def test_a_half_closed_client_hears_all_that_was_meant_for_it() -> None:
    async with serving() as server:
        client = await Client.open(server)
        payload = b"x" * 300_000
        await client.greeting()
        await client.send(connect_line() + b"SUB a 1\r\nPUB a 300000\r\n%b\r\nPING\r\n" % payload)
        half_close(client)
        assert await client.rest() == b"MSG a 1 300000\r\n%b\r\nPONG\r\n" % payload
        assert (await closed_record(server, client)).reason == "Client Closed"
        await emptied(server)


@in_every_loop
async def test_an_unfinished_frame_is_nothing() -> None:
    async with serving() as server, await Client.connect(server) as witness:
        await witness.send(b"SUB > 1\r\n")
        assert await witness.ping() == []
        for part in (b"PUB a 5\r\nhell", b"PUB a 5\r\nhello", b"PUB a 5\r\nhello\r", b"PUB a 5", b"SUB a 1"):
            client = await Client.connect(server)
            await client.send(part)
            client.close()
            await closed_record(server, client)
        assert await witness.ping() == []


@in_every_loop
async def test_a_reset_right_behind_the_last_words_is_noticed() -> None:
    """uvloop tells of both at once, and of the reset never again."""
    async with serving() as server, await Client.connect(server) as witness:
        await witness.send(b"SUB words.> 1\r\n")
        assert await witness.ping() == []
        for number in range(20):
            client = await Client.connect(server)
            await client.send(b"SUB a 1\r\nPUB words.%d 5\r\nhello\r\n" % number)
            client.reset()
            assert await witness.frame() == b"MSG words.%d 1 5\r\nhello" % number
            assert (await closed_record(server, client)).reason == "Read Error"
        assert server.service.control.tenants["$G"].subscriptions == 1


@in_every_loop
async def test_a_receiver_that_is_reset_while_it_is_written_to() -> None:
    async with serving() as server:
        publisher = await Client.connect(server)
        for _ in range(20):
            victim = await Client.connect(server, receive_buffer=4096)
            await victim.send(b"SUB a 1\r\n")
            assert await victim.ping() == []
            await publisher.send(b"PUB a 100000\r\n%b\r\n" % (b"x" * 100_000) * 3)
            victim.reset()
            assert await publisher.ping() == []
        publisher.close()
        await emptied(server)


# Many


@in_every_loop
async def test_thousands_that_come_subscribe_and_go() -> None:
    async with serving() as server, await Client.connect(server) as witness:
        # What clients of earlier tests left to the collector is none of this server's.
        gc.collect()
        before = sockets()
        words = connect_line() + b"".join(
            b"SUB s.%d 1%d\r\nSUB s.*.%d 2%d\r\nSUB s.> q%d 3%d\r\n" % ((number,) * 6) for number in range(5)
        )

        async def come_and_go(number: int) -> None:
            client = await Client.open(server)
            await client.send(words + b"PUB s.1 1\r\nx\r\nPING\r\n")
            if number % 5:
                while await client.frame() != b"PONG":
                    pass
            client.reset() if number % 2 else client.close()

        for _ in range(40):
            await asyncio.gather(*(come_and_go(number) for number in range(50)))
        await until(lambda: len(server.service.connections) == 1)
        assert server.service.total_connections == 2001
        assert sum(record.subscription_count == 15 for record in server.service.closed) >= 1600
        assert await witness.ping() == []
        tenant = server.service.control.tenants["$G"]
        assert (len(tenant.sessions), tenant.subscriptions, tenant.namespace.queues) == (1, 0, 0)
        assert sockets() == before
        gc.collect()
        service = server.service
        assert sum(isinstance(one, Connection) and one.service is service for one in gc.get_objects()) == 1
        assert sum(isinstance(one, Session) and one.hub is service.hub for one in gc.get_objects()) == 1


@in_every_loop
async def test_fan_out_while_some_die() -> None:
    count, rounds = 100, 40
    chance = random.Random(SEED)
    async with serving() as server:
        receivers = [await Client.connect(server) for _ in range(count)]
        for receiver in receivers:
            await receiver.send(b"SUB news.* 1\r\n")
            assert await receiver.ping() == []
        publisher = await Client.connect(server)
        living = list(receivers)
        for number in range(rounds):
            for at in range(10):
                await publisher.send(b"PUB news.%d 6\r\n%06d\r\n" % (at % 3, number * 10 + at))
            victim = living.pop(chance.randrange(len(living)))
            chance.choice([Client.close, Client.reset])(victim)
        assert await publisher.ping() == []
        expected = [
            b"MSG news.%d 1 6\r\n%06d" % (at % 3, number * 10 + at) for number in range(rounds) for at in range(10)
        ]
        for receiver in living:
            assert await receiver.ping() == expected
        await until(lambda: len(server.service.connections) == count - rounds + 1)
        assert server.service.control.tenants["$G"].subscriptions == count - rounds


@in_every_loop
async def test_fan_in_keeps_the_order_of_every_publisher() -> None:
    publishers, messages = 50, 100
    async with serving() as server:
        receiver = await Client.connect(server)
        await receiver.send(b"SUB in.* 1\r\n")
        assert await receiver.ping() == []

        async def publish(number: int) -> None:
            client = await Client.connect(server)
            for start in range(0, messages, 10):
                lines = [b"PUB in.%d 4\r\n%04d\r\n" % (number, start + at) for at in range(10)]
                await client.send(b"".join(lines))
            assert await client.ping() == []
            client.close()

        async def receive() -> dict[bytes, list[int]]:
            found: dict[bytes, list[int]] = {}
            for _ in range(publishers * messages):
                line, _, payload = (await receiver.frame()).partition(b"\r\n")
                found.setdefault(line.split()[1], []).append(int(payload))
            return found

        found, *_ = await asyncio.gather(receive(), *(publish(number) for number in range(publishers)))
        assert found == {b"in.%d" % number: list(range(messages)) for number in range(publishers)}


@in_every_loop
async def test_subscriptions_come_and_go_while_messages_flow() -> None:
    async with serving() as server:
        publisher, steady, restless = [await Client.connect(server) for _ in range(3)]
        await steady.send(b"SUB a.b 1\r\n")
        assert await steady.ping() == []
        expected = 0
        for number in range(200):
            subject = (b"a.b", b"a.*", b"a.>", b">", b"*.b")[number % 5]
            await restless.send(b"SUB %b %d\r\n" % (subject, number))
            assert await restless.ping() == []
            await publisher.send(b"PUB a.b 4\r\n%04d\r\n" % number)
            assert await publisher.ping() == []
            expected += 1
            assert await restless.frame() == b"MSG a.b %d 4\r\n%04d" % (number, number)
            await restless.send(b"UNSUB %d\r\n" % number)
            assert await restless.ping() == []
        assert await steady.ping() == [b"MSG a.b 1 4\r\n%04d" % number for number in range(expected)]
        assert server.service.control.tenants["$G"].subscriptions == 1


# Babble


def babble(chance: random.Random) -> bytes:
    """Noise, near-protocol noise, or protocol in the wrong order."""
    pieces = [
        chance.choice(BABBLE) if chance.random() < 0.7 else chance.randbytes(chance.randrange(1, 300))
        for _ in range(chance.randrange(1, 8))
    ]
    return b"".join(pieces)


@in_every_loop
@pytest.mark.parametrize("introduced", [False, True])
@pytest.mark.parametrize("secret", [False, True])
async def test_babble_harms_nobody_else(introduced: bool, secret: bool) -> None:
    chance = random.Random(SEED)
    login = {"auth_token": "t"} if secret else {}
    authorization = AuthorizationOptions(token="t" if secret else "")
    async with serving(authorization=authorization) as server, await Client.connect(server, **login) as witness:
        await witness.send(b"SUB quiet.> 1\r\n")
        assert await witness.ping() == []
        for _ in range(10):
            babblers = []
            for _ in range(20):
                client = await Client.open(server)
                babblers.append(client)
                await client.send((connect_line(**login) if introduced else b"") + babble(chance))
            await witness.send(b"PUB quiet.place 1\r\nx\r\n")
            assert await witness.ping() == [b"MSG quiet.place 1 1\r\nx"]
            for client in babblers:
                chance.choice([Client.close, Client.reset])(client)
        await until(lambda: len(server.service.connections) == 1)
        assert server.service.control.tenants["$G"].subscriptions == 1
        if secret and not introduced:
            assert {record.in_messages for record in server.service.closed} == {0}


@in_every_loop
async def test_a_trickle_of_single_bytes_is_a_conversation_too() -> None:
    async with serving() as server:
        client = await Client.open(server)
        await client.greeting()
        for at in range(len(CONVERSATION)):
            await client.send(CONVERSATION[at : at + 1])
        found = await client.frames(5)
        assert found[-1] == b"PONG"
        assert sorted(found[:4]) == sorted(
            [
                b"MSG a.b 1 r 5\r\nhello", b"MSG a.b 2 r 5\r\nhello",
                b"HMSG a.c 1 12 17\r\nNATS/1.0\r\n\r\nhello", b"HMSG a.c 2 12 17\r\nNATS/1.0\r\n\r\nhello",
            ]
        )  # fmt: skip


@in_every_loop
async def test_who_announces_much_and_sends_little_costs_little() -> None:
    async with serving(max_payload=8 << 20) as server:
        clients = [await Client.connect(server) for _ in range(20)]
        for client in clients:
            await client.send(b"PUB a 8000000\r\n" + b"x" * 1000)
        lanes = [session_of(server, client).lane for client in clients]
        await until(lambda: all(lane.unfinished > 1000 for lane in lanes))
        assert all(lane.unfinished < 2000 for lane in lanes)


@in_every_loop
async def test_a_stop_amid_a_storm() -> None:
    before = sockets()
    async with serving() as server:
        ended = 0

        async def storm() -> None:
            nonlocal ended
            while True:
                try:
                    client = await Client.open(server)
                    await client.send(CONVERSATION)
                    await client.frame()
                    client.close()
                except (OSError, EOFError):
                    break
            ended += 1

        storms = [asyncio.create_task(storm()) for _ in range(20)]
        await until(lambda: server.service.total_connections > 200)
        await server.stop()
        await asyncio.gather(*storms)
        assert ended == 20
    assert sockets() == before
