"""Everything that crosses the wall of one account, compiled: imports in force, each with the export that permits it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts.exports import ServiceExport, StreamExport
from accounts.graph import ACCOUNT_MISSING, ImportProblem, Survey, Verdict
from accounts.imports import ServiceImport, StreamImport

if TYPE_CHECKING:
    from accounts.account import Account
    from accounts.imports import Import
    from accounts.mapping import SubjectMapping


@dataclass(frozen=True, slots=True)
class StreamLink:
    """A stream import in force: ``export`` permits it until ``ends_at`` (Unix seconds), None without an end."""

    importer: str
    imported: StreamImport
    export: StreamExport
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class ServiceLink:
    """A service import in force: ``export`` permits it until ``ends_at`` (Unix seconds), None without an end."""

    importer: str
    imported: ServiceImport
    export: ServiceExport
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an account takes from others, and how it maps what is published in it.

    ``refused`` are the imports that are not in force. ``ends_at`` is the first Unix second at which time alone changes
    something: compile again then. ``consulted`` are the accounts whose change changes something as well.
    """

    account: Account
    streams: tuple[StreamLink, ...] = ()
    services: tuple[ServiceLink, ...] = ()
    mappings: tuple[SubjectMapping, ...] = ()
    refused: tuple[ImportProblem, ...] = ()
    ends_at: float | None = None
    consulted: frozenset[str] = frozenset()


def compile_exchange(account: Account, lookup: Callable[[str], Account | None], now: float) -> Exchange:
    """What crosses the wall of ``account`` at a time in Unix seconds.

    ``lookup`` finds verified accounts by name, None for what cannot be used; ``account`` itself is taken as it is. An
    import is in force where the exporting account is within its time and its most specific export that contains the
    import's subject permits it. One that brings back what came from itself is not.
    """
    if not account.imports:
        return Exchange(account, mappings=account.mappings)
    survey = Survey(lambda name: account if name == account.name else lookup(name), now)
    streams, services, refused = _links(account, survey)
    return Exchange(
        account,
        tuple(streams),
        tuple(services),
        account.mappings,
        tuple(refused),
        survey.changes_at,
        survey.consulted - {account.name},
    )


def _links(account: Account, survey: Survey) -> tuple[list[StreamLink], list[ServiceLink], list[ImportProblem]]:
    """The imports of an account that are in force, by their kind, and those that are not."""
    streams: list[StreamLink] = []
    services: list[ServiceLink] = []
    refused: list[ImportProblem] = []
    for found, verdict in survey.verdicts(account.name):
        export = verdict.export
        problem = _problem(account, found, verdict, survey)
        if problem is not None:
            refused.append(problem)
        elif isinstance(found, StreamImport) and isinstance(export, StreamExport):
            streams.append(StreamLink(account.name, found, export, verdict.changes_at))
        elif isinstance(found, ServiceImport) and isinstance(export, ServiceExport):
            services.append(ServiceLink(account.name, found, export, verdict.changes_at))
    return streams, services, refused


def _problem(account: Account, found: Import, verdict: Verdict, survey: Survey) -> ImportProblem | None:
    """Why an import of an account is not in force, None where it is."""
    if verdict.export is None:
        is_unknown = verdict.reason == ACCOUNT_MISSING
        return ImportProblem(account.name, found, verdict.reason, verdict.detail, is_unknown)
    circle = survey.circle(account.name, found)
    return None if circle is None else ImportProblem(account.name, found, circle)


def import_problems(accounts: Iterable[Account]) -> Iterator[ImportProblem]:
    """The imports among these accounts that are not in force, where nothing but the accounts themselves counts."""
    by_name = {account.name: account for account in accounts}
    survey = Survey(by_name.get, 0.0)
    for account in by_name.values():
        for found, verdict in survey.verdicts(account.name):
            problem = _problem(account, found, verdict, survey)
            if problem is not None:
                yield problem
