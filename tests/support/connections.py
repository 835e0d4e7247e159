"""Connections of a server without a server: real sockets and a real account, in a loop whose time a test moves."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any, cast

import pytest

import broker.net.connection
import broker.net.listener
import broker.net.proxied
import broker.net.securing
import broker.net.service
import broker.net.writing
from auth.authenticate import Authenticator
from broker.config.options import Options
from broker.control.control import Control
from broker.core.outbox import Hub
from broker.net.certificates import CLIENT
from broker.net.connection import Connection
from broker.net.service import Service
from broker.settings import auth_settings
from broker.wire.errors import CloseReason
from broker.wire.info import ServerInfo
from tests.support.fake_loop import FakeClock, FakeLoop
from tls.served import serve

INFO = ServerInfo(
    server_id="N", server_name="n", host="127.0.0.1", port=4222, headers=True, auth_required=False,
    tls_required=False, tls_verify=False, tls_available=False, max_payload=1 << 20,
)  # fmt: skip


class Peer:
    """The client's end of one connection."""

    def __init__(self, connection: Connection, sock: socket.socket) -> None:
        self.connection = connection
        self.sock = sock
        self.records: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, size: int = 1 << 20) -> bytes:
        """What has come; b"" when there is nothing, or the stream has ended."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            return self.sock.recv(size)
        return b""

    def read_sealed(self, size: int = 1 << 20) -> bytes:
        """What has come through TLS of the next `size` bytes off the socket."""
        assert self.records is not None
        self._incoming.write(self.read(size))
        data = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self.records.read(1 << 20):
                data += piece
        return data

    def seal(self, data: bytes) -> bytes:
        """The records that carry data."""
        assert self.records is not None
        self.records.write(data)
        return self._outgoing.read()

    def rest(self) -> bytes:
        """Records that are sealed and not yet taken, as those of the end of the stream."""
        return self._outgoing.read()

    def last_flight(self, loop: FakeLoop, context: ssl.SSLContext) -> bytes:
        """Shakes hands up to the client's last words, which are returned instead of sent."""
        self.records = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while True:
            try:
                self.records.do_handshake()
            except ssl.SSLWantReadError:
                self.send(self._outgoing.read())
                loop.settle()
                self._incoming.write(self.read())
            else:
                return self._outgoing.read()

    @property
    def reason(self) -> CloseReason | None:
        """Why the server's side closed the session; None while it is open."""
        return self.connection.session.close_reason


class Network:
    """A service in a fake loop, and the peers of its connections."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.clock = FakeClock()
        net = broker.net
        for module in (net.connection, net.listener, net.proxied, net.securing, net.service, net.writing):
            monkeypatch.setattr(module, "time", self.clock)
        self.loop = FakeLoop(self.clock)
        self.options = Options(**options)
        control = Control(self.options, Authenticator(auth_settings(self.options)), Hub(), INFO)
        served = {} if self.options.tls is None else {CLIENT: serve(self.options.tls)}
        self.service = Service(cast(Any, self.loop), self.options, control, served)
        self._sockets: list[socket.socket] = []

    def open(self, *, send_buffer: int = 0) -> Peer:
        """A connection just accepted; a small send buffer makes its peer lag early."""
        ours, theirs = socket.socketpair()
        self._sockets += [ours, theirs]
        for sock in (ours, theirs):
            sock.setblocking(False)
        if send_buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        cid = self.service.total_connections = self.service.total_connections + 1
        connection = Connection(self.service, ours, "127.0.0.1", 1, cid)
        self.service.connections[cid] = connection
        connection.start()
        return Peer(connection, theirs)

    def connect(self, *, send_buffer: int = 0, **options: Any) -> Peer:
        """A connection that has sent CONNECT and PING and read the answers."""
        peer = self.open(send_buffer=send_buffer)
        peer.send(b"CONNECT " + json.dumps({"verbose": False, "pedantic": False, **options}).encode() + b"\r\nPING\r\n")
        self.loop.settle()
        assert peer.read().endswith(b"PONG\r\n")
        return peer

    def say(self, peer: Peer, data: bytes) -> None:
        """Sends bytes of a client and lets the server make of them what it will."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[peer.sock.send(rest) :]
            except BlockingIOError:
                assert self.loop.turn()
        self.loop.settle()

    def advance(self, seconds: float) -> None:
        """Lets time pass, then every socket have its turn."""
        self.loop.advance(seconds)
        self.loop.settle()

    def end(self) -> None:
        """Closes everything; nothing may be left in the loop."""
        for connection in list(self.service.connections.values()):
            connection.session.close(CloseReason.SERVER_SHUTDOWN)
        self.loop.settle()
        self.advance(broker.net.writing.LINGER)
        self.service.control.trail.close()
        assert not self.service.connections
        assert not self.loop.readers
        assert not self.loop.writers
        assert not self.loop.timers
        for sock in self._sockets:
            sock.close()
