"""A server that does nothing but move bytes: what the load generator reaches against it is the generator's ceiling.

It reads everything that publishers send, counts frames by their length, and writes as many prebuilt frames to the
subscribers that `Routes` names. It looks at no credentials and parses nothing after the first PUB.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tls.context import server_context
from tls.policy import TLSSettings
from tools.bench.client import PING, PONG
from tools.bench.config import HOST
from tools.bench.errors import BenchError
from tools.bench.frames import Side, Walk
from tools.bench.secured import SecureSocket
from tools.bench.workers import Figures, Worker

if TYPE_CHECKING:
    from tls.engine import ServerContext

INFO = b'INFO {"server_id":"STANDIN","headers":true,"max_payload":1048576,"nonce":"bm8gcmVhbCBub25j"}\r\n'
NAME = re.compile(rb'"name":"([^"]+)"')
READ_BYTES = 256 * 1024
WRITE_BYTES = 256 * 1024
HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Route:
    """Where the messages of one connection go: frames of `size` bytes in, frames of `delivered` out to `receivers`."""

    size: int
    delivered: Side | None = None
    receivers: tuple[str, ...] = ()


Routes = Mapping[str, Route]
"""The route of each publishing connection, by the name that it gives in CONNECT."""


class StandIn:
    """The stand-in server, in forked processes of its own; use it as a context manager."""

    def __init__(
        self, routes: Routes, certificates: Path | None = None, processes: int = 1
    ) -> None:
        context = None
        if certificates is not None:
            certificate, key = (str(certificates / name) for name in ("server.pem", "server-key.pem"))
            context = server_context(TLSSettings(cert_file=certificate, key_file=key, min_version="1.3"))
        self._listener = socket.create_server((HOST, 0), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        serve = partial(_serve, self._listener, routes, context)
        self._workers = [Worker("stand-in", serve) for _ in range(processes)]

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()
        self._listener.close()


@dataclass(slots=True)
class _Peer:
    """One client of the stand-in."""

    connection: socket.socket
    name: str = ""
    text: bytes | None = b""
    total: int = 0
    tail: bytes = b""
    walk: Walk | None = None
    frame: int = 0
    owed: int = 0
    pongs: int = 0
    route: Route | None = field(default=None)


class _Hub:
    """All clients of one process, by name."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._peers: dict[str, _Peer] = {}

    def data(self, peer: _Peer, data: memoryview) -> list[_Peer]:
        """Take what a client sent; returns the clients to whom there is now something to write."""
        if peer.text is None:
            return self._frames(peer, data)
        text = peer.text + data
        while True:
            line, newline, rest = text.partition(b"\r\n")
            if text.startswith(b"PUB "):
                peer.text = None
                return [peer, *self._frames(peer, memoryview(text))]
            if not newline:
                peer.text = text
                return [peer]
            text = rest
            if line.startswith(b"CONNECT") and (name := NAME.search(line)):
                peer.name = name.group(1).decode()
                peer.route = self._routes.get(peer.name)
                self._peers[peer.name] = peer
            peer.pongs += line == b"PING"

    def _frames(self, peer: _Peer, data: memoryview) -> list[_Peer]:
        before = peer.total
        peer.total += len(data)
        peer.tail = (peer.tail + bytes(data[-len(PING) :]))[-len(PING) :]
        touched = []
        if peer.tail == PING:
            # A PING is always the last thing that a client sends before it waits.
            peer.total -= len(PING)
            peer.tail = b""
            peer.pongs += 1
            touched.append(peer)
        route = peer.route
        if route is None or route.delivered is None:
            return touched
        frames = peer.total // route.size - before // route.size
        for name in route.receivers if frames else ():
            receiver = self._peers[name]
            if receiver.walk is None:
                receiver.walk = Walk(route.delivered.fresh())
                receiver.frame = route.delivered.size
            receiver.owed += frames * receiver.frame
            touched.append(receiver)
        return touched


def _serve(listener: socket.socket, routes: Routes, context: ServerContext | None) -> Figures:
    hub = _Hub(routes)
    peers: dict[int, _Peer] = {}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    buffer = memoryview(bytearray(READ_BYTES))
    parent = os.getppid()
    while os.getppid() == parent:
        for descriptor, events in poll.poll(1000):
            if descriptor == listener.fileno():
                came = _accept(listener, context)
                if came is None:
                    continue
                # Its first words may have come with the end of its handshake, and the socket will not tell of them.
                peer = peers[came.connection.fileno()] = came
                poll.register(peer.connection, select.POLLIN)
                touched = []
            else:
                peer = peers[descriptor]
                touched = [peer] if events & select.POLLOUT else []
            if events & ~select.POLLOUT:
                size = _read(peer.connection, buffer)
                if size == 0:
                    poll.unregister(peer.connection)
                    del peers[peer.connection.fileno()]
                    peer.connection.close()
                    continue
                if size > 0:
                    touched += hub.data(peer, buffer[:size])
            for other in touched:
                if other.connection.fileno() >= 0:
                    done = _flush(other)
                    poll.register(other.connection, select.POLLIN if done else select.POLLIN | select.POLLOUT)
    return {}


def _accept(listener: socket.socket, context: ServerContext | None) -> _Peer | None:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return None
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(HANDSHAKE_SECONDS)
        connection.sendall(INFO)
        if context is not None:
            connection = SecureSocket.over(connection, context.connection())
        connection.setblocking(False)
    except (OSError, BenchError):
        connection.close()
        return None
    return _Peer(connection)


def _read(connection: socket.socket, buffer: memoryview) -> int:
    """Read what is there; 0 at the end of the connection, -1 if nothing is there."""
    try:
        return connection.recv_into(buffer)
    except BlockingIOError:
        return -1
    except OSError:
        return 0


def _flush(peer: _Peer) -> bool:
    """Write what is owed, then PONGs; false when the socket takes no more."""
    try:
        while peer.owed and peer.walk is not None:
            size = peer.connection.send(peer.walk.rest(min(WRITE_BYTES, peer.owed)))
            peer.walk.advance(size)
            peer.owed -= size
        if peer.pongs:
            peer.connection.send(PONG * peer.pongs)
            peer.pongs = 0
        if isinstance(peer.connection, SecureSocket) and peer.connection.unsent:
            peer.connection.send(b"")
            return not peer.connection.unsent
    except BlockingIOError:
        return False
    except OSError:
        peer.owed = peer.pongs = 0
    return True
