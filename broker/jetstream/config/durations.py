"""Durations as the API counts them, in nanoseconds, and as Go writes them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

_UNITS: Final = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}
_TERM: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> int:
    """The nanoseconds of a duration as Go writes it. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = Fraction(), 0
    while at < len(rest):
        found = _TERM.match(rest, at)
        if found is None:
            break
        total += Fraction(found[1]) * _UNITS[found[2]]
        at = found.end()
    if not rest or at < len(rest) or total >= 1 << 63:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * int(total)


def shown_duration(nanoseconds: int) -> str:
    """Nanoseconds as Go writes a duration: ``1.5s``, ``2m0s``, ``150ms``."""
    if nanoseconds < 0:
        return f"-{shown_duration(-nanoseconds)}"
    if nanoseconds == 0:
        return "0s"
    for unit, name in ((1_000, "ns"), (MILLISECOND, "µs"), (SECOND, "ms")):
        if nanoseconds < unit:
            return _decimal(nanoseconds, unit // 1_000) + name
    hours, rest = divmod(nanoseconds, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds = _decimal(rest, SECOND) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    if not fraction:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{fraction:0{digits}d}".rstrip("0")
