"""Runs the rows: starts the servers of each, measures in alternating rounds, and collects what came out."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tools.bench.client import Target
from tools.bench.config import server_config
from tools.bench.errors import BenchError
from tools.bench.forge import AccountPlan, Trust, forge_certificates, forge_trust
from tools.bench.report import RowResult, ServerResult
from tools.bench.rows import Row
from tools.bench.secured import client_context
from tools.bench.servers import Program, Server, free_port
from tools.bench.standin import StandIn

CEILING_ROUNDS = 3
CEILING_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often to measure."""

    rounds: int
    seconds: float


class Bench:
    """The trusts, the certificates and the programs that rows share; `directory` takes files and logs."""

    def __init__(
        self, directory: Path, programs: Sequence[Program], settings: Settings, progress: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._programs = programs
        self._settings = settings
        self._progress = progress
        self._forged: tuple[Sequence[AccountPlan], Trust] | None = None
        forge_certificates(directory)
        self._context = client_context(directory)

    def run(self, row: Row) -> RowResult:
        """Measure one row on all programs. A failure ends up in the result, not in an exception."""
        result = RowResult(row, {program.name: ServerResult() for program in self._programs})
        self._measure_ceiling(row, result)
        with ExitStack() as stack:
            running = {}
            for program in self._programs:
                try:
                    running[program.name] = self._start(row, program, stack)
                except (BenchError, OSError) as failure:
                    result.servers[program.name].error = str(failure)
            for number in range(1 if row.once else self._settings.rounds):
                # Each server goes first as often as the other, so that a drift of the machine favours neither.
                names = list(running) if number % 2 == 0 else list(reversed(running))
                for name in names:
                    self._measure(row, result.servers[name], *running[name])
            for name, (server, _) in running.items():
                result.servers[name].peak_memory = server.peak_memory()
        return result

    def _start(self, row: Row, program: Program, stack: ExitStack) -> tuple[Server, Target]:
        port = free_port()
        websocket_port = free_port() if row.websocket else 0
        config = self._directory / f"{row.key}-{program.name}.conf"
        text = row.config(port, self._directory / f"{row.key}-{program.name}") or server_config(
            port, self._trust(row), self._directory if row.tls else None, websocket_port
        )
        config.write_text(text)
        server = stack.enter_context(Server(program, config, port))
        target = self._target(websocket_port or port, row)
        try:
            row.prepare(target, stack)
        except (BenchError, OSError) as failure:
            raise BenchError(f"{failure} (log: {server.log_tail()})") from failure
        return server, target

    def _measure(self, row: Row, result: ServerResult, server: Server, target: Target) -> None:
        if result.error:
            return
        busy, own, start = server.processor_seconds(), _own_processor_seconds(), time.monotonic()
        try:
            figures = row.measure(target, server, self._settings.seconds)
        except (BenchError, OSError) as failure:
            result.error = f"{failure} (log: {server.log_tail()})"
            return
        elapsed = time.monotonic() - start
        result.rounds.append(figures)
        result.processors.append((server.processor_seconds() - busy) / elapsed)
        result.generator_processors.append((_own_processor_seconds() - own) / elapsed)
        metric = row.metrics[0]
        self._progress(f"{row.key}: {server.name}: {figures[metric.key]:.6g} {metric.unit}")

    def _measure_ceiling(self, row: Row, result: RowResult) -> None:
        """Keep the best of a few rounds: what disturbs the generator does not lower what it could do."""
        routes = row.routes()
        if routes is None:
            return
        seconds = min(CEILING_SECONDS, self._settings.seconds)
        try:
            with StandIn(routes, self._directory if row.tls else None, row.ceiling_processes) as standin:
                target = self._target(standin.port, row)
                result.ceiling = row.best([row.measure(target, None, seconds) for _ in range(CEILING_ROUNDS)])
        except (BenchError, OSError) as failure:
            result.ceiling_error = str(failure)

    def _target(self, port: int, row: Row) -> Target:
        return Target(port, self._trust(row).users, self._context if row.tls else None, row.websocket)

    def _trust(self, row: Row) -> Trust:
        """What is issued for a row's accounts: both servers and the stand-in get the same."""
        if self._forged is None or self._forged[0] is not row.plans:
            self._forged = (row.plans, forge_trust(row.plans))
        return self._forged[1]


def _own_processor_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
