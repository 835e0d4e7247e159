"""Reads what a server has packed with snappy, in its framing format (github.com/google/snappy, framing_format.txt)."""

from __future__ import annotations

_COMPRESSED, _UNCOMPRESSED = 0, 1
_CHECKSUM_BYTES = 4


def unpacked(stream: bytes) -> bytes:
    """The bytes of a whole stream; checksums are not looked at. Raises IndexError for one that ends too early."""
    found = bytearray()
    at = 0
    while at < len(stream):
        kind, size = stream[at], int.from_bytes(stream[at + 1 : at + 4], "little")
        chunk = stream[at + 4 : at + 4 + size]
        at += 4 + size
        if kind == _COMPRESSED:
            found += _block(chunk[_CHECKSUM_BYTES:])
        elif kind == _UNCOMPRESSED:
            found += chunk[_CHECKSUM_BYTES:]
    return bytes(found)


def _block(data: bytes) -> bytes:
    """One block: the length, of which every byte but the last has its highest bit set, then literals and copies."""
    at = next(number for number, byte in enumerate(data) if byte < 128) + 1
    found = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            extra = max((tag >> 2) - 59, 0)
            size = (int.from_bytes(data[at : at + extra], "little") if extra else tag >> 2) + 1
            at += extra
            found += data[at : at + size]
            at += size
            continue
        if tag & 3 == 1:
            size, offset = 4 + (tag >> 2 & 7), (tag >> 5) << 8 | data[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            size, offset = 1 + (tag >> 2), int.from_bytes(data[at : at + width], "little")
            at += width
        for _ in range(size):
            # A copy may reach into what it makes itself.
            found.append(found[-offset])
    return bytes(found)
