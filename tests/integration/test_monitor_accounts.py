"""Monitoring of accounts: what each holds and has moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from broker import Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import Options
from tests.integration.test_monitor import ask
from tests.support.serving import Client, closed_record, serving, until

ACCOUNTS = """
http: -1
accounts {
  ACME { users: [ {user: ann, password: x}, {user: slow, password: x} ] }
  GLOBEX { users: [ {user: gil, password: x} ] }
}
"""


def options(text: str = ACCOUNTS) -> Options:
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


async def enter(server: Server, user: str) -> Client:
    return await Client.connect(server, user=user, **{"pass": "x"})


async def statistics(server: Server, query: str = "") -> dict[str, dict[str, Any]]:
    reply = await ask(server, f"/accstatz?{query}")
    assert reply.status == 200, reply.body
    return {one["acc"]: one for one in reply.json["account_statz"]}


async def detail(server: Server, account: str) -> dict[str, Any]:
    found: dict[str, Any] = (await ask(server, f"/accountz?acc={account}")).json["account_detail"]
    return found


def moved(messages: int, size: int) -> dict[str, Any]:
    none = {"msgs": 0, "bytes": 0}
    return {"msgs": messages, "bytes": size, "gateways": none, "routes": none, "leafs": none}


async def test_traffic_belongs_to_the_account_it_was_moved_in() -> None:
    async with serving(options()) as server:
        assert await statistics(server) == {}
        assert set(await statistics(server, "unused=1")) == {"$G", "$SYS", "ACME", "GLOBEX"}
        ann = await enter(server, "ann")
        await ann.send(b"SUB foo 1\r\nPUB foo 5\r\nhello\r\nPUB bar 1\r\n.\r\n")
        await ann.ping()
        shown = await statistics(server)
        assert shown == {
            "ACME": {
                "acc": "ACME", "name": "ACME", "conns": 1, "leafnodes": 0, "total_conns": 1, "num_subscriptions": 1,
                "sent": moved(1, 5), "received": moved(2, 6), "slow_consumers": 0,
            }
        }
        # A second CONNECT takes the connection elsewhere; what it moved before stays where it was.
        await ann.introduce(user="gil", **{"pass": "x"})
        await ann.ping()
        await ann.send(b"PUB foo 3\r\nabc\r\n")
        await ann.ping()
        shown = await statistics(server, "unused=t")
        assert shown["ACME"]["received"] == moved(2, 6)
        assert (shown["ACME"]["conns"], shown["ACME"]["num_subscriptions"]) == (0, 0)
        assert (shown["GLOBEX"]["received"], shown["GLOBEX"]["sent"]) == (moved(1, 3), moved(0, 0))
        ann.close()
        await closed_record(server, ann)
        shown = await statistics(server, "unused=1")
        assert (shown["GLOBEX"]["conns"], shown["GLOBEX"]["received"]) == (0, moved(1, 3))
        assert await statistics(server) == {}
        assert (await ask(server, "/accstatz?unused=x")).status == 400
        assert (await ask(server, "/varz")).json["http_req_stats"] == {"/accstatz": 7, "/varz": 1}


async def test_slow_consumers_belong_to_their_account() -> None:
    async with serving(options("max_pending: 4KB\nmax_payload: 4KB\n" + ACCOUNTS)) as server:
        gil = await enter(server, "gil")
        slow = await enter(server, "slow")
        await slow.send(b"SUB foo 1\r\n")
        await slow.ping()
        ann = await enter(server, "ann")
        for _ in range(200):
            await ann.send(b"PUB foo 4000\r\n" + bytes(4000) + b"\r\n"+ b"PUB foo 4000\r\n" + bytes(4000) + b"\r\n")
        await until(lambda: slow.cid not in server.service.connections)
        shown = await statistics(server)
        assert (shown["ACME"]["slow_consumers"], shown["GLOBEX"]["slow_consumers"]) == (1, 0)
        gil.close()


async def test_subscriptions_that_came_and_went() -> None:
    async with serving(options()) as server:
        ann = await enter(server, "ann")
        await ann.send(b"SUB a 1\r\nSUB b 2\r\nSUB c.* 3\r\nUNSUB 2\r\n")
        await ann.ping()
        wanted = {"num_subscriptions": 2, "num_inserts": 3, "num_removes": 1}
        for shown in ((await detail(server, "ACME"))["sublist_stats"], (await ask(server, "/subsz?acc=ACME")).json):
            assert {name: shown[name] for name in wanted} == wanted


async def test_the_time_of_a_reload() -> None:
    async with serving(options()) as server:
        before = (await ask(server, "/varz")).json
        assert before["config_load_time"] == before["start"]
        await server.reload(replace(server.options, max_connections=7))
        after = (await ask(server, "/varz")).json
        assert after["start"] == before["start"] < after["config_load_time"] <= after["now"]
        assert (await detail(server, "ACME"))["update_time"] == after["config_load_time"]
