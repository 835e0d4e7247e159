"""Reads what is added to a ledger, as it is added."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from broker.audit.entry import decode, segment_name, segment_number

INTERVAL: Final = 0.2
"""Seconds between two looks."""


def follow(directory: Path, wait: Callable[[float], object]) -> Iterator[dict[str, object]]:
    """The lines that come from now on, in all new segments. Raises LineError, OSError, and what ``wait`` raises."""
    number = _last(directory)
    stream = (directory / segment_name(number)).open("rb")
    stream.seek(0, os.SEEK_END)
    rest = b""
    try:
        while True:
            found = stream.read()
            if found:
                *lines, rest = (rest + found).split(b"\n")
                yield from map(decode, lines)
            elif _last(directory) > number:
                number += 1
                stream.close()
                stream, rest = (directory / segment_name(number)).open("rb"), b""
            else:
                wait(INTERVAL)
    finally:
        stream.close()


def _last(directory: Path) -> int:
    return max((n for name in os.listdir(directory) if (n := segment_number(name)) is not None), default=1)
