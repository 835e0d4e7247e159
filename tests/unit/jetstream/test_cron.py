"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from broker.jetstream.codec import parse_time, shown_time
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.publish import cron

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is over yet."""
    monkeypatch.setattr(cron, "now", lambda: 0)


def after(pattern: str, since: str, zone: str = "") -> str:
    return shown_time(cron.due(pattern, ZoneInfo(zone) if zone else None, parse_time(since)).moment)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("* * * * * *", "2026-03-10T12:30:46Z"),
        ("0 * * * * *", "2026-03-10T12:31:00Z"),
        ("45 30 12 * * *", "2026-03-11T12:30:45Z"),
        ("*/20 * * * * ?", "2026-03-10T12:31:00Z"),
        ("50/5 * * * * *", "2026-03-10T12:30:50Z"),
        ("10-30/10,+47 * * * * *", "2026-03-10T12:30:47Z"),
        ("*-3 * * * * *", "2026-03-10T12:30:46Z"),
        ("0 0 0 31 APR,Jun-jul *", "2026-07-31T00:00:00Z"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 9 * * mon-Fri", "2026-03-11T09:00:00Z"),
        ("0 0 9 * * 0", "2026-03-15T09:00:00Z"),
        # With both days given either is enough, with one of them open both must be right.
        ("0 0 9 20 * sun", "2026-03-15T09:00:00Z"),
        ("0 0 9 20 * */1", "2026-03-20T09:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@annually", "2027-01-01T00:00:00Z"),
        ("@monthly", "2026-04-01T00:00:00Z"),
        ("@weekly", "2026-03-15T00:00:00Z"),
        ("@daily", "2026-03-11T00:00:00Z"),
        ("@midnight", "2026-03-11T00:00:00Z"),
        ("@hourly", "2026-03-10T13:00:00Z"),
        ("@every 1m30s", "2026-03-10T12:32:15Z"),
    ],
)
def test_patterns_are_due_at_the_next_moment_that_they_mean(pattern: str, expected: str) -> None:
    assert after(pattern, "2026-03-10T12:30:45.25Z") == expected


def test_a_moment_is_due_once_and_may_be_over() -> None:
    found = cron.due("@at 2020-02-03T04:05:06+01:00", None, parse_time("2026-01-01T00:00:00Z"))
    assert (shown_time(found.moment), found.repeats) == ("2020-02-03T03:05:06Z", False)


@pytest.mark.parametrize(
    ("pattern", "since", "expected"),
    [
        ("0 0 9 * * *", "2026-03-28T09:00:00Z", "2026-03-29T07:00:00Z"),
        # The hour from two to three is left out in spring: the day has no half past two.
        ("0 30 2 * * *", "2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"),
        ("0 0 * * * *", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
        # It comes twice in autumn.
        ("0 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("0 30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
        ("0 30 2 * * *", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"),
    ],
)
def test_fields_are_about_the_clocks_of_a_zone(pattern: str, since: str, expected: str) -> None:
    assert after(pattern, since, "Europe/Berlin") == expected


def test_a_day_without_a_midnight_begins_with_its_first_hour() -> None:
    assert after("0 0 1 26 4 *", "2024-01-01T00:00:00Z", "Africa/Cairo") == "2024-04-25T22:00:00Z"


@pytest.mark.parametrize(
    ("pattern", "expected"), [("@every 10s", "2026-03-10T12:00:10Z"), ("*/7 * * * * *", "2026-03-10T12:00:07Z")]
)
def test_what_was_missed_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch, pattern: str, expected: str) -> None:
    monkeypatch.setattr(cron, "now", lambda: parse_time("2026-03-10T12:00:00Z"))
    assert after(pattern, "2026-01-01T00:00:00Z") == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "* * * * *", "* * * * * * *", "60 * * * * *", "* 60 * * * *", "* * 24 * * *", "* * * 0 * *", "* * * 32 * *",
        "* * * * 13 *", "* * * * * 7", "-1 * * * * *", "5-1 * * * * *", "*/0 * * * * *", "a * * * * *", ", * * * * *",
        "1-2-3 * * * * *", "1/2/3 * * * * *", "* * * * * monday", "0 0 0 30 2 *", "0 0 0 31 4,6 *", "@sometimes", "@at",
        "@at 2026-01-01", "@at now", "@every", "@every x", "@every 999ms", "@every -1h", "\u0661 * * * * *",
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        cron.due(pattern, None, parse_time("2026-03-10T12:30:45Z"))


@pytest.mark.parametrize("pattern", ["@at 2026-01-01T00:00:00Z", "@every 1m"])
def test_zones_go_with_fields_alone(pattern: str) -> None:
    with pytest.raises(ValueError, match="zone"):
        cron.due(pattern, BERLIN, 0)


def looked_for(hours: set[int], minutes: set[int], days: set[int], since: datetime) -> datetime:
    """The same, by looking at every minute."""
    moment = since.replace(second=0) + timedelta(minutes=1)
    while True:
        local = moment.astimezone(BERLIN)
        if local.hour in hours and local.minute in minutes and local.isoweekday() % 7 in days:
            return moment
        moment += timedelta(minutes=1)


def test_no_minute_is_passed_over() -> None:
    random = Random(51)
    for _ in range(200):
        hours = set(random.sample(range(24), random.randint(1, 12)))
        minutes = set(random.sample(range(60), random.randint(1, 20)))
        days = set(random.sample(range(7), random.randint(3, 7)))
        # Around both changes of the clocks.
        base = random.choice([datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)])
        since = base + timedelta(seconds=random.randrange(4 * 86400))
        texts = [",".join(map(str, one)) for one in (minutes, hours)]
        pattern = f"0 {texts[0]} {texts[1]} * * {','.join(map(str, days))}"
        found = cron.due(pattern, BERLIN, int(since.timestamp()) * NANOSECONDS).moment
        assert found == int(looked_for(hours, minutes, days, since).timestamp()) * NANOSECONDS, (pattern, since)
