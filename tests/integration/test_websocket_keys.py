"""The keys of the websocket block have their effect, from the text of a file to what clients meet."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from auth.nkey import KeyKind, KeyPair
from broker.app import Server
from broker.checked import check
from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import Options, WebSocketOptions
from tests.support.certificates import Certificates, client_context, make_certificates
from tests.support.realm import Realm
from tests.support.serving import Client, serving, session_of, until
from tests.support.websocket import DEFLATE, WebSocketClient, frame, request

USERS = "accounts { A { users: [ {user: ann, password: x}, {user: web, password: y, clients: websocket} ] } }\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def options(block: str, more: str = "") -> Options:
    text = f'{more}\nwebsocket {{ host: "127.0.0.1", port: -1, no_tls: true\n{block} }}'
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


def tls(certificates: Certificates, more: str = "") -> str:
    directory = certificates.directory
    return f"tls {{ cert_file: '{directory}/server.pem', key_file: '{directory}/server-key.pem'\n{more} }}"


async def outcome(server: Server, cookies: str = "", **connect: Any) -> bytes:
    """PONG, or the error that a client gets."""
    client = await WebSocketClient.upgraded(server, {"Cookie": cookies} if cookies else None)
    await client.introduce(**connect)
    return await client.frame()


REFUSED = b"-ERR 'Authorization Violation'"


async def reload(server: Server, new: Options) -> None:
    """With the address that the server under test has."""
    await server.reload(replace(new, host=server.options.host, port=server.options.port))


async def status(server: Server, headers: Mapping[str, str | None], path: str = "/") -> int:
    """Of the answer to a request."""
    client = await WebSocketClient.open(server)
    return await client.ask(request(path, headers))


@pytest.mark.parametrize(
    "text", ['listen: "127.0.0.1:-1"', "net: localhost\nport: -1", 'host: "127.0.0.1"\nlisten: "localhost:-1"']
)
async def test_where_it_listens(text: str) -> None:
    found = read_options(parse_bytes(f"ws {{ {text}\nno_tls: true }}".encode(), "t.conf", {})).options
    async with serving(found) as server:
        await WebSocketClient.joined(server)


async def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    async with serving(options("")) as first:
        taken = WebSocketOptions(host="127.0.0.1", port=first.websocket_port, no_tls=True)
        second = Server(Options(host="127.0.0.1", port=-1, websocket=taken))
        with pytest.raises(OSError, match=r"address already in use.*websocket.port"):
            await second.start()
        assert not second.is_ready


async def test_without_tls_only_when_that_is_asked_for() -> None:
    text = b"websocket { port: -1 }"
    with pytest.raises(ConfigError, match="websocket requires TLS configuration"):
        check(read_options(parse_bytes(text, "t.conf", {})).options)
    async with serving(options("")) as server:
        info = (await WebSocketClient.joined(server)).info
        assert not {"tls_required", "tls_available", "tls_verify"} & set(info)


async def test_tls_of_its_own(certificates: Certificates) -> None:
    ca = f"ca_file: '{certificates.directory}/ca.pem'\nverify: true"
    async with serving(options(tls(certificates, ca))) as server:
        context = client_context(certificates.directory)
        stranger = await WebSocketClient.open(server)
        await stranger.handshake(context)
        stranger.is_secured = True
        with pytest.raises((ssl.SSLError, EOFError)):
            await stranger.ask(request())
        context.load_cert_chain(certificates.directory / "plain.pem", certificates.directory / "plain-key.pem")
        client = await WebSocketClient.joined(server, tls=context)
        assert client.info["tls_required"] is client.info["tls_available"] is client.info["tls_verify"] is True
        direct = await Client.connect(server)
        assert "tls_required" not in direct.info


async def test_users_by_certificate(certificates: Certificates) -> None:
    """The port's own block decides how a certificate counts."""
    block = tls(certificates, f"ca_file: '{certificates.directory}/ca.pem'\nverify_and_map: true")
    users = 'authorization { users: [ {user: "derek@nats.test"} ] }'
    async with serving(options(block, users)) as server:
        context = client_context(certificates.directory)
        context.load_cert_chain(certificates.directory / "email.pem", certificates.directory / "email-key.pem")
        client = await WebSocketClient.joined(server, tls=context)
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.user == "derek@nats.test"
        direct = await Client.open(server)
        await direct.greeting()
        await direct.introduce(user="derek@nats.test")
        assert await direct.frame() == REFUSED


async def test_same_origin() -> None:
    async with serving(options("same_origin: true")) as server:
        host = {"Host": "app.example:8080"}
        assert await status(server, {**host, "Origin": "http://app.example:8080"}) == 101
        assert await status(server, {**host, "Origin": "http://evil.example:8080"}) == 403
        assert await status(server, host) == 101


