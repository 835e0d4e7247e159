"""Signs of life over real sockets: PINGs, stale connections, round trips, and the time for CONNECT."""

from __future__ import annotations

import asyncio

from broker.config.options import AuthorizationOptions
from tests.support.loops import in_every_loop
from tests.support.serving import Client, assert_idle, close_reason, closed_record, connect_line, serving, session_of

INTERVAL = 0.02
STALE = b"-ERR 'Stale Connection'\r\n"


@in_every_loop
async def test_a_silent_client_is_stale_and_leaves_nothing() -> None:
    async with serving(ping_interval=INTERVAL, ping_max=2) as server:
        client = await Client.connect(server)
        client.keep_pings = True
        await client.send(b"SUB a 1\r\n")
        assert await client.rest() == b"PING\r\nPING\r\n" + STALE
        assert await close_reason(server, client) == "Stale Connection"
        assert server.service.stale_connections == 1
        assert_idle(server)


@in_every_loop
async def test_a_client_that_answers_is_measured_and_stays() -> None:
    async with serving(ping_interval=INTERVAL, ping_max=50) as server, await Client.connect(server) as client:
        client.keep_pings = True
        for _ in range(5):
            assert await client.frame() == b"PING"
            await client.send(b"PONG\r\n")
        assert 0.0 < session_of(server, client).liveness.round_trip < 10.0


async def test_nobody_is_asked_before_connect_where_credentials_are_needed() -> None:
    authorization = AuthorizationOptions(token="t", timeout=10 * INTERVAL)
    async with serving(ping_interval=INTERVAL, ping_max=1, authorization=authorization) as server:
        client = await Client.open(server)
        await client.greeting()
        assert await client.rest() == b"-ERR 'Authentication Timeout'\r\n"
        assert await close_reason(server, client) == "Authentication Timeout"


async def test_a_client_without_connect_is_asked_where_nobody_must_send_it() -> None:
    async with serving(ping_interval=INTERVAL, ping_max=1) as server, await Client.open(server) as client:
        client.keep_pings = True
        await client.greeting()
        assert await client.rest() == b"PING\r\n" + STALE


async def test_the_time_for_connect_is_over_with_connect() -> None:
    authorization = AuthorizationOptions(token="t", timeout=10 * INTERVAL)
    async with serving(ping_interval=15 * INTERVAL, ping_max=5, authorization=authorization) as server:
        late, client = await Client.open(server), await Client.connect(server, auth_token="t")
        await late.greeting()
        await late.send(connect_line(auth_token="t")[:-5])
        client.keep_pings = True
        assert await late.rest() == b"-ERR 'Authentication Timeout'\r\n"
        assert await client.frame() == b"PING"
        client.close()


async def test_wrong_credentials_end_it_at_once() -> None:
    async with serving(authorization=AuthorizationOptions(token="t")) as server:
        client = await Client.open(server)
        await client.greeting()
        await client.introduce(auth_token="u")
        assert await client.rest() == b"-ERR 'Authorization Violation'\r\n"
        record = await closed_record(server, client)
        assert (record.reason, record.account) == ("Authentication Failure", "")


@in_every_loop
async def test_many_silent_clients_end_each_at_its_time() -> None:
    async with serving(ping_interval=INTERVAL, ping_max=1) as server:
        clients = [await Client.connect(server) for _ in range(50)]
        ends = await asyncio.gather(*(client.rest() for client in clients))
        assert ends == [STALE] * 50
        assert server.service.stale_connections == 50
