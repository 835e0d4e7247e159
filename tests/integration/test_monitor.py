"""Monitoring over HTTP of a server with real connections."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from auth import jwt
from auth.claims import AccountClaims, OperatorClaims, UserClaims
from auth.nkey import KeyKind, KeyPair
from broker import Options, Server
from broker.config.errors import ConfigError
from broker.config.load import load
from broker.config.options import (
    AccountOptions,
    AuthorizationOptions,
    MonitorOptions,
    OperatorOptions,
    ResolverOptions,
    TLSOptions,
    UserOptions,
)
from broker.monitor.connections import ConnzOptions, entry, plain_entry
from broker.monitor.sorting import Clocks
from broker.net.listener import ListenError
from broker.session.record import ConnectionRecord
from tests.support.certificates import Certificates, make_certificates
from tests.support.serving import Client, SecureClient, closed_record, connect_line, serving, until

FREE_PORT = MonitorOptions(port=-1)
SECONDS = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def server_tls(certificates: Certificates, **changes: Any) -> TLSOptions:
    directory = certificates.directory
    return TLSOptions(
        cert_file=str(directory / "server.pem"),
        key_file=str(directory / "server-key.pem"),
        ca_file=str(directory / "ca.pem"),
        **changes,
    )


def client_context(certificates: Certificates, certificate: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.directory / "ca.pem"))
    if certificate:
        context.load_cert_chain(
            certificates.directory / f"{certificate}.pem", certificates.directory / f"{certificate}-key.pem"
        )
    return context


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    server: Server, path: str, *, method: str = "GET", context: ssl.SSLContext | None = None, token: str = ""
) -> Reply:
    """One request on a connection of its own."""
    more = f"Authorization: Bearer {token}\r\n" if token else ""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.monitor_port, ssl=context, server_hostname="localhost" if context else None
        )
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\n\r\n".encode())
        text = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), headers, body)


async def connections(server: Server, query: str = "") -> list[dict[str, Any]]:
    reply = await ask(server, f"/connz?{query}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["connections"]
    return found


@dataclass
class Organisation:
    """An operator with one account, and what a server needs to trust them."""

    operator: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.OPERATOR))
    account: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.ACCOUNT))
    signing: KeyPair = field(default_factory=lambda: KeyPair.generate(KeyKind.ACCOUNT))

    def options(self) -> Options:
        operator = OperatorClaims.new(self.operator.public)
        operator.name = "OP"
        account = AccountClaims.new(self.account.public)
        account.name = "ACME"
        account.nats.signing_keys.append(self.signing.public)
        return Options(
            operators=(OperatorOptions(jwt.encode(operator, self.operator)),),
            resolver=ResolverOptions(),
            resolver_preload={self.account.public: jwt.encode(account, self.operator)},
            monitor=FREE_PORT,
        )

    def user(self, signer: KeyPair, *tags: str, bearer: bool = False) -> tuple[KeyPair, str]:
        key = KeyPair.generate(KeyKind.USER)
        claims = UserClaims.new(key.public)
        claims.nats.bearer_token = bearer
        claims.nats.tags = list(tags)
        claims.nats.issuer_account = "" if signer is self.account else self.account.public
        return key, jwt.encode(claims, signer)


async def login(server: Server, key: KeyPair, token: str, **options: Any) -> Client:
    """A client with a user JWT."""
    client = await Client.open(server)
    info = await client.greeting()
    signature = base64.urlsafe_b64encode(key.sign(info["nonce"].encode())).decode().rstrip("=")
    await client.introduce(jwt=token, sig=signature, **options)
    assert (await client.frame()) == b"PONG"
    return client


@asynccontextmanager
async def acme() -> AsyncIterator[Server]:
    """A server with two users in one account and one in another."""
    users = tuple(UserOptions(user=name, password="hidden-" + name) for name in ("ann", "bob"))
    accounts = (
        AccountOptions(name="ACME", users=users),
        AccountOptions(name="GLOBEX", users=(UserOptions(user="eve", password="hidden-eve"),)),
    )
    async with serving(Options(accounts=accounts, monitor=FREE_PORT)) as server:
        yield server


async def enter(server: Server, user: str, **options: Any) -> Client:
    return await Client.connect(server, user=user, **{"pass": f"hidden-{user}", **options})


async def test_a_server_without_monitoring_loads_no_http_library() -> None:
    code = "import sys, broker.app; sys.exit('aiohttp' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=Path(__file__).parents[2])
    assert await process.wait() == 0
    async with serving() as server:
        assert server.monitor_port == 0


async def test_traffic_of_living_and_gone_connections() -> None:
    async with serving(Options(monitor=FREE_PORT, no_system_account=True)) as server:
        subscriber = await Client.connect(server)
        await subscriber.send(b"SUB foo 1\r\nSUB bar.* q 2\r\nUNSUB 2 5\r\n")
        await subscriber.ping()
        publisher = await Client.connect(server)
        await publisher.send(b"PUB foo 5\r\nhello\r\nPUB bar.x 2\r\nhi\r\n")
        await publisher.ping()
        assert len(await subscriber.frames(2)) == 2
        before = (await ask(server, "/varz")).json
        publisher.close()
        await closed_record(server, publisher)
        after = (await ask(server, "/varz")).json
        for found, open_count in ((before, 2), (after, 1)):
            assert found["connections"] == open_count
            assert found["total_connections"] == 2
            assert [found[name] for name in ("in_msgs", "in_bytes", "out_msgs", "out_bytes")] == [2, 7, 2, 7]
            assert found["subscriptions"] == 2
        assert after["http_req_stats"] == {"/varz": 2}
        assert (after["http_host"], after["http_port"]) == ("127.0.0.1", server.monitor_port)
        assert after["port"] == server.port

        [shown] = await connections(server, "subs=detail")
        assert (shown["in_msgs"], shown["out_msgs"], shown["out_bytes"], shown["subscriptions"]) == (0, 2, 7, 2)
        assert shown["subscriptions_list_detail"] == [
            {"subject": "foo", "sid": "1", "msgs": 1, "cid": subscriber.cid},
            {"subject": "bar.*", "qgroup": "q", "sid": "2", "msgs": 1, "max": 5, "cid": subscriber.cid},
        ]
        assert "stop" not in shown
        assert "reason" not in shown
        [gone] = await connections(server, "state=closed&sort=stop")
        assert (gone["cid"], gone["reason"], gone["in_msgs"]) == (publisher.cid, "Client Closed", 2)
        subscriber.close()


async def test_subscriptions_of_a_closed_connection_are_remembered() -> None:
    async with acme() as server:
        client = await enter(server, "ann")
        await client.send(b"".join(b"SUB s.%d %d\r\n" % (number, number) for number in range(150)))
        await client.ping()
        client.close()
        await closed_record(server, client)
        [shown] = await connections(server, "state=closed&subs=1")
        assert shown["subscriptions"] == 150
        assert shown["subscriptions_list"][:3] == ["s.0", "s.1", "s.2"]
        assert len(shown["subscriptions_list"]) == 100


async def test_accounts_and_users() -> None:
    async with acme() as server:
        clients = [await enter(server, name) for name in ("ann", "bob", "eve")]
        bad = await Client.open(server)
        await bad.greeting()
        await bad.introduce(user="ann", **{"pass": "hidden-wrong"})
        assert b"Authorization Violation" in await bad.rest()
        await until(lambda: len(server.service.closed) == 1)

        shown = await connections(server, "auth=1&state=any")
        assert [(one["authorized_user"], one.get("account"), one.get("name_tag")) for one in shown] == [
            ("ann", "ACME", "ACME"), ("bob", "ACME", "ACME"), ("eve", "GLOBEX", "GLOBEX"), ("ann", None, None),
        ]
        assert shown[-1]["reason"] == "Authentication Failure"
        assert [one["cid"] for one in await connections(server, "acc=GLOBEX")] == [clients[2].cid]
        assert [one["cid"] for one in await connections(server, "user=bob")] == [clients[1].cid]
        assert [one["cid"] for one in await connections(server, f"cid={clients[0].cid}")] == [clients[0].cid]
        assert "authorized_user" not in (await connections(server))[0]

        names = (await ask(server, "/accountz")).json["accounts"]
        assert names == ["$G", "$SYS", "ACME", "GLOBEX"]
        detail = (await ask(server, "/accountz?acc=ACME")).json["account_detail"]
        assert (detail["client_connections"], detail["name_tag"]) == (2, "ACME")
        for client in (*clients, bad):
            client.close()


async def test_no_secret_is_ever_shown() -> None:
    async with acme() as server:
        client = await enter(server, "ann")
        await client.send(b"SUB foo 1\r\n")
        await client.ping()
        for path in ("/varz", "/connz?auth=1&subs=detail&state=any", "/accountz?acc=ACME", "/subsz?subs=1", "/"):
            assert b"hidden" not in (await ask(server, path)).body, path
        client.close()


async def test_tokens_are_redacted() -> None:
    options = Options(authorization=AuthorizationOptions(token="tell-nobody"), monitor=FREE_PORT)
    async with serving(options) as server:
        client = await Client.connect(server, auth_token="tell-nobody")
        wrong = await Client.open(server)
        await wrong.greeting()
        await wrong.introduce(auth_token="tell-nobody-else")
        await wrong.rest()
        await until(lambda: len(server.service.closed) == 1)
        reply = await ask(server, "/connz?auth=1&state=any")
        assert [one["authorized_user"] for one in reply.json["connections"]] == ["[REDACTED]"] * 2
        assert b"tell-nobody" not in reply.body
        client.close()
        wrong.close()


async def test_user_tokens_unless_they_are_bearer_tokens() -> None:
    organisation = Organisation()
    users = [
        organisation.user(organisation.account, "red", "blue"),
        organisation.user(organisation.signing),
        organisation.user(organisation.account, bearer=True),
    ]
    async with serving(organisation.options()) as server:
        clients = [await login(server, key, token) for key, token in users]
        stranger_key, stranger = Organisation().user(KeyPair.generate(KeyKind.ACCOUNT), bearer=True)
        refused = await Client.open(server)
        await refused.greeting()
        await refused.introduce(jwt=stranger)
        await refused.rest()
        await until(lambda: len(server.service.closed) == 1)

        shown = await connections(server, "auth=1")
        assert [one["authorized_user"] for one in shown] == [key.public for key, _ in users]
        assert {one["account"] for one in shown} == {organisation.account.public}
        assert {one["name_tag"] for one in shown} == {"ACME"}
        issuers = [organisation.account, organisation.signing, organisation.account]
        assert [one["issuer_key"] for one in shown] == [key.public for key in issuers]
        assert shown[0]["tags"] == ["red", "blue"]
        assert [one.get("jwt") for one in shown] == [users[0][1], users[1][1], None]
        everything = (await ask(server, "/connz?auth=1&state=any")).body.decode()
        assert users[2][1] not in everything
        assert stranger not in everything
        assert stranger_key.public not in everything

        clients[2].close()
        await closed_record(server, clients[2])
        assert users[2][1] not in (await ask(server, "/connz?auth=1&state=closed")).body.decode()
        for client in (*clients, refused):
            client.close()


async def test_tls_of_connections(certificates: Certificates) -> None:
    options = Options(tls=server_tls(certificates, verify=True), monitor=FREE_PORT)
    async with serving(options) as server:
        old = client_context(certificates, "plain")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        first = await SecureClient.secured(server, old)
        second = await SecureClient.secured(server, client_context(certificates, "dn"))
        shown = await connections(server, "auth=1")
        assert [one["tls_version"] for one in shown] == ["1.2", "1.3"]
        assert all(one["tls_cipher_suite"].startswith("TLS_") for one in shown)
        assert "tls_first" not in shown[0]
        certificate = shown[1]["tls_peer_certs"][0]
        assert certificate["subject"] == "CN=www.nats.test,OU=Unit,O=Org"
        assert certificate["spki_sha256"] == certificates.pins["dn"]
        assert "tls_peer_certs" not in (await connections(server))[0]
        assert "tls_cert_not_after" in (await ask(server, "/varz")).json

        first.close()
        second.close()
        await closed_record(server, second)
        await closed_record(server, first)
        assert {one["tls_version"] for one in await connections(server, "state=closed")} == {"1.2", "1.3"}


async def test_a_tls_client_that_says_goodbye_is_gone_at_once(certificates: Certificates) -> None:
    async with serving(Options(tls=server_tls(certificates), monitor=FREE_PORT)) as server:
        client = await SecureClient.secured(server, client_context(certificates))
        await client.raw_send(client.seal(b"PUB foo 2\r\nhi\r\n") + goodbye(client))
        record = await closed_record(server, client)
        assert (record.reason, record.in_messages) == ("Client Closed", 1)
        client.close()


def goodbye(client: SecureClient) -> bytes:
    """The alert that ends the client's stream; the socket stays open."""
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    return client.outgoing.read()


