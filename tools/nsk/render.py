"""Tables in boxes of ASCII characters, as account tools have always printed them, so that scripts can read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def bold(text: str) -> str:
    """Emphasised on a terminal; the escape codes do not count for the width of a column."""
    return f"{BOLD}{text}{PLAIN}"


def printable(text: str) -> str:
    """Text of unknown origin with its control characters made visible, so that it cannot drive a terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def payload_text(payload: bytes) -> str:
    """A payload in one line, with escapes for what is no UTF-8 and for what would drive a terminal."""
    return printable(payload.decode("utf-8", "backslashreplace"))


def _width(cell: str) -> int:
    return len(_ESCAPE.sub("", cell))


class Table:
    """Rows below a title. Cells may hold several lines; ``rule`` draws a line between groups of rows."""

    def __init__(self, title: str = "", headers: Sequence[str] = ()) -> None:
        self.title = title
        self._rows: list[list[str] | None] = []
        if headers:
            self.row(*headers)
            self.rule()

    def row(self, *cells: str) -> None:
        """One row; every row of a table has as many cells as its first."""
        self._rows.append(list(cells))

    def rows(self, label: str, values: Iterable[str]) -> None:
        """A row for each value, the label on the first only."""
        for value in values:
            self.row(label, value)
            label = ""

    def rule(self) -> None:
        """A line below what is there."""
        self._rows.append(None)

    def render(self) -> str:
        """The table as text, ending in a newline."""
        rows = [None if row is None else [_lines(cell) for cell in row] for row in self._rows]
        columns = max((len(row) for row in rows if row is not None), default=1)
        widths = [1] * columns
        for row in rows:
            for column, cell in enumerate(row or ()):
                widths[column] = max(widths[column], *map(_width, cell))
        if len(self.title) > sum(widths) + 3 * (columns - 1):
            widths[-1] += len(self.title) - sum(widths) - 3 * (columns - 1)
        rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
        output: list[str] = []
        if self.title:
            inner = sum(widths) + 3 * columns - 1
            output = ["+" + "-" * inner + "+", "|" + _centred(self.title, inner) + "|"]
        output.append(rule)
        for row in rows:
            if row is None:
                output.append(rule)
                continue
            for line in range(max(map(len, row))):
                cells = (cell[line] if line < len(cell) else "" for cell in row)
                padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=False))
                output.append("| " + " | ".join(padded) + " |")
        output.append(rule)
        return "\n".join(output) + "\n"


def _lines(cell: str) -> list[str]:
    return cell.split("\n")


def _centred(text: str, width: int) -> str:
    spare = width - _width(text)
    left = spare // 2
    return " " * left + text + " " * (spare - left)
