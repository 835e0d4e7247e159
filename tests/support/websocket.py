"""A WebSocket client that chooses every byte of its request and its frames, written from RFC 6455 alone."""

from __future__ import annotations

import base64
import hashlib
import itertools
import socket
import ssl
import zlib
from collections.abc import Mapping
from typing import Any, Self

from broker import Server
from tests.support.serving import Client, SecureClient

KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPTED = base64.b64encode(hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
MASK = b"\x1f\x80\x00\xa5"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    """The payload under a mask, or out of it."""
    return bytes(one ^ key for one, key in zip(payload, itertools.cycle(mask), strict=False))


def frame(
    payload: bytes = b"",
    opcode: int = BINARY,
    *,
    final: bool = True,
    reserved: int = 0,
    mask: bytes | None = MASK,
) -> bytes:
    """One frame; `reserved` are the three bits RSV1 to RSV3 as they stand in the first byte."""
    size, flag = len(payload), 0 if mask is None else 0x80
    if size < 126:
        length = bytes([flag | size])
    elif size < 1 << 16:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    head = bytes([(0x80 if final else 0) | reserved | opcode]) + length
    return head + (payload if mask is None else mask + masked(payload, mask))


def request(path: str = "/", headers: Mapping[str, str | None] | None = None) -> bytes:
    """The HTTP request; a header that is None is left out."""
    fields: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


class WebSocketClient(SecureClient):
    """One WebSocket to a server; what it sends and receives is what is inside the frames."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.is_secured = False
        self.stream = bytearray()
        """What came and is not yet taken apart."""
        self.answer = ""
        self.close_code: int | None = None
        self.close_text = ""
        self.pongs: list[bytes] = []
        self.sizes: list[int] = []
        """Payload sizes of the data frames that came, and their first bytes."""
        self.firsts: list[int] = []
        self._fragments: list[bytes] = []
        self._is_compressed = False

    @staticmethod
    def port_of(server: Server) -> int:
        return server.websocket_port

    @classmethod
    async def upgraded(
        cls,
        server: Server,
        headers: Mapping[str, str | None] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        path: str = "/",
        receive_buffer: int = 0,
    ) -> Self:
        """A connection that is through with the handshakes and has read INFO."""
        client = await cls.open(server, receive_buffer=receive_buffer)
        if tls is not None:
            await client.handshake(tls)
            client.is_secured = True
        assert await client.ask(request(path, headers)) == 101, client.answer
        assert f"Sec-WebSocket-Accept: {ACCEPTED}" in client.answer
        await client.greeting()
        return client

    @classmethod
    async def joined(
        cls,
        server: Server,
        headers: Mapping[str, str | None] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int = 0,
        **options: Any,
    ) -> Self:
        """A connection that was admitted besides."""
        client = await cls.upgraded(server, headers, tls=tls, receive_buffer=receive_buffer)
        await client.introduce(**options)
        assert await client.frame() == b"PONG"
        return client

    async def ask(self, data: bytes) -> int:
        """Sends a request; the status of the answer, and the answer's head in `answer`."""
        await self.plain_send(data)
        while b"\r\n\r\n" not in self.stream:
            data = await self.plain_receive()
            if not data:
                raise EOFError(bytes(self.stream))
            self.stream += data
        head, _, rest = bytes(self.stream).partition(b"\r\n\r\n")
        self.stream[:] = rest
        self.answer = head.decode()
        return int(self.answer.split()[1])

    async def plain_send(self, data: bytes) -> None:
        """Sends bytes as they are, through TLS where there is one."""
        await (super().send(data) if self.is_secured else Client.send(self, data))

    async def plain_receive(self) -> bytes:
        """The same the other way."""
        return await (super().receive() if self.is_secured else Client.receive(self))

    async def raw_send(self, data: bytes) -> None:
        await Client.send(self, data)

    async def send(self, data: bytes) -> None:
        """One masked frame."""
        await self.plain_send(frame(data))

    async def receive(self) -> bytes:
        """The payload of the next data frame, b"" once the server has closed."""
        while True:
            found = self._unframed()
            if found is not None:
                first, payload = found
                opcode = first & 0x0F
                if opcode == PONG:
                    self.pongs.append(payload)
                elif opcode == CLOSE:
                    self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
                    self.close_text = payload[2:].decode()
                else:
                    assert opcode in (CONTINUATION, BINARY)
                    self.firsts.append(first)
                    self.sizes.append(len(payload))
                    message = self._whole(first, payload)
                    if message:
                        return message
                continue
            data = await self.plain_receive()
            if not data:
                return b""
            self.stream += data

    def _whole(self, first: int, payload: bytes) -> bytes:
        """The message that ends with a frame; nothing while fragments are missing."""
        if first & 0x0F:
            self._is_compressed = bool(first & 0x40)
        self._fragments.append(payload)
        if not first & 0x80:
            return b""
        message, self._fragments = b"".join(self._fragments), []
        return zlib.decompressobj(-15).decompress(message + b"\x00\x00\xff\xff") if self._is_compressed else message

    def _unframed(self) -> tuple[int, bytes] | None:
        data = self.stream
        if len(data) < 2:
            return None
        assert not data[1] & 0x80, "a server masks nothing"
        start, size = 2, data[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        found = data[0], bytes(data[start : start + size])
        del data[: start + size]
        return found
