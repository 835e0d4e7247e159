"""Who reaches whom, drawn: a table of all accounts against each other as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final
from xml.sax.saxutils import escape


class Contact(Enum):
    """What can get from one account to another; the value is the mark in a table."""

    NOTHING = "."
    MESSAGE = "M"
    ANSWER = "A"
    POSSIBLE = "?"

    @property
    def meaning(self) -> str:
        """The mark in words."""
        return _MEANINGS[self]


_MEANINGS: Final[Mapping[Contact, str]] = {
    Contact.NOTHING: "nothing",
    Contact.MESSAGE: "what is published there",
    Contact.ANSWER: "answers only",
    Contact.POSSIBLE: "could not be excluded",
}
_COLOURS: Final[Mapping[Contact, str]] = {
    Contact.NOTHING: "#f3f5f7",
    Contact.MESSAGE: "#c2410c",
    Contact.ANSWER: "#e0a43a",
    Contact.POSSIBLE: "#7c6bb0",
}
_FONT: Final = "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\""
_CELL: Final = 36
_LETTER: Final = 9.8
_LEGEND_LINE: Final = 28
_LONGEST_LABEL: Final = 28


def draw(labels: Sequence[str], contacts: Mapping[tuple[int, int], Contact]) -> str:
    """An SVG picture: sources downwards, targets across, both by their numbers in ``labels``."""
    shown = [label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…" for label in labels]
    widest = max((len(label) for label in shown), default=1) * _LETTER
    left, top = widest + 32, 72 + widest * 0.75
    size = _CELL * len(labels)
    width, height = max(left + size + widest * 0.75 + 16, 360), top + size + 40 + _LEGEND_LINE * len(Contact)
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" {_FONT} font-size="14">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        '<text x="16" y="28" font-size="17" font-weight="600" fill="#1f2933">Who reaches whom</text>',
        '<text x="16" y="48" font-size="13" fill="#52606d">from the account on the left to the one above</text>',
        *_headings(shown, left, top),
        *_cells(labels, contacts, left, top),
        *_legend(top + size + 32),
        "</svg>\n",
    ))  # fmt: skip


def _headings(labels: Sequence[str], left: float, top: float) -> Iterator[str]:
    for number, label in enumerate(labels):
        text = escape(label)
        x, y = left + _CELL * (number + 0.5), top + _CELL * (number + 0.5)
        yield f'<text x="{left - 12:.1f}" y="{y + 5:.1f}" text-anchor="end" fill="#1f2933">{text}</text>'
        yield (
            f'<text x="{x:.1f}" y="{top - 10:.1f}" fill="#1f2933"'
            f' transform="rotate(-45 {x:.1f} {top - 10:.1f})">{text}</text>'
        )


def _cells(
    labels: Sequence[str], contacts: Mapping[tuple[int, int], Contact], left: float, top: float
) -> Iterator[str]:
    for row, source in enumerate(labels):
        for column, target in enumerate(labels):
            x, y = left + _CELL * column, top + _CELL * row
            if row == column:
                yield f'<path d="M{x + 8:.1f} {y + 28:.1f}l20 -20" stroke="#cbd2d9" stroke-width="1.5"/>'
                continue
            contact = contacts[row, column]
            title = escape(f"{source} → {target}: {contact.meaning}")
            yield (
                f'<rect x="{x + 2:.1f}" y="{y + 2:.1f}" width="{_CELL - 4}" height="{_CELL - 4}" rx="4"'
                f' fill="{_COLOURS[contact]}"><title>{title}</title></rect>'
            )
            if contact is not Contact.NOTHING:
                yield (
                    f'<text x="{x + _CELL / 2:.1f}" y="{y + _CELL / 2 + 5:.1f}" text-anchor="middle"'
                    f' font-weight="600" fill="#ffffff" pointer-events="none">{contact.value}</text>'
                )


def _legend(top: float) -> Iterator[str]:
    x = 16.0
    for line, contact in enumerate(Contact):
        y = top + line * _LEGEND_LINE
        mark = "" if contact is Contact.NOTHING else contact.value
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="20" height="20" rx="3" fill="{_COLOURS[contact]}"'
            ' stroke="#cbd2d9" stroke-width="0.5"/>'
        )
        yield (
            f'<text x="{x + 10:.1f}" y="{y + 15:.1f}" text-anchor="middle" font-size="12" font-weight="600"'
            f' fill="#ffffff">{mark}</text>'
        )
        yield f'<text x="{x + 28:.1f}" y="{y + 15:.1f}" font-size="12" fill="#1f2933">{contact.meaning}</text>'
