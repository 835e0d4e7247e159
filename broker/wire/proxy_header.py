"""The header of the PROXY protocol, versions 1 and 2: who stands behind a proxy (HAProxy, "The PROXY protocol", 2020).

A header is read to its last byte and no further, whatever follows it. What two readers could understand differently is
refused, and so is a header longer than any proxy sends.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import google_crc32c

LINE_PREFIX: Final = b"PROXY "
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"

LONGEST_LINE: Final = 107
"""Bytes of a header of version 1, its end included (section 2.1)."""

LARGEST_HEADER: Final = 4096
"""Bytes of a header of version 2. Its length has room for 65551, but what proxies say of TLS and of themselves is far
less."""

_END: Final = b"\r\n"
_PREAMBLE: Final = 16
_VERSION: Final = 0x2
_LOCAL, _PROXY = 0x0, 0x1
_STREAM: Final = 0x1
_UNSPECIFIED, _INET, _INET6, _UNIX = 0x0, 0x1, 0x2, 0x3
_ADDRESSES: Final = {_INET: 12, _INET6: 36}
"""Bytes of both addresses and ports, by family."""

_CHECKSUM_TYPE: Final = 0x03
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")


class ProxyHeaderError(ValueError):
    """What came is no header of the PROXY protocol; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a client comes from."""

    ip: str
    port: int


def begins_header(data: bytes | memoryview) -> bool:
    """Whether bytes that nobody waits for begin like a header."""
    start = bytes(data[: len(SIGNATURE)])
    return start.startswith((LINE_PREFIX, SIGNATURE))


class ProxyHeaderReader:
    """Takes a header as it comes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.is_whole = False
        self.source: Source | None = None
        """Where the client comes from; None where the proxy speaks for itself, or does not know."""

    def __len__(self) -> int:
        return len(self._data)

    def take(self, data: bytes) -> int:
        """Takes bytes that came next. Returns how many of them belong to the header: all, or those up to its end.

        Raises ProxyHeaderError.
        """
        before = len(self._data)
        self._data += data
        end = self._end()
        if end is None:
            return len(data)
        del self._data[end:]
        self.is_whole = True
        header = bytes(self._data)
        self.source = _source_of_line(header) if header.startswith(LINE_PREFIX) else _source_of_block(header)
        return end - before

    def _end(self) -> int | None:
        """Where the header ends; None where that is not known yet, or more of it is to come."""
        data = self._data
        if LINE_PREFIX.startswith(data[: len(LINE_PREFIX)]):
            end = data.find(_END)
            if end + len(_END) > LONGEST_LINE or (end < 0 and len(data) >= LONGEST_LINE):
                raise ProxyHeaderError("the line is too long")
            return end + len(_END) if end >= 0 else None
        if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
            raise ProxyHeaderError("there is none")
        if len(data) < _PREAMBLE:
            return None
        length: int = _PREAMBLE + struct.unpack_from("!H", data, 14)[0]
        if length > LARGEST_HEADER:
            raise ProxyHeaderError(f"{length} bytes are too many")
        return length if len(data) >= length else None


def _source_of_line(header: bytes) -> Source | None:
    words = header[len(LINE_PREFIX) : -len(_END)].split(b" ")
    if words[0] == b"UNKNOWN":
        # What follows is to be passed over (section 2.1).
        return None
    if len(words) != 5 or words[0] not in {b"TCP4", b"TCP6"}:
        raise ProxyHeaderError("the line is not made of TCP4 or TCP6, two addresses and two ports")
    is_ipv4 = words[0] == b"TCP4"
    source, _ = (_address(word, is_ipv4) for word in words[1:3])
    port, _ = (_port(word) for word in words[3:])
    return Source(source, port)


def _address(word: bytes, is_ipv4: bool) -> str:
    try:
        text = word.decode("ascii")
        return str(IPv4Address(text)) if is_ipv4 else _plain(IPv6Address(text))
    except (UnicodeDecodeError, AddressValueError):
        raise ProxyHeaderError("an address is not valid") from None


def _plain(address: IPv6Address) -> str:
    """An address of IPv4 as such where it stands inside IPv6 (RFC 4291, section 2.5.5.2). A zone means nothing here."""
    if address.scope_id is not None:
        raise ProxyHeaderError("an address is not valid")
    return str(address.ipv4_mapped or address)


def _port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > 65535:
        raise ProxyHeaderError("a port is not valid")
    return int(word)


def _source_of_block(header: bytes) -> Source | None:
    version, command = header[12] >> 4, header[12] & 0xF
    family, transport = header[13] >> 4, header[13] & 0xF
    if version != _VERSION:
        raise ProxyHeaderError(f"version {version} is unknown")
    if command not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError(f"command {command} is unknown")
    addresses = _ADDRESSES.get(family, 0) if command == _PROXY else 0
    if command == _PROXY:
        if family == _UNIX or family > _UNIX:
            raise ProxyHeaderError(f"address family {family} is not supported")
        if family != _UNSPECIFIED and transport != _STREAM:
            raise ProxyHeaderError("only streams are supported")
        if len(header) < _PREAMBLE + addresses:
            raise ProxyHeaderError("the addresses are cut off")
    if addresses:
        _check_extensions(header, _PREAMBLE + addresses)
    if family == _INET and addresses:
        ip, _, port = struct.unpack_from("!4s4sH", header, _PREAMBLE)
        return Source(str(IPv4Address(ip)), port)
    if family == _INET6 and addresses:
        ip, _, port = struct.unpack_from("!16s16sH", header, _PREAMBLE)
        return Source(_plain(IPv6Address(ip)), port)
    return None


def _check_extensions(header: bytes, start: int) -> None:
    """Goes through the extensions, of which only a checksum means anything here. Raises ProxyHeaderError."""
    at = start
    is_checked = False
    while at < len(header):
        if at + 3 > len(header):
            raise ProxyHeaderError("an extension is cut off")
        kind, length = struct.unpack_from("!BH", header, at)
        at += 3
        if at + length > len(header):
            raise ProxyHeaderError("an extension is cut off")
        if kind == _CHECKSUM_TYPE:
            if length != 4 or is_checked:
                raise ProxyHeaderError("there is more than one checksum, or one that has not 4 bytes")
            is_checked = True
            sent: int = struct.unpack_from("!I", header, at)[0]
            if google_crc32c.value(header[:at] + bytes(4) + header[at + 4 :]) != sent:
                raise ProxyHeaderError("the checksum is not that of the header")
        at += length

