"""What the process around the server does: its stacks, and what Python counts of its memory."""

from __future__ import annotations

import asyncio
import gc
import io
import re
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Final

import msgspec

from broker.monitor.watched import resident_bytes
from broker.session.record import REDACTED

_SECRET_FLAGS: Final = frozenset({"user", "pass", "auth"})
_URL_USER: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class Memory(msgspec.Struct):
    """Those of Go's counts that Python has too."""

    resident: int = msgspec.field(name="Sys")
    """Bytes of the process that are in RAM."""
    blocks: int = msgspec.field(name="HeapObjects")
    """Blocks of memory that Python has given to its objects."""
    collections: int = msgspec.field(name="NumGC")
    """Searches for cycles that have ended."""
    is_collecting: bool = msgspec.field(name="EnableGC")


class Variables(msgspec.Struct):
    """/debug/vars."""

    cmdline: list[str]
    memstats: Memory


def variables() -> Variables:
    """The command line without its secrets, and the memory."""
    return Variables(
        without_secrets(sys.argv),
        Memory(
            resident=resident_bytes(),
            blocks=sys.getallocatedblocks(),
            collections=sum(generation["collections"] for generation in gc.get_stats()),
            is_collecting=gc.isenabled(),
        ),
    )


def without_secrets(words: Sequence[str]) -> list[str]:
    """A command line in which the values of flags that hold credentials are masked, and users in URLs."""
    shown: list[str] = []
    is_secret = False
    for word in words:
        name, assigned, _ = word.lstrip("-").partition("=")
        holds = word.startswith("-") and name in _SECRET_FLAGS
        if is_secret:
            shown.append(REDACTED)
        elif holds and assigned:
            shown.append(f"{word.partition('=')[0]}={REDACTED}")
        else:
            shown.append(_URL_USER.sub(REDACTED, word))
        is_secret = holds and not assigned and not is_secret
    return shown


def stacks() -> str:
    """Where each thread and each task stands, as files and lines; values are not shown."""
    written = io.StringIO()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for identifier, frame in sys._current_frames().items():
        written.write(f"thread {names.get(identifier, identifier)}:\n")
        traceback.print_stack(frame, file=written)
        written.write("\n")
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        written.write(f"task {task.get_name()}:\n")
        task.print_stack(file=written)
        written.write("\n")
    return written.getvalue()
