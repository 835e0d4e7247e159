"""All situations, and the shapes that are stored for each."""

from __future__ import annotations

import json
from pathlib import Path

from tests.parity import conditions, credentials, situations
from tests.parity.shape import Shape, told, written
from tests.parity.stage import Stage
from tests.support.certificates import Certificates
from tests.support.servers import Target

SITUATIONS = situations.SITUATIONS
MODULES = (situations, credentials, conditions)
"""Where they stand; importing a module adds its situations to the catalogue."""

_LIKE = "like "
_SHORT = 80
_STORED = Path(__file__).parent / "shapes"


def played(name: str, target: Target, certificates: Certificates, directory: Path) -> dict[str, Shape]:
    """The shapes of all that a server answers and tells in a situation."""
    with Stage(target, certificates, directory) as stage:
        SITUATIONS[name](stage)
        return stage.shapes


def stored(name: str) -> dict[str, Shape]:
    """The shapes that nats-server was recorded with."""
    shapes: dict[str, Shape] = {}
    for asked, shape in json.loads((_STORED / f"{name}.json").read_text()).items():
        is_like_another = isinstance(shape, str) and shape.startswith(_LIKE)
        shapes[asked] = shapes[shape.removeprefix(_LIKE)] if is_like_another else shape
    return shapes


def store(name: str, shapes: dict[str, Shape]) -> None:
    """Keeps the shapes of a situation as the ones that servers are compared with; equal ones are written once."""
    first: dict[str, str] = {}
    kept: dict[str, Shape] = {}
    for asked, shape in shapes.items():
        text = told(shape)
        kept[asked] = f"{_LIKE}{first[text]}" if text in first and len(text) > _SHORT else shape
        first.setdefault(text, asked)
    (_STORED / f"{name}.json").write_text(written(kept) + "\n")
