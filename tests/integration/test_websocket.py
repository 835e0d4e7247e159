"""Clients over WebSocket: how they talk, what they are told when they misbehave, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import logging
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import nats
import pytest

from auth.creds import format_creds
from broker import Server
from broker.config.options import (
    AuthorizationOptions,
    MonitorOptions,
    Options,
    TLSOptions,
    UserOptions,
    WebSocketOptions,
    WriteTimeout,
)
from broker.ports_file import ports
from tests.integration.test_monitor import ask
from tests.support.certificates import Certificates, client_context, make_certificates
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, close_reason, connect_line, serving, session_of, until
from tests.support.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE,
    KEY,
    PING,
    PONG,
    TEXT,
    WebSocketClient,
    frame,
    request,
)

BROWSER = {"User-Agent": "Mozilla/5.0 Chrome/120 Safari/537.36"}
HOLLOW = b"\x82\x80"
"""The beginning of an empty masked frame."""


def websocket(**options: Any) -> dict[str, Any]:
    """A WebSocket port in the clear."""
    return {"websocket": WebSocketOptions(**{"host": "127.0.0.1", "port": -1, "no_tls": True} | options)}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def secured(certificates: Certificates, **options: Any) -> dict[str, Any]:
    """A WebSocket port with TLS."""
    directory = certificates.directory
    tls = TLSOptions(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"))
    return websocket(**{"no_tls": False, "tls": tls} | options)


async def is_served(server: Server) -> None:
    """A newcomer is served as ever."""
    client = await WebSocketClient.joined(server)
    await client.send(b"SUB still.there 1\r\nPUB still.there 2\r\nok\r\n")
    assert await client.ping() == [b"MSG still.there 1 2\r\nok"]


# Conversations


@in_every_loop
async def test_both_ports_are_one_server() -> None:
    async with serving(**websocket()) as server:
        web, direct = await WebSocketClient.joined(server), await Client.connect(server)
        assert web.info["port"] == server.websocket_port
        assert web.info["host"] == "127.0.0.1"
        assert direct.info["port"] == server.port
        for client in (web, direct):
            await client.send(b"SUB a.* 1\r\n")
            assert await client.ping() == []
        await web.send(b"PUB a.b 3\r\nweb\r\n")
        await direct.send(b"PUB a.c 6\r\ndirect\r\n")
        expected = {b"MSG a.b 1 3\r\nweb", b"MSG a.c 1 6\r\ndirect"}
        for client in (web, direct):
            assert set(await client.frames(2)) == expected


@in_every_loop
async def test_a_client_of_nats_with_credentials(certificates: Certificates, tmp_path: Path) -> None:
    realm = Realm()
    creds = tmp_path / "bob.creds"
    creds.write_text(format_creds(realm.token(), realm.user_key.seed))
    async with serving(realm.options(), **secured(certificates, compression=True)) as server:
        assert server.websocket_url.startswith("wss://127.0.0.1:")
        client = await nats.connect(
            server.websocket_url, user_credentials=str(creds), tls=client_context(certificates.directory)
        )
        subscription = await client.subscribe("hello.>")
        for size in (0, 100, 300_000):
            await client.publish("hello.web", bytes(size))
            assert len((await subscription.next_msg(timeout=10)).data) == size
        (session,) = [one.session for one in server.service.connections.values()]
        assert session.principal is not None
        assert session.principal.user_name == "bob"
        await client.close()


@in_every_loop
@pytest.mark.parametrize("compression", [False, True])
async def test_large_messages_both_ways(certificates: Certificates, compression: bool) -> None:
    tls = client_context(certificates.directory)
    async with serving(**secured(certificates, compression=compression)) as server:
        client = await WebSocketClient.joined(server, DEFLATE, tls=tls)
        assert ("Sec-WebSocket-Extensions" in client.answer) is compression
        await client.send(b"SUB a 1\r\n")
        payload = bytes(range(256)) * 4000
        message = b"PUB a %d\r\n%b\r\n" % (len(payload), payload)
        await client.plain_send(deflated(message) if compression else frame(message))
        assert await client.frame() == b"MSG a 1 %d\r\n%b" % (len(payload), payload)
        assert any(first & 0x40 for first in client.firsts) is compression


def deflated(data: bytes) -> bytes:
    """A compressed message of one frame."""
    deflater = zlib.compressobj(wbits=-15)
    return frame((deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4], reserved=0x40)


async def test_fragments_and_control_frames_between_them() -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.joined(server)
        await client.send(b"SUB a 1\r\n")
        data = b"PUB a 5\r\nhello\r\n"
        parts = [frame(data[:3], TEXT, final=False), frame(b"are you there", PING)]
        parts += [frame(data[3:9], CONTINUATION, final=False), frame(b"nobody asked", PONG)]
        parts += [frame(b"", CONTINUATION, final=False), frame(data[9:], CONTINUATION)]
        for byte in b"".join(parts):
            await client.plain_send(bytes([byte]))
        assert await client.frame() == b"MSG a 1 5\r\nhello"
        assert client.pongs == [b"are you there"]


async def test_frames_for_browsers_are_small() -> None:
    async with serving(**websocket()) as server:
        for headers, most in ((BROWSER, 4096), ({}, 30_100)):
            client = await WebSocketClient.joined(server, headers)
            await client.send(b"SUB a 1\r\nPUB a 30000\r\n%b\r\n" % bytes(30_000))
            assert await client.frame() == b"MSG a 1 30000\r\n" + bytes(30_000)
            assert max(client.sizes) <= most
            assert (max(client.sizes) == 4096) is bool(headers)


async def test_a_client_that_asks_not_to_mask() -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.upgraded(server, {"Nats-No-Masking": "true"})
        await client.plain_send(frame(connect_line() + b"PING\r\n", mask=None))
        assert await client.frame() == b"PONG"
        await client.send(b"PING\r\n")
        assert await client.frame() == b"PONG"


async def test_more_verbs_than_fit_into_a_turn() -> None:
    async with serving(**websocket(compression=True)) as server:
        client = await WebSocketClient.joined(server, DEFLATE)
        verbs = [b"SUB a.%d %d\r\n" % (number, number) for number in range(1000)]
        await client.plain_send(b"".join(map(frame, verbs)) + frame(b"PING\r\n"))
        assert await client.frame() == b"PONG"
        await client.plain_send(b"".join(deflated(b"PUB a.%d 1\r\nx\r\n" % number) for number in range(1000)))
        assert await client.frames(1000) == [b"MSG a.%d %d 1\r\nx" % (number, number) for number in range(1000)]


async def test_pings_and_small_compressed_messages_hold_up_nobody() -> None:
    async with serving(**websocket(compression=True)) as server:
        client, other = await WebSocketClient.joined(server, DEFLATE), await Client.connect(server)
        session = session_of(server, client)
        await client.plain_send(b"".join(frame(b"", PING) + deflated(b"PING\r\n") for _ in range(1000)))
        await until(lambda: session.paused)
        await other.send(b"SUB a 1\r\nPUB a 2\r\nhi\r\n")
        assert await other.frame() == b"MSG a 1 2\r\nhi"
        assert await client.frames(1000) == [b"PONG"] * 1000


# Ends


async def test_the_client_says_goodbye() -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.joined(server)
        await client.plain_send(frame(b"\x03\xe8bye", CLOSE))
        assert await client.rest() == b""
        assert (client.close_code, client.close_text) == (1000, "bye")
        assert await close_reason(server, client) == "Client Closed"


async def test_the_server_says_why() -> None:
    async with serving(authorization=AuthorizationOptions(user="a", password="p"), **websocket()) as server:
        client = await WebSocketClient.upgraded(server)
        await client.introduce(user="a", **{"pass": "q"})
        assert await client.rest() == b"-ERR 'Authorization Violation'\r\n"
        assert (client.close_code, client.close_text) == (1008, "Authentication Failure")


async def test_a_stop_is_told() -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.joined(server)
        waiting = await WebSocketClient.open(server)
        await until(lambda: len(server.service.connections) == 2)
        await server.stop()
        assert await client.rest() == b""
        assert (client.close_code, client.close_text) == (1001, "Server Shutdown")
        assert await waiting.plain_receive() == b""


async def test_a_lame_duck_takes_nobody_and_tells_all() -> None:
    async with serving(lame_duck_grace_period=0.05, lame_duck_duration=0.1, **websocket()) as server:
        client = await WebSocketClient.joined(server, protocol=1)
        assert (await client.frame()).startswith(b"INFO")
        server.begin_lame_duck()
        assert b'"ldm":true' in await client.frame()
        with pytest.raises(ConnectionRefusedError):
            await WebSocketClient.open(server)
        await client.rest()
        assert client.close_code == 1001


VIOLATIONS = [
    (frame(b"x", mask=None), 1002, "mask bit missing"),
    (frame(b"x", reserved=0x20), 1002, "RSV2 and RSV3 must be clear"),
    (frame(b"x", reserved=0x40), 1002, "compressed frame received without negotiated permessage-deflate"),
    (frame(b"x", 3), 1002, "unknown opcode 3"),
    (frame(b"x", 11), 1002, "unknown opcode 11"),
    (frame(b"x", CONTINUATION), 1002, "invalid continuation frame"),
    (
        frame(b"", final=False) + frame(b"", BINARY),
        1002,
        "new message started before final frame for previous message was received",
    ),
    (frame(bytes(126), PING), 1002, "control frame length bigger than maximum allowed of 125 bytes"),
    (frame(b"", PING, final=False), 1002, "control frame does not have final bit set"),
    (b"\x82\xff" + b"\xff" * 8, 1002, "invalid 64-bit payload length"),
    (frame(b"\x03", CLOSE), 1002, "close frame payload cannot be 1 byte"),
    (frame(b"\x03\xed", CLOSE), 1002, "invalid close status code 1005"),
]


@pytest.mark.parametrize(("data", "code", "text"), VIOLATIONS, ids=[text for _, _, text in VIOLATIONS])
@pytest.mark.parametrize("is_known", [True, False])
async def test_frames_that_must_not_be(
    data: bytes, code: int, text: str, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "natskeep.net"):
        async with serving(**websocket()) as server:
            client = await (WebSocketClient.joined(server) if is_known else WebSocketClient.upgraded(server))
            await client.plain_send(data)
            assert await client.rest() == b""
            assert (client.close_code, client.close_text) == (code, text)
            assert await close_reason(server, client) == "Read Error"
            await is_served(server)
    assert f"- wid:{client.cid}" in caplog.text
    assert f"read error: {text}" in caplog.text


async def test_what_was_before_a_bad_frame_counts() -> None:
    async with serving(**websocket()) as server:
        client, other = await WebSocketClient.joined(server), await Client.connect(server)
        await other.send(b"SUB a 1\r\n")
        assert await other.ping() == []
        await client.plain_send(frame(b"PUB a 2\r\nhi\r\n") + frame(b"", 3))
        assert await other.frame() == b"MSG a 1 2\r\nhi"


async def test_a_compressed_message_that_cannot_be_inflated() -> None:
    async with serving(**websocket(compression=True)) as server:
        client = await WebSocketClient.joined(server, DEFLATE)
        await client.plain_send(frame(b"\xff" * 20, reserved=0x40))
        await client.rest()
        assert (client.close_code, client.close_text) == (1007, "compressed message cannot be inflated")
        await is_served(server)


async def test_messages_before_login_are_small() -> None:
    authorization = AuthorizationOptions(user="a", password="p")
    async with serving(authorization=authorization, **websocket(compression=True)) as server:
        for data in (frame(bytes(70_000), reserved=0x40), deflated(b" " * 70_000)):
            client = await WebSocketClient.upgraded(server, DEFLATE)
            await client.plain_send(data)
            await client.rest()
            assert (client.close_code, client.close_text) == (1009, "compressed message is too large")


@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "bcrypt"])
@pytest.mark.parametrize("first", [frame, deflated], ids=["as it is", "compressed"])
async def test_what_comes_right_behind_connect_may_be_large(first: Callable[[bytes], bytes], hashed: bool) -> None:
    stored = bcrypt.hashpw(b"p", bcrypt.gensalt(4)).decode() if hashed else "p"
    authorization = AuthorizationOptions(user="a", password=stored)
    async with serving(authorization=authorization, **websocket(compression=True)) as server:
        payload = random.Random(1).randbytes(200_000)
        client = await WebSocketClient.upgraded(server, DEFLATE)
        login = first(connect_line(user="a", **{"pass": "p"}) + b"SUB a 1\r\n")
        large = deflated(b"PUB a 200000\r\n%b\r\n" % payload)
        await client.plain_send(login + large + deflated(b"PUB a 70000\r\n%b\r\n" % bytes(70_000)))
        assert await client.frame() == b"MSG a 1 200000\r\n%b" % payload
        assert await client.frame() == b"MSG a 1 70000\r\n%b" % bytes(70_000)


@in_every_loop
@pytest.mark.parametrize("length", [0, 3, 20, 200])
async def test_cuts_during_the_handshakes(certificates: Certificates, length: int) -> None:
    async with serving(**secured(certificates)) as server:
        client = await WebSocketClient.open(server)
        hello = client.begin(client_context(certificates.directory))
        await client.raw_send(hello[:length])
        client.reset()
        client = await WebSocketClient.open(server)
        await client.handshake(client_context(certificates.directory))
        client.is_secured = True
        await client.plain_send(request()[:length])
        client.close()
        await until(lambda: server.service.total_connections == 2 and not server.service.connections)
        other = await WebSocketClient.joined(server, tls=client_context(certificates.directory))
        assert await other.ping() == []


async def test_bytes_in_the_clear_are_not_read_where_tls_is(certificates: Certificates) -> None:
    async with serving(**secured(certificates)) as server:
        client = await WebSocketClient.open(server)
        await client.plain_send(request())
        answer = b""
        while data := await client.plain_receive():
            answer += data
        assert answer == b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        assert server.service.closed[0].reason == "TLS Handshake Failure"


@pytest.mark.parametrize("place", range(0, 60, 7))
async def test_cuts_in_the_middle_of_frames(place: int) -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.joined(server)
        await client.plain_send((frame(b"SUB a 1\r\n") + frame(b"PUB a 5\r\nhello\r\n") + HOLLOW)[:place])
        client.reset()
        await until(lambda: not server.service.connections)
        await is_served(server)


async def test_who_takes_nothing_is_cut() -> None:
    changes = {"write_deadline": 0.2, "write_timeout": WriteTimeout.CLOSE, "max_pending": 64 << 20}
    async with serving(**changes, **websocket()) as server:
        slow, publisher = await WebSocketClient.joined(server, receive_buffer=4096), await Client.connect(server)
        await slow.send(b"SUB a 1\r\n")
        assert await slow.ping() == []
        for _ in range(20):
            await publisher.send(b"PUB a 1000000\r\n%b\r\n" % bytes(1_000_000))
        assert await close_reason(server, slow) == "Slow Consumer (Write Deadline)"
        assert server.service.slow_consumers == 1


async def test_pings_that_nobody_reads_the_answers_of_take_no_memory() -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.joined(server, receive_buffer=4096)
        await client.send(b"SUB a 1\r\nPUB a 900000\r\n%b\r\n" % bytes(900_000))
        pings = b"".join(frame(b"%d" % number, PING) for number in range(20_000))
        sending = asyncio.create_task(client.plain_send(pings + frame(b"last", PING)))
        assert (await client.frame()).startswith(b"MSG a 1 900000")
        await sending
        await client.ping()
        while not client.pongs or client.pongs[-1] != b"last":
            await client.send(b"PING\r\n")
            assert await client.frame() == b"PONG"
        assert len(client.pongs) <= 20_001


# The rest of the server


async def test_what_monitoring_and_logs_show(caplog: pytest.LogCaptureFixture) -> None:
    options = Options(monitor=MonitorOptions(host="127.0.0.1", port=-1))
    with caplog.at_level(logging.DEBUG, "natskeep"):
        async with serving(options, **websocket(advertise="a.example:443", handshake_timeout=3.0)) as server:
            client = await WebSocketClient.joined(server, {"X-Forwarded-For": "2001:db8::7"})
            direct = await Client.connect(server)
            shown = (await ask(server, "/connz")).json["connections"]
            assert {one["cid"]: one["type"] for one in shown} == {client.cid: "websocket", direct.cid: "nats"}
            assert (await ask(server, "/varz")).json["websocket"] == {
                "host": "127.0.0.1", "port": server.websocket_port, "advertise": "a.example:443",
                "handshake_timeout": 3_000_000_000, "no_tls": True,
            }  # fmt: skip
            assert ports(server)["websocket"] == [f"ws://127.0.0.1:{server.websocket_port}"]
            client.close()
            await until(lambda: client.cid not in server.service.connections)
            closed = (await ask(server, "/connz?state=closed")).json["connections"]
            assert [one["type"] for one in closed] == ["websocket"]
            port = server.websocket_port
    assert f"Listening for websocket clients on ws://127.0.0.1:{port}" in caplog.text
    assert "Websocket not configured with TLS. DO NOT USE IN PRODUCTION!" in caplog.text
    assert "[2001:db8::7]/127.0.0.1:" in caplog.text


async def test_a_server_without_the_port_says_nothing_of_it() -> None:
    async with serving(monitor=MonitorOptions(host="127.0.0.1", port=-1)) as server:
        assert server.websocket_port == 0
        assert (await ask(server, "/varz")).json["websocket"] == {}
        assert "websocket" not in ports(server)
        with pytest.raises(RuntimeError, match="no WebSocket port"):
            _ = server.websocket_url


async def test_more_connections_than_may_be_are_told_so() -> None:
    async with serving(max_connections=1, **websocket()) as server:
        await WebSocketClient.joined(server)
        second = await WebSocketClient.upgraded(server)
        assert await second.rest() == b"-ERR 'maximum connections exceeded'\r\n"
        assert (second.close_code, second.close_text) == (1008, "Maximum Connections Exceeded")
        waiting = [await WebSocketClient.open(server) for _ in range(64)]
        await until(lambda: len(server.service.connections) == 65)
        assert await (await WebSocketClient.open(server)).plain_receive() == b""
        for one in waiting:
            one.close()


async def test_other_certificates_after_a_reload(certificates: Certificates) -> None:
    async with serving(**secured(certificates)) as server:
        tls = client_context(certificates.directory)
        before = await WebSocketClient.joined(server, tls=tls)
        directory = certificates.directory
        other = TLSOptions(cert_file=str(directory / "server2.pem"), key_file=str(directory / "server2-key.pem"))
        block = secured(certificates, tls=other)["websocket"]
        await server.reload(Options(**{**options_of(server), "websocket": block}))
        after = await WebSocketClient.joined(server, tls=tls)
        names = [dict(part[0] for part in one.tls.getpeercert()["subject"]) for one in (before, after)]
        assert [name["commonName"] for name in names] == ["localhost", "second"]
        assert await before.ping() == []


def options_of(server: Server) -> dict[str, Any]:
    return {name: getattr(server.options, name) for name in server.options.__dataclass_fields__}


async def test_users_after_a_reload() -> None:
    def users(*names: str) -> AuthorizationOptions:
        return AuthorizationOptions(users=tuple(UserOptions(user=name, password=name) for name in names))

    async with serving(authorization=users("stays", "goes"), **websocket()) as server:
        stays = await WebSocketClient.joined(server, user="stays", **{"pass": "stays"})
        goes = await WebSocketClient.joined(server, user="goes", **{"pass": "goes"})
        unheard = await WebSocketClient.open(server)
        await until(lambda: len(server.service.connections) == 3)
        await server.reload(Options(**{**options_of(server), "authorization": users("stays")}))
        assert await goes.rest() == b""
        assert goes.close_code == 1000
        assert await stays.ping() == []
        assert await unheard.ask(request()) == 101
        assert session_of(server, stays).arrival.shown_type == "websocket"


async def test_a_key_that_is_none_is_refused_before_a_session_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(**websocket()) as server:
        client = await WebSocketClient.open(server)
        assert await client.ask(request(headers={"Sec-WebSocket-Key": KEY[:-4]})) == 400
        assert "Sec-Websocket-Version: 13" in client.answer
        assert await client.plain_receive() in (b"", b"Bad Request\n")
    assert "websocket handshake error: invalid websocket key" in caplog.text
