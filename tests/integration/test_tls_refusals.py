"""TLS at the port of clients: nothing in the clear is heard where TLS is required, and every odd handshake ends.

What failed handshakes leave in the log, the trail and monitoring is in ``test_tls_failures.py``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker import Server
from broker.config.options import AuthorizationOptions, TLSOptions
from tests.support.certificates import Certificates, make_certificates
from tests.support.loops import in_every_loop
from tests.support.serving import Client, SecureClient, close_reason, connect_line, serving, session_of, until

FAILURE = "TLS Handshake Failure"
BRIEF = 0.1
"""Seconds for a handshake that never comes."""

CLEAR_WORDS = connect_line() + b"SUB > 1\r\nPUB a 5\r\nclear\r\nPING\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def directory(certificates: Certificates) -> Path:
    return certificates.directory


@asynccontextmanager
async def securing(directory: Path, tls: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Server]:
    """A server with TLS."""
    settings = TLSOptions(
        cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"), **(tls or {})
    )
    async with serving(tls=settings, **options) as server:
        yield server


def trusting(directory: Path, certificate: str = "") -> ssl.SSLContext:
    """A client's context, with a certificate of its own if one is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(directory / "ca.pem"))
    if certificate:
        context.load_cert_chain(str(directory / f"{certificate}.pem"), str(directory / f"{certificate}-key.pem"))
    return context


async def listener(server: Server, directory: Path, *, first: bool = False) -> SecureClient:
    """A client that is secured and hears everything."""
    client = await SecureClient.open(server)
    if not first:
        client.info = json.loads((await client.clear_frame())[5:])
    await client.handshake(trusting(directory))
    if first:
        await client.greeting()
    await client.introduce()
    assert await client.frame() == b"PONG"
    await client.send(b"SUB > 1\r\n")
    assert await client.ping() == []
    return client


# Bytes in the clear


@in_every_loop
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("words", [CLEAR_WORDS, b"PING\r\n", b"\r\n", b"GET / HTTP/1.1\r\n", b"\0", b"\x15\x03\x01"])
async def test_clear_words_are_not_heard_where_tls_is_required(directory: Path, words: bytes, at_once: bool) -> None:
    async with securing(directory) as server:
        witness = await listener(server, directory)
        client = await Client.open(server)
        if at_once:
            await client.send(words)
        info = await client.greeting()
        assert info["tls_required"] is True
        if not at_once:
            await client.send(words)
        assert await client.rest() == b""
        assert await close_reason(server, client) == FAILURE
        assert await witness.ping() == []
        record = server.service.closed[-1]
        assert (record.in_messages, record.subscription_count, record.account) == (0, 0, "")


@in_every_loop
@pytest.mark.parametrize("first", [True, 30.0])
async def test_clear_words_are_not_heard_where_the_handshake_comes_first(directory: Path, first: bool | float) -> None:
    async with securing(directory, {"handshake_first": first}) as server:
        witness = await listener(server, directory, first=True)
        client = await Client.open(server)
        await client.send(CLEAR_WORDS)
        assert await client.rest() == b""
        await until(lambda: len(server.service.closed) == 1)
        assert server.service.closed[0].reason == FAILURE
        assert await witness.ping() == []


@in_every_loop
async def test_clear_words_after_a_part_of_the_handshake_are_not_heard(directory: Path) -> None:
    async with securing(directory, {"timeout": BRIEF}) as server:
        witness = await listener(server, directory)
        for count in (1, 5, 60):
            client = await SecureClient.open(server)
            await client.clear_frame()
            await client.raw_send(client.begin(trusting(directory))[:count] + CLEAR_WORDS)
            assert b"-ERR" not in await raw_rest(client)
        await until(lambda: len(server.service.closed) == 3)
        assert {record.reason for record in server.service.closed} == {FAILURE}
        assert await witness.ping() == []


async def raw_rest(client: SecureClient) -> bytes:
    """What comes beside TLS until the end."""
    data = b""
    while piece := await Client.receive(client):
        data += piece
    return data


@in_every_loop
async def test_clear_words_after_the_handshake_are_no_records(directory: Path) -> None:
    async with securing(directory) as server:
        witness, client = await listener(server, directory), await listener(server, directory)
        await client.raw_send(CLEAR_WORDS)
        assert b"-ERR" not in await raw_rest(client)
        assert await close_reason(server, client) == "Read Error"
        assert await witness.ping() == []