async def test_idle_time_and_round_trip() -> None:
    async with serving(Options(monitor=FREE_PORT)) as server:
        quiet = await Client.connect(server)
        busy = await Client.connect(server)
        await busy.send(b"SUB foo 1\r\nPUB foo 2\r\nhi\r\n")
        await busy.ping()
        shown = {one["cid"]: one for one in await connections(server)}
        assert shown[busy.cid]["last_activity"] > shown[quiet.cid]["last_activity"]
        await quiet.ping()
        again = {one["cid"]: one for one in await connections(server)}
        assert again[quiet.cid]["last_activity"][:23] == shown[quiet.cid]["last_activity"][:23]
        assert all(one["rtt"].endswith("s") for one in shown.values())
        assert [one["cid"] for one in await connections(server, "sort=last")] == [busy.cid, quiet.cid]
        assert [one["cid"] for one in await connections(server, "sort=subs&limit=1")] == [busy.cid]
        quiet.close()
        busy.close()


async def test_subjects_that_are_no_text() -> None:
    async with serving(Options(monitor=FREE_PORT, no_system_account=True)) as server:
        client = await Client.connect(server, name="<n\u00e4me>")
        await client.send(b"SUB f\xff 1\r\n")
        await client.ping()
        reply = await ask(server, "/connz?subs=1")
        assert reply.json["connections"][0]["subscriptions_list"] == ["f\ufffd"]
        assert b"\\u003cn\xc3\xa4me\\u003e" in reply.body
        listing = (await ask(server, "/subsz?subs=1&test=foo")).json
        assert (listing["num_subscriptions"], listing["total"]) == (1, 0)
        client.close()


