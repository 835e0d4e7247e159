"""``generate diagram component|object``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tools.nsk.cli import Command
from tools.nsk.commands.describe import OUTPUT_FLAG, STDOUT
from tools.nsk.diagram import component_diagram
from tools.nsk.flags import Flags, boolean
from tools.nsk.object_diagram import ObjectDiagram
from tools.nsk.session import Session


@dataclass(frozen=True, slots=True)
class GeneratedDiagram:
    """A diagram in the language of PlantUML."""

    diagram: Annotated[str, "its text"]
    path: Annotated[str | None, "the file that it was written to, null for stdout"]


def _component(session: Session, flags: Flags) -> GeneratedDiagram:
    drawn = component_diagram(session.store, program=session.output.program, detail=flags.boolean("detail"))
    return _write(session, flags, drawn)


def _object(session: Session, flags: Flags) -> GeneratedDiagram:
    diagram = ObjectDiagram(
        session.store,
        users=flags.boolean("users"),
        keys=flags.boolean("show-keys"),
        detail=flags.boolean("detail"),
    )
    return _write(session, flags, diagram.draw(session.output.program))


def _write(session: Session, flags: Flags, drawn: str) -> GeneratedDiagram:
    target = flags.text("output-file")
    if target == STDOUT:
        session.output.line(drawn)
        return GeneratedDiagram(drawn, None)
    return GeneratedDiagram(drawn, str(session.write_output(target, drawn)))


COMPONENT = Command(
    "component",
    "Generate a plantuml component diagram for this store",
    _component,
    (boolean("detail", "", "Include account descriptions"), OUTPUT_FLAG),
    examples="nsk generate diagram component",
    result=GeneratedDiagram,
)
OBJECT = Command(
    "object",
    "Generate a plantuml object diagram for this store",
    _object,
    (
        boolean("show-keys", "", "Include keys in diagram"),
        boolean("users", "", "Include User"),
        boolean("detail", "", "Include empty/unlimited values"),
        OUTPUT_FLAG,
    ),
    examples="nsk generate diagram object",
    result=GeneratedDiagram,
)
