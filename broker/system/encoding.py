"""Answers made smaller, for whoever says that it can read them so."""

from __future__ import annotations

import gzip
from typing import Final

from broker.wire.values import readable

_ACCEPT: Final = b"accept-encoding"
_LEVEL: Final = 6


def accepted(header: bytes | None) -> str:
    """What the header block of a request says that it accepts, in lower case; empty where it says nothing."""
    for line in (header or b"").split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == _ACCEPT:
            return readable(value).strip().lower()
    return ""


def encoded(body: bytes, accepts: str) -> tuple[bytes | None, bytes]:
    """The header block and the body of an answer: compressed by gzip where that is accepted, else as it is.

    The header says so, and is left out where the request said nothing.
    """
    if not accepts:
        return None, body
    if "gzip" in accepts:
        return _block("gzip"), gzip.compress(body, _LEVEL)
    return _block("identity"), body


def _block(encoding: str) -> bytes:
    return f"NATS/1.0\r\nContent-Encoding: {encoding}\r\n\r\n".encode()
