"""The values that people type and read: dates, sizes, durations, time ranges, lists of subjects.

Every function that reads a value raises ValueError with a text that names the value. The syntax is the one that nsc
users know.
"""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_RELATIVE = re.compile(r"([+-]?\d+)([mhdwMy])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

# A month has 30 days here and a year 12 months, as nsc counts them.
_DISTANCES = ((60, "minute"), (3600, "hour"), (86400, "day"), (604800, "week"), (2592000, "month"), (31104000, "year"))
_YEAR = 31104000
_LONGEST = 37 * _YEAR

_DECIMAL_SIZES = ("", "k", "m", "g", "t", "p", "e")
_MAXIMUM_SIZE = 2**63 - 1

_SECOND = 10**9
_DURATION_UNITS = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 10**6,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ns": 1,
}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-z\u00b5\u03bc]*)")
_MAXIMUM_NANOSECONDS = 2**63 - 1

_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d")

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def parse_boolean(text: str) -> bool:
    """``true``, ``1``, ``f`` and the like."""
    if text not in _BOOLEANS:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return _BOOLEANS[text]


def parse_integer(text: str) -> int:
    """A whole number in decimal, of 64 bits."""
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_when(text: str, now: datetime) -> int:
    """A start or an expiry as unix seconds; 0 when there is none.

    ``0`` or nothing, ``2027-01-31`` (midnight UTC), ``2027-01-31 10:00:00 UTC``, or a distance from now:
    ``90m`` minutes, ``3h`` hours, ``2d`` days, ``2w`` weeks, ``1M`` months, ``1y`` years, each also negative.
    """
    if text in ("", "0"):
        return 0
    if "." in text:
        raise ValueError(f"start/expiry must be an integer value: {text}")
    if relative := _RELATIVE.fullmatch(text):
        try:
            return int(_shift(now, int(relative[1]), relative[2]).timestamp())
        except (ValueError, OverflowError):
            raise ValueError(f"couldn't parse expiry: {text} lies beyond the calendar") from None
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S UTC"):
        try:
            if _DATE.match(text):
                return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    if _DATE.match(text):
        raise ValueError(f'parsing time "{text}": {_wrong_in_date(text)}')
    raise ValueError(f"couldn't parse expiry: {text}")