@pytest.mark.parametrize("name", ["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins"])
async def test_allowed_origins(name: str) -> None:
    async with serving(options(f'{name}: ["https://a.example", "http://b.example:81"]')) as server:
        for origin, expected in (
            ("https://a.example", 101), ("http://b.example:81", 101), ("https://b.example", 403), ("null", 403),
        ):  # fmt: skip
            assert await status(server, {"Origin": origin}) == expected


@pytest.mark.parametrize("when", ["nothing", "half"])
async def test_handshake_timeout(when: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(options('handshake_timeout: "50ms"')) as server:
        client = await WebSocketClient.open(server)
        if when == "half":
            await client.plain_send(request()[:40])
        assert (await client.plain_receive()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert "websocket handshake error: no request within the timeout" in caplog.text


async def test_handshake_timeout_behind_tls(certificates: Certificates) -> None:
    text = f"handshake_timeout: '50ms'\n{tls(certificates, 'timeout: 0.05')}"
    async with serving(options(text)) as server:
        silent = await WebSocketClient.open(server)
        assert await silent.plain_receive() == b""
        client = await WebSocketClient.open(server)
        await client.handshake(client_context(certificates.directory))
        client.is_secured = True
        assert (await client.plain_receive()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_handshakes_a_second(certificates: Certificates) -> None:
    async with serving(options(tls(certificates, "connection_rate_limit: 1"))) as server:
        context = client_context(certificates.directory)
        ends = []
        for _ in range(3):
            client = await WebSocketClient.open(server)
            try:
                await client.handshake(context)
                ends.append(True)
            except EOFError:
                ends.append(False)
        assert ends[0]
        assert not all(ends)


@pytest.mark.parametrize("name", ["compression", "compress"])
async def test_compression(name: str) -> None:
    async with serving(options(f"{name}: true")) as server:
        client = await WebSocketClient.joined(server, DEFLATE)
        await client.send(b"SUB a 1\r\nPUB a 2000\r\n%b\r\n" % (b"x" * 2000))
        assert await client.frame() == b"MSG a 1 2000\r\n" + b"x" * 2000
        assert client.sizes[-1] < 100
        await client.send(b"PUB a 2\r\nhi\r\n")
        assert await client.frame() == b"MSG a 1 2\r\nhi"
        assert not client.firsts[-1] & 0x40
        plain = await WebSocketClient.joined(server)
        assert "Extensions" not in plain.answer


async def test_a_user_of_its_own() -> None:
    async with serving(options("authorization { user: u, pass: p, timeout: 30 }")) as server:
        assert await outcome(server, user="u", **{"pass": "p"}) == b"PONG"
        assert await outcome(server, user="u", **{"pass": "q"}) == REFUSED
        assert await outcome(server) == REFUSED
        client = await WebSocketClient.upgraded(server)
        assert client.info["auth_required"] is True
        await client.send(b"PING\r\n")
        assert await client.frame() == REFUSED
        direct = await Client.connect(server)
        assert "auth_required" not in direct.info


async def test_a_token_of_its_own_beside_the_servers_user() -> None:
    more = "authorization { user: u, password: p }"
    async with serving(options("authentication { token: t }", more)) as server:
        assert await outcome(server, auth_token="t") == b"PONG"
        assert await outcome(server, user="u", **{"pass": "p"}) == REFUSED
        await Client.connect(server, user="u", **{"pass": "p"})
        with pytest.raises(AssertionError):
            await Client.connect(server, auth_token="t")


async def test_the_servers_own_credentials_count_where_it_has_none() -> None:
    async with serving(options("", "authorization { token: t }")) as server:
        assert await outcome(server, auth_token="t") == b"PONG"
        assert await outcome(server) == REFUSED


async def test_the_time_to_log_in() -> None:
    async with serving(options("authorization { token: t, timeout: 0.05 }")) as server:
        client = await WebSocketClient.upgraded(server)
        assert await client.rest() == b"-ERR 'Authentication Timeout'\r\n"
        assert client.close_code == 1008


async def test_no_auth_user() -> None:
    async with serving(options("no_auth_user: web", USERS)) as server:
        client = await WebSocketClient.upgraded(server)
        await client.send(b"PING\r\n")
        assert (await client.frame()).startswith(b"PONG")
        principal = session_of(server, client).principal
        assert principal is not None
        assert (principal.user, principal.account.name) == ("web", "A")
        assert await outcome(server, user="ann", **{"pass": "x"}) == b"PONG"
        direct = await Client.open(server)
        await direct.greeting()
        await direct.send(b"PING\r\n")
        assert await direct.frame() == REFUSED


async def test_a_reload_leaves_who_has_credentials_of_the_port_alone() -> None:
    """Whatever changes about the server's own."""
    async with serving(options("authorization { user: u, pass: p }")) as server:
        client = await WebSocketClient.joined(server, user="u", **{"pass": "p"})
        direct = await Client.connect(server)
        await reload(server, options("authorization { user: u, pass: p }", "authorization { user: v, password: q }"))
        assert b"Authorization Violation" in await direct.rest()
        assert await client.ping() == []


async def test_connection_types() -> None:
    async with serving(options("", USERS)) as server:
        assert await outcome(server, user="web", **{"pass": "y"}) == b"PONG"
        with pytest.raises(AssertionError):
            await Client.connect(server, user="web", **{"pass": "y"})


async def test_cookies_for_user_password_and_token() -> None:
    async with serving(options("user_cookie: u\npass_cookie: p", USERS)) as server:
        assert await outcome(server, "u=ann; p=x") == b"PONG"
        assert await outcome(server, "u=ann; p=y") == REFUSED
        assert await outcome(server, "u=nobody; p=x", user="ann") == b"PONG"
        assert await outcome(server, "p=x") == REFUSED
    async with serving(options("token_cookie: t", "authorization { token: secret }")) as server:
        assert await outcome(server, "t=secret") == b"PONG"
        assert await outcome(server, "t=other") == REFUSED
        assert await outcome(server, "t=secret", auth_token="other") == REFUSED


async def test_a_cookie_for_the_jwt(caplog: pytest.LogCaptureFixture) -> None:
    realm = Realm()
    realm.user.nats.bearer_token = True
    changes = {"websocket": options("jwt_cookie: jwt").websocket}
    with caplog.at_level(logging.DEBUG):
        async with serving(realm.options(), **changes) as server:
            assert await outcome(server, f"jwt={realm.token()}") == b"PONG"
            assert await outcome(server, "jwt=x") == REFUSED
            assert await outcome(server) == REFUSED
    assert realm.token() not in caplog.text


async def test_headers_of_the_answer() -> None:
    async with serving(options('headers { X-Frame-Options: DENY, "Cache-Control": "no-store" }')) as server:
        client = await WebSocketClient.joined(server)
        assert "X-Frame-Options: DENY\r\n" in client.answer
        assert client.answer.endswith("Cache-Control: no-store")


async def test_ping_interval() -> None:
    async with serving(options('ping_interval: "7s"', 'ping_interval: "9s"')) as server:
        web, direct = await WebSocketClient.joined(server), await Client.connect(server)
        assert session_of(server, web).liveness.interval == 7.0
        assert session_of(server, direct).liveness.interval == 9.0
        await reload(server, options('ping_interval: "7s"', 'ping_interval: "8s"'))
        assert session_of(server, web).liveness.interval == 7.0
        assert session_of(server, direct).liveness.interval == 8.0
    assert options('ping_interval: "0s"').websocket.ping_interval is None


async def test_paths() -> None:
    async with serving(options("")) as server:
        assert await status(server, {}, "/any/path?x") == 101
        assert await status(server, {}, "/mqtt") == 404
        assert await status(server, {}, "/leafnode") == 404


async def test_a_compressed_message_is_as_large_as_eight_payloads() -> None:
    async with serving(options("compression: true", "max_payload: 16KB")) as server:
        client = await WebSocketClient.joined(server, DEFLATE)
        await client.plain_send(frame(bytes(8 * 16 * 1024 + 1), reserved=0x40))
        await client.rest()
        assert (client.close_code, client.close_text) == (1009, "compressed message is too large")


@pytest.mark.parametrize(
    ("block", "more", "reason"),
    [
        ("no_auth_user: bob", USERS, "no_auth_user"),
        ("no_auth_user: bob", "", "users/nkeys are not defined"),
        ("jwt_cookie: jwt", "", "trusted operators or trusted keys configuration is required"),
        ("authorization { user: u, pass: p }", USERS, "websocket authentication username not compatible"),
        ("authorization { token: t }", USERS, "websocket authentication token not compatible"),
        ("advertise: 'a b'", "", "invalid websocket advertise"),
    ],
)
def test_what_does_not_go_together(block: str, more: str, reason: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=reason):
        check(options(block, more))


def test_with_operators_nobody_comes_without_a_jwt() -> None:
    realm = Realm()
    with pytest.raises(ValueError, match="no_auth_user not compatible with Trusted Operator"):
        check(realm.options(websocket=options("no_auth_user: bob").websocket))


@pytest.mark.parametrize("header", ["'X Y': a", "Host: a", "upgrade: a", 'X: "a\\r\\nSet-Cookie: b"'])
def test_headers_that_no_answer_can_have(header: str) -> None:
    with pytest.raises(ConfigError, match="invalid header"):
        options(f"headers {{ {header} }}")


async def test_nkeys_sign_the_nonce() -> None:
    key = KeyPair.generate(KeyKind.USER)
    async with serving(options("", f"authorization {{ users: [ {{nkey: {key.public}}} ] }}")) as server:
        client = await WebSocketClient.upgraded(server)
        assert client.info["nonce"]
        await client.introduce(nkey=key.public, sig="AAAA")
        assert await client.frame() == REFUSED


async def test_many_at_a_time() -> None:
    async with serving(options("")) as server:
        clients = await asyncio.gather(*(WebSocketClient.joined(server) for _ in range(20)))
        assert len({client.cid for client in clients}) == 20
        for client in clients:
            client.close()
        await until(lambda: not server.service.connections)
