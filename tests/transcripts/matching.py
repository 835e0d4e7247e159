"""What a recorded case says about an answer, compared with the answer: texts, frames and JSON.

Every function returns None when the answer is as recorded, else the reason in one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.support.snappy import unpacked

_ESCAPE = re.compile(rb"\\(r|n|t|\\|x[0-9a-fA-F]{2})")
_NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
_SPELLED = {13: "\\r", 10: "\\n", 9: "\\t", 92: "\\\\"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_KINDS: dict[str, Callable[[Any], bool]] = {
    "!any": lambda value: True,
    "!int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "!num": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "!str": lambda value: isinstance(value, str),
    "!bool": lambda value: isinstance(value, bool),
    "!obj": lambda value: isinstance(value, dict),
    "!list": lambda value: isinstance(value, list),
    "!time": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
}


def to_bytes(text: str) -> bytes:
    r"""The bytes of a recorded text, in which ``\r \n \t \\ \xHH`` are escapes."""
    return _ESCAPE.sub(lambda match: _NAMED.get(match[1]) or bytes([int(match[1][1:], 16)]), text.encode())


def to_text(data: bytes) -> str:
    """The recorded spelling of bytes; the inverse of :func:`to_bytes`."""
    return "".join(_SPELLED.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data)


def text_difference(wanted: str, got: bytes) -> str | None:
    """``wanted`` is the exact text, or after ``~`` a regular expression for the whole of it."""
    if wanted.startswith("~"):
        same = re.fullmatch(wanted[1:], got.decode("latin-1"), re.DOTALL) is not None
    else:
        same = to_bytes(wanted) == got
    return None if same else f"{to_text(got)!r} instead of {wanted!r}"


def json_difference(wanted: Any, got: Any, path: str = "$") -> str | None:
    """Objects are subsets (``=keys`` lists them all), lists compare element by element or as sets (``=has``,
    ``=unordered`` first), strings may be ``~regex``, ``!absent`` or the name of a kind such as ``!int``."""
    if isinstance(wanted, dict):
        return _object_difference(wanted, got, path)
    if isinstance(wanted, list):
        return _list_difference(wanted, got, path)
    if isinstance(wanted, str) and wanted in _KINDS:
        return None if _KINDS[wanted](got) else f"{path}: {wanted} wanted, got {got!r}"
    if isinstance(wanted, str) and wanted.startswith("~"):
        same = isinstance(got, str) and re.fullmatch(wanted[1:], got, re.DOTALL) is not None
    else:
        same = wanted == got and isinstance(wanted, bool) == isinstance(got, bool)
    return None if same else f"{path}: {got!r} instead of {wanted!r}"


def _object_difference(wanted: dict[str, Any], got: Any, path: str) -> str | None:
    if not isinstance(got, dict):
        return f"{path}: object wanted, got {got!r}"
    for key, value in wanted.items():
        reason: str | None
        if key == "=keys":
            reason = None if sorted(value) == sorted(got) else f"{path}: keys {sorted(got)} instead of {sorted(value)}"
        elif value == "!absent":
            reason = f"{path}.{key}: should be absent, is {got[key]!r}" if key in got else None
        elif key not in got:
            reason = f"{path}.{key}: missing"
        else:
            reason = json_difference(value, got[key], f"{path}.{key}")
        if reason:
            return reason
    return None


def _list_difference(wanted: list[Any], got: Any, path: str) -> str | None:
    if not isinstance(got, list):
        return f"{path}: list wanted, got {got!r}"
    if wanted and wanted[0] in ("=has", "=unordered"):
        remaining = list(got)
        for element in wanted[1:]:
            hit = next((i for i, found in enumerate(remaining) if json_difference(element, found) is None), None)
            if hit is None:
                return f"{path}: no element like {element!r}"
            del remaining[hit]
        return f"{path}: too much: {remaining!r}" if remaining and wanted[0] == "=unordered" else None
    if len(wanted) != len(got):
        return f"{path}: {len(got)} elements instead of {len(wanted)}: {got!r}"
    reasons = (
        json_difference(element, found, f"{path}[{i}]")
        for i, (element, found) in enumerate(zip(wanted, got, strict=True))
    )
    return next(filter(None, reasons), None)


def frame_difference(wanted: str | dict[str, Any], got: bytes) -> str | None:
    """``wanted`` is a text for the whole frame, or a map of ``line``, ``hdr``, ``data``, ``json`` and ``info``."""
    if isinstance(wanted, str):
        return text_difference(wanted, got)
    line, headers, payload = _split(got)
    if b"Content-Encoding: snappy\r\n" in headers:
        payload = unpacked(payload)
    for key, part in (("line", line), ("hdr", headers), ("data", payload)):
        if key in wanted and (reason := text_difference(wanted[key], part)):
            return f"{key}: {reason}"
    for key, part in (("info", line.removeprefix(b"INFO ")), ("json", payload)):
        if key not in wanted:
            continue
        try:
            document = json.loads(part)
        except ValueError:
            return f"{key}: no JSON in {to_text(got)[:300]!r}"
        if reason := json_difference(wanted[key], document):
            return f"{key}: {reason}"
    return None


def _split(frame: bytes) -> tuple[bytes, bytes, bytes]:
    """A frame's control line, header block and payload."""
    line, _, rest = frame.partition(b"\r\n")
    size = int(line.split()[-2]) if line[:5].upper() == b"HMSG " else 0
    return line, rest[:size], rest[size:]