async def test_http() -> None:
    async with serving(Options(monitor=MonitorOptions(port=-1, base_path="/m"))) as server:
        reply = await ask(server, "/m/varz")
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "server" not in reply.headers
        assert reply.body.startswith(b'{\n  "server_id": "N')
        assert reply.json["http_base_path"] == "/m"
        head = await ask(server, "/m/healthz", method="HEAD")
        assert (head.status, head.headers["content-length"], head.body) == (200, "15", b"")
        posted = await ask(server, "/m/varz", method="POST")
        assert (posted.status, posted.headers["allow"]) == (405, "get, head")
        for path in ("/varz", "/m/zz", "/m/", "/"):
            missing = await ask(server, path)
            assert (missing.status, missing.body) == (404, b"404 page not found\n")
            assert missing.headers["content-type"] == "text/plain; charset=utf-8"
        bad = await ask(server, "/m/connz?limit=x")
        assert (bad.status, bad.body) == (
            400, b"Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax"
        )
        assert "access-control-allow-origin" not in bad.headers
        page = await ask(server, "/m")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b'href="./m/connz"' in page.body


async def test_https_with_the_servers_certificate(certificates: Certificates) -> None:
    options = Options(tls=server_tls(certificates, verify=True), monitor=MonitorOptions(https_port=-1))
    async with serving(options) as server:
        reply = await ask(server, "/varz", context=client_context(certificates))
        assert (reply.json["https_port"], reply.json["http_port"]) == (server.monitor_port, 0)
        in_the_clear = await ask(server, "/varz")
        assert (in_the_clear.status, in_the_clear.headers) == (400, {})
        assert in_the_clear.body == b"Client sent an HTTP request to an HTTPS server.\n"


