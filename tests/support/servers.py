"""Servers under test: natskeep, and nats-server where one is named, each started as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE_VARIABLE = "NATSKEEP_REFERENCE"
"""Environment variable: path of a nats-server that the recorded cases are to be run against as well."""
READY_LINE = b"Server is ready"
START_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A make of server: its name in test ids and the command line that starts it."""

    name: str
    command: tuple[str, ...]

    @property
    def is_reference(self) -> bool:
        return self.name != NATSKEEP.name


NATSKEEP = Target("natskeep", (sys.executable, "-m", "broker"))


def targets() -> list[Target]:
    """natskeep, and the reference when the environment names one."""
    named = os.environ.get(REFERENCE_VARIABLE)
    if not named:
        return [NATSKEEP]
    path = shutil.which(named)
    if path is None:
        raise pytest.UsageError(f"{REFERENCE_VARIABLE} names no executable: {named}")
    return [NATSKEEP, Target("reference", (str(Path(path).resolve()),))]


class ServerProcess:
    """A running server whose output is read as it comes."""

    def __init__(
        self, target: Target, arguments: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        search_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [*target.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": search_path, **(environment or {})},
        )
        self._output = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """Everything written to stdout and stderr so far."""
        with self._changed:
            return self._output.decode(errors="replace")

    def wait_until_ready(self) -> bool:
        """Waits for the line that every listener is open; False when the process ended or stayed silent instead."""
        with self._changed:
            self._changed.wait_for(lambda: READY_LINE in self._output or self._ended, START_SECONDS)
            return READY_LINE in self._output

    def wait_until_exit(self, seconds: float) -> int | None:
        """The exit code, or None when the process still runs after ``seconds``."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(STOP_SECONDS)
        return code

    def stop(self) -> None:
        """Ends the process without grace: nothing of a case outlives it."""
        self._process.kill()
        self._process.wait()
        self._reader.join(STOP_SECONDS)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 65536):
                with self._changed:
                    self._output += data
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
