"""Times as the API writes them: integers of nanoseconds here, RFC 3339 with up to nine digits there."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from auth.gojson import quote

NANOSECONDS: Final = 1_000_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ZERO_TIME: Final = -62_135_596_800 * NANOSECONDS
"""Midnight of the first day of the year 1, which stands for no time at all."""

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_LAYOUT: Final = "2006-01-02T15:04:05Z07:00"


def now() -> int:
    """The time of the wall clock in nanoseconds since 1970 (UTC)."""
    return time.time_ns()


def shown_time(moment: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC; the fraction stands without its last zeros."""
    seconds, fraction = divmod(moment, NANOSECONDS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{text}Z"


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of a time in RFC 3339. Raises ValueError in the words of Go's parser."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f'parsing time {quote(text)} as "{_LAYOUT}": {_stumble(text)}')
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        what = str(error).split(" ")[0]
        raise ValueError(f"parsing time {quote(text)}: {what} out of range") from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    zone = found[8]
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    fraction = (found[7] or "")[:9].ljust(9, "0")
    return seconds * NANOSECONDS + int(fraction)


_PARTS: Final = (
    (r"\d{4}", "2006"), ("-", "-"), (r"\d\d", "01"), ("-", "-"), (r"\d\d", "02"), ("T", "T"), (r"\d\d", "15"),
    (":", ":"), (r"\d\d", "04"), (":", ":"), (r"\d\d", "05"), (r"(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)", "Z07:00"),
)  # fmt: skip


def _stumble(text: str) -> str:
    """Where a text stops being a time."""
    rest = text
    for pattern, meant in _PARTS:
        found = re.match(pattern, rest, re.ASCII)
        if found is None:
            return f'cannot parse {quote(rest)} as "{meant}"'
        rest = rest[found.end() :]
    return f"extra text: {quote(rest)}"
