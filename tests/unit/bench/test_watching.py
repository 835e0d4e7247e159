"""What being watched costs is measured against the same server that is not."""

from __future__ import annotations

import sys
from pathlib import Path

from broker.config.load import load
from tools.bench.client import Target
from tools.bench.servers import Program, Server, free_port
from tools.bench.watching import measure_watching, watched_config
from tools.bench.workers import Figures

NATSKEEP = Program("natskeep", (sys.executable, "-m", "broker"))


def test_the_watched_server_differs_in_being_watched(tmp_path: Path) -> None:
    plain = "server_name: bench\nlisten: 127.0.0.1:4222\n"
    path = tmp_path / "server.conf"
    path.write_text(watched_config(plain, NATSKEEP, 5222, 8222, tmp_path))
    options = load(str(path)).options
    assert (options.port, options.monitor.port, options.server_name) == (5222, 8222, "bench")
    assert options.audit.directory == str(tmp_path / "ledger")
    path.write_text(watched_config(plain, Program("nats-server", ()), 5222, 8222, tmp_path))
    assert not load(str(path)).options.audit.directory


def test_both_servers_do_the_work_in_turns(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "bench.conf"
    config.write_text(f"listen: 127.0.0.1:{port}\n")
    worked: list[int] = []

    def work(target: Target, seconds: float) -> Figures:
        worked.append(target.port)
        return {"rate": 100.0 if target.port == port else 80.0}

    with Server(NATSKEEP, config, port):
        figures = measure_watching(NATSKEEP, config, Target(port, (), None), work, 0.1)
    assert figures["alone"] == 100.0
    assert abs(figures["lost"] - 0.2) < 1e-9
    watched = next(one for one in worked if one != port)
    assert worked == [watched, port, port, watched] * 2
    assert list((tmp_path / "bench-watched" / "ledger").glob("audit-*.jsonl"))
