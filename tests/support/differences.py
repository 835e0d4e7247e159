"""What natskeep does in the recorded cases where it differs from nats-server on purpose.

The cases and outcomes stand in ``differences.yaml``; the reasons stand in docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class ShapeDifference:
    """Where an answer of natskeep has another shape than the recorded one; the texts are shell patterns."""

    where: str
    """The situation, a colon, and what was asked."""
    path: str
    got: str
    """What stands there."""


@dataclass(frozen=True, slots=True)
class Differences:
    """The cases that differ, by name, and how: see the file."""

    transcripts: Mapping[str, Mapping[int, list[dict[str, Any]]]]
    vectors: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Sequence[ShapeDifference]]

    def steps(self, name: str, recorded: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The steps of a transcript as natskeep is to take them."""
        own = self.transcripts.get(name, {})
        unknown = set(own) - set(range(1, len(recorded) + 1))
        assert not unknown, f"{name} has no steps {unknown}"
        return [step for number, found in enumerate(recorded, 1) for step in own.get(number, [found])]

    def expectation(self, name: str, recorded: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is to come of a vector with natskeep."""
        own = self.vectors.get(name, {})
        return own if "outcome" in own else {**recorded, **own}


def _load() -> Differences:
    document = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    shapes = {name: [ShapeDifference(**one) for one in group] for name, group in document["shapes"].items()}
    return Differences(document["transcripts"], document["vectors"], shapes)


DIFFERENCES = _load()
