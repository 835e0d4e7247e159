"""Why a control line was not taken, in the words that nats-server's log has for it."""

from __future__ import annotations

LONGEST_SIZE = 9
"""Digits of a size."""


def message_problem(line: bytes, *, headers: bool) -> str:
    """What is wrong with the line of a message; `headers` is whether the connection takes messages with headers.

    The text ends where the line is to follow, in quotes, unless it says everything itself.
    """
    verb, *words = line.split()
    if verb == b"PUB":
        return "processPub Bad or Missing Size:" if len(words) in {2, 3} else "processPub Parse Error:"
    if not headers:
        return ""
    if len(words) not in {3, 4}:
        return "processHeaderPub Parse Error:"
    if not _is_size(words[-2]):
        return "processHeaderPub Bad or Missing Header Size:"
    if not _is_size(words[-1]):
        return "processHeaderPub Bad or Missing Total Size:"
    return "processHeaderPub Header Size larger then TotalSize:"


def _is_size(word: bytes) -> bool:
    return word.isdigit() and len(word) <= LONGEST_SIZE
