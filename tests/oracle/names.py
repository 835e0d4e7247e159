"""What subjects and patterns have to do with each other, token by token from the definition, and how they are renamed.

Wildcards in a subject that something is published to are plain tokens.
"""

from __future__ import annotations

from functools import cache


@cache
def fits(pattern: str, subject: str) -> bool:
    """Say whether ``pattern`` matches ``subject``."""
    return caught(pattern, subject) is not None


@cache
def caught(pattern: str, subject: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """What each ``*`` of ``pattern`` stands for in ``subject``, and what ``>`` does; None where they do not match."""
    wanted, given = pattern.split("."), subject.split(".")
    if "" in given:
        return None
    rest: tuple[str, ...] = ()
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        rest = tuple(given[len(wanted) :])
        given = given[: len(wanted)]
        if not rest:
            return None
    if len(wanted) != len(given):
        return None
    pairs = list(zip(wanted, given, strict=True))
    if any(token not in ("*", other) for token, other in pairs):
        return None
    return tuple(other for token, other in pairs if token == "*"), rest


@cache
def covers(outer: str, inner: str) -> bool:
    """Say whether ``outer`` matches everything that ``inner`` matches."""
    return _covers(tuple(outer.split(".")), tuple(inner.split(".")))


def _covers(outer: tuple[str, ...], inner: tuple[str, ...]) -> bool:
    if outer == (">",):
        return len(inner) > 0
    if not outer or not inner:
        return not outer and not inner
    if inner[0] == ">" and len(inner) == 1:
        return False
    return outer[0] in ("*", inner[0]) and _covers(outer[1:], inner[1:])


@cache
def collide(one: str, other: str) -> bool:
    """Say whether something is matched by both patterns."""
    return _collide(tuple(one.split(".")), tuple(other.split(".")))


def _collide(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return not one and not other
    if one == (">",) or other == (">",):
        return True
    return (one[0] == other[0] or "*" in (one[0], other[0])) and _collide(one[1:], other[1:])


@cache
def renamed(source: str, destination: str, subject: str) -> str:
    """What ``subject``, which ``source`` matches, is called behind ``destination``.

    ``$n`` in it is the n-th ``*`` of the source, a ``*`` the next one in order, ``>`` what the source's ``>`` matched.
    """
    found = caught(source, subject)
    assert found is not None
    wildcards, rest = found
    in_order = iter(wildcards)
    tokens: list[str] = []
    for token in destination.split("."):
        if token == ">":
            tokens.extend(rest)
        elif token == "*":
            tokens.append(next(in_order))
        elif token[0] == "$" and token[1:].isdigit():
            tokens.append(wildcards[int(token[1:]) - 1])
        else:
            tokens.append(token)
    return ".".join(tokens)


@cache
def inverted(source: str, destination: str) -> tuple[str, str]:
    """Source and destination of the way back of a renaming that uses every wildcard once."""
    there, back = [], {}
    position = stars = 0
    for token in destination.split("."):
        if token == "*":
            stars += 1
            position += 1
            back[stars] = position
        elif token[0] == "$" and token[1:].isdigit():
            position += 1
            back[int(token[1:])] = position
        is_wildcard = token == "*" or (token[0] == "$" and token[1:].isdigit())
        there.append("*" if is_wildcard else token)
    number = 0
    home = []
    for token in source.split("."):
        if token == "*":
            number += 1
            home.append(f"${back[number]}")
        else:
            home.append(token)
    return ".".join(there), ".".join(home)