# Handshakes that do not come, or not to an end


@in_every_loop
async def test_a_client_that_goes_in_the_midst_of_a_handshake(directory: Path) -> None:
    async with securing(directory) as server:
        for gone in (Client.close, Client.reset):
            for count in (0, 1, 100, 10_000):
                client = await SecureClient.open(server)
                await client.clear_frame()
                await client.raw_send(client.begin(trusting(directory))[:count])
                gone(client)
        await until(lambda: not server.service.connections)
        assert (await listener(server, directory)).tls.version() == "TLSv1.3"


@in_every_loop
async def test_a_reset_right_behind_sealed_words_is_noticed(directory: Path) -> None:
    async with securing(directory) as server:
        witness = await listener(server, directory)
        for _ in range(5):
            client = await SecureClient.secured(server, trusting(directory))
            await client.send(b"PUB words 5\r\nhello\r\n")
            client.reset()
            assert await witness.frame() == b"MSG words 1 5\r\nhello"
            assert await close_reason(server, client) == "Read Error"


@in_every_loop
async def test_a_reset_right_behind_the_first_words_is_noticed(directory: Path) -> None:
    async with securing(directory, allow_non_tls=True) as server:
        witness = await listener(server, directory)
        for _ in range(5):
            client = await Client.open(server)
            await client.greeting()
            await client.send(connect_line() + b"PUB words 5\r\nhello\r\n")
            client.reset()
            assert await witness.frame() == b"MSG words 1 5\r\nhello"
            assert await close_reason(server, client) == "Read Error"


