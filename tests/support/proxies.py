"""Headers of the PROXY protocol, as proxies write them; kept apart from what reads them."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def line(source: str = "198.51.100.7", port: int = 51000, to: str = "198.51.100.1", at: int = 4222) -> bytes:
    """Version 1."""
    kind = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {kind} {source} {to} {port} {at}\r\n".encode()


def block(
    source: str = "198.51.100.7",
    port: int = 51000,
    to: str = "198.51.100.1",
    extensions: bytes = b"",
    *,
    checksum: bool = False,
) -> bytes:
    """Version 2, with the command PROXY; ``checksum`` adds the extension with a CRC-32C of the whole."""
    ends = ip_address(source).packed + ip_address(to).packed
    body = ends + struct.pack("!HH", port, 4222) + extensions
    if checksum:
        body += b"\x03\x00\x04" + bytes(4)
    header = SIGNATURE + b"\x21" + (b"\x11" if len(ends) == 8 else b"\x21") + struct.pack("!H", len(body)) + body
    return header[:-4] + struct.pack("!I", crc32c(header)) if checksum else header


def other(command: int, family: int, body: bytes = b"", version: int = 2) -> bytes:
    """Version 2 with anything in it; ``family`` is the byte of address family and transport."""
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", len(body)) + body


def crc32c(data: bytes) -> int:
    """CRC-32C by long division, bit by bit (RFC 3720, appendix B.4)."""
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            carry = (register ^ (byte >> bit)) & 1
            register >>= 1
            if carry:
                register ^= 0x82F63B78
    return register ^ 0xFFFFFFFF


@asynccontextmanager
async def proxy(port: int, header: bytes) -> AsyncIterator[int]:
    """A proxy before a port of this machine, which sends the header first and then passes on whatever comes.

    Yields its own port.
    """
    tasks: set[asyncio.Task[object]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        inner_writer.write(header)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
        await asyncio.gather(*tasks)
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
