"""Values are read as people type them and written as they can be read again."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tools.nsk import values

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-31", "2027-01-31 00:00:00"),
        ("2046-01-02 03:04:05 UTC", "2046-01-02 03:04:05"),
        ("90m", "2026-01-31 13:30:00"),
        ("-3h", "2026-01-31 09:00:00"),
        ("2d", "2026-02-02 12:00:00"),
        ("+1w", "2026-02-07 12:00:00"),
        ("1M", "2026-03-03 12:00:00"),
        ("-2M", "2025-12-01 12:00:00"),
        ("1y", "2027-01-31 12:00:00"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    assert values.format_date(values.parse_when(text, NOW)) == f"{expected} UTC"


@pytest.mark.parametrize("text", ["", "0"])
def test_no_moment(text: str) -> None:
    assert values.parse_when(text, NOW) == 0
    assert values.format_date(0) == ""


@pytest.mark.parametrize("text", ["5", "5x", ".", "1.5d", "1Y", "2027-13-01", "2027-01-01 10:00:00", "9999999y"])
def test_bad_moments(text: str) -> None:
    with pytest.raises(ValueError, match=r"expiry|time"):
        values.parse_when(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("1700000000", 1700000000), ("2020-01-01T00:00:00Z", 1577836800)]
)
def test_timestamps(text: str, expected: int) -> None:
    assert values.parse_moment(text) == expected


@pytest.mark.parametrize("text", ["xx", "2020-01-01", "2020-01-01T00:00:00"])
def test_bad_timestamps(text: str) -> None:
    with pytest.raises(ValueError, match="RFC3339"):
        values.parse_moment(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-1", -1),
        ("1,000", 1000),
        ("1.5K", 1500),
        ("1 kb", 1000),
        ("1KiB", 1024),
        ("1Ki", 1024),
        ("2MiB", 2 * 1024**2),
        ("10G", 10**10),
        ("-5K", -5000),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert values.parse_size(text) == expected


@pytest.mark.parametrize("text", ["x", "1Z", "1.2.3", "--5", "16EiB", "9223372036854775808", "1iB"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|large|syntax"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (1050, "1.1 kB"),
        (9999, "10 kB"),
        (2097152, "2.1 MB"),
        (9 * 10**18, "9.0 EB"),
    ],
)
def test_shown_sizes(count: int, expected: str) -> None:
    assert values.format_size(count) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5s", "5s"),
        ("90s", "1m30s"),
        ("1h30m", "1h30m0s"),
        ("1500ms", "1.5s"),
        ("10us", "10µs"),
        ("0", "0s"),
        ("-5s", "-5s"),
    ],
)
def test_durations(text: str, shown: str) -> None:
    assert values.format_duration(values.parse_duration(text)) == shown


@given(some.integers(-(2**62), 2**62))
def test_durations_are_read_back(nanoseconds: int) -> None:
    assert values.parse_duration(values.format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("text", ["5", "abc", "1d", "1h1", "", "s", "300000h5000000h"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.parse_duration(text)


def test_time_ranges() -> None:
    assert values.parse_time_range("17:00:00-08:00:00") == ("17:00:00", "08:00:00")


@pytest.mark.parametrize("text", ["08:00:00", "8:0:0-9:0:0", "08:00:00-25:00:00", "a-b", "1-2-3"])
def test_bad_time_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="require format"):
        values.parse_time_range(text)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (59, "in 59 seconds"),
        (60, "in 1 minute"),
        (2 * 86400, "in 2 days"),
        (29 * 86400, "in 4 weeks"),
        (-86400, "1 day ago"),
        (0, "now"),
    ],
)
def test_distances(seconds: int, expected: str) -> None:
    assert values.format_distance(1_000_000_000 + seconds, 1_000_000_000) == expected


def test_mail_dates_are_english() -> None:
    assert values.format_mail_date(100) == "Thu, 01 Jan 1970 00:01:40 UTC"


def test_lists() -> None:
    assert values.split_list('a,"b,c",d') == ["a", "b,c", "d"]
    assert values.split_list("") == []


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("T", True), ("0", False)])
def test_booleans(text: str, expected: bool) -> None:
    assert values.parse_boolean(text) is expected


@given(some.text(max_size=30))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for parse in (
        values.parse_size,
        values.parse_duration,
        values.parse_moment,
        values.parse_integer,
        values.parse_boolean,
        values.parse_time_range,
        lambda given_text: values.parse_when(given_text, NOW),
    ):
        with suppress(ValueError):
            parse(text)
