"""JSON and quoting exactly as the Go programs around NATS write them.

Token ids are hashes of this JSON and signatures cover it, so bytes matter: struct fields in declared order, map
keys sorted, no spaces, and ``< > &`` and the two Unicode line separators escaped.
"""

from __future__ import annotations

import msgspec

_ESCAPES: tuple[tuple[bytes, bytes], ...] = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
_QUOTE_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def dumps(value: object) -> bytes:
    """The JSON of a msgspec struct or of plain data, as UTF-8."""
    return escaped(msgspec.json.encode(value, order="deterministic"))


def escaped(text: bytes) -> bytes:
    """JSON with the characters escaped that Go escapes besides those that must be."""
    for character, escape in _ESCAPES:
        if character in text:
            text = text.replace(character, escape)
    return text


def quote(text: str) -> str:
    """A string in double quotes with Go's escapes, as error texts show it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    parts: list[str] = []
    for character in text:
        escape = _QUOTE_ESCAPES.get(character)
        if escape is not None:
            parts.append(escape)
        elif character.isprintable():
            parts.append(character)
        elif ord(character) < 0x80:
            parts.append(f"\\x{ord(character):02x}")
        elif ord(character) < 0x10000:
            parts.append(f"\\u{ord(character):04x}")
        else:
            parts.append(f"\\U{ord(character):08x}")
    return '"' + "".join(parts) + '"'
