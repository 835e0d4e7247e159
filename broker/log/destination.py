"""What all destinations of the log have in common: they format first, and their failures never reach the program."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from broker.log.formats import ROOT


class LogError(OSError):
    """The log cannot be written where it was asked for; the text says why."""


def note(level: int, text: str) -> logging.LogRecord:
    """A record of the log about itself, for a destination to write between others."""
    return logging.LogRecord(f"{ROOT}.log", level, __file__, 0, text, None, None)


class StandardError(logging.Handler):
    """The standard error stream; when nobody reads it any more, its lines are lost, for there is no other place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
