"""Clients behind proxies: in the clear, with TLS, over WebSocket; the address in the header is theirs everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nats
import pytest

from broker.audit.verify import entries
from broker.config.options import (
    AuditOptions,
    AuthorizationOptions,
    MonitorOptions,
    Options,
    ProxyOptions,
    TLSOptions,
    WebSocketOptions,
)
from tests.integration.test_monitor import ask
from tests.support.certificates import Certificates, client_context, make_certificates
from tests.support.loops import in_every_loop
from tests.support.proxies import block, line, other, proxy
from tests.support.realm import Realm
from tests.support.serving import Client, serving, until

PROXIES = ProxyOptions(trusted=("127.0.0.1/32",), timeout=0.5)
TOKEN = AuthorizationOptions(token="t")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def secured(certificates: Certificates, **more: Any) -> TLSOptions:
    directory = certificates.directory
    return TLSOptions(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"), **more)


async def talk(url: str, **options: Any) -> None:
    """A client of nats-py that hears itself."""
    client = await nats.connect(url, allow_reconnect=False, token="t", **options)
    heard = await client.subscribe("a")
    await client.publish("a", b"x")
    assert (await heard.next_msg(timeout=10)).data == b"x"
    await client.close()


@in_every_loop
@pytest.mark.parametrize("header", [line(), block(checksum=True)], ids=["1", "2"])
async def test_in_the_clear_and_with_tls(header: bytes, certificates: Certificates) -> None:
    context = client_context(certificates.directory)
    for tls in (None, secured(certificates), secured(certificates, handshake_first=True)):
        async with serving(Options(proxy_protocol=PROXIES, authorization=TOKEN, tls=tls)) as server:
            first: dict[str, Any] = {"tls": context, "tls_handshake_first": tls.handshake_first} if tls else {}
            async with proxy(server.port, header) as port:
                await talk(f"{'tls' if tls else 'nats'}://localhost:{port}", **first)
            await until(lambda server=server: len(server.service.closed) == 1)
            assert (server.service.closed[0].ip, server.service.closed[0].port) == ("198.51.100.7", 51000)


@in_every_loop
@pytest.mark.parametrize("tls", [False, True])
async def test_over_websocket(certificates: Certificates, tls: bool) -> None:
    context = client_context(certificates.directory)
    websocket = WebSocketOptions(
        host="127.0.0.1", port=-1, no_tls=not tls, tls=secured(certificates) if tls else None, proxy_protocol=PROXIES
    )
    async with serving(Options(authorization=TOKEN, websocket=websocket)) as server:
        async with proxy(server.websocket_port, block("2001:db8::7", to="::1")) as port:
            await talk(f"{'wss' if tls else 'ws'}://localhost:{port}", **({"tls": context} if tls else {}))
        await until(lambda: len(server.service.closed) == 1)
        assert server.service.closed[0].ip == "2001:db8::7"
        # Each port has its own.
        await (await Client.connect(server, auth_token="t")).ping()


@in_every_loop
async def test_monitoring_and_the_ledger_show_the_clients_address(tmp_path: Path) -> None:
    options = Options(
        proxy_protocol=PROXIES,
        authorization=TOKEN,
        monitor=MonitorOptions(port=-1, host="127.0.0.1"),
        audit=AuditOptions(directory=str(tmp_path), seal_interval=0.01),
    )
    async with serving(options) as server:
        async with proxy(server.port, line()) as port:
            client = await nats.connect(f"nats://localhost:{port}", token="t")
            (shown,) = json.loads((await ask(server, "/connz")).body)["connections"]
            assert (shown["ip"], shown["port"]) == ("198.51.100.7", 51000)
            await client.close()
        wrong = await Client.open(server)
        await wrong.send(line("198.51.100.8"))
        await wrong.introduce(auth_token="wrong")
        assert b"Authorization Violation" in await wrong.rest()
        silent = await Client.open(server)
        assert await silent.rest() == b""
        await until(lambda: not server.service.connections)
    told = [entry for entry in entries(tmp_path) if entry["event"] in ("authenticated", "denied")]
    assert [(entry["event"], entry["address"].rpartition(":")[0]) for entry in told] == [
        ("authenticated", "198.51.100.7"), ("denied", "198.51.100.8"), ("denied", "127.0.0.1"),
    ]  # fmt: skip
    assert told[2]["action"] == "proxy"
    assert told[2]["reason"] == "PROXY header: it did not come in time"


@in_every_loop
async def test_where_a_user_may_come_from_is_asked_of_the_clients_address() -> None:
    realm = Realm()
    realm.user.nats.source_networks = ["198.51.100.0/24"]
    async with serving(realm.options(proxy_protocol=PROXIES)) as server:
        for header, expected in (
            (line(), b"PONG"), (line("192.0.2.1"), b"-ERR"), (other(0, 0), b"-ERR"),
        ):  # fmt: skip
            client = await Client.open(server)
            await client.send(header)
            await client.greeting()
            await client.introduce(**realm.proof(client))
            assert (await client.frame()).startswith(expected)


@in_every_loop
async def test_a_reload_takes_other_proxies() -> None:
    async with serving(Options(proxy_protocol=PROXIES)) as server:
        await server.reload(Options(host="127.0.0.1", port=-1, proxy_protocol=None))
        await Client.connect(server)
        elsewhere = ProxyOptions(trusted=("192.0.2.0/24",))
        plan = await server.reload(Options(host="127.0.0.1", port=-1, proxy_protocol=elsewhere))
        assert [change.line for change in plan.changes] == ["Reloaded: proxy_protocol = enabled"]
        await Client.connect(server)
        client = await Client.open(server)
        await client.greeting()
        await client.send(line())
        assert await client.rest() == b""
