"""What /proc says is read right, and a server that cannot start is reported with what it said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.bench.config import server_config
from tools.bench.errors import BenchError
from tools.bench.forge import forge_trust
from tools.bench.servers import CLOCK_TICKS, Program, Server, free_port, parse_memory, parse_processor_seconds


def test_memory_fields_are_kibibytes() -> None:
    status = ["Name:\tx", "VmPeak:\t  9000 kB", "VmHWM:\t  1234 kB", "VmRSS:\t   1000 kB"]
    assert parse_memory(status, "VmHWM") == 1234 * 1024
    assert parse_memory(status, "VmRSS") == 1000 * 1024
    assert parse_memory(status, "VmSwap") == 0


def test_processor_time_is_found_behind_a_strange_name() -> None:
    stat = "42 (a ) b (c)) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 9 9 20 0 1 0 100 1 1"
    assert parse_processor_seconds(stat) == 200 / CLOCK_TICKS


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = Program("natskeep", (sys.executable, "-c", "import sys; sys.exit('no such option')"))
    with pytest.raises(BenchError, match="status 1: no such option"), Server(program, tmp_path / "x.conf", free_port()):
        pass


def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not start"):
        Server(Program("natskeep", (str(tmp_path / "missing"),)), tmp_path / "x.conf", free_port())


def test_both_servers_get_the_same_configuration_but_for_the_port(tmp_path: Path) -> None:
    trust = forge_trust()
    first, second = server_config(4001, trust, tmp_path), server_config(4002, trust, tmp_path)
    assert first.replace(":4001", ":4002") == second
    assert "tls: {" in first
    assert "tls: {" not in server_config(4001, trust, None)
    assert trust.operator_jwt not in repr(trust)
    assert all(user.jwt not in repr(user) for user in trust.users)
