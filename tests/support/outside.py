"""Programs from outside that some tests need, such as a browser."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable


def at_hand(names: Iterable[str], remedy: str) -> list[str]:
    """The first of these programs that there is, for tests to be parametrized with; where there is none, pytest passes
    over them, and a warning says what to do."""
    for name in names:
        if found := shutil.which(name):
            return [found]
    warnings.warn(remedy, stacklevel=2)
    return []
