"""The syntax of a configuration text: what the two readers of texts make, before anything is evaluated.

A large configuration has some hundred thousand nodes, so they are of the kind of object that is made quickest.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from broker.config.errors import Position
from broker.config.tree import Likeness


@dataclass(slots=True)
class Source:
    """A text with a name, which knows the place of each of its characters."""

    name: str
    text: str
    _line_starts: list[int] = field(init=False, repr=False)
    _wide: list[int] = field(init=False, repr=False)
    """Offsets of characters that take more than one byte, once for each byte above the first."""
    _line: tuple[int, int, int] = field(init=False, repr=False, default=(0, 0, 0))
    """The line that was asked for last, where it begins and where it ends: the next place is mostly in it too."""

    def __post_init__(self) -> None:
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        self._wide = []
        if not self.text.isascii():
            for match in re.finditer(r"[^\0-\x7f]", self.text):
                self._wide += [match.start()] * (len(match[0].encode("utf-8", "surrogatepass")) - 1)

    def position(self, offset: int) -> Position:
        """The place of the character at ``offset``."""
        line, start, end = self._line
        if not start <= offset < end:
            starts = self._line_starts
            line = bisect_right(starts, offset)
            start = starts[line - 1]
            self._line = line, start, starts[line] if line < len(starts) else len(self.text) + 1
        column = offset - start
        if self._wide:
            column += bisect_left(self._wide, offset) - bisect_left(self._wide, start)
        # There are as many positions as values, and this is the quickest way to make one.
        return tuple.__new__(Position, (self.name, line, column if line == 1 else column + 1))


class ScalarNode(msgspec.Struct):
    """A value without parts as it is written; ``kind`` is the terminal of the grammar that it is."""

    kind: str
    text: str
    offset: int


class PairNode(msgspec.Struct):
    """A key, without its quotes, and its value."""

    key: str
    value: Node
    offset: int
    """Where the key begins, behind its quote."""


class IncludeNode(msgspec.Struct):
    """An ``include`` statement."""

    path: str
    """Without its quotes."""
    offset: int
    """Where the path begins, with its quote."""


@dataclass(slots=True)
class MapNode:
    """Statements in braces, or a whole document."""

    statements: list[PairNode | IncludeNode]
    offset: int
    """Behind the brace."""
    likeness: Likeness | None = field(default=None, compare=False)
    """What it shares with the :class:`RepeatNode` of each later map that is written like it."""


class RepeatNode(msgspec.Struct):
    """A map in the same characters as an earlier one; the quick reader reads on behind it."""

    likeness: Likeness
    offset: int
    """Behind the brace."""


class ArrayNode(msgspec.Struct):
    """Elements in brackets."""

    elements: list[ElementNode]
    offset: int
    """Behind the bracket."""


Node: TypeAlias = ScalarNode | MapNode | ArrayNode
ElementNode: TypeAlias = Node | RepeatNode
