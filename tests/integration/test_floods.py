"""Thousands of connections stall in every phase before login: who behaves gets in, and they are gone in time."""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from broker.config.options import AdmissionOptions, AuthorizationOptions
from tests.support.certificates import make_certificates
from tests.support.loops import in_every_loop
from tests.support.servers import NATSKEEP, ServerProcess
from tests.support.serving import Client, serving
from tests.support.stalling import Phase, Stalling, allowed, hello, log_in, processor_seconds, stalling

IS_LONG = os.environ.get("NATSKEEP_FUZZ") == "long"
CROWD = 10_000 if IS_LONG else 900
NEWCOMERS = 10
LONGEST = 1.0
"""Seconds of its processor that a server may use until it has let a client in, whatever else there is to do."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates")).directory


@dataclass
class Stormed:
    """A running server, and how each phase is stalled there."""

    process: ServerProcess
    port: int
    websocket: int
    monitor: int
    words: dict[Phase, bytes]

    def stall(self, crowd: Stalling, phase: Phase, address: str | None = None) -> None:
        port = self.websocket if phase is Phase.BEFORE_INFO else self.port
        crowd.open(port, self.words[phase], address)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(name)).split()[-1])


@contextmanager
def stormed(directory: Path, certificates: Path, timeout: float, more: str = "") -> Iterator[Stormed]:
    """Who sends no request to the WebSocket port stalls before INFO; the other port takes clients in the clear too."""
    file = directory / "server.conf"
    file.write_text(f"""
        listen: "127.0.0.1:-1"
        http: "127.0.0.1:-1"
        tls {{ cert_file: "{certificates}/server.pem", key_file: "{certificates}/server-key.pem", timeout: {timeout} }}
        allow_non_tls: true
        authorization {{ token: t, timeout: {timeout} }}
        websocket {{ listen: "127.0.0.1:-1", no_tls: true, handshake_timeout: "{timeout}s" }}
        {more}
    """)
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with ServerProcess(NATSKEEP, ["-c", str(file)], directory, preforked=True) as process:
        assert process.wait_until_ready(), process.output
        ports = [_port(process.output, line) for line in ("client connections", "websocket clients", "http monitor")]
        words = {Phase.BEFORE_INFO: b"GET", Phase.IN_THE_HANDSHAKE: hello(context), Phase.BEFORE_CONNECT: b"CONN"}
        yield Stormed(process, *ports, words)


def _port(output: str, line: str) -> int:
    found = re.search(rf"{line} on \S*127\.0\.0\.1:(\d+)", output)
    assert found is not None, output
    return int(found[1])


def test_who_behaves_gets_in_among_thousands_that_stall(tmp_path: Path, certificates: Path) -> None:
    """All phases at once, each connection from an address of its own; none of them has reached its deadline."""
    size = allowed(CROWD)
    with stormed(tmp_path, certificates, timeout=600.0) as server, stalling() as crowd:
        slowest = 0.0
        for number in range(size):
            server.stall(crowd, list(Phase)[number % 3])
            if number % (size // NEWCOMERS) == 0:
                before = processor_seconds(server.process.pid)
                log_in(server.port, certificates)
                slowest = max(slowest, processor_seconds(server.process.pid) - before)
        log_in(server.port, certificates)
        stalled = int(server.metric("natskeep_unauthenticated_connections "))
        assert stalled >= min(size, server.metric("natskeep_unauthenticated_connections_limit")) - 1
        crowd.wait_for_the_end(stalled)
        assert slowest < LONGEST, f"{slowest:.2f} s of the processor"


def test_who_stalls_is_gone_by_its_deadline(tmp_path: Path, certificates: Path) -> None:
    with stormed(tmp_path, certificates, timeout=1.0) as server, stalling() as crowd:
        for number in range(allowed(CROWD)):
            server.stall(crowd, list(Phase)[number % 3])
        crowd.wait_for_the_end(0)
        log_in(server.port, certificates)
        assert server.metric("natskeep_unauthenticated_connections ") == 0
        assert server.metric("natskeep_unauthenticated_bytes ") == 0


def test_one_address_cannot_keep_the_others_out(tmp_path: Path, certificates: Path) -> None:
    """More stall than may be there: the newcomer takes the place of one of them, though all come from its address."""
    with stormed(tmp_path, certificates, 600.0, "admission { max_unauthenticated: 50 }") as server, stalling() as crowd:
        for phase in Phase:
            for _ in range(3):
                for _ in range(40):
                    server.stall(crowd, phase, "127.0.0.1")
                log_in(server.port, certificates)
        assert server.metric('natskeep_admission_dropped_total{reason="max_unauthenticated"}') >= 300
        crowd.wait_for_the_end(int(server.metric("natskeep_unauthenticated_connections ")))


@in_every_loop
async def test_a_reload_takes_other_bounds() -> None:
    authorization = AuthorizationOptions(token="t")
    async with serving(authorization=authorization) as server:
        waiting = [await Client.open(server) for _ in range(3)]
        for client in waiting:
            await client.greeting()
        options = replace(server.options, admission=AdmissionOptions(max_unauthenticated=2))
        plan = await server.reload(options)
        assert [change.line for change in plan.changes] == ["Reloaded: admission"]
        newcomer = await Client.open(server)
        await newcomer.greeting()
        for client in waiting[:2]:
            assert await client.rest() == b"-ERR 'maximum connections exceeded'\r\n"
        assert server.service.admission.guests == 2
