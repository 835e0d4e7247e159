"""Times, durations and JSON as the tools around NATS expect them."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.monitor.wording import compact, duration, indented, number, uptime
from broker.wire.values import moment, nanoseconds, readable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5.9, "5s"),
        (60, "1m0s"),
        (3600, "1h0m0s"),
        (86404, "1d0h0m4s"),
        (366 * 86400 + 61, "1y1d0h1m1s"),
        (-3, "0s"),
    ],
)
def test_uptime_begins_at_its_largest_unit(seconds: float, text: str) -> None:
    assert uptime(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000869, "869µs"),
        (1e-9, "1µs"),
        (0.001, "1ms"),
        (0.003722515, "3.722515ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (61.25, "1m1.25s"),
        (3661.5, "1h1m1.5s"),
    ],
)
def test_duration_is_written_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("unix", "text"),
    [
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000.5, "2023-11-14T22:13:20.5Z"),
        (1_700_000_000.000001, "2023-11-14T22:13:20.000001Z"),
    ],
)
def test_moment_has_no_trailing_zeros(unix: float, text: str) -> None:
    assert moment(unix) == text


def test_nanoseconds_are_whole() -> None:
    assert nanoseconds(120.0) == 120_000_000_000
    assert nanoseconds(0.1) == 100_000_000


def test_number_drops_an_empty_fraction() -> None:
    assert compact([number(2.0), number(2.5)]) == b"[2,2.5]"


class Sample(msgspec.Struct):
    empty: dict[str, int]
    nothing: list[int]
    text: str


def test_json_is_indented_and_escaped() -> None:
    assert indented(Sample({}, [], "<a> & \u2028")).decode() == (
        '{\n  "empty": {},\n  "nothing": [],\n  "text": "\\u003ca\\u003e \\u0026 \\u2028"\n}'
    )


@given(st.one_of(st.text(st.characters(exclude_categories=())), st.binary()))
def test_any_text_can_be_shown(text: str | bytes) -> None:
    shown = readable(text)
    assert json.loads(indented({"text": shown})) == {"text": shown}
    if isinstance(text, str) and text.isprintable():
        assert shown == text


@given(st.floats(0, 4e9))
def test_moments_are_rfc_3339(unix: float) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z", moment(unix))
