"""Source networks and daily windows."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from auth.windows import DailyWindows, is_within, parse_networks

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("127.0.0.1", ["127.0.0.0/8"], True),
        ("127.0.0.1", ["10.0.0.0/8"], False),
        ("127.0.0.1", ["10.0.0.0/8", "127.0.0.1/32"], True),
        ("10.9.9.9", ["10.1.2.3/8"], True),
        ("::ffff:10.0.0.1", ["10.0.0.0/8"], True),
        ("::1", ["::1/128"], True),
        ("::1", ["0.0.0.0/0"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("somewhere", ["0.0.0.0/0", "::/0"], False),
    ],
)
def test_networks(address: str, networks: list[str], *, expected: bool) -> None:
    assert is_within(address, parse_networks(networks)) is expected


@pytest.mark.parametrize("text", ["", "foo", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0/8", "/8"])
def test_texts_that_are_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="invalid cidr"):
        parse_networks([text])


def test_a_window_of_a_day() -> None:
    windows = DailyWindows.parse([("09:00:00", "17:30:00")], "Europe/Berlin")
    assert windows.closes_at(at("2024-05-02T12:00:00")) == at("2024-05-02T17:30:00")
    for outside in ("2024-05-02T08:59:59", "2024-05-02T09:00:00", "2024-05-02T17:30:00", "2024-05-02T23:00:00"):
        assert windows.closes_at(at(outside)) is None


def test_a_window_across_midnight() -> None:
    windows = DailyWindows.parse([("22:00:00", "06:00:00")], "Europe/Berlin")
    assert windows.closes_at(at("2024-05-02T23:00:00")) == at("2024-05-03T06:00:00")
    assert windows.closes_at(at("2024-05-03T05:59:59")) == at("2024-05-03T06:00:00")
    assert windows.closes_at(at("2024-05-03T12:00:00")) is None


def test_the_last_of_several_open_windows_counts() -> None:
    windows = DailyWindows.parse([("09:00:00", "12:00:00"), ("11:00:00", "15:00:00")], "Europe/Berlin")
    assert windows.closes_at(at("2024-05-02T11:30:00")) == at("2024-05-02T15:00:00")
    assert windows.closes_at(at("2024-05-02T10:00:00")) == at("2024-05-02T12:00:00")


def test_the_zone_decides() -> None:
    noon = at("2024-05-02T12:00:00", ZoneInfo("UTC"))
    assert DailyWindows.parse([("20:30:00", "21:30:00")], "Asia/Tokyo").closes_at(noon) is not None
    assert DailyWindows.parse([("20:30:00", "21:30:00")], "America/New_York").closes_at(noon) is None


def test_a_change_of_clocks_moves_the_end() -> None:
    windows = DailyWindows.parse([("01:00:00", "05:00:00")], "Europe/Berlin")
    opened, closed = at("2024-03-31T01:00:00"), windows.closes_at(at("2024-03-31T01:30:00"))
    assert closed is not None
    assert closed - opened == 3 * 3600


def test_the_own_zone_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2024, 5, 2, 12, 0, 0).timestamp()
    assert DailyWindows.parse([("11:00:00", "13:00:00")], "").closes_at(now) == now + 3600


def test_an_empty_window_never_opens() -> None:
    assert DailyWindows.parse([("09:00:00", "09:00:00")], "UTC").closes_at(at("2024-05-02T09:00:00")) is None


@pytest.mark.parametrize(
    ("start", "end"), [("", "10:00:00"), ("25:00:00", "1:00:00"), ("09:00", "10:00:00"), ("x", "y")]
)
def test_texts_that_are_no_time_of_day(start: str, end: str) -> None:
    with pytest.raises(ValueError, match="invalid time of day"):
        DailyWindows.parse([(start, end)], "UTC")


def test_unknown_zones() -> None:
    for name in ("No/Where", "../UTC"):
        with pytest.raises((ZoneInfoNotFoundError, ValueError)):
            DailyWindows.parse([], name)