def _wrong_in_date(text: str) -> str:
    """What is wrong with a text that begins as a date does."""
    if not 1 <= int(text[5:7]) <= 12:
        return "month out of range"
    try:
        datetime.strptime(text[:10], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return "day out of range"
    return f'extra text: "{text[10:]}"'


def _shift(now: datetime, count: int, unit: str) -> datetime:
    if unit in _UNITS:
        return now + count * _UNITS[unit]
    months = now.year * 12 + now.month - 1 + (count if unit == "M" else 12 * count)
    # A day that the month lacks runs over into the next month: January 31 and one month is March 3.
    first = now.replace(year=months // 12, month=months % 12 + 1, day=1)
    return first + timedelta(days=now.day - 1)


def parse_moment(text: str) -> int:
    """RFC 3339 or unix seconds, as unix seconds. ``0`` stays 0, which callers take as now."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise ValueError(f'provided value "{text}" is not a number nor parsable as RFC3339')
    return int(moment.timestamp())


def format_date(seconds: int) -> str:
    """``2026-11-23 07:31:57 UTC``, or nothing for 0."""
    if not seconds:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970-01-01 UTC"


def format_rfc3339(seconds: int) -> str:
    """``2026-11-23T07:31:57Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown_moment(text: str) -> str:
    """A time in RFC 3339 and UTC as tables have it: to the second, ``2026-11-23 07:31:57 UTC``."""
    return f"{text[:19].replace('T', ' ')} UTC" if text.endswith("Z") else text


def format_mail_date(seconds: int) -> str:
    """``Mon, 23 Nov 2026 07:31:57 UTC``, the form of RFC 1123 in English whatever the locale."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} UTC"


def format_distance(seconds: int, now: float) -> str:
    """How far a moment is from now in its largest whole unit: ``in 4 weeks``, ``1 day ago``."""
    distance = int(abs(seconds - now))
    if distance == 0:
        return "now"
    size, unit = max(((size, unit) for size, unit in _DISTANCES if distance >= size), default=(1, "second"))
    # One year and a half is two, as nsc counts them.
    count = 2 if 1.5 * _YEAR <= distance < 2 * _YEAR else distance // size
    words = f"{count} {unit}" + ("" if count == 1 else "s")
    if distance >= _LONGEST:
        words = "a long while"
    return f"in {words}" if seconds > now else f"{words} ago"


def parse_size(text: str) -> int:
    """A number with an optional unit: ``1K`` is 1000, ``1KiB`` is 1024, up to exabytes; a leading minus is kept."""
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
    unit = rest.lstrip("0123456789.,")
    digits = rest[: len(rest) - len(unit)].replace(",", "")
    unit = unit.strip()
    if not digits and not unit:
        return 0
    try:
        number = float(digits)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{digits}": invalid syntax') from None
    name = unit.lower().removesuffix("b")
    base = 1000
    if name.endswith("i"):
        name, base = name.removesuffix("i"), 1024
    if name not in _DECIMAL_SIZES or (base == 1024 and not name):
        raise ValueError(f"unhandled size name: {unit.lower()}")
    scale = int(base ** _DECIMAL_SIZES.index(name))
    value = int(digits) * scale if digits.isdigit() else int(number * scale)
    if value > _MAXIMUM_SIZE:
        raise ValueError(f"too large: {text}")
    return -value if sign else value


def format_size(count: int) -> str:
    """A number of bytes in two digits: ``999 B``, ``1.0 kB``, ``10 GB``."""
    if count < 10:
        return f"{count} B"
    exponent = (len(str(count)) - 1) // 3
    scaled = Decimal(count) / 1000**exponent
    rounded = (scaled * 10 + Decimal("0.5")).to_integral_value("ROUND_FLOOR") / 10
    unit = ("B", "kB", "MB", "GB", "TB", "PB", "EB")[exponent]
    return f"{rounded:.1f} {unit}" if rounded < 10 else f"{rounded:.0f} {unit}"


def parse_duration(text: str) -> int:
    """A duration such as ``5s``, ``1h30m`` or ``250ms``, in nanoseconds."""
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return 0
    total = Decimal(0)
    position = 0
    while position < len(rest):
        part = _DURATION_PART.match(rest, position)
        if part is None:
            raise ValueError(f'time: invalid duration "{text}"')
        if not part[2]:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if part[2] not in _DURATION_UNITS:
            raise ValueError(f'time: unknown unit "{part[2]}" in duration "{text}"')
        total += Decimal(part[1]) * _DURATION_UNITS[part[2]]
        position = part.end()
    if not rest or total > _MAXIMUM_NANOSECONDS:
        raise ValueError(f'time: invalid duration "{text}"')
    return -int(total) if text.startswith("-") else int(total)


def format_duration(nanoseconds: int) -> str:
    """``1h30m0s``, ``5s``, ``1.5s``, ``250ms``: the form that ``parse_duration`` reads."""
    sign, count = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if count == 0:
        return "0s"
    for unit, size in (("ns", 1), ("\u00b5s", 10**3), ("ms", 10**6)):
        if count < size * 1000:
            return f"{sign}{_plain(Decimal(count) / size)}{unit}"
    minutes, rest = divmod(count, 60 * 10**9)
    text = f"{_plain(Decimal(rest) / 10**9)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h" if hours else "") + f"{minutes}m{text}"
    return sign + text


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_time_range(text: str) -> tuple[str, str]:
    """``08:00:00-17:00:00`` as start and end; the end may lie before the start, past midnight."""
    form = 'require format: "15:04:05-15:04:05"'
    parts = text.split("-")
    if len(parts) != 2:
        raise ValueError(f'{form} got "{text}"')
    for part, name in zip(parts, ("start", "end"), strict=True):
        if not _CLOCK.fullmatch(part):
            raise ValueError(f'{form} could not parse {name} time "{part}"')
    return parts[0], parts[1]


def split_list(text: str) -> list[str]:
    """A comma-separated list; an entry in double quotes may hold commas."""
    if not text:
        return []
    return next(csv.reader([text], skipinitialspace=False))
