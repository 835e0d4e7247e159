"""The account tool on a terminal: questions are read off a pseudo-terminal, and answers typed into it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Talk:
    """What came of a run: the exit code, what the terminal showed, and what went to stdout."""

    code: int
    shown: str
    out: str


def talk(words: Sequence[str], answers: Sequence[tuple[str, str]], environment: Mapping[str, str]) -> Talk:
    """Run the tool, and type each answer once its question is shown. The answer ``^D`` ends the input."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.nsk", *words],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", **environment},
            text=True,
        )
        os.close(theirs)
        theirs = -1
        try:
            return _converse(process, ours, answers)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def read_until(descriptor: int, text: str) -> str:
    """What a terminal shows, up to a text and whatever comes with it."""
    shown = ""
    while text not in shown:
        shown += _read(descriptor, shown)
    return shown


def _converse(process: subprocess.Popen[str], ours: int, answers: Sequence[tuple[str, str]]) -> Talk:
    shown, read = "", 0
    for question, answer in answers:
        while question not in shown[read:]:
            shown += _read(ours, shown)
        read = shown.index(question, read) + len(question)
        os.write(ours, b"\x04" if answer == "^D" else f"{answer}\n".encode())
    try:
        out = process.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it asked more:\n{shown}{_rest(ours)}") from None
    while more := _rest(ours):
        shown += more
    return Talk(process.returncode, shown.replace("\r\n", "\n"), out)


def _read(descriptor: int, shown: str) -> str:
    ready, _, _ = select.select([descriptor], [], [], SECONDS)
    text = _rest(descriptor) if ready else ""
    if not text:
        raise AssertionError(f"it asked no further:\n{shown}")
    return text


def _rest(descriptor: int) -> str:
    if not select.select([descriptor], [], [], 0)[0]:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    except OSError:
        # Nobody holds the other end any more.
        return ""
