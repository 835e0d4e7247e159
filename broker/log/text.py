"""Text on its way into the log: nothing in it can begin a line of its own, steer a terminal or show a secret."""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[REDACTED]"

_SECRET: Final = re.compile(
    r"S(?<![A-Z2-7]S)[ACNOPUX][A-Z2-7]{56}(?![A-Z2-7])"  # the seed of an nkey or of a curve key
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # a token, which may be a bearer's
)
_SHORTEST_SECRET: Final = len("eyJ") + 8 + len(".") + 8 + len(".") + 8

_SHORT_ESCAPES: Final = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
}  # fmt: skip
_ALSO_QUOTED: Final = {**_SHORT_ESCAPES, '"': r"\"", "\\": r"\\"}
_UNDECODED: Final = range(0xDC80, 0xDD00)
"""What the error handler surrogateescape makes of bytes that are no UTF-8."""


def printable(text: str) -> str:
    """The text with everything escaped that breaks a line, moves a cursor, changes a direction or has no shape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one, _SHORT_ESCAPES) for one in text)


def quoted(text: str | bytes) -> str:
    """The text in double quotes, escaped as Go's `%q` does, so that where it ends cannot be disputed."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    shown = (one if one.isprintable() and one not in _ALSO_QUOTED else _escape(one, _ALSO_QUOTED) for one in text)
    return f'"{"".join(shown)}"'


def without_secrets(text: str) -> str:
    """The text with seeds and tokens blanked, wherever they came from."""
    if len(text) < _SHORTEST_SECRET:
        return text
    return _SECRET.sub(REDACTED, text)


def _escape(character: str, short: dict[str, str]) -> str:
    known = short.get(character)
    if known is not None:
        return known
    number = ord(character)
    if number in _UNDECODED:
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
