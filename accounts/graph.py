"""Who reaches whom: whether each import meets an export that permits it, and whether imports run in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from accounts.exports import Export, ServiceExport, StreamExport
from accounts.imports import Import, ServiceImport, StreamImport
from accounts.permissions import quoted
from accounts.subject import overlaps

CYCLE: Final = "import forms a cycle"
STREAM_TWICE: Final = "stream import already exists"
STREAM_UNAUTHORIZED: Final = "stream import not authorized"
SERVICE_UNAUTHORIZED: Final = "service import not authorized"


@dataclass(frozen=True, slots=True)
class Party:
    """One account as the others see it."""

    name: str
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """An import that cannot be, and why; the text is that of nats-server."""

    party: Party
    found: Import
    reason: str
    is_unknown_account: bool = False

    @property
    def text(self) -> str:
        """What to tell who wrote the import."""
        kind = "service" if isinstance(self.found, ServiceImport) else "stream"
        if self.is_unknown_account:
            return f"{quoted(self.found.account)} account not defined for {kind} import"
        return f"Error adding {kind} import {quoted(self.found.subject)}: {self.reason}"


def import_problems(parties: Iterable[Party]) -> Iterator[ImportProblem]:
    """What is wrong with the imports among these accounts, one problem an import."""
    by_name = {party.name: party for party in parties}
    for party in by_name.values():
        streams: set[tuple[str, str]] = set()
        for found in party.imports:
            exporter = by_name.get(found.account)
            if exporter is None:
                yield ImportProblem(party, found, "account missing", is_unknown_account=True)
            elif not _is_permitted(exporter, party.name, found):
                is_stream = isinstance(found, StreamImport)
                yield ImportProblem(party, found, STREAM_UNAUTHORIZED if is_stream else SERVICE_UNAUTHORIZED)
            elif isinstance(found, StreamImport) and (found.account, found.subject) in streams:
                yield ImportProblem(party, found, STREAM_TWICE)
            elif _is_circular(party, found, by_name):
                yield ImportProblem(party, found, CYCLE)
            if isinstance(found, StreamImport):
                streams.add((found.account, found.subject))


def _is_permitted(exporter: Party, importer: str, found: Import) -> bool:
    kind = StreamExport if isinstance(found, StreamImport) else ServiceExport
    return any(isinstance(export, kind) and export.permits(importer, found.subject) for export in exporter.exports)


def _is_circular(party: Party, found: Import, by_name: Mapping[str, Party]) -> bool:
    """Whether what is imported comes, through the exporter's own imports, from the importing account itself.

    An import from the own account is none of these: it gives a subject another name.
    """
    waiting, seen = [(party.name, found)], set()
    while waiting:
        name, step = waiting.pop()
        if step.account == name or (name, step) in seen:
            continue
        seen.add((name, step))
        exporter = by_name.get(step.account)
        for further in exporter.imports if exporter is not None else ():
            if type(further) is type(step) and overlaps(further.local_subject, step.subject):
                if further.account == party.name and step.account != party.name and overlaps(
                    found.local_subject, further.subject
                ):
                    return True
                waiting.append((step.account, further))
    return False
