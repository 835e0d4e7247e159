"""Starts a server under test, waits until it listens, reads its memory and processor time, and ends it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tools.bench.config import HOST
from tools.bench.errors import BenchError

START_SECONDS = 30.0
STOP_SECONDS = 5.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Program:
    """A server to measure: the name it has in the table, and the command that starts it."""

    name: str
    command: tuple[str, ...]

    def version(self) -> str:
        """What `--version` prints, or why it prints nothing."""
        try:
            done = subprocess.run([*self.command, "--version"], capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired) as failure:
            return f"unknown ({failure})"
        return (done.stdout.strip() or done.stderr.strip() or "unknown").splitlines()[0]


class Server:
    """A running server process, leader of its own process group; use it as a context manager."""

    def __init__(self, program: Program, config: Path, port: int) -> None:
        self.name = program.name
        self.program = program
        self.config = config
        self.directory = config.parent
        self.port = port
        self._log = config.with_suffix(".log")
        self._read = 0
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    [*program.command, "-c", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as failure:
                raise BenchError(f"{program.name} does not start: {failure}") from failure

    def __enter__(self) -> Server:
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server: SIGTERM first, SIGKILL to what is left of its group after a few seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(STOP_SECONDS)

    def peak_memory(self) -> int:
        """The highest resident memory so far, in bytes (VmHWM of the process and its children)."""
        return sum(_memory(pid, "VmHWM") for pid in _family(self._process.pid))

    def resident_memory(self) -> int:
        """The resident memory now, in bytes (VmRSS of the process and its children)."""
        return resident_memory(self._process.pid)

    def processor_seconds(self) -> float:
        """Processor time used so far, user and system."""
        return sum(_processor_seconds(pid) for pid in _family(self._process.pid))

    def hang_up(self) -> None:
        """Ask it to read its configuration again (SIGHUP)."""
        self._process.send_signal(signal.SIGHUP)

    def news(self) -> bytes:
        """What it has logged since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            found = log.read()
        self._read += len(found)
        return found

    def log_tail(self, lines: int = 3) -> str:
        """The last lines of the log, for error texts."""
        text = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(text[-lines:])

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with status {self._process.returncode}: {self.log_tail()}")
            try:
                with socket.create_connection((HOST, self.port), timeout=1) as probe:
                    if probe.recv(4) == b"INFO":
                        return
            except OSError:
                time.sleep(0.02)
        raise BenchError(f"{self.name} did not listen on {HOST}:{self.port} within {START_SECONDS:g} s")


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def default_programs() -> dict[str, Program]:
    """natskeep from the environment that runs this, and the nats-server on PATH where there is one."""
    programs: dict[str, Program] = {}
    own = Path(sys.prefix, "bin", "natskeep")
    natskeep = str(own) if own.exists() else shutil.which("natskeep")
    if natskeep is not None:
        programs["natskeep"] = Program("natskeep", (natskeep,))
    reference = shutil.which("nats-server")
    if reference is not None:
        programs["nats-server"] = Program("nats-server", (reference,))
    return programs


def resident_memory(pid: int) -> int:
    """The resident memory of a process and its descendants now, in bytes."""
    return sum(_memory(member, "VmRSS") for member in _family(pid))


def _family(pid: int) -> list[int]:
    """The process and all its descendants that still live."""
    family = [pid]
    for member in family:
        try:
            children = Path(f"/proc/{member}/task/{member}/children").read_text()
        except OSError:
            continue
        family.extend(int(child) for child in children.split())
    return family


def _memory(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return parse_memory(lines, field)


def parse_memory(status_lines: list[str], field: str) -> int:
    """One of the memory fields of /proc/PID/status, in bytes; 0 where the field is missing (proc(5))."""
    for line in status_lines:
        key, _, value = line.partition(":")
        if key == field:
            return int(value.split()[0]) * 1024
    return 0


def _processor_seconds(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return parse_processor_seconds(text)


def parse_processor_seconds(stat: str) -> float:
    """User plus system time out of /proc/PID/stat; the command's name may hold blanks and parentheses (proc(5))."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
