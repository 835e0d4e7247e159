"""A listener in a loop whose time a test moves, and the clients that dialled it from addresses of loopback."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from broker.net.listener import Listener
from tests.support.connections import Network


class House:
    """What stands between a port and its clients."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.network = Network(monkeypatch, ping_interval=1e6, **options)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        listening.setblocking(False)
        self.listener = Listener(self.network.service, listening)
        self.listener.start()
        self.clients: list[socket.socket] = []
        self.admission = self.network.service.admission

    def dial(self, source: str = "127.0.0.1") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.listener.port), 10.0, source_address=(source, 0))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        self.clients.append(client)
        self.network.loop.settle()
        return client

    def say(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        self.network.loop.settle()

    def heard(self, client: socket.socket) -> bytes:
        """What came, with the end of the stream as a last word."""
        data = b""
        try:
            while piece := client.recv(65536):
                data += piece
        except BlockingIOError:
            return data
        except ConnectionError:
            return data + b"<reset>"
        return data + b"<end>"

    def end(self) -> None:
        self.listener.close()
        for client in self.clients:
            client.close()
        self.network.loop.settle()
        self.network.end()
        assert self.admission.guests == self.admission.held == 0
        assert not self.admission._inside
