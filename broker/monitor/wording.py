"""Durations, numbers and JSON in the words of the Go programs around NATS, which scripts compare with."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from auth.gojson import dumps
from broker.wire.values import nanoseconds

_UNITS: Final = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))

INDENT: Final = 2


def uptime(seconds: float) -> str:
    """Whole seconds as years, days, hours, minutes and seconds, from the largest unit there is: ``1d0h0m4s``."""
    return _span(max(int(seconds), 0))


@lru_cache(4096)
def _span(left: int) -> str:
    # Thousands of connections are listed at once, and most began in the same few seconds.
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return "".join(parts)


def duration(seconds: float) -> str:
    """A measured duration, such as ``869µs``, ``3.722515ms`` or ``1m2.5s``; below a millisecond in whole µs."""
    nanos = nanoseconds(seconds)
    if nanos < 1_000_000:
        return f"{max(nanos // 1000, 1)}µs"
    if nanos < 1_000_000_000:
        return f"{_decimal(nanos, 1_000_000)}ms"
    whole, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(whole, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if whole:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _decimal(count: int, unit: int) -> str:
    whole, rest = divmod(count, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def number(value: float) -> int | float:
    """A number without a fraction that is zero."""
    return int(value) if value == int(value) else value


def indented(value: object) -> bytes:
    """JSON over several lines."""
    return msgspec.json.format(compact(value), indent=INDENT)


def compact(value: object) -> bytes:
    """JSON on one line."""
    return dumps(value)
