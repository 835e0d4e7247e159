"""Starting is measured until the server says that it is ready; one that does not is an error with its last words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.bench.errors import BenchError
from tools.bench.report import Line
from tools.bench.rows import Metric
from tools.bench.servers import Program
from tools.bench.starts import measure_start


def test_a_start_is_measured(tmp_path: Path) -> None:
    (tmp_path / "server.conf").write_text('listen: "127.0.0.1:-1"\n')
    figures = measure_start(Program("natskeep", (sys.executable, "-m", "broker")), tmp_path / "server.conf")
    assert 0 < figures["beyond"] < figures["ready"]


def test_a_server_that_ends_instead_is_an_error(tmp_path: Path) -> None:
    broken = Program("natskeep", (sys.executable, "-c", "raise SystemExit('broken')"))
    with pytest.raises(BenchError, match="natskeep did not become ready: broken"):
        measure_start(broken, tmp_path / "server.conf")


@pytest.mark.parametrize(("own", "verdict"), [(0.3, "pass"), (0.35, "pass"), (0.36, "falls short")])
def test_an_absolute_bound_is_judged_by_the_own_figure(own: float, verdict: str) -> None:
    metric = Metric("beyond", "a start", "s", None, more_is_better=False, at_most=0.35)
    assert Line(metric, {"natskeep": own, "nats-server": 9.0}, (own / 9.0,), None).verdict == verdict
    assert Line(metric, {}, (), None).verdict == ""
