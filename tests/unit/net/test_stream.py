"""Secured connections as asyncio transports: what HTTP monitoring stands on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

import broker.net.stream
from broker.config.options import Options, TLSOptions
from broker.net.channel import Ciphertext
from broker.net.stream import HIGH_WATER, SecuredStream, SecuredStreams
from tests.support.certificates import make_certificates
from tls.context import server_context
from tls.engine import ServerContext


class FakeService:
    """What streams need of a service."""

    def __init__(self, tls: TLSOptions | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.options = Options(tls=tls)
        self.ciphertext, self.plaintext = Ciphertext(), Ciphertext()


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.transport: SecuredStream
        self.data = b""
        self.told: list[str] = []
        self.changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(SecuredStream, transport)
        self.told.append("made")
        self.changed.set()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def pause_writing(self) -> None:
        self.told.append("pause")
        self.changed.set()

    def resume_writing(self) -> None:
        self.told.append("resume")
        self.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost" if error is None else f"lost: {type(error).__name__}")
        self.changed.set()

    async def until(self, what: str, size: int = 0) -> None:
        """Waits until it was told so, and has so much data."""
        async with asyncio.timeout(20):
            while what not in self.told or len(self.data) < size:
                self.changed.clear()
                await self.changed.wait()


class Place:
    """A port with streams, and the protocols of those who came."""

    def __init__(self, directory: Path, timeout: float) -> None:
        self.directory = directory
        self.tls = TLSOptions(
            cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"), timeout=timeout
        )
        self.context: ServerContext | None = server_context(self.tls)
        self.made: list[Recorder] = []
        self.came = asyncio.Event()
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        service = cast(Any, FakeService(self.tls))
        self.streams = SecuredStreams(service, listening, lambda: self.context, self._make)
        self.streams.start()

    def _make(self) -> Recorder:
        self.made.append(Recorder())
        self.came.set()
        return self.made[-1]

    async def comer(self) -> Recorder:
        """The protocol of who comes next, or came last."""
        async with asyncio.timeout(20):
            await self.came.wait()
        self.came.clear()
        return self.made[-1]

    async def connect(self, limit: int = 1 << 16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=self.directory / "ca.pem")
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="localhost", limit=limit
        )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates")).directory


@pytest.fixture
async def place(directory: Path) -> AsyncIterator[Place]:
    place = Place(directory, 20.0)
    yield place
    place.streams.close()
    for one in place.made:
        one.transport.abort()
    assert not place.streams._open


async def test_data_goes_both_ways(place: Place) -> None:
    reader, writer = await place.connect()
    writer.write(b"question")
    one = await place.comer()
    await one.until("made", 8)
    assert one.data == b"question"
    one.transport.write(b"answer")
    async with asyncio.timeout(20):
        assert await reader.readexactly(6) == b"answer"
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    await one.until("lost")
    assert one.told == ["made", "lost"]


async def test_who_knows_it_as_secure(place: Place) -> None:
    _, writer = await place.connect()
    one = await place.comer()
    transport = one.transport
    assert transport.get_extra_info("sslcontext") is place.context
    assert transport.get_extra_info("peername") == writer.get_extra_info("sockname")
    assert not transport.is_closing()
    assert not transport.can_write_eof()
    writer.transport.abort()
    await one.until("lost")


async def test_a_slow_reader_pauses_the_writer_and_loses_nothing(place: Place) -> None:
    reader, writer = await place.connect(limit=1 << 12)
    one = await place.comer()
    data = bytes(range(256)) * 64 * 1024
    one.transport.write(data)
    await one.until("pause")
    assert one.transport.get_write_buffer_size() > HIGH_WATER
    one.transport.close()
    assert one.transport.is_closing()
    one.transport.write(b"too late")
    async with asyncio.timeout(20):
        assert await reader.read(-1) == data
    await one.until("lost")
    assert one.told == ["made", "pause", "resume", "lost"]
    writer.transport.abort()


async def test_who_pauses_reading_gets_the_rest_later(place: Place) -> None:
    _, writer = await place.connect()
    one = await place.comer()
    one.transport.pause_reading()
    assert not one.transport.is_reading()
    writer.write(b"x" * 100_000)
    await writer.drain()
    assert one.data == b""
    one.transport.resume_reading()
    await one.until("made", 100_000)
    writer.transport.abort()
    await one.until("lost")


async def test_a_reset_is_told(place: Place) -> None:
    _, writer = await place.connect()
    one = await place.comer()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    await one.until("lost: ConnectionResetError")


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
async def test_who_does_not_shake_hands_is_let_go(place: Place, words: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(words)
    async with asyncio.timeout(20):
        await reader.read(-1)
    writer.transport.abort()
    assert not place.made


async def test_a_handshake_has_its_time(directory: Path) -> None:
    place = Place(directory, 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(b"\x16\x03\x01\x02\x00")
    async with asyncio.timeout(20):
        assert await reader.read(-1) == b""
    writer.transport.abort()
    assert not place.streams._open
    place.streams.close()


async def test_the_end_of_the_port_ends_handshakes(directory: Path) -> None:
    place = Place(directory, 20.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    place.streams._accept()
    assert place.streams._open
    place.streams.close()
    async with asyncio.timeout(20):
        assert await reader.read(-1) == b""
    writer.transport.abort()
    place.streams.close()


async def test_the_context_of_the_moment_is_taken_and_the_last_one_kept(place: Place) -> None:
    stricter = server_context(TLSOptions(cert_file=place.tls.cert_file, key_file=place.tls.key_file, min_version="1.3"))
    for context in (place.context, stricter, None):
        place.context = context
        _, writer = await place.connect()
        one = await place.comer()
        assert one.transport.get_extra_info("sslcontext") is (context or stricter)
        writer.transport.abort()


async def test_it_waits_when_no_connection_can_be_accepted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.net.stream, "RETRY_ACCEPT", 0.01)
    listening, accept = place.streams._listening, socket.socket.accept
    failures = [OSError(24, "Too many open files")]

    class Failing(socket.socket):
        def accept(self) -> Any:
            if failures:
                raise failures.pop()
            return accept(self)

    place.streams._listening = Failing(fileno=listening.detach())
    _, writer = await place.connect()
    assert not failures
    writer.transport.abort()
