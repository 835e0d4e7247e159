"""A server in the test's own loop, watched for what it leaves behind, and clients that choose every byte they send."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Self

from broker import Options, Server
from broker.session.record import ConnectionRecord
from broker.session.session import Session

PATIENCE = 20.0
"""Seconds that an event may take that must come; generous, because only a failing test waits so long."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST."""


_OPENED: ContextVar[list[socket.socket]] = ContextVar("_OPENED")
"""Sockets of the clients that a test has opened, for it to close none by hand."""


@asynccontextmanager
async def serving(options: Options | None = None, **changes: Any) -> AsyncIterator[Server]:
    """A server on a free port. The block fails where a callback raised, or the stop leaves anything behind.

    Clients that are still open at the end find out what a stop does to them, and are closed.
    """
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    _OPENED.set(opened)
    raised: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: raised.append(context))
    tasks = asyncio.all_tasks()
    server = Server(replace(options or Options(), host="127.0.0.1", port=-1, **changes))
    try:
        async with asyncio.timeout(3 * PATIENCE), server:
            yield server
    except BaseException as error:
        for context in raised:
            error.add_note(f"raised in the loop: {context}")
        raise
    finally:
        loop.set_exception_handler(None)
        for sock in opened:
            sock.close()
    assert not raised, raised
    assert asyncio.all_tasks() == tasks
    assert not server.service.connections
    assert_idle(server)


def assert_idle(server: Server) -> None:
    """No account has a session, a client's subscription or a plan cache in use."""
    control = server.service.control
    for name, tenant in control.tenants.items():
        own = len(control._internals[name]) if name in control._internals else 0
        assert not tenant.sessions
        assert tenant.subscriptions == own
        assert own or tenant.namespace.sublist.size == 0
        assert not tenant._caches
    assert not control.trail._spent


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something is so that no byte tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await turn()


def session_of(server: Server, client: Client) -> Session:
    """The server's side of a client that is connected."""
    return server.service.connections[client.cid].session


async def closed_record(server: Server, client: Client) -> ConnectionRecord:
    """What the server keeps of a client, as soon as it is gone."""
    await until(lambda: client.cid not in server.service.connections)
    return next(record for record in server.service.closed if record.cid == client.cid)


async def close_reason(server: Server, client: Client) -> str:
    """Why the server's side of a client ended, as soon as it has."""
    return (await closed_record(server, client)).reason


class Client:
    """One TCP connection to a server; a frame is a control line without CRLF, with header and payload after MSG.

    PINGs of the server are answered and not handed on, unless `keep_pings` is set.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.keep_pings = False
        self.buffer = bytearray()
        self.info: dict[str, Any] = {}
        self.loop = asyncio.get_running_loop()

    @staticmethod
    def port_of(server: Server) -> int:
        """Where it connects to."""
        return server.port

    @classmethod
    def address_of(cls, server: Server) -> tuple[str, int] | str:
        """The same with the host, or the path of a Unix socket."""
        return ("127.0.0.1", cls.port_of(server))

    @classmethod
    async def open(cls, server: Server, *, receive_buffer: int = 0) -> Self:
        """A connection of which nothing is read yet; a small receive buffer makes a receiver lag early."""
        address = cls.address_of(server)
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
        _OPENED.get().append(sock)
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client = cls(sock)
        async with asyncio.timeout(PATIENCE):
            await client.loop.sock_connect(sock, address)
        return client

    @classmethod
    async def connect(cls, server: Server, *, receive_buffer: int = 0, **options: Any) -> Self:
        """A connection that has sent CONNECT, not verbose and not pedantic unless told, and got its PONG."""
        client = await cls.open(server, receive_buffer=receive_buffer)
        await client.greeting()
        await client.introduce(**options)
        assert await client.frame() == b"PONG"
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    @property
    def cid(self) -> int:
        """The server's number of the connection."""
        return int(self.info["client_id"])

    async def greeting(self) -> dict[str, Any]:
        """The first INFO."""
        frame = await self.frame()
        assert frame.startswith(b"INFO {"), frame
        self.info = json.loads(frame[5:])
        return self.info

    async def introduce(self, **options: Any) -> None:
        """Sends CONNECT and PING."""
        await self.send(connect_line(**options) + b"PING\r\n")

    async def send(self, data: bytes) -> None:
        """Sends all of it."""
        async with asyncio.timeout(PATIENCE):
            await self.loop.sock_sendall(self.sock, data)

    async def receive(self) -> bytes:
        """Bytes as they come, b"" at the end of the stream, also where it is a reset."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.loop.sock_recv(self.sock, 65536)
        except ConnectionError:
            return b""

    async def frame(self) -> bytes:
        """The next frame. Raises EOFError at the end of the stream."""
        while True:
            found = self._cut()
            if found == b"PING" and not self.keep_pings:
                await self.send(b"PONG\r\n")
            elif found is not None:
                return found
            else:
                data = await self.receive()
                if not data:
                    raise EOFError(bytes(self.buffer))
                self.buffer += data

    async def frames(self, count: int) -> list[bytes]:
        """So many frames."""
        return [await self.frame() for _ in range(count)]

    async def ping(self) -> list[bytes]:
        """Sends PING; returns the frames before its PONG."""
        await self.send(b"PING\r\n")
        found = []
        while (frame := await self.frame()) != b"PONG":
            found.append(frame)
        return found

    async def rest(self) -> bytes:
        """Everything until the end of the stream."""
        while data := await self.receive():
            self.buffer += data
        data, self.buffer = bytes(self.buffer), bytearray()
        return data if self.keep_pings else data.replace(b"PING\r\n", b"")

    def close(self) -> None:
        """Closes; unread bytes make it a reset."""
        self.sock.close()

    def reset(self) -> None:
        """Cuts the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def _cut(self) -> bytes | None:
        buffer = self.buffer
        end = buffer.find(b"\r\n")
        if end < 0:
            return None
        size = end
        if bytes(buffer[:4]) in (b"MSG ", b"HMSG"):
            size = end + 2 + int(buffer[:end].split()[-1])
        if len(buffer) < size + 2:
            return None
        assert buffer[size : size + 2] == b"\r\n", bytes(buffer[: size + 2])
        found = bytes(buffer[:size])
        del buffer[: size + 2]
        return found


