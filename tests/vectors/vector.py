"""A vector: a configuration, what a client offers to it, and what came of that with nats-server 2.14.5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# PyYAML's C loader reads the one-megabyte token in a fraction of the time; both loaders accept the same documents.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SHARE = 16
"""Vectors that one server serves at most; more would only make the others wait for it."""


@dataclass(frozen=True, slots=True)
class Vector:
    """The format of the fields stands in README.md."""

    name: str
    config: str
    connect: Mapping[str, Any]
    expect: Mapping[str, Any]
    reference_also: tuple[Mapping[str, Any], ...] = ()
    probes: tuple[str, ...] = ()
    dynamic: Mapping[str, Any] | None = None
    creds: str | None = None
    earlier_connections: int = 0
    settle_seconds: float = 0.0
    wait_seconds: float = 0.0

    @staticmethod
    def load(path: Path) -> Vector:
        document = yaml.load(path.read_text(), _LOADER)
        return Vector(
            name=document["name"],
            config=document["config"],
            connect=document.get("connect", {}),
            expect=document["expect"],
            reference_also=tuple(document.get("reference_also", ())),
            probes=tuple(document.get("probes", ())),
            dynamic=document.get("dynamic"),
            creds=document.get("creds"),
            earlier_connections=document.get("pre", 0),
            settle_seconds=document.get("settle", 0.0),
            wait_seconds=document.get("wait", 0.0),
        )

    def reference_outcomes(self) -> list[Mapping[str, Any]]:
        """Everything that may come of it with the reference, which leaves some outcomes to chance."""
        return [self.expect, *({**self.expect, **also} for also in self.reference_also)]

    @property
    def takes_time(self) -> bool:
        """Whether the outcome comes only after seconds."""
        return self.settle_seconds > 0 or self.wait_seconds > 0


def load_all(directory: Path) -> list[Vector]:
    return [Vector.load(path) for path in sorted(directory.glob("*.yaml"))]


def grouped(vectors: Iterable[Vector]) -> list[list[Vector]]:
    """Vectors that one server can serve: the same configuration, a moderate number, those that take time alone and
    first."""
    groups: dict[str, list[Vector]] = {}
    alone: list[list[Vector]] = []
    for vector in vectors:
        if vector.takes_time:
            alone.append([vector])
        else:
            groups.setdefault(vector.config, []).append(vector)
    shares = [group[start : start + _SHARE] for group in groups.values() for start in range(0, len(group), _SHARE)]
    return alone + sorted(shares, key=len, reverse=True)