@pytest.mark.parametrize("request_line", [b"GET /varz?token={} HTTP/1.1\r\nAuthorization: Bearer {}\0", b"{} / \xff"])
async def test_what_is_no_request_is_not_quoted(request_line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(Options(monitor=FREE_PORT)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.monitor_port)
        writer.write(request_line.replace(b"{}", b"SECRET") + b"\r\n\r\n")
        text = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert text.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert text.endswith(b"\r\n\r\nBad Request\n")
    assert b"aiohttp" not in text
    assert b"Python" not in text
    assert "monitoring: 127.0.0.1 - bad request: " in caplog.text
    assert "SECRET" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("begun", [b"", b"GET /varz HTTP/1.1\r\nHost: "])
async def test_who_asks_for_nothing_does_not_stay(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.monitor.serving.KEEP_ALIVE_SECONDS", 0.05)
    async with serving(Options(monitor=FREE_PORT)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.monitor_port)
        writer.write(begun)
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("secure", [False, True])
async def test_who_comes_takes_the_place_of_who_came_first(
    secure: bool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.monitor.serving.MOST_CONNECTIONS", 2)
    monkeypatch.setattr("broker.net.stream.MOST_HANDSHAKES", 1)
    monitor = MonitorOptions(https_port=-1) if secure else FREE_PORT
    context = client_context(certificates) if secure else None
    async with serving(Options(tls=server_tls(certificates) if secure else None, monitor=monitor)) as server:
        with ExitStack() as stack:
            name = "localhost" if secure else None
            came = []
            for _ in range(3):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", server.monitor_port, ssl=context, server_hostname=name
                )
                stack.callback(writer.close)
                writer.write(b"GET /varz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                came.append(reader)
            assert (await came[0].read()).endswith(b"}")
            assert (await ask(server, "/varz", context=context)).status == 200
            if secure:
                silent, writer = await asyncio.open_connection("127.0.0.1", server.monitor_port)
                stack.callback(writer.close)
                assert (await ask(server, "/varz", context=context)).status == 200
                assert await silent.read() == b""


async def test_a_lame_duck_is_not_healthy() -> None:
    async with serving(Options(monitor=FREE_PORT, lame_duck_duration=40.0, lame_duck_grace_period=20.0)) as server:
        client = await Client.connect(server, protocol=1)
        assert (await client.frame()).startswith(b"INFO")
        assert (await ask(server, "/healthz")).body == b'{"status":"ok"}'
        server.begin_lame_duck()
        assert b'"ldm":true' in await client.frame()
        reply = await ask(server, "/healthz?details=true")
        assert reply.status == 500
        assert reply.json["errors"][0]["type"] == "CONNECTION"
        assert (await ask(server, "/varz")).status == 200
        client.close()


async def test_open_requests_do_not_hold_up_the_stop() -> None:
    async with serving(Options(monitor=FREE_PORT)) as server:
        silent = await asyncio.open_connection("127.0.0.1", server.monitor_port)
        kept = await asyncio.open_connection("127.0.0.1", server.monitor_port)
        kept[1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await kept[0].readline()).startswith(b"HTTP/1.1 200")
        port = server.monitor_port
        async with asyncio.timeout(SECONDS):
            await server.stop()
        for reader, writer in (silent, kept):
            await reader.read()
            writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_taken_port_leaves_nothing_behind() -> None:
    async with serving(Options(monitor=FREE_PORT)) as server:
        taken = server.monitor_port
        second = Server(Options(host="127.0.0.1", port=-1, monitor=MonitorOptions(port=taken)))
        with pytest.raises(ListenError) as refused:
            await second.start()
        assert str(refused.value).startswith(
            f"can't listen to the monitor port: listen tcp 127.0.0.1:{taken}: bind: address already in use"
        )
        assert "choose another with -m" in str(refused.value)


@pytest.mark.parametrize(
    ("monitor", "text"),
    [
        (MonitorOptions(port=8222, https_port=8223), "can't specify both HTTP (8222) and HTTPs (8223) ports"),
        (MonitorOptions(https_port=-1), "TLS cert and key required for HTTPS"),
    ],
)
async def test_settings_that_contradict_themselves(monitor: MonitorOptions, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await Server(Options(host="127.0.0.1", port=-1, monitor=monitor)).start()
    assert str(refused.value) == text


async def test_listings_of_many_connections_are_paged() -> None:
    async with serving(Options(monitor=FREE_PORT)) as server:
        clients = [await Client.connect(server, name=f"n{number}") for number in range(5)]
        page = (await ask(server, "/connz?limit=2&offset=3")).json
        assert [one["name"] for one in page["connections"]] == ["n3", "n4"]
        assert [page[name] for name in ("num_connections", "total", "offset", "limit")] == [2, 5, 3, 2]
        for client in clients:
            client.close()


async def test_connections_that_said_nothing_yet() -> None:
    async with serving(Options(monitor=FREE_PORT)) as server:
        client = await Client.open(server)
        await client.greeting()
        [shown] = await connections(server, "auth=1")
        assert shown["cid"] == client.cid
        assert not {"account", "name_tag", "authorized_user", "rtt", "name"} & set(shown)
        await client.send(connect_line() + b"PING\r\n")
        await client.ping()
        [shown] = await connections(server, "auth=1")
        assert shown["name_tag"] == "$G"
        client.close()


async def test_a_listing_without_more_has_the_same_entries(certificates: Certificates) -> None:
    async with serving(Options()) as server, serving(Options(tls=server_tls(certificates))) as secured:
        clients = [
            await Client.connect(server, name="ü <b>", lang="go", version="1.2.3"),
            await Client.open(server),
            await SecureClient.secured(secured, client_context(certificates)),
        ]
        await clients[0].send(b"SUB a 1\r\nPUB a 2\r\nhi\r\n")
        await clients[0].ping()
        living = [*server.service.connections.values(), *secured.service.connections.values()]
        clocks = Clocks(time.time(), time.monotonic())
        # What no client here can bring about: a proxy, a stall, and TLS before INFO.
        principal = living[0].session.principal
        assert principal is not None
        object.__setattr__(principal, "proxy_key", "KEY")
        living[0].stalls = living[2].stalls = 3
        living[2].tls_first = True
        shown = [plain_entry(one, clocks) for one in living]
        records = [ConnectionRecord.of(one, clocks.now, clocks.monotonic) for one in living]
        assert shown == [entry(record, ConnzOptions(), clocks.now) for record in records]
        assert [(one.out_msgs, one.subscriptions, bool(one.proxy), bool(one.tls_version)) for one in shown] == [
            (1, 1, True, False), (0, 0, False, False), (0, 0, False, True)
        ]  # fmt: skip
        for client in clients:
            client.close()


async def test_tokens_of_operator_and_tenant(tmp_path: Path) -> None:
    configuration = tmp_path / "server.conf"
    text = """
    http: "127.0.0.1:-1"
    monitor_access { token: "operators-secret-token", accounts { SHOP: "shops-own-secret-token" } }
    accounts { SHOP { users: [{user: web, password: p}] }, B { users: [{user: b, password: p}] } }
    """
    configuration.write_text(text)
    async with serving(load(str(configuration)).options) as server:
        for user in ("web", "b"):
            await Client.connect(server, user=user, **{"pass": "p"})
        refused = await ask(server, "/varz")
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("basic realm=")
        assert (await ask(server, "/healthz")).status == 200
        assert (await ask(server, "/varz", token="a-guess-of-somebody")).status == 401
        everything = await ask(server, "/connz", token="operators-secret-token")
        assert everything.json["num_connections"] == 2
        assert everything.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in everything.headers
        own = await ask(server, "/connz?auth=1", token="shops-own-secret-token")
        assert [one["authorized_user"] for one in own.json["connections"]] == ["web"]
        assert (await ask(server, "/connz?acc=B", token="shops-own-secret-token")).status == 403
        assert (await ask(server, "/varz", token="shops-own-secret-token")).status == 403
        metrics = (await ask(server, "/metrics", token="shops-own-secret-token")).body.decode()
        assert 'natskeep_account_connections{account="SHOP",name="SHOP"} 1\n' in metrics
        assert 'account="B"' not in metrics
        assert "natskeep_connections " not in metrics
        configuration.write_text(text.replace("shops-own-secret-token", "another-secret-of-the-shop"))
        await server.reload(replace(load(str(configuration)).options, host="127.0.0.1", port=-1))
        assert (await ask(server, "/connz", token="shops-own-secret-token")).status == 401
        assert (await ask(server, "/connz", token="another-secret-of-the-shop")).status == 200
