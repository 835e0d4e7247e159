"""What somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable

_SLIPS = 2


def similar(written: str, names: Iterable[str]) -> list[str]:
    """The names that begin so, or that two slips of the finger at most turned into it."""
    given = written.lower()
    return [name for name in names if name.startswith(given) or _slips(given, name) <= _SLIPS]


def _slips(first: str, second: str) -> int:
    """The Levenshtein distance: how many letters must be put in, left out or replaced."""
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(second, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (letter != other))
    return row[-1]
