"""The map of accounts: who offers what to whom, placed on a circle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from accounts.account import Account

MOST: Final = 24
"""Accounts that fit on the circle; those that exchange nothing stay out first."""

WIDTH: Final = 880
HEIGHT: Final = 520
_RADIUS_X: Final = 300.0
_RADIUS_Y: Final = 190.0
_LONGEST: Final = 22


@dataclass(frozen=True, slots=True)
class Node:
    """One account and where it stands."""

    name: str
    label: str
    x: float
    y: float
    anchor: str
    """On which side of its dot the label stands: as SVG's ``text-anchor``."""
    label_x: float


@dataclass(frozen=True, slots=True)
class Edge:
    """What one account takes of another: from the exporter to the importer, a little bent."""

    kind: str
    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture's parts."""

    nodes: list[Node]
    edges: list[Edge]
    left_out: int
    """Accounts that did not fit."""
    width: int = WIDTH
    height: int = HEIGHT


def chart(accounts: Sequence[Account], *, only: str = "") -> Chart:
    """The map of these accounts; of one and those that it exchanges with, where one is named."""
    by_name = {account.name: account for account in accounts}
    links = [
        (link.account, account.name, link.kind, link.subject)
        for account in accounts
        for link in account.imports
        if link.account in by_name
    ]
    if only:
        links = [link for link in links if only in link[:2]]
    connected = {name for link in links for name in link[:2]} | ({only} if only else set())
    wanted = connected if only else {*by_name}
    ordered = sorted(wanted, key=lambda name: (name not in connected, by_name[name].label, name))
    placed = {name: place for place, name in enumerate(ordered[:MOST])}
    count = len(placed)
    nodes = [_node(by_name[name], place, count) for name, place in placed.items()]
    edges = [
        _edge(nodes[placed[source]], nodes[placed[target]], kind, [one[3] for one in links if one[:3] == key])
        for key in sorted({link[:3] for link in links})
        for source, target, kind in [key]
        if source in placed and target in placed
    ]
    return Chart(nodes, edges, len(ordered) - count)


def _node(account: Account, place: int, count: int) -> Node:
    angle = 2 * math.pi * place / max(count, 1) - math.pi / 2
    x = WIDTH / 2 + (_RADIUS_X * math.cos(angle) if count > 1 else 0)
    y = HEIGHT / 2 + (_RADIUS_Y * math.sin(angle) if count > 1 else 0)
    side = "start" if x >= WIDTH / 2 else "end"
    label = account.label if len(account.label) <= _LONGEST else f"{account.label[: _LONGEST - 1]}…"
    return Node(account.name, label, round(x, 1), round(y, 1), side, round(x + (14 if side == "start" else -14), 1))


def _edge(source: Node, target: Node, kind: str, subjects: Iterable[str]) -> Edge:
    listed = ", ".join(sorted(subjects))
    title = f"{kind} {listed}: from {source.label} to {target.label}"
    if source is target:
        return Edge(kind, f"M{source.x} {source.y} m-6 -8 a14 14 0 1 1 12 0", title)
    dx, dy = target.x - source.x, target.y - source.y
    length = math.hypot(dx, dy) or 1.0
    # Both directions, and streams beside services, stay apart when each bends to its own side.
    bend = 0.12 if kind == "stream" else 0.2
    mx, my = (source.x + target.x) / 2 - dy * bend, (source.y + target.y) / 2 + dx * bend
    ex, ey = target.x - dx / length * 12, target.y - dy / length * 12
    return Edge(kind, f"M{source.x} {source.y} Q{mx:.1f} {my:.1f} {ex:.1f} {ey:.1f}", title)
