"""The twin of broker.core.sublist: a list of pairs, searched from end to end."""

from __future__ import annotations


def pattern_matches(pattern: bytes, subject: bytes) -> bool:
    """Say whether ``pattern`` matches ``subject``, wildcards in ``subject`` being plain tokens.

    A subject with an empty token is matched by nothing.
    """
    wanted, given = pattern.split(b"."), subject.split(b".")
    if b"" in given:
        return False
    if wanted[-1] == b">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(token in (b"*", other) for token, other in zip(wanted, given, strict=True))


class Sublist:
    """A multiset of (pattern, value) pairs."""

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, object]] = []

    def insert(self, subject: bytes, value: object) -> None:
        """Add ``value`` under a valid pattern."""
        self.pairs.append((subject, value))

    def remove(self, subject: bytes, value: object) -> bool:
        """Take one such pair out; values are compared by identity. Return whether there was one."""
        for index, (pattern, other) in enumerate(self.pairs):
            if pattern == subject and other is value:
                del self.pairs[index]
                return True
        return False

    def match(self, subject: bytes) -> list[object]:
        """Return the values of all patterns that match ``subject``."""
        return [value for pattern, value in self.pairs if pattern_matches(pattern, subject)]

    def __len__(self) -> int:
        return len(self.pairs)
