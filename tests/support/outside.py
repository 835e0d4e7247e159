"""What some tests need from outside, such as a browser."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path


def at_hand(names: Iterable[str], remedy: str) -> list[str]:
    """The first of these programs or files that there is, for tests to be parametrized with; where there is none,
    pytest passes over them, and a warning says what to do."""
    for name in names:
        if found := shutil.which(name) or (name if Path(name).is_file() else None):
            return [found]
    warnings.warn(remedy, stacklevel=2)
    return []
