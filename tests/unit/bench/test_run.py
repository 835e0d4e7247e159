"""The command end to end: what it refuses, what it lists, and one short row against natskeep itself."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from click.testing import CliRunner

from tools.bench.__main__ import main
from tools.bench.rows import Connects, Metric
from tools.bench.run import Bench, Settings
from tools.bench.servers import Program

NATSKEEP = f"{shlex.quote(sys.executable)} -m broker"


def test_rows_can_be_listed() -> None:
    done = CliRunner().invoke(main, ["--list", "--row", "tls-*"])
    assert done.exit_code == 0
    keys = [line.split()[0] for line in done.output.splitlines()]
    assert keys == ["tls-1-1-128", "tls-1-1-1k", "tls-1-1-16k", "tls-1-8-128"]


def test_a_pattern_without_a_row_is_refused() -> None:
    done = CliRunner().invoke(main, ["--row", "nothing"])
    assert done.exit_code == 2
    assert "no row matches nothing" in done.output


def test_a_server_needs_a_known_name_and_a_command() -> None:
    for definition in ("natskeep", "natskeep=", "mosquitto=mosquitto"):
        done = CliRunner().invoke(main, ["--row", "1-1-16", "--server", definition])
        assert done.exit_code == 2
        assert "--server takes natskeep=COMMAND or nats-server=COMMAND" in done.output


def test_natskeep_is_measured_against_itself(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    servers = ["--server", f"natskeep={NATSKEEP}", "--server", f"nats-server={NATSKEEP}"]
    options = ["--row", "1-1-128", "--rounds", "1", "--seconds", "0.05", "--json", str(figures)]
    done = CliRunner().invoke(main, [*servers, *options])
    assert done.exit_code == 0, done.output
    assert "1 → 1, 128 B" in done.output
    (row,) = json.loads(figures.read_text())["rows"]
    assert row["row"] == "1-1-128"
    assert row["ceiling"]["rate"] > 0
    for server in row["servers"].values():
        assert server["error"] == ""
        assert server["rounds"][0]["messages"] > 0
        assert server["peak_memory"] > 1024**2


def test_a_server_that_does_not_start_is_an_error_in_the_result(tmp_path: Path) -> None:
    broken = Program("natskeep", (sys.executable, "-c", "raise SystemExit('broken')"))
    lines: list[str] = []
    bench = Bench(tmp_path, [broken], Settings(rounds=1, seconds=0.05), lines.append)
    result = bench.run(Connects("connects", Metric("rate", "connects", "/s", 1.0)))
    assert "broken" in result.servers["natskeep"].error
    assert result.servers["natskeep"].rounds == []
    assert lines == []
