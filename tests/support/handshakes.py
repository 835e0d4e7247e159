"""Handshakes over memory: a client of the ssl module and a context of the server, without sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import cast

from broker.net.channel import Ciphertext
from tls.engine import ServerContext

SHARED = Ciphertext()


class Peers:
    """A client and a server that hand each other their bytes."""

    def __init__(
        self,
        client: ssl.SSLContext,
        server: ServerContext,
        name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        """Shakes hands. Raises what either side raises: ssl.SSLError, or tls.failures.HandshakeError."""
        self._to_client, self._to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._to_client, self._to_server, server_hostname=name, session=session)
        self.server = server.connection()
        self.records = SHARED.records_of(self.server)
        pending: list[Callable[[], bool]] = [self._client_goes_on, self._server_goes_on]
        while pending:
            pending = [step for step in pending if not step()]
        # The client's last flight may still be refused, and the session ticket is still to come.
        self.received(1)
        self._client_reads()

    def _client_goes_on(self) -> bool:
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _server_goes_on(self) -> bool:
        try:
            self._feed()
            return self.server.handshake()
        finally:
            self.pass_on()

    def _feed(self) -> None:
        sealed = self._to_server.read()
        self.records.feed(memoryview(sealed), len(sealed))

    def _client_reads(self) -> bytes:
        try:
            return self.client.read(1 << 20)
        except ssl.SSLWantReadError:
            return b""

    def pass_on(self, count: int | None = None) -> None:
        """Hands the client what the server has sealed, or its first bytes."""
        sealed = bytes(self.records.sealed()[:count])
        self.records.sent(len(sealed))
        self._to_client.write(sealed)

    def sealed_by_client(self) -> bytes:
        """What the client has sealed, on its way to the server."""
        return self._to_server.read()

    def received(self, size: int = 1 << 16) -> bytes:
        """What the server can read."""
        self._feed()
        room = memoryview(bytearray(size))
        return bytes(room[: self.records.read_into(room)])


def offered_suites(context: ServerContext) -> list[str]:
    """The suites that a server would agree to, in its order, as OpenSSL names them."""
    return cast(list[str], context.connection()._connection.get_cipher_list())
