"""What patterns mean, written from the definition, and a small world of subjects to try them on.

``WORLD`` holds all literals of up to four tokens over three letters. ``PATTERNS`` use two of these letters and at most
three tokens, so the third letter stands for "any other token" and the fourth position for "deeper than any pattern".
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product

WORLD = tuple(".".join(parts) for depth in range(1, 5) for parts in product("abz", repeat=depth))

PATTERNS = tuple(
    ".".join((*head, last)) for depth in range(3) for head in product(("a", "b", "*"), repeat=depth) for last in "ab*>"
)


def _expression(pattern: str) -> str:
    parts = pattern.split(".")
    rest = parts[-1] == ">"
    pieces = ["[^.]+" if part == "*" else re.escape(part) for part in (parts[:-1] if rest else parts)]
    return r"\.".join([*pieces, r"[^.]+(\.[^.]+)*"] if rest else pieces)


@cache
def text_matches(pattern: str, text: str) -> bool:
    """Say whether ``pattern`` matches ``text`` token by token, wildcards in ``text`` being plain tokens."""
    return re.fullmatch(_expression(pattern), text) is not None


@cache
def literals(pattern: str) -> frozenset[str]:
    """Return the subjects of the world that ``pattern`` matches."""
    return frozenset(literal for literal in WORLD if text_matches(pattern, literal))
