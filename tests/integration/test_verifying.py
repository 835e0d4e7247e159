"""Passwords that are compared in a thread: what comes meanwhile waits, and whoever goes meanwhile is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import bcrypt
import pytest

from broker.config.options import AuthorizationOptions, Options, UserOptions
from tests.support.loops import in_every_loop
from tests.support.serving import Client, assert_idle, close_reason, connect_line, serving, until

VIOLATION = b"-ERR 'Authorization Violation'\r\n"


def hashed(rounds: int) -> Options:
    password = bcrypt.hashpw(b"right", bcrypt.gensalt(rounds)).decode()
    users = (UserOptions(user="a", password=password), UserOptions(user="b", password="plain"))
    # With a system account a failed login is an event that its account hears.
    return Options(authorization=AuthorizationOptions(users=users), no_system_account=True)


QUICK = hashed(4)
SLOW = hashed(9)
"""A comparison of some tens of milliseconds."""


def login(password: str = "right") -> bytes:
    return connect_line(user="a", **{"pass": password})


@in_every_loop
async def test_words_after_connect_wait_for_the_comparison() -> None:
    async with serving(QUICK) as server:
        client = await Client.open(server)
        await client.greeting()
        words = b"".join(b"PUB a 4\r\n%04d\r\n" % number for number in range(2000))
        await client.send(login() + b"SUB a 1\r\n" + words + b"PING\r\n")
        assert await client.frames(2000) == [b"MSG a 1 4\r\n%04d" % number for number in range(2000)]
        assert await client.frame() == b"PONG"


@in_every_loop
async def test_words_after_a_wrong_password_are_not_heard() -> None:
    async with serving(QUICK) as server, await Client.connect(server, user="b", **{"pass": "plain"}) as witness:
        await witness.send(b"SUB > 1\r\n")
        assert await witness.ping() == []
        client = await Client.open(server)
        await client.greeting()
        await client.send(login("wrong") + b"PUB a 1\r\nx\r\n" * 100)
        assert await client.rest() == VIOLATION
        assert await close_reason(server, client) == "Authentication Failure"
        assert await witness.ping() == []


@in_every_loop
async def test_others_are_served_meanwhile() -> None:
    async with serving(SLOW) as server:
        slow = [await Client.open(server) for _ in range(3)]
        for client in slow:
            await client.greeting()
            await client.send(login() + b"PING\r\n")
        quick = await Client.connect(server, user="b", **{"pass": "plain"})
        for _ in range(20):
            assert await quick.ping() == []
        for client in slow:
            assert await client.frame() == b"PONG"


@in_every_loop
@pytest.mark.parametrize("end", [Client.close, Client.reset], ids=["close", "reset"])
async def test_who_goes_meanwhile_is_gone(end: Callable[[Client], None]) -> None:
    async with serving(SLOW) as server:
        for _ in range(3):
            client = await Client.open(server)
            await client.greeting()
            await client.send(login() + b"SUB a 1\r\nPUB a 1\r\nx\r\n")
            end(client)
        await until(lambda: not server.service.connections)
        assert_idle(server)


@in_every_loop
async def test_the_time_for_connect_goes_on_meanwhile() -> None:
    authorization = AuthorizationOptions(users=SLOW.authorization.users, timeout=0.001)
    async with serving(authorization=authorization) as server:
        client = await Client.open(server)
        await client.send(login() + b"SUB a 1\r\nPING\r\n")
        assert (await client.rest()).endswith(b"-ERR 'Authentication Timeout'\r\n")
        assert_idle(server)


@in_every_loop
async def test_a_stop_meanwhile() -> None:
    async with serving(SLOW) as server:
        clients = [await Client.open(server) for _ in range(5)]
        for client in clients:
            await client.greeting()
            await client.send(login() + b"PING\r\n")
        await until(lambda: server.service._verifier is not None)
        await server.stop()
        assert [await client.rest() for client in clients] == [b""] * 5


@in_every_loop
async def test_a_second_connect_is_compared_too() -> None:
    async with serving(QUICK) as server:
        client = await Client.open(server)
        await client.greeting()
        await client.send(login() + b"SUB a 1\r\nPUB a 1\r\nx\r\n" + login() + b"PUB a 1\r\ny\r\nPING\r\n")
        assert await client.frames(2) == [b"MSG a 1 1\r\nx", b"PONG"]
        await client.send(login("wrong") + b"PING\r\n")
        assert await client.rest() == VIOLATION


@in_every_loop
async def test_a_crowd_is_let_in_one_after_the_other() -> None:
    async with serving(QUICK) as server:

        async def enter(number: int) -> bytes:
            client = await Client.open(server)
            await client.greeting()
            await client.send(login("right" if number % 3 else "wrong") + b"PING\r\n")
            return await client.frame()

        told = await asyncio.gather(*(enter(number) for number in range(60)))
        assert told == [b"PONG" if number % 3 else VIOLATION.strip() for number in range(60)]
