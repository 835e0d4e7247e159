"""The keys inside blocks have their effect, from the text of a file to what clients meet."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL

from auth.nkey import KeyKind, KeyPair
from broker import Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import Options
from tests.integration.test_monitor import ask
from tests.support.certificates import Certificates, make_certificates
from tests.support.serving import Client, SecureClient, serving
from tls import native
from tls.certificates import encoded


def options(text: str) -> Options:
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


async def admitted(server: Server, **connect: str) -> Client:
    return await Client.connect(server, **connect)


async def refused(server: Server, **connect: str) -> bytes:
    """What a client is told that does not get in."""
    client = await Client.open(server)
    await client.greeting()
    await client.introduce(**connect)
    return await client.rest()


def ann(password: str = "x") -> dict[str, str]:
    return {"user": "ann", "pass": password}


# Who gets in.


@pytest.mark.parametrize("user", ["user", "username"])
@pytest.mark.parametrize("password", ["pass", "password"])
@pytest.mark.parametrize("block", ["authorization {{ {} }}", "authorization {{ users: [ {{ {} }} ] }}"])
async def test_user_and_password(user: str, password: str, block: str) -> None:
    async with serving(options(block.format(f"{user}: ann, {password}: x"))) as server:
        await admitted(server, **ann())
        assert b"Authorization Violation" in await refused(server, **ann("y"))
        assert b"Authorization Violation" in await refused(server)


async def test_token() -> None:
    async with serving(options("authorization { token: t }")) as server:
        await admitted(server, auth_token="t")
        assert b"Authorization Violation" in await refused(server, auth_token="u")


async def test_nkey() -> None:
    key, other = KeyPair.generate(KeyKind.USER), KeyPair.generate(KeyKind.USER)
    async with serving(options(f"authorization {{ users: [ {{nkey: {key.public}}} ] }}")) as server:
        for signer, is_admitted in ((key, True), (other, False)):
            client = await Client.open(server)
            nonce = (await client.greeting())["nonce"].encode()
            signature = base64.urlsafe_b64encode(signer.sign(nonce)).decode().rstrip("=")
            await client.introduce(nkey=key.public, sig=signature)
            if is_admitted:
                assert await client.frame() == b"PONG"
            else:
                assert b"Authorization Violation" in await client.rest()


@pytest.mark.parametrize("name", ["allowed_connection_types", "connection_types", "clients"])
@pytest.mark.parametrize(
    ("kind", "is_admitted"), [("STANDARD", True), ("[websocket, standard]", True), ("MQTT", False)]
)
async def test_connection_types(name: str, kind: str, is_admitted: bool) -> None:
    text = f"authorization {{ users: [ {{user: ann, password: x, {name}: {kind}}} ] }}"
    async with serving(options(text)) as server:
        if is_admitted:
            await admitted(server, **ann())
        else:
            assert b"-ERR" in await refused(server, **ann())


@pytest.mark.parametrize(
    "text",
    [
        "authorization { proxy_required: true, users: [ {user: ann, password: x} ] }",
        "authorization { users: [ {user: ann, password: x, proxy_required: true} ] }",
    ],
)
async def test_proxy_required(text: str) -> None:
    async with serving(options(text)) as server:
        assert b"-ERR" in await refused(server, **ann())


# What may be said.


async def publishing(server: Server, subject: str, **connect: str) -> list[bytes]:
    """What a client is told that publishes to a subject."""
    client = await admitted(server, **connect)
    await client.send(f"PUB {subject} 0\r\n\r\n".encode())
    return await client.ping()


async def subscribing(server: Server, subject: str, **connect: str) -> list[bytes]:
    """What a client is told that subscribes to a subject."""
    client = await admitted(server, **connect)
    await client.send(f"SUB {subject} 1\r\n".encode())
    return await client.ping()


VIOLATION = b"-ERR 'Permissions Violation"


@pytest.mark.parametrize(
    "holder",
    [
        *(
            f"authorization {{ {name} {{}}, users: [ {{user: ann, password: x}} ] }}"
            for name in ("default_permissions", "default_permission", "permissions")
        ),
        *(
            f"authorization {{ users: [ {{user: ann, password: x, {name} {{}}}} ] }}"
            for name in ("permissions", "permission", "authorization")
        ),
        "accounts { A { default_permissions {}, users: [ {user: ann, password: x} ] } }",
    ],
)
@pytest.mark.parametrize("publish", ["publish", "pub", "import"])
async def test_publish(holder: str, publish: str) -> None:
    async with serving(options(holder.replace("{}", f'{{ {publish} {{allow: "a.>", deny: a.secret}} }}', 1))) as server:
        assert await publishing(server, "a.b", **ann()) == []
        for subject in ("a.secret", "b"):
            [told] = await publishing(server, subject, **ann())
            assert told.startswith(VIOLATION)
        assert await subscribing(server, "anything", **ann()) == []


@pytest.mark.parametrize("subscribe", ["subscribe", "sub", "export"])
async def test_subscribe(subscribe: str) -> None:
    permissions = f'{{ {subscribe} {{allow: ["a.>", "q workers"], deny: a.secret}} }}'
    text = f"authorization {{ users: [ {{user: ann, password: x, permissions {permissions}}} ] }}"
    async with serving(options(text)) as server:
        for subject in ("a.b", "q workers"):
            assert await subscribing(server, subject, **ann()) == []
        for subject in ("a.secret", "b", "q others"):
            [told] = await subscribing(server, subject, **ann())
            assert told.startswith(VIOLATION)
        assert await publishing(server, "anything", **ann()) == []


@pytest.mark.parametrize("name", ["allow_responses", "publish_allow_responses"])
@pytest.mark.parametrize(
    ("responses", "allowed"),
    [
        ("true", 1),
        *((f"{{{maximum}: 2}}", 2) for maximum in ("max", "max_msgs", "max_messages", "max_responses")),
        *((f'{{{expires}: "1ns"}}', 0) for expires in ("expires", "expiration", "ttl")),
    ],
)
async def test_responses(name: str, responses: str, allowed: int) -> None:
    text = f"""
    authorization {{ users: [
      {{user: ann, password: x, permissions {{ {name}: {responses} }} }}
      {{user: bob, password: x}}
    ] }}
    """
    async with serving(options(text)) as server:
        service, client = await admitted(server, **ann()), await admitted(server, user="bob", **{"pass": "x"})
        await service.send(b"SUB ask 1\r\n")
        assert await service.ping() == []
        await client.send(b"PUB ask answer 0\r\n\r\n")
        assert await client.ping() == []
        assert await service.frame() == b"MSG ask 1 answer 0\r\n"
        await service.send(b"PUB answer 0\r\n\r\n" * 3)
        told = await service.ping()
        assert len(told) == 3 - allowed
        assert all(line.startswith(VIOLATION) for line in told)


# Accounts.


async def test_accounts_and_their_users() -> None:
    text = "accounts { A { users: [ {user: ann, password: x} ] }, B { users: [ {user: bob, password: x} ] } }"
    async with serving(options(text)) as server:
        here, there = await admitted(server, **ann()), await admitted(server, user="bob", **{"pass": "x"})
        for client in (here, there):
            await client.send(b"SUB s 1\r\n")
            assert await client.ping() == []
        await here.send(b"PUB s 1\r\n.\r\n")
        assert await here.frame() == b"MSG s 1 1\r\n."
        assert await there.ping() == []


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("max_connections: 1", "maximum account active connections exceeded"),
        ("max_conn: 1", "maximum account active connections exceeded"),
        ("max_subscriptions: 1", "maximum subscriptions exceeded"),
        ("max_subs: 1", "maximum subscriptions exceeded"),
        ("max_payload: 1", "Maximum Payload Violation"),
        ("max_pay: 1", "Maximum Payload Violation"),
    ],
)
async def test_limits_of_an_account(limit: str, says: str) -> None:
    text = f"accounts {{ A {{ limits {{ {limit} }}, users: [ {{user: ann, password: x}} ] }} }}"
    async with serving(options(text)) as server:
        first = await admitted(server, **ann())
        if "conn" in limit:
            told = await refused(server, **ann())
        elif "subs" in limit:
            await first.send(b"SUB a 1\r\nSUB b 2\r\n")
            [told] = await first.ping()
        else:
            await first.send(b"PUB a 2\r\n")
            told = await first.rest()
        assert says.encode() in told


# TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def secured(certificates: Certificates, text: str) -> Options:
    """Options with a certificate and further keys of ``tls``."""
    directory = certificates.directory
    return options(f'tls {{ cert_file: "{directory}/server.pem", key_file: "{directory}/server-key.pem", {text} }}')


def trusting(directory: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    context.maximum_version = newest
    return context


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        (
            "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]",
            "AES256-GCM",
        ),
        (
            "allow_insecure_cipher_suites: true, "
            "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]",
            "AES128-SHA",
        ),
    ],
)
async def test_cipher_suites(certificates: Certificates, text: str, suite: str) -> None:
    async with serving(secured(certificates, text)) as server:
        context = trusting(certificates.directory, ssl.TLSVersion.TLSv1_2)
        context.set_ciphers("ALL:@SECLEVEL=0")
        client = await SecureClient.secured(server, context)
        cipher = client.tls.cipher()
        assert cipher is not None
        assert suite in cipher[0]


async def test_insecure_does_nothing(certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    """It would be read as a switch that turns verification off, which it must not be."""
    text = f'insecure: true, verify: true, ca_file: "{certificates.directory}/ca.pem"'
    async with serving(secured(certificates, text)) as server:
        context = trusting(certificates.directory)
        context.load_cert_chain(certificates.directory / "evil.pem", certificates.directory / "evil-key.pem")
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await (await SecureClient.secured(server, context)).ping()
    assert "'insecure' does nothing in the TLS of a listener" in caplog.text


async def test_lowest_version(certificates: Certificates) -> None:
    async with serving(secured(certificates, 'min_version: "1.3"')) as server:
        client = await SecureClient.secured(server, trusting(certificates.directory))
        assert client.tls.version() == "TLSv1.3"
        with pytest.raises(ssl.SSLError):
            await SecureClient.secured(server, trusting(certificates.directory, ssl.TLSVersion.TLSv1_2))


async def test_curves(certificates: Certificates) -> None:
    async with serving(secured(certificates, "curve_preferences: [CurveP384]")) as server:
        context = trusting(certificates.directory)
        context.set_ecdh_curve("secp384r1")
        await SecureClient.secured(server, context)
        context.set_ecdh_curve("X25519")
        with pytest.raises(ssl.SSLError):
            await SecureClient.secured(server, context)


@pytest.mark.parametrize("name", ["certs", "certificates"])
async def test_several_certificates(certificates: Certificates, name: str) -> None:
    directory = certificates.directory
    pairs = ", ".join(
        f'{{cert_file: "{directory}/{file}.pem", key_file: "{directory}/{file}-key.pem"}}' for file in ("server", "dns")
    )
    async with serving(options(f"tls {{ {name}: [ {pairs} ] }}")) as server:
        client = await SecureClient.secured(server, trusting(directory))
        assert ("DNS", "localhost") in (client.tls.getpeercert() or {})["subjectAltName"]


# Monitoring.


@pytest.mark.parametrize("name", ["http_port", "monitor_port"])
async def test_monitoring_port(name: str) -> None:
    async with serving(options(f"{name}: -1")) as server:
        assert (await ask(server, "/varz")).json["http_port"] == server.monitor_port


@pytest.mark.parametrize("text", ["https_port: -1", "https: -1", 'https: "127.0.0.1:-1"'])
async def test_monitoring_over_https(certificates: Certificates, text: str) -> None:
    directory = certificates.directory
    tls = f'tls {{ cert_file: "{directory}/server.pem", key_file: "{directory}/server-key.pem" }}'
    async with serving(options(f"{text}\n{tls}")) as server:
        reply = await ask(server, "/varz", context=trusting(directory))
        assert (reply.json["https_port"], reply.json["http_port"]) == (server.monitor_port, 0)


LISTENERS = ("client", "websocket", "monitoring")


async def agreed(server: Server, listener: str, context: SSL.Context, name: bytes) -> tuple[str, str, str, bytes]:
    """Version, suite, group and certificate that a listener agrees on with a client of this context."""
    ports = {"client": server.port, "websocket": server.websocket_port, "monitoring": server.monitor_port}

    def shake_hands() -> tuple[str, str, str, bytes]:
        with socket.create_connection(("127.0.0.1", ports[listener]), 20) as sock:
            if listener == "client":
                assert sock.recv(4096).startswith(b"INFO ")
            sock.settimeout(None)
            connection = SSL.Connection(context, sock)
            connection.set_tlsext_host_name(name)
            connection.set_connect_state()
            connection.do_handshake()
            shown = connection.get_peer_certificate(as_cryptography=True)
            assert shown is not None
            return (
                connection.get_protocol_version_name(), connection.get_cipher_name() or "",
                connection.get_group_name() or "", encoded(shown),
            )  # fmt: skip

    return await asyncio.to_thread(shake_hands)


@pytest.mark.parametrize(
    ("text", "offered", "expected"),
    [
        ("", {}, ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768")),
        ("", {"version": SSL.TLS1_2_VERSION}, ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "x25519")),
        ("", {"suites": b"ECDHE-ECDSA-AES128-SHA", "version": SSL.TLS1_2_VERSION}, None),
        ("cipher_suites: [TLS_CHACHA20_POLY1305_SHA256]", {}, ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", None)),
        ("cipher_suites: [TLS_CHACHA20_POLY1305_SHA256]", {"suites_13": b"TLS_AES_128_GCM_SHA256"}, None),
        ("curve_preferences: [CurveP384, CurveP256]", {"groups": "X25519:P-256"}, ("TLSv1.3", None, "secp256r1")),
        ("curve_preferences: [CurveP384, CurveP256]", {"groups": "X25519"}, None),
        (
            "curve_preferences: [SecP256r1MLKEM768]", {"groups": "SecP256r1MLKEM768"},
            ("TLSv1.3", None, "SecP256r1MLKEM768"),
        ),
        ('min_version: "1.3"', {"version": SSL.TLS1_2_VERSION}, None),
    ],
)
async def test_all_listeners_agree_to_the_same(
    certificates: Certificates, text: str, offered: dict[str, Any], expected: tuple[str | None, ...] | None
) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if "version" in offered:
        context.set_max_proto_version(offered["version"])
    if "suites" in offered:
        context.set_cipher_list(offered["suites"])
    if "suites_13" in offered:
        context.set_tls13_ciphersuites(offered["suites_13"])
    if "groups" in offered:
        assert native.set_groups(context, offered["groups"])
    directory = certificates.directory
    pairs = ", ".join(
        f'{{cert_file: "{directory}/{name}.pem", key_file: "{directory}/{name}-key.pem"}}' for name in ("server", "dns")
    )
    block = f"tls {{ certs: [ {pairs} ], {text} }}"
    listening = options(f"https_port: -1\n{block}\nwebsocket {{ port: -1, {block} }}")
    own = {name: (directory / f"{name}.pem").read_bytes() for name in ("server", "dns")}
    async with serving(listening) as server:
        for listener in LISTENERS:
            for name, file in ((b"localhost", "server"), (b"app.nats.test", "dns")):
                if expected is None:
                    with pytest.raises(SSL.Error):
                        await agreed(server, listener, context, name)
                    continue
                *found, shown = await agreed(server, listener, context, name)
                assert [one for one, wanted in zip(found, expected, strict=True) if wanted] == [
                    wanted for wanted in expected if wanted
                ]
                assert shown == encoded(x509.load_pem_x509_certificate(own[file]))
