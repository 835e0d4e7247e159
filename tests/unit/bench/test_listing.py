"""A page that lists many connections is asked for while messages flow."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.bench.client import Target
from tools.bench.config import server_config
from tools.bench.errors import BenchError
from tools.bench.forge import ALONE, forge_trust
from tools.bench.listing import _ask, measure_listing
from tools.bench.servers import Program, Server, free_port
from tools.bench.watching import moved

NATSKEEP = Program("natskeep", (sys.executable, "-m", "broker"))


def test_a_page_is_measured(tmp_path: Path) -> None:
    trust = forge_trust(ALONE)
    plain = tmp_path / "plain.conf"
    plain.write_text(server_config(free_port(), trust, None))
    figures = measure_listing(NATSKEEP, plain, Target(0, trust.users), 5)
    assert figures.keys() == {"page", "stop", "quiet"}
    assert 0 < figures["page"] < 60


def test_a_page_that_lacks_connections_counts_for_nothing(tmp_path: Path) -> None:
    port, http_port = free_port(), free_port()
    config = tmp_path / "server.conf"
    config.write_text(moved("", port, http_port))
    with ExitStack() as stack:
        stack.enter_context(Server(NATSKEEP, config, port))
        with pytest.raises(BenchError, match="lists 0 connections and not 3"):
            _ask(f"http://127.0.0.1:{http_port}/connz", 3)
