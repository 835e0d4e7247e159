"""Starting is measured until the server says that it is ready; one that does not is an error with its last words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from broker.config.language import parse_bytes
from broker.config.load import read_options
from tools.bench.errors import BenchError
from tools.bench.report import Line
from tools.bench.rows import Metric
from tools.bench.servers import Program
from tools.bench.starts import PLAIN, many_users, measure_start


def test_a_start_is_measured(tmp_path: Path) -> None:
    (tmp_path / "server.conf").write_text(PLAIN)
    figures = measure_start(Program("natskeep", (sys.executable, "-m", "broker")), tmp_path / "server.conf")
    assert 0 < figures["beyond"] < figures["ready"]


def test_a_server_that_ends_instead_is_an_error(tmp_path: Path) -> None:
    broken = Program("natskeep", (sys.executable, "-c", "raise SystemExit('broken')"))
    with pytest.raises(BenchError, match="natskeep did not become ready: broken"):
        measure_start(broken, tmp_path / "server.conf")


def test_the_large_configuration_has_that_many_users() -> None:
    options = read_options(parse_bytes(many_users(20, 3).encode())).options
    assert len({user.user for account in options.accounts for user in account.users}) == 60
    assert all(account.default_permissions is not None for account in options.accounts)


@pytest.mark.parametrize(("own", "verdict"), [(0.3, "pass"), (0.35, "pass"), (0.36, "falls short")])
def test_an_absolute_bound_is_judged_by_the_own_figure(own: float, verdict: str) -> None:
    metric = Metric("beyond", "a start", "s", None, more_is_better=False, at_most=0.35)
    assert Line(metric, {"natskeep": own, "nats-server": 9.0}, (own / 9.0,), None).verdict == verdict
    assert Line(metric, {}, (), None).verdict == ""
