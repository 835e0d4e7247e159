"""``-sl``: sends a signal to a server that runs, found by its process id, its pid file or its name."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

SIGNALS: Final[Mapping[str, signal.Signals]] = {
    "ldm": signal.SIGUSR2,
    "stop": signal.SIGKILL,
    "quit": signal.SIGINT,
    "term": signal.SIGTERM,
    "reopen": signal.SIGUSR1,
    "reload": signal.SIGHUP,
}


class SignalError(Exception):
    """A signal that cannot be sent; the text says why."""


def send(program: str, request: str) -> None:
    """Sends the signal of ``command[=target]``.

    The target is a process id, the path of a pid file, or a pattern of process ids with ``*`` at its end; without one,
    the only process named ``program`` is meant.

    Raises:
        SignalError: the command is unknown, no process or more than one was found, or one did not take the signal.
    """
    command, *targets = request.split("=")
    if len(targets) > 1:
        raise SignalError(f"invalid signal parameters: [{' '.join(targets[1:])}]")
    if command not in SIGNALS:
        raise SignalError(f'unknown signal "{command}"; it is one of {", ".join(SIGNALS)}')
    failures = []
    for pid in _processes(program, targets[0] if targets else ""):
        try:
            os.kill(pid, SIGNALS[command])
        except OSError as error:
            failures.append(f'signal "{command}" {pid}: {(error.strerror or str(error)).lower()}')
    if failures:
        raise SignalError("\n" + "\n".join(failures))


def _processes(program: str, target: str) -> list[int]:
    if target and not target.endswith("*"):
        return [_process_id(target)]
    found = [pid for pid in _running(program) if fnmatchcase(str(pid), target or "*")]
    if not found:
        raise SignalError(f"no {program} processes running")
    if not target and len(found) > 1:
        listed = "\n".join(map(str, found))
        raise SignalError(f"multiple {program} processes running:\n{listed}")
    return found


def _process_id(target: str) -> int:
    text = target
    if not _is_process_id(text):
        try:
            text = Path(target).read_text("ascii").strip()
        except (OSError, ValueError):
            raise SignalError(f"invalid pid: {target}") from None
    # Zero and negative numbers mean groups of processes, up to all there are.
    if not _is_process_id(text) or int(text) <= 0:
        raise SignalError(f"invalid pid: {text[:40]}")
    return int(text)


def _is_process_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _running(program: str) -> list[int]:
    """The ids of all processes of this name but this one."""
    try:
        listed = subprocess.run(["pgrep", "-x", program], capture_output=True, text=True, check=False)
    except OSError:
        raise SignalError("unable to resolve pid, try providing one") from None
    return [pid for pid in map(int, listed.stdout.split()) if pid != os.getpid()]