@in_every_loop
async def test_a_reset_right_behind_a_part_of_the_handshake_is_noticed(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with securing(directory) as server:
        for _ in range(5):
            client = await SecureClient.open(server)
            client.info = json.loads((await client.clear_frame())[5:])
            hello = client.begin(trusting(directory))
            await client.raw_send(hello[:50])
            await until(lambda number=client.cid: server.service.connections[number].channel is not None)
            await client.raw_send(hello[50:60])
            client.reset()
            assert await close_reason(server, client) == FAILURE
        assert "TLS handshake error" in caplog.text
        assert "within the timeout" not in caplog.text


# Handshakes that come late, early, or in odd pieces


@in_every_loop
async def test_the_handshake_comes_first(directory: Path) -> None:
    async with securing(directory, {"handshake_first": True}) as server:
        client = await listener(server, directory, first=True)
        assert client.info["tls_required"] is True


@in_every_loop
async def test_who_says_nothing_in_time_gets_info_and_the_classic_way(directory: Path) -> None:
    async with securing(directory, {"handshake_first": 0.05}) as server:
        await listener(server, directory, first=False)
        await listener(server, directory, first=True)


@in_every_loop
async def test_the_first_byte_decides_where_both_ways_are_open(directory: Path) -> None:
    async with securing(directory, allow_non_tls=True) as server:
        secured, clear = await listener(server, directory), await Client.connect(server)
        assert secured.info["tls_available"] is True
        assert "tls_required" not in secured.info
        await clear.send(b"PUB a 5\r\nhello\r\n")
        assert await secured.frame() == b"MSG a 1 5\r\nhello"
        assert session_of(server, secured).secured
        assert not session_of(server, clear).secured


@in_every_loop
async def test_words_glued_to_the_last_flight_are_heard(directory: Path) -> None:
    async with securing(directory) as server:
        witness = await listener(server, directory)
        client = await SecureClient.open(server)
        client.info = json.loads((await client.clear_frame())[5:])
        flight = await client.last_flight(trusting(directory))
        payload = b"x" * 200_000
        words = connect_line() + b"PUB a 200000\r\n%b\r\nPING\r\n" % payload
        records = [client.seal(words[at : at + 9000]) for at in range(0, len(words), 9000)]
        await client.raw_send(flight + b"".join(records))
        assert await client.frame() == b"PONG"
        assert await witness.frame() == b"MSG a 1 200000\r\n" + payload


class DrippingClient(SecureClient):
    """Sends every byte by itself."""

    async def raw_send(self, data: bytes) -> None:
        for at in range(len(data)):
            await super().raw_send(data[at : at + 1])


@in_every_loop
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_handshake_byte_by_byte(directory: Path, version: ssl.TLSVersion) -> None:
    context = trusting(directory)
    context.maximum_version = version
    async with securing(directory) as server:
        client = await DrippingClient.open(server)
        client.info = json.loads((await client.clear_frame())[5:])
        await client.handshake(context)
        await client.introduce()
        assert await client.frame() == b"PONG"


# Traffic and its end


@in_every_loop
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_big_messages_both_ways(directory: Path, version: ssl.TLSVersion) -> None:
    context = trusting(directory)
    context.maximum_version = version
    async with securing(directory, write_deadline=60.0) as server:
        one, other = await SecureClient.secured(server, context), await SecureClient.secured(server, context)
        await one.send(b"SUB to.one 1\r\n")
        await other.send(b"SUB to.other 1\r\n")
        assert await one.ping() == await other.ping() == []
        payload = bytes(range(256)) * 4096

        async def send(client: SecureClient, subject: bytes) -> None:
            for number in range(5):
                await client.send(b"PUB %b %d\r\n%d%b\r\n" % (subject, len(payload), number, payload[1:]))

        async def read(client: SecureClient, subject: bytes) -> None:
            for number in range(5):
                assert await client.frame() == b"MSG %b 1 %d\r\n%d%b" % (subject, len(payload), number, payload[1:])

        await asyncio.gather(
            send(one, b"to.other"), send(other, b"to.one"), read(one, b"to.one"), read(other, b"to.other")
        )


@in_every_loop
async def test_the_end_of_the_stream_is_said_on_both_sides(directory: Path) -> None:
    async with securing(directory) as server:
        client = await listener(server, directory)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        await client.raw_send(client.outgoing.read())
        while data := await Client.receive(client):
            client.incoming.write(data)
        client.tls.unwrap()
        assert await close_reason(server, client) == "Client Closed"


@in_every_loop
async def test_a_server_that_ends_a_connection_says_so(directory: Path) -> None:
    async with securing(directory) as server:
        client = await listener(server, directory)
        await client.send(b"XYZ\r\n")
        client.incoming.write(await raw_rest(client))
        assert client.tls.read(100) == b"-ERR 'Unknown Protocol Operation'\r\n"
        # Nothing is what the ssl module reads off a stream whose end was said; a cut would raise.
        assert client.tls.read(100) == b""


async def test_a_client_of_the_standard_library_closes_at_once(directory: Path) -> None:
    """Its close waits for the server's end of the stream, for half a minute if need be."""
    async with securing(directory) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        await writer.start_tls(trusting(directory), server_hostname="localhost")
        writer.write(connect_line() + b"PING\r\n")
        assert await reader.readline() == b"PONG\r\n"
        writer.close()
        async with asyncio.timeout(10.0):
            await writer.wait_closed()


@in_every_loop
async def test_who_reads_nothing_is_cut_under_tls_too(directory: Path) -> None:
    async with securing(directory, write_deadline=0.2, max_pending=1 << 30) as server:
        publisher = await listener(server, directory)
        slow = await SecureClient.secured(server, trusting(directory), receive_buffer=4096)
        await slow.send(b"SUB a 1\r\n")
        assert await slow.ping() == []
        await publisher.send(b"UNSUB 1\r\n")
        message = b"PUB a 60000\r\n%b\r\n" % (b"x" * 60000)
        while slow.cid in server.service.connections:
            await publisher.send(message)
            assert await publisher.ping() == []
        assert await close_reason(server, slow) == "Slow Consumer (Write Deadline)"


@in_every_loop
async def test_the_time_for_connect_begins_after_the_handshake(directory: Path) -> None:
    async with securing(directory, authorization=AuthorizationOptions(token="t", timeout=BRIEF)) as server:
        client = await SecureClient.open(server)
        client.info = json.loads((await client.clear_frame())[5:])
        await client.handshake(trusting(directory))
        assert await client.rest() == b"-ERR 'Authentication Timeout'\r\n"


@in_every_loop
async def test_a_stop_ends_handshakes_that_are_under_way(directory: Path) -> None:
    async with securing(directory) as server:
        for count in (0, 1, 100):
            client = await SecureClient.open(server)
            await client.clear_frame()
            await client.raw_send(client.begin(trusting(directory))[:count])
        await listener(server, directory)
        await server.stop()
