"""Servers under test: natskeep, and nats-server where one is named, each started as a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from broker.wire.info import PROVIDED_RELEASE
from tests.support.prefork import Prefork

ROOT = Path(__file__).resolve().parents[2]
REFERENCE_VARIABLE = "NATSKEEP_REFERENCE"
"""Environment variable: path of a nats-server that the recorded cases are to be run against as well."""
NATS_SERVER = "nats-server"
READY_LINE = "Server is ready"
_SCRIPT = b"#!"
"""How a command begins that is a script, as natskeep under the name nats-server is."""
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


_PREFORK = Prefork()
NATSKEEP = Target("natskeep", (sys.executable, "-m", "broker"))
AS_NATS_SERVER = Target(NATSKEEP.name, (sys.executable, str(ROOT / "tests" / "support" / NATS_SERVER)))
"""natskeep, started under the name nats-server."""


def targets() -> list[Target]:
    """natskeep, and the reference when the environment names one."""
    named = os.environ.get(REFERENCE_VARIABLE)
    if not named:
        return [NATSKEEP]
    path = shutil.which(named)
    if path is None:
        raise pytest.UsageError(f"{REFERENCE_VARIABLE} names no executable: {named}")
    return [NATSKEEP, Target("reference", (str(Path(path).resolve()),))]


def targets_at_hand() -> list[Target]:
    """The same; where the environment names none, the reference is the nats-server of the right release on the PATH."""
    found = targets()
    path = shutil.which(NATS_SERVER)
    if len(found) > 1 or path is None or Path(path).read_bytes()[:2] == _SCRIPT:
        return found
    told = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout.strip()
    return [*found, Target("reference", (path,))] if told == f"{NATS_SERVER}: v{PROVIDED_RELEASE}" else found


class _Process(Protocol):
    """What a test needs of a process."""

    @property
    def pid(self) -> int: ...

    def wait(self, seconds: float | None) -> int | None: ...

    def kill(self) -> None: ...


class _Command:
    """A process started by its command line."""

    def __init__(self, words: Sequence[str], directory: Path, environment: Mapping[str, str], output: int) -> None:
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float | None) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class ServerProcess:
    """A running server whose output is read as it comes.

    With ``preforked``, natskeep is started as a fork of a process that has imported it already, under the name that
    the command of the target has.
    """

    def __init__(
        self,
        target: Target,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        preforked: bool = False,
    ) -> None:
        output, output_writer = os.pipe()
        self._process: _Process
        try:
            if preforked and not target.is_reference:
                name = NATS_SERVER if target == AS_NATS_SERVER else target.name
                self._process = _PREFORK.start([name, *arguments], directory, environment or {}, output_writer)
            else:
                words = [*target.command, *arguments]
                self._process = _Command(words, directory, environment or {}, output_writer)
        finally:
            os.close(output_writer)
        self._output = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything written to stdout and stderr so far."""
        with self._changed:
            return self._output.decode(errors="replace")

    def wait_until_ready(self) -> bool:
        """Waits for the line that every listener is open; False when the process ended or stayed silent instead."""
        return self.wait_for(READY_LINE)

    def wait_for(self, text: str) -> bool:
        """Waits until the output holds the text; False when the process ended or stayed silent instead."""
        wanted = text.encode()
        with self._changed:
            self._changed.wait_for(lambda: wanted in self._output or self._ended, START_SECONDS)
            return wanted in self._output

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_until_exit(self, seconds: float) -> int | None:
        """The exit code, or None when the process still runs after ``seconds``."""
        code = self._process.wait(seconds)
        if code is not None:
            self._reader.join(STOP_SECONDS)
        return code

    def stop(self) -> None:
        """Ends the process without grace: nothing of a case outlives it."""
        self._process.kill()
        self._reader.join(STOP_SECONDS)

    def _read(self, output: int) -> None:
        while data := os.read(output, 65536):
            with self._changed:
                self._output += data
                self._changed.notify_all()
        os.close(output)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
