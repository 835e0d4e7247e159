"""Starts natskeep many times in little time: one process imports it, and each server is a fork of that process.

A fork does what ``python -m broker`` does from its first line on; only the imports are not done again. Where the start
itself is what a test looks at, it starts the command instead.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

CONSTANTS = "NATSKEEP_TEST_CONSTANTS"
"""Environment variable of a fork: JSON of constants by their modules and names that are to be others for a test."""

_REQUEST_BYTES = 65536
_KILLED = -signal.SIGKILL


class ForkedServer:
    """One fork. It writes its exit code to a pipe that only it holds open, so the pipe's end is the process's end."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self._status = status
        self._code: int | None = None

    def wait(self, seconds: float | None) -> int | None:
        """The exit code, or None when the process still runs after ``seconds``."""
        if self._code is None:
            readable, _, _ = select.select([self._status], [], [], seconds)
            if readable:
                code = os.read(self._status, 1)
                self._code = code[0] if code else _KILLED
                # Nothing but the end follows; when it comes, every other descriptor is closed too.
                os.read(self._status, 1)
                os.close(self._status)
        return self._code

    def kill(self) -> None:
        if self.wait(0) is None:
            # Nobody but the operating system reaps the process, at once, and then the pipe has ended.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait(None)


class Prefork:
    """The process that forks, started when it is first needed; it ends when this process does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None

    def start(
        self, words: Sequence[str], directory: Path, environment: Mapping[str, str], output: int
    ) -> ForkedServer:
        """Starts a server that writes to the descriptor ``output``. The first word is the name that it goes by."""
        request = {"words": list(words), "directory": str(directory), "environment": dict(environment)}
        status, status_writer = os.pipe()
        with self._lock:
            if self._control is None:
                self._control = _start_forking()
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], [output, status_writer])
                pid = int(self._control.recv(_REQUEST_BYTES))
            except OSError as error:
                raise RuntimeError("natskeep cannot be imported; the error output says why") from error
            finally:
                os.close(status_writer)
        return ForkedServer(pid, status)


def _start_forking() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.prefork", str(theirs.fileno())],
            cwd=Path(__file__).parents[2],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    return ours


def _fork_on_request(control: socket.socket) -> None:
    """Serves requests until the other side closes; in each fork, the return value of the server ends the process."""
    from broker.__main__ import main
    from broker.config.language import parse_bytes

    parse_bytes(b"port: 4222\n", "warm-up")  # The grammar is built when it is first used.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 2)
        if not data:
            return
        output, status = descriptors
        pid = os.fork()
        if pid == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            request = json.loads(data)
            os.chdir(request["directory"])
            os.environ.update(request["environment"])
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            sys.argv = request["words"]
            for place, value in json.loads(os.environ.get(CONSTANTS, "{}")).items():
                module, _, name = place.rpartition(".")
                setattr(importlib.import_module(module), name, value)
            code = 1
            try:
                code = main(sys.argv[1:])
            finally:
                os.write(status, bytes([code]))
            sys.exit(code)
        os.close(output)
        os.close(status)
        control.send(str(pid).encode())


if __name__ == "__main__":
    _fork_on_request(socket.socket(fileno=int(sys.argv[1])))
