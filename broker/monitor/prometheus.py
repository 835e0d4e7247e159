"""Lines of the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def head(name: str, kind: str, text: str) -> bytes:
    """What stands before the samples of a metric."""
    return f"# HELP natskeep_{name} {text}\n# TYPE natskeep_{name} {kind}\n".encode("ascii")


def sample(name: str, value: float, labels: Mapping[str, str]) -> str:
    """One line."""
    return line(name, labels_of(labels), value)


def line(name: str, labels: str, value: float) -> str:
    """One line, of labels that are written already."""
    return f"natskeep_{name}{labels} {value}\n"


def labels_of(labels: Mapping[str, str]) -> str:
    """The labels in their braces; nothing where there are none."""
    shown = ",".join([f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items()])
    return f"{{{shown}}}" if shown else ""
