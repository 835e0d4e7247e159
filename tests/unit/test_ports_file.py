"""The ports file names every listener of a server by URLs that reach it."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from broker.app import Server
from broker.config.options import MonitorOptions, Options
from broker.ports_file import PortsFile, ports, ports_file_path


@pytest.mark.parametrize(
    ("started_as", "name"),
    [("/usr/bin/nats-server", "nats-server"), ("natskeep", "natskeep"), ("/x/broker/__main__.py", "natskeep")],
)
def test_it_has_the_name_that_the_program_was_started_under(
    started_as: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started_as])
    assert ports_file_path("/run") == Path(f"/run/{name}_{os.getpid()}.ports")


async def test_it_is_there_while_the_server_runs(tmp_path: Path) -> None:
    options = Options(host="localhost", port=-1, monitor=MonitorOptions(host="127.0.0.1", port=-1))
    path = ports_file_path(str(tmp_path))
    async with Server(options) as server:
        with PortsFile(str(tmp_path), server):
            address = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)[0][4][0]
            host = f"[{address}]" if ":" in str(address) else address
            expected = {
                "nats": [f"nats://{host}:{server.port}"],
                "monitoring": [f"http://127.0.0.1:{server.monitor_port}"],
            }
            assert json.loads(path.read_text()) == expected
            assert os.listdir(tmp_path) == [path.name]
        assert not path.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_server_on_all_addresses_names_them_all(host: str) -> None:
    async with Server(Options(host=host, port=-1)) as server:
        urls = ports(server)["nats"]
        assert urls[0] == f"nats://127.0.0.1:{server.port}"
        assert (f"nats://[::1]:{server.port}" in urls) == socket.has_dualstack_ipv6()
        for url in urls:
            found = urlsplit(url)
            assert found.hostname is not None
            socket.create_connection((found.hostname, server.port)).close()


async def test_it_moves(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    async with Server(Options(host="127.0.0.1", port=-1)) as server:
        with PortsFile(str(old), server) as file:
            file.move(str(new))
            assert not list(old.iterdir())
            assert ports_file_path(str(new)).exists()
            file.move("")
            assert not list(new.iterdir())
            file.move(str(old))
            assert ports_file_path(str(old)).exists()
        assert not list(old.iterdir())


async def test_a_directory_that_is_absent_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("natskeep").propagate = True
    async with Server(Options(host="127.0.0.1", port=-1)) as server:
        with PortsFile(str(tmp_path / "absent"), server):
            assert "Error writing ports file" in caplog.text
            assert "no such file or directory" in caplog.text
