"""The outer form of DER (X.690): where an element begins and ends, for what no library gives out as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
SEQUENCE: Final = 0x30

_LONGEST: Final = 8
"""Bytes that a length may take; no file is longer."""


class DERError(ValueError):
    """What should be an element of DER is none."""


def bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element begins that begins at ``at``, and where it ends.

    Raises DERError where it does not end within ``data``. Tags of one byte are all there are in X.509.
    """
    try:
        first = data[at + 1]
        begin = at + 2
        if first < 0x80:
            end = begin + first
        else:
            size = first & 0x7F
            if not 0 < size <= _LONGEST:
                raise DERError("its length has no end")
            begin += size
            end = begin + int.from_bytes(data[at + 2 : begin], "big")
    except IndexError:
        raise DERError("it ends too soon") from None
    if end > len(data):
        raise DERError("it ends too soon")
    return begin, end


def elements(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """The elements that stand one after another: where each begins, where its content does, and where both end.

    Raises DERError.
    """
    stop = len(data) if end is None else end
    while begin < stop:
        content, after = bounds(data, begin)
        if after > stop:
            raise DERError("a part ends behind the whole")
        yield begin, content, after
        begin = after


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of encoded elements."""
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes((SEQUENCE, len(content))) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes((SEQUENCE, 0x80 | size)) + len(content).to_bytes(size, "big") + content
