"""The header of the PROXY protocol: read to its last byte, in pieces of all sizes, and refused where it is none."""

from __future__ import annotations

import struct

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire.proxy_header import (
    LARGEST_HEADER,
    LONGEST_LINE,
    ProxyHeaderError,
    ProxyHeaderReader,
    Source,
    begins_header,
)
from tests.support import proxies
from tests.support.proxies import block, line, other

IPV6 = "2001:db8::7"
BEHIND = b'CONNECT {"verbose":false}\r\n\r\n\x00\r\nQUIT\n'


def read(data: bytes, size: int) -> tuple[Source | None, int]:
    """What a header says, read in pieces of a size, and how many bytes belong to it."""
    reader = ProxyHeaderReader()
    at = 0
    while not reader.is_whole:
        piece = data[at : at + size]
        assert piece, "the header has no end"
        taken = reader.take(piece)
        at += taken
        assert taken == len(piece) or reader.is_whole
    return reader.source, at


V4, V6 = Source("198.51.100.7", 51000), Source(IPV6, 51000)
NAMED = {
    "line": (line(), V4),
    "line, IPv6": (line(IPV6, to="2001:db8::1"), V6),
    "line, IPv4 in IPv6": (line("::ffff:192.0.2.9", to="::ffff:192.0.2.1"), Source("192.0.2.9", 51000)),
    "line, smallest": (line("1.1.1.1", 0, "1.1.1.1", 0), Source("1.1.1.1", 0)),
    "line, largest": (
        line("ffff:" * 7 + "ffff", 65535, "ffff:" * 7 + "ffff", 65535), Source("ffff:" * 7 + "ffff", 65535),
    ),
    "line, unknown": (b"PROXY UNKNOWN\r\n", None),
    "line, unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "block": (block(), V4),
    "block, IPv6": (block(IPV6, to="2001:db8::1"), V6),
    "block, IPv4 in IPv6": (block("::ffff:192.0.2.9", to="::1"), Source("192.0.2.9", 51000)),
    "block, extensions": (block(extensions=b"\x01\x00\x02h2\x04\x00\x00\xea\x00\x03vpc"), V4),
    "block, checksum": (block(checksum=True), V4),
    "block, two extensions": (block(IPV6, to="::1", extensions=b"\x02\x00\x01a", checksum=True), V6),
    "local": (other(0, 0x00), None),
    "local, with addresses": (other(0, 0x11, bytes(12)), None),
    "local, with anything": (other(0, 0x11, b"whatever"), None),
    "unspecified": (other(1, 0x00), None),
    "unspecified, with anything": (other(1, 0x00, bytes(33)), None),
    "largest": (block(extensions=b"\xee" + struct.pack("!H", 4065) + bytes(4065)), V4),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("behind", [b"", BEHIND], ids=["alone", "followed"])
def test_what_a_header_says(name: str, behind: bytes) -> None:
    header, source = NAMED[name]
    for size in {1, 2, 3, 7, 15, 16, 17, len(header) - 1, len(header), len(header) + len(behind)} - {0}:
        assert read(header + behind, size) == (source, len(header))


WRONG = {
    "other words": b"GET / HTTP/1.1\r\n",
    "a handshake": b"\x16\x03\x01",
    "a verb": b"PING\r\n",
    "almost the line": b"PROXYTCP4 1.1.1.1 1.1.1.1 1 1\r\n",
    "lower case": b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
    "no family": b"PROXY \r\n",
    "another family": b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
    "few words": b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
    "many words": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
    "two blanks": b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
    "a tab": b"PROXY TCP4\t1.1.1.1 1.1.1.1 1 1\r\n",
    "a bare line feed": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n" + b"x" * LONGEST_LINE,
    "IPv6 as IPv4": b"PROXY TCP4 ::1 ::1 1 1\r\n",
    "IPv4 as IPv6": b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
    "a name": b"PROXY TCP4 localhost 1.1.1.1 1 1\r\n",
    "leading zeros": b"PROXY TCP4 192.0.2.010 1.1.1.1 1 1\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
    "not ASCII": "PROXY TCP4 1.1.1.\u0661 1.1.1.1 1 1\r\n".encode(),
    "the other address": b"PROXY TCP4 1.1.1.1 1.1.1 1 1\r\n",
    "port above": b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
    "port with zeros": b"PROXY TCP4 1.1.1.1 1.1.1.1 080 1\r\n",
    "port with a sign": b"PROXY TCP4 1.1.1.1 1.1.1.1 +80 1\r\n",
    "the other port": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 x\r\n",
    "no end": b"PROXY TCP4 " + b"1" * LONGEST_LINE,
    "too long": b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 15) + b"\r\n",
    "another signature": block()[:11] + b"\r" + block()[12:],
    "version 1 in a block": other(1, 0x11, bytes(12), version=1),
    "version 3": other(1, 0x11, bytes(12), version=3),
    "another command": other(2, 0x11, bytes(12)),
    "a Unix socket": other(1, 0x31, bytes(216)),
    "another address family": other(1, 0x41, bytes(36)),
    "datagrams": other(1, 0x12, bytes(12)),
    "no transport": other(1, 0x10, bytes(12)),
    "addresses cut off": other(1, 0x11, bytes(11)),
    "addresses of IPv6 cut off": other(1, 0x21, bytes(35)),
    "an extension without length": block(extensions=b"\x01\x00"),
    "an extension cut off": block(extensions=b"\x01\x00\x05h2"),
    "a wrong checksum": block(checksum=True)[:-1] + b"\x00",
    "a changed address": b"".join((block(checksum=True)[:16], b"\x0a", block(checksum=True)[17:])),
    "a short checksum": block(extensions=b"\x03\x00\x02xx"),
    "two checksums": block(extensions=b"\x03\x00\x04xxxx", checksum=True),
    "too large": other(1, 0x11, bytes(LARGEST_HEADER - 15)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_header(name: str) -> None:
    for size in (1, 5, len(WRONG[name])):
        with pytest.raises(ProxyHeaderError):
            read(WRONG[name], size)


def test_the_longest_line_is_taken() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16) + b"\r\n"
    assert len(longest) == LONGEST_LINE
    assert read(longest + BEHIND, 1) == (None, LONGEST_LINE)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", proxies.SIGNATURE]))
def test_whatever_comes_is_bounded(data: bytes, start: bytes) -> None:
    reader = ProxyHeaderReader()
    try:
        for byte in start + data:
            if reader.is_whole:
                break
            assert reader.take(bytes([byte])) == 1
    except ProxyHeaderError:
        pass
    assert len(reader) <= LARGEST_HEADER


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
    st.integers(0, 65535),
    st.lists(st.tuples(st.integers(0x20, 0xFF), st.binary(max_size=20)), max_size=4),
    st.booleans(),
    st.binary(max_size=20),
)
def test_both_versions_say_the_same(
    ip: str, port: int, extensions: list[tuple[int, bytes]], checksum: bool, behind: bytes
) -> None:
    to = "::1" if ":" in ip else "127.0.0.1"
    more = b"".join(struct.pack("!BH", kind, len(data)) + data for kind, data in extensions)
    header = block(ip, port, to, more, checksum=checksum)
    first, _ = read(line(ip, port, to) + behind, 50)
    assert read(header + behind, 50) == (first, len(header))
    assert first is not None
    assert first.port == port


@given(st.binary(max_size=64))
def test_the_checksum_is_that_of_the_rfc(data: bytes) -> None:
    assert google_crc32c.value(data) == proxies.crc32c(data)


def test_the_checksum_of_the_example() -> None:
    """RFC 3720, appendix B.4: 32 bytes of zeros, and those from 0 to 31."""
    assert google_crc32c.value(bytes(32)) == 0x8A9136AA
    assert google_crc32c.value(bytes(range(32))) == 0x46DD794E


def test_what_begins_like_a_header() -> None:
    assert begins_header(line())
    assert begins_header(memoryview(block()))
    for other_start in (b"", b"PING\r\n", b"PROXY", b"\r\n\r\n", b"PUB PROXY 1\r\n"):
        assert not begins_header(other_start)
