"""The keys of the top level have their effect, seen from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from broker import Options, Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.integration.test_monitor import ask
from tests.support.serving import Client, close_reason, serving, until
from tests.transcripts.matching import json_difference

MONITORED = "http: -1\n"


def options(text: str) -> Options:
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


# What INFO and /varz show.


@pytest.mark.parametrize(
    ("text", "info", "varz"),
    [
        ("server_name: here", {"server_name": "here"}, {"server_name": "here"}),
        ("client_advertise: a.example:999", {"host": "a.example", "port": 999}, {}),
        ("max_payload: 5kb", {"max_payload": 5120}, {"max_payload": 5120}),
        ("max_connections: 7", {}, {"max_connections": 7}),
        ("max_conn: 0", {}, {"max_connections": -1}),
        ("max_control_line: 3K", {}, {"max_control_line": 3000}),
        ("max_pending: 2MB", {}, {"max_pending": 2 << 20}),
        ("max_subscriptions: 9", {}, {"max_subscriptions": 9}),
        ("max_subs: 9", {}, {"max_subscriptions": 9}),
        ("no_header_support: true", {"headers": False}, {}),
        ('ping_interval: "30s"\nping_max: 5', {}, {"ping_interval": 30 * 10**9, "ping_max": 5}),
        ('write_deadline: "3s"', {}, {"write_deadline": 3 * 10**9}),
        ("write_timeout: close", {}, {"write_timeout": "close"}),
        ("server_tags: [a, 'b:c']", {}, {"tags": ["a", "b:c"]}),
        (
            "feature_flags { js_ack_fc_v2: true, unknown: true }",
            {},
            {"feature_flags": {"js_ack_fc_v2": True, "js_raft_delete_range": False, "=keys": [
                "js_ack_fc_v2", "js_raft_delete_range",
            ]}},
        ),
        ("server_metadata { zone: x }", {}, {"metadata": {"zone": "x"}}),
        ("authorization { user: u, password: p }", {"auth_required": True}, {"auth_required": True}),
        ("authorization { timeout: 5 }", {}, {"auth_timeout": 5}),
        ("accounts { S {} }\nsystem_account: S", {}, {"system_account": "S"}),
        ("accounts { S {} }\nsystem: S", {}, {"system_account": "S"}),
    ],
)
async def test_what_a_server_says_of_itself(text: str, info: dict[str, Any], varz: dict[str, Any]) -> None:
    async with serving(options(MONITORED + text)) as server:
        client = await Client.open(server)
        assert json_difference(info, await client.greeting()) is None
        assert json_difference(varz, (await ask(server, "/varz")).json) is None


# What clients meet.


@dataclass
class Scene:
    """A server with one file, and what a test does to it."""

    server: Server

    async def client(self, **connect: Any) -> Client:
        return await Client.connect(self.server, **connect)


async def _too_many_clients(scene: Scene) -> None:
    await scene.client()
    late = await Client.open(scene.server)
    assert b"maximum connections exceeded" in await late.rest()


async def _long_line(scene: Scene) -> None:
    client = await scene.client()
    await client.send(b"SUB " + b"s" * 200 + b" 1\r\n")
    assert b"maximum control line exceeded" in (await client.rest()).lower()


async def _large_message(scene: Scene) -> None:
    client = await scene.client()
    await client.send(b"PUB a 11\r\n")
    assert b"Maximum Payload Violation" in await client.rest()


async def _second_subscription(scene: Scene) -> None:
    client = await scene.client()
    await client.send(b"SUB a 1\r\nSUB b 2\r\n")
    assert await client.ping() == [b"-ERR 'maximum subscriptions exceeded'"]


async def _many_tokens(scene: Scene) -> None:
    client = await scene.client()
    await client.send(b"SUB a.b 1\r\nSUB a.b.c 2\r\n")
    (frame,) = await client.ping()
    assert frame.startswith(b"-ERR 'Permissions Violation"), frame
    assert b"too many tokens" in frame or b"a.b.c" in frame


async def _headers(scene: Scene) -> None:
    client = await scene.client(headers=True)
    await client.send(b"HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n")
    assert await close_reason(scene.server, client) == "Protocol Violation"


async def _who_without_credentials(scene: Scene) -> None:
    client = await scene.client()
    await client.send(b"PUB denied 0\r\n\r\n")
    assert await client.ping() == [b"-ERR 'Permissions Violation for Publish to \"denied\"'"]


async def _stale(scene: Scene) -> None:
    client = await scene.client()
    client.keep_pings = True
    assert b"Stale Connection" in await client.rest()


async def _closed_forgotten(scene: Scene) -> None:
    for _ in range(3):
        (await scene.client()).close()
    await until(lambda: not scene.server.service.connections)
    assert len(scene.server.service.closed) == 1


async def _no_system(scene: Scene) -> None:
    assert "$SYS" not in scene.server.service.control.tenants
    assert "system_account" not in (await ask(scene.server, "/varz")).json


async def _silent(scene: Scene) -> None:
    client = await Client.open(scene.server)
    await client.greeting()
    assert b"Authentication Timeout" in await client.rest()


async def _base_path(scene: Scene) -> None:
    assert (await ask(scene.server, "/inner/varz")).status == 200
    assert (await ask(scene.server, "/varz")).status == 404


BEHAVIOUR: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "max_connections: 1": _too_many_clients,
    "max_conn: 1": _too_many_clients,
    "max_control_line: 100": _long_line,
    "max_payload: 10": _large_message,
    "max_subscriptions: 1": _second_subscription,
    "max_subs: 1": _second_subscription,
    "no_header_support: true": _headers,
    'ping_interval: "20ms"\nping_max: 1': _stale,
    "max_closed_clients: 1": _closed_forgotten,
    "no_system_account: true": _no_system,
    "no_system: true": _no_system,
    "no_sys_acc: true": _no_system,
    'authorization { user: u, password: p, timeout: "50ms" }': _silent,
    "http_base_path: inner": _base_path,
    'no_auth_user: u\nauthorization { users: [ {user: u, password: p, permissions {publish {deny: denied}}} ] }': (
        _who_without_credentials
    ),
}


@pytest.mark.parametrize("text", BEHAVIOUR, ids=lambda text: text.split("\n")[0])
async def test_what_clients_meet(text: str) -> None:
    async with serving(options(MONITORED + text)) as server:
        await BEHAVIOUR[text](Scene(server))
