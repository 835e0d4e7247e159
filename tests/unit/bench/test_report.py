"""Ratios are medians of the rounds' ratios, verdicts follow what is wanted, and figures are readable."""

from __future__ import annotations

import json

import pytest

from tools.bench.client import Target
from tools.bench.report import RowResult, ServerResult, align, amount, as_json, lines_of, table
from tools.bench.rows import Metric, Row, all_rows, select_rows
from tools.bench.servers import Server
from tools.bench.workers import Figures

RATE = Metric("rate", "a rate", "msg/s", 2.0)
LATENCY = Metric("p99", "a latency", "s", 1.0, more_is_better=False)


class FixedRow(Row):
    """A row that is never measured."""

    def measure(self, target: Target, server: Server | None, seconds: float) -> Figures:
        raise AssertionError("not measured in this test")


def result(*metrics: Metric, ours: list[Figures], theirs: list[Figures]) -> RowResult:
    servers = {
        "natskeep": ServerResult(ours, [1.0], [0.1], 3 * 1024**2),
        "nats-server": ServerResult(theirs, [1.5], [0.1], 5 * 1024**2),
    }
    return RowResult(FixedRow("fixed", *metrics), servers, ceiling={"rate": 9e6})


def test_ratio_is_the_median_of_the_rounds_not_of_the_figures() -> None:
    rounds = result(
        RATE,
        ours=[{"rate": 4.0}, {"rate": 10.0}, {"rate": 9.0}],
        theirs=[{"rate": 1.0}, {"rate": 5.0}, {"rate": 3.0}],
    )
    (line,) = lines_of(rounds)
    assert line.ratios == (4.0, 2.0, 3.0)
    assert line.ratio == 3.0
    assert line.medians == {"natskeep": 9.0, "nats-server": 3.0}
    assert line.verdict == "pass"


@pytest.mark.parametrize(
    ("metric", "ratio", "passes"),
    [(RATE, 2.0, True), (RATE, 1.99, False), (LATENCY, 1.0, True), (LATENCY, 1.01, False), (LATENCY, 0.2, True)],
)
def test_verdict_follows_the_direction(metric: Metric, ratio: float, passes: bool) -> None:
    assert metric.passes(ratio) is passes
    (line,) = lines_of(result(metric, ours=[{metric.key: ratio}], theirs=[{metric.key: 1.0}]))
    assert line.verdict == ("pass" if passes else "falls short")


def test_a_floor_keeps_tiny_and_negative_differences_from_making_a_ratio() -> None:
    miss = Metric("miss", "a miss", "s", 1.0, more_is_better=False, floor=1e-9)
    (line,) = lines_of(result(miss, ours=[{"miss": -5e-8}], theirs=[{"miss": 4e-9}]))
    assert line.ratio == pytest.approx(0.25)


def test_a_failed_server_leaves_no_ratio_and_is_named() -> None:
    failed = result(RATE, ours=[], theirs=[{"rate": 1.0}])
    failed.servers["natskeep"].error = "it fell over"
    (line,) = lines_of(failed)
    assert line.ratio is None
    assert not line.verdict
    text = table([failed], ["natskeep", "nats-server"])
    assert "failed" in text
    assert "fixed: natskeep: it fell over" in text


def test_table_has_one_line_for_each_metric() -> None:
    both = result(RATE, LATENCY, ours=[{"rate": 3e6, "p99": 1e-4}], theirs=[{"rate": 1e6, "p99": 2e-4}])
    lines = table([both], ["natskeep", "nats-server"]).splitlines()
    assert len(lines) == 4
    assert "3.00 M msg/s" in lines[2]
    assert "9.00 M msg/s" in lines[2]
    assert "3.00 MiB / 5.00 MiB" in lines[2]
    assert "100 µs" in lines[3]
    assert "≤ 1" in lines[3]


def test_json_keeps_every_round() -> None:
    both = result(RATE, ours=[{"rate": 3e6}, {"rate": 2e6}], theirs=[{"rate": 1e6}, {"rate": 1e6}])
    (row,) = json.loads(json.dumps(as_json([both])))
    assert row["servers"]["natskeep"]["rounds"] == [{"rate": 3e6}, {"rate": 2e6}]
    assert row["lines"][0]["ratios"] == [3.0, 2.0]
    assert row["lines"][0]["ratio"] == 2.5


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_234_567.0, "msg/s", "1.23 M msg/s"),
        (999.0, "/s", "999 /s"),
        (12_340.0, "/s", "12.3 k /s"),
        (0.00012345, "s", "123 µs"),
        (2.5e-10, "s", "0.25 ns"),
        (1.5, "s", "1.50 s"),
        (0.0, "s", "0.00 ns"),
        (604 * 1024.0**2, "B", "604 MiB"),
        (512.0, "B", "512 B"),
    ],
)
def test_amounts_have_three_digits_and_a_prefix(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_columns_are_aligned() -> None:
    assert align([["work", "a"], ["x", "10"]]) == ["work   a", "----  --", "x     10"]


def test_every_row_has_its_own_key_and_what_is_wanted() -> None:
    rows = all_rows(idle=10, subscriptions=10)
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys))
    wanted = {row.key: row.metrics[0].wanted for row in rows}
    assert wanted["publish-16"] == 1.7
    assert wanted["1-1-16"] == wanted["1-8-128"] == 3.0
    assert wanted["1-1-128"] == wanted["4-4-128"] == wanted["tls-1-1-128"] == wanted["subjects-1000"] == 2.0


def test_the_best_round_follows_the_first_metric_that_is_there() -> None:
    row = FixedRow("fixed", LATENCY, RATE)
    assert row.best([{"rate": 1.0}, {"rate": 3.0}, {"rate": 2.0}]) == {"rate": 3.0}
    assert row.best([{"p99": 2.0, "rate": 9.0}, {"p99": 1.0, "rate": 1.0}]) == {"p99": 1.0, "rate": 1.0}
    assert row.best([{}, {}]) == {}


def test_rows_are_selected_by_pattern() -> None:
    rows = all_rows(idle=10, subscriptions=10)
    assert select_rows(rows, ()) == rows
    assert [row.key for row in select_rows(rows, ("tls-1-1-1*k", "idle"))] == ["tls-1-1-1k", "tls-1-1-16k", "idle"]
    assert select_rows(rows, ("nothing",)) == []
