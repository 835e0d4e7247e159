"""What natskeep does in the recorded cases where it differs from nats-server on purpose.

The cases and outcomes stand in ``differences.yaml``; the reasons stand in docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Differences:
    """By the name of the case: the keys of the recorded case that have another value for natskeep."""

    transcripts: Mapping[str, Mapping[str, Any]]
    vectors: Mapping[str, Mapping[str, Any]]


def _load() -> Differences:
    document = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return Differences(document.get("transcripts") or {}, document.get("vectors") or {})


DIFFERENCES = _load()
