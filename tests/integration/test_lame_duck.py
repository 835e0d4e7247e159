"""A server that leaves: who is told, what is closed, in which order, and that a stop leaves nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import pairwise

import pytest

from broker import Server
from broker.config.options import AuthorizationOptions
from tests.support.loops import in_every_loop
from tests.support.serving import Client, serving, until

SLOWLY = {"lame_duck_grace_period": 0.05, "lame_duck_duration": 0.25}

SHORTEST_INTERVAL = 0.03
"""Seconds between two of five clients are a fifth of what the grace period leaves, less what timers may be early."""


async def refused(server: Server) -> bool:
    """Whether nobody listens any more."""
    try:
        (await Client.open(server)).close()
    except ConnectionRefusedError:
        return True
    return False


def info(frame: bytes) -> dict[str, object]:
    verb, _, body = frame.partition(b" ")
    assert verb == b"INFO"
    told: dict[str, object] = json.loads(body)
    return told


@in_every_loop
async def test_clients_are_told_and_closed_in_turn() -> None:
    async with serving(**SLOWLY) as server:
        clients = [await Client.connect(server, protocol=1) for _ in range(5)]
        for client in clients:
            assert "ldm" not in info(await client.frame())
            await client.send(b"SUB a 1\r\n")
            assert await client.ping() == []
        server.begin_lame_duck()
        await until(lambda: not server.is_ready)
        assert await refused(server)
        for client in clients:
            assert info(await client.frame())["ldm"] is True
        # They go on working until their turn comes.
        await clients[0].send(b"PUB a 1\r\nx\r\n")
        for client in clients:
            assert await client.frame() == b"MSG a 1 1\r\nx"
        assert await asyncio.gather(*(client.rest() for client in clients)) == [b""] * 5
        await server.wait()
        assert {record.reason for record in server.service.closed} == {"Server Shutdown"}
        ends = [record.ended or 0.0 for record in server.service.closed]
        assert all(later - earlier > SHORTEST_INTERVAL for earlier, later in pairwise(ends))


@in_every_loop
async def test_only_clients_that_can_take_it_are_told() -> None:
    async with serving(**SLOWLY) as server:
        old, silent = await Client.connect(server), await Client.open(server)
        await silent.greeting()
        await silent.send(b'CONNECT {"verbose":true,"protocol":1}\r\n')
        assert await silent.frame() == b"+OK"
        mute = await Client.open(server)
        await mute.greeting()
        server.begin_lame_duck()
        for client in (old, silent, mute):
            assert await client.rest() == b""
        await server.wait()


@in_every_loop
async def test_without_clients_it_stops_at_once() -> None:
    async with serving(lame_duck_grace_period=1000.0, lame_duck_duration=2000.0) as server:
        server.begin_lame_duck()
        await server.wait()
        assert await refused(server)


@in_every_loop
async def test_clients_that_move_on_by_themselves_are_not_waited_for() -> None:
    async with serving(lame_duck_grace_period=1000.0, lame_duck_duration=2000.0) as server:
        clients = [await Client.connect(server, protocol=1) for _ in range(3)]
        server.begin_lame_duck()
        for client in clients:
            while "ldm" not in info(await client.frame()):
                pass
            client.close()
        await server.wait()


async def test_who_says_it_late_is_told_with_the_first_ping() -> None:
    async with serving(lame_duck_grace_period=1000.0, lame_duck_duration=2000.0) as server:
        client = await Client.open(server)
        await client.greeting()
        server.begin_lame_duck()
        await until(lambda: server.service.control.is_lame_duck)
        await client.introduce(protocol=1)
        assert await client.frame() == b"PONG"
        assert info(await client.frame())["ldm"] is True


async def test_it_begins_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(**SLOWLY) as server:
        with caplog.at_level(logging.INFO, "natskeep"):
            client = await Client.connect(server, protocol=1)
            for _ in range(3):
                server.begin_lame_duck()
            told = await client.rest()
            await server.wait()
        assert told.count(b'"ldm":true') == 1
        assert caplog.text.count("Entering lame duck mode") == 1


@in_every_loop
async def test_a_stop_cuts_a_lame_duck_short() -> None:
    async with serving(lame_duck_grace_period=1000.0, lame_duck_duration=2000.0) as server:
        client = await Client.connect(server)
        server.begin_lame_duck()
        await until(lambda: server.service.control.is_lame_duck)
        await server.stop()
        assert await client.rest() == b""
        await server.stop()


# Plain stops


@in_every_loop
async def test_a_stop_writes_out_what_waits() -> None:
    async with serving() as server:
        receiver, publisher = await Client.connect(server), await Client.connect(server)
        await receiver.send(b"SUB a 1\r\n")
        assert await receiver.ping() == []
        payload = b"x" * 500_000
        await publisher.send(b"PUB a 500000\r\n%b\r\n" % payload)
        assert await publisher.ping() == []
        ending = asyncio.create_task(server.stop())
        assert await receiver.rest() == b"MSG a 1 500000\r\n%b\r\n" % payload
        await ending


@in_every_loop
async def test_a_stop_waits_for_no_client() -> None:
    authorization = AuthorizationOptions(token="t", timeout=1000.0)
    async with serving(authorization=authorization) as server:
        idle, mute = await Client.connect(server, auth_token="t"), await Client.open(server)
        half = await Client.connect(server, auth_token="t")
        await half.send(b"PUB a 1000000\r\nxyz")
        await mute.greeting()
        await server.stop()
        for client in (idle, mute, half):
            assert await client.rest() == b""


async def test_a_server_can_be_started_again_beside_another() -> None:
    for _ in range(3):
        async with serving() as server, await Client.connect(server) as client:
            assert await client.ping() == []


async def test_a_server_that_never_started_can_be_stopped() -> None:
    server = Server()
    await server.stop()
    await server.wait()
    assert not server.is_ready
    with pytest.raises(RuntimeError, match="has not been started"):
        assert server.port
