"""Durations as the API counts them, in nanoseconds, and as Go writes them."""

from __future__ import annotations

from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE


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