def connect_line(**options: Any) -> bytes:
    """A CONNECT that is neither verbose nor pedantic unless told."""
    return b"CONNECT " + json.dumps({"verbose": False, "pedantic": False, **options}).encode() + b"\r\n"


class SecureClient(Client):
    """A client whose TLS runs over memory, so that a test decides which bytes of it go out, and when."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls: ssl.SSLObject
        self.hostname = "localhost"
        """Who the server is to be, by its certificate."""

    @classmethod
    async def secured(cls, server: Server, context: ssl.SSLContext, *, receive_buffer: int = 0, **options: Any) -> Self:
        """A connection that is through with INFO, handshake and CONNECT."""
        client = await cls.open(server, receive_buffer=receive_buffer)
        frame = await client.clear_frame()
        client.info = json.loads(frame[5:])
        await client.handshake(context)
        await client.introduce(**options)
        assert await client.frame() == b"PONG"
        return client

    async def clear_frame(self) -> bytes:
        """A frame that comes before the handshake, and not a byte more."""
        while b"\r\n" not in self.buffer:
            data = await super().receive()
            if not data:
                raise EOFError(bytes(self.buffer))
            self.buffer += data
        frame, rest = bytes(self.buffer).split(b"\r\n", 1)
        assert rest == b""
        self.buffer.clear()
        return frame

    def begin(self, context: ssl.SSLContext) -> bytes:
        """The ClientHello."""
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=self.hostname)
        assert not self.step()
        return self.outgoing.read()

    def step(self) -> bool:
        """Goes on with the handshake as far as the bytes reach; True when the client's side is done."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def last_flight(self, context: ssl.SSLContext) -> bytes:
        """Shakes hands up to the client's last words, which are returned instead of sent."""
        await self.raw_send(self.begin(context))
        while not self.step():
            if self.outgoing.pending:
                await self.raw_send(self.outgoing.read())
            data = await super().receive()
            if not data:
                raise EOFError("the server ended the handshake")
            self.incoming.write(data)
        return self.outgoing.read()

    async def handshake(self, context: ssl.SSLContext) -> None:
        """The whole handshake, the client's side."""
        await self.raw_send(await self.last_flight(context))

    def seal(self, data: bytes) -> bytes:
        """The records that carry data."""
        self.tls.write(data)
        return self.outgoing.read()

    async def raw_send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        await super().send(data)

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), 65536):
            await self.raw_send(self.seal(data[start : start + 65536]))

    async def receive(self) -> bytes:
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = await super().receive()
            except ssl.SSLZeroReturnError:
                return b""
            if not data:
                return b""
            self.incoming.write(data)
