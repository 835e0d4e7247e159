"""What can be wrong with an archive, and what its readers say beside what they read."""

from __future__ import annotations

from enum import Enum, auto


class ArchiveError(Exception):
    """An archive is not what it should be; the text says what is wrong."""


class Step(Enum):
    """Why a reader has nothing to show."""

    PAUSE = auto()
    """It has done so much that others should have their turn."""
    STARVED = auto()
    """It needs more bytes."""
