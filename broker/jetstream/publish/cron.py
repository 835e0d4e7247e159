"""When a schedule is due: a moment, an interval, or six fields like those of cron (ADR-51)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.jetstream.codec import now, parse_time
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.config.durations import SECOND, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

YEARS_AHEAD: Final = 5
"""Where nothing is due within so many years, the pattern is taken for a mistake."""

_AT: Final = "@at "
_EVERY: Final = "@every "
_NAMED: Final = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DIGITS: Final = re.compile(r"\+?\d{1,9}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Field(NamedTuple):
    """The numbers that one field allows."""

    allowed: frozenset[int]
    is_any: bool
    """Whether it says that all are."""


class Due(NamedTuple):
    """When a schedule is due next."""

    moment: int
    """Nanoseconds since 1970."""
    repeats: bool


def due(pattern: str, zone: tzinfo | None, since: int) -> Due:
    """When a schedule is due after a moment, in nanoseconds since 1970.

    One that would have been due before now is due next after now, unless it is so once. A zone is for fields alone.
    Raises ValueError.
    """
    if pattern.startswith(_AT):
        _refuse(zone)
        return Due(parse_time(pattern.removeprefix(_AT)), repeats=False)
    present = now()
    if pattern.startswith(_EVERY):
        _refuse(zone)
        interval = parse_duration(pattern.removeprefix(_EVERY))
        if interval < SECOND:
            raise ValueError("an interval is at least a second")
        moment = _rounded(since) + interval
        return Due(moment if moment >= present else _rounded(present) + interval, repeats=True)
    fields = _Fields(_NAMED.get(pattern, pattern))
    moment = fields.after(since, zone or UTC)
    return Due(moment if moment >= present else fields.after(_rounded(present), zone or UTC), repeats=True)


def _refuse(zone: tzinfo | None) -> None:
    if zone is not None:
        raise ValueError("a time zone goes with fields alone")


def _rounded(moment: int) -> int:
    return (moment + NANOSECONDS // 2) // NANOSECONDS * NANOSECONDS


class _Fields:
    """Second, minute, hour, day of the month, month and day of the week."""

    def __init__(self, pattern: str) -> None:
        """Raises ValueError."""
        texts = pattern.split()
        if len(texts) != 6:
            raise ValueError(f"a pattern has 6 fields, not {len(texts)}")
        second, minute, hour, day, month, weekday = texts
        self._second = _field(second, 0, 59)
        self._minute = _field(minute, 0, 59)
        self._hour = _field(hour, 0, 23)
        self._day = _field(day, 1, 31)
        self._month = _field(month, 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
        self._weekday = _field(weekday, 0, 6, {name: number for number, name in enumerate(_DAYS)})

    def after(self, since: int, zone: tzinfo) -> int:
        """The first moment after another at which the clocks of a zone show what the fields allow.

        Raises ValueError.
        """
        moment = _EPOCH + timedelta(seconds=since // NANOSECONDS + 1)
        last_year = moment.astimezone(zone).year + YEARS_AHEAD
        while True:
            local = moment.astimezone(zone)
            if local.year > last_year:
                raise ValueError(f"nothing is due within {YEARS_AHEAD} years")
            if local.month not in self._month.allowed:
                following = local.year + local.month // 12, local.month % 12 + 1
                moment = datetime(*following, 1, tzinfo=zone).astimezone(UTC)
            elif not self._is_day(local):
                # A day is found by the calendar: it may have more or fewer hours than others.
                tomorrow = local.date() + timedelta(days=1)
                moment = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).astimezone(UTC)
            elif local.hour not in self._hour.allowed:
                moment += timedelta(seconds=3600 - local.minute * 60 - local.second)
            elif local.minute not in self._minute.allowed:
                moment += timedelta(seconds=60 - local.second)
            elif local.second not in self._second.allowed:
                moment += timedelta(seconds=1)
            else:
                return (moment - _EPOCH) // timedelta(seconds=1) * NANOSECONDS

    def _is_day(self, local: datetime) -> bool:
        """Whether the day is right: by both fields where one allows every day, else by either."""
        by_month = local.day in self._day.allowed
        by_week = local.isoweekday() % 7 in self._weekday.allowed
        if self._day.is_any or self._weekday.is_any:
            return by_month and by_week
        return by_month or by_week


def _field(text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> _Field:
    """What a field allows: numbers, ranges and steps with commas between them. Raises ValueError."""
    allowed: set[int] = set()
    is_any = False
    for part in filter(None, text.split(",")):
        numbers, is_all = _range(part, low, high, names or {})
        allowed.update(numbers)
        is_any |= is_all
    if not allowed:
        raise ValueError(f"a field allows nothing: {text}")
    return _Field(frozenset(allowed), is_any)


def _range(text: str, low: int, high: int, names: Mapping[str, int]) -> tuple[range, bool]:
    """The numbers of ``5``, ``1-5``, ``*``, ``*/2``, ``10/5`` or ``1-9/2``, and whether they are all."""
    span, *steps = text.split("/")
    begin, *ends = span.split("-")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    is_all = begin in ("*", "?")
    if is_all:
        start, stop = low, high
    else:
        start = _number(begin, names)
        if len(ends) > 1:
            raise ValueError(f"too many hyphens: {text}")
        stop = _number(ends[0], names) if ends else start
    step = _number(steps[0], {}) if steps else 1
    if steps and not ends:
        stop = high
    if not (low <= start <= stop <= high and step):
        raise ValueError(f"out of range: {text}")
    return range(start, stop + 1, step), is_all and step == 1


def _number(text: str, names: Mapping[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    if _DIGITS.fullmatch(text) is None:
        raise ValueError(f"no number: {text}")
    return int(text)
