"""Subjects and patterns: tokens, wildcards, containment and overlap.

A subject is a sequence of non-empty tokens joined by dots. In a pattern the whole token ``*`` stands for any one
token, and ``>`` as the last token for one or more; anywhere else both are ordinary bytes (``f*`` and ``>x`` are
literals). Tokens are compared byte for byte, case matters, and any byte but space, tab, CR and LF may occur.
A subject with an empty token is invalid: it matches nothing, contains nothing and overlaps nothing.

Subjects are ``str`` here. Callers decode wire bytes as UTF-8 with ``surrogateescape``, so that no two different byte
strings become equal. Source of the rules: the NATS protocol documentation, "Subject names" and "Wildcards".
"""

from __future__ import annotations

SINGLE = "*"
"""The wildcard that stands for exactly one token."""

REST = ">"
"""The wildcard that stands for one or more tokens, as the last token of a pattern."""

_SEPARATORS = frozenset(" \t\r\n")


def tokens(subject: str) -> list[str]:
    """Split ``subject`` at its dots; empty tokens of an invalid subject are kept."""
    return subject.split(".")


def is_valid(subject: str) -> bool:
    """Say whether ``subject`` may stand in a subscription or a permission; wildcards are allowed."""
    if not _SEPARATORS.isdisjoint(subject):
        return False
    parts = tokens(subject)
    return "" not in parts and REST not in parts[:-1]


def is_literal(subject: str) -> bool:
    """Say whether ``subject`` is valid and has no wildcard token."""
    if not is_valid(subject):
        return False
    parts = tokens(subject)
    return SINGLE not in parts and parts[-1] != REST


def matches(pattern: str, literal: str) -> bool:
    """Say whether ``pattern`` matches ``literal``; a subject that is not literal is matched by nothing."""
    return is_literal(literal) and matches_as_tokens(pattern, literal)


def matches_as_tokens(pattern: str, subject: str) -> bool:
    """Say whether ``pattern`` matches ``subject``, whose own wildcards count as plain tokens.

    So ``w.*`` matches ``w.>``. This is how a published subject is matched, and how a deny rule judges the subject of
    a subscription.
    """
    wanted, given = tokens(pattern), tokens(subject)
    if "" in given or "" in wanted:
        return False
    for position, token in enumerate(wanted):
        if token == REST and position == len(wanted) - 1:
            return len(given) > position
        if position >= len(given) or token not in (SINGLE, given[position]):
            return False
    return len(given) == len(wanted)


def contains(outer: str, inner: str) -> bool:
    """Say whether every subject that ``inner`` matches is matched by ``outer`` as well.

    ``foo.*`` contains ``foo.a`` and ``foo.*``, but not ``foo.>``, which also matches ``foo.a.b``.
    """
    wanted, given = tokens(outer), tokens(inner)
    if "" in given or "" in wanted:
        return False
    for position, token in enumerate(wanted):
        if token == REST and position == len(wanted) - 1:
            return len(given) > position
        if position >= len(given):
            return False
        if given[position] == REST and position == len(given) - 1:
            return False
        if token not in (SINGLE, given[position]):
            return False
    return len(given) == len(wanted)


def overlaps(one: str, other: str) -> bool:
    """Say whether some subject is matched by both patterns."""
    left, right = tokens(one), tokens(other)
    if "" in left or "" in right:
        return False
    for position in range(max(len(left), len(right))):
        if position >= len(left) or position >= len(right):
            return False
        first, second = left[position], right[position]
        if (first == REST and position == len(left) - 1) or (second == REST and position == len(right) - 1):
            return True
        if first != second and SINGLE not in (first, second):
            return False
    return True


def intersection(one: str, other: str) -> str | None:
    """The pattern of exactly those subjects that both patterns match; None where there are none."""
    if not overlaps(one, other):
        return None
    left, right = tokens(one), tokens(other)
    both: list[str] = []
    for position in range(max(len(left), len(right))):
        first, second = left[position], right[position]
        if first == REST and position == len(left) - 1:
            return ".".join((*both, *right[position:]))
        if second == REST and position == len(right) - 1:
            return ".".join((*both, *left[position:]))
        both.append(second if first == SINGLE else first)
    return ".".join(both)


def specificity(subject: str) -> tuple[tuple[int, ...], str]:
    """A key that sorts patterns with the most specific first: token by token a literal, then ``*``, then ``>``.

    A pattern that is contained in another one stands before it. No two patterns have one key, so the order is total.
    """
    ranks = {SINGLE: 1, REST: 2}
    return tuple(ranks.get(token, 0) for token in tokens(subject)), subject


def matches_queue(pattern: str, queue: str) -> bool:
    """Say whether the queue part of a permission covers the queue group ``queue``.

    Names are compared as they are, or token by token as a subject: ``q.*`` covers ``q.a``, ``*.dev`` covers ``b.dev``
    and ``>`` covers every name. A queue name may have empty tokens, which only ``>`` covers; a ``>`` token in it is
    covered by ``>`` or by the very same name.
    """
    if pattern == queue:
        return True
    wanted, given = tokens(pattern), tokens(queue)
    for position, token in enumerate(wanted):
        if token == REST and position == len(wanted) - 1:
            return len(given) > position
        if position >= len(given) or given[position] in ("", REST):
            return False
        if token not in (SINGLE, given[position]):
            return False
    return len(given) == len(wanted)
