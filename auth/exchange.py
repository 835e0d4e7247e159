"""Exports, imports and mappings of verified account claims become those of the domain.

Claims whose findings block have been refused before. What is left and yet cannot be done is passed over alone, with the
reason as a finding, as nats-server does; it gives nobody anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from accounts.activation import Activation
from accounts.exports import (
    DEFAULT_RESPONSE_THRESHOLD,
    SAMPLE_BY_HEADERS,
    Export,
    ResponseType,
    ServiceExport,
    ServiceLatency,
    StreamExport,
)
from accounts.imports import Import, ServiceImport, StreamImport, prefixed
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.permissions import quoted
from accounts.subject import is_literal
from auth import claims as claimed

if TYPE_CHECKING:
    from auth.claims import AccountData, WeightedMapping

PASSED_OVER: Final = " is passed over: "
"""Stands in the findings about what an account is loaded without."""

_NANOSECONDS = 1_000_000_000

_Made = TypeVar("_Made")


class Crossings(NamedTuple):
    """What of an account's claims crosses its wall, and what was passed over."""

    exports: tuple[Export, ...]
    imports: tuple[Import, ...]
    mappings: tuple[SubjectMapping, ...]
    findings: tuple[str, ...]


def crossings_of(data: AccountData, origin: str) -> Crossings:
    """The exports, imports and mappings of an account; ``origin`` names its claims."""
    findings: list[str] = []
    exports: list[Export] = []
    for number, offered in enumerate(data.exports):
        if offered is not None:
            what = f"{offered.type} export {quoted(offered.subject)}"
            exports += _attempt(findings, what, _export, offered, f"{origin} exports[{number}]", findings)
    imports: list[Import] = []
    for number, taken in enumerate(data.imports):
        if taken is not None:
            what = f"{taken.type} import {quoted(taken.subject)}"
            imports += _attempt(findings, what, _import, taken, f"{origin} imports[{number}]")
    mappings: list[SubjectMapping] = []
    for source, destinations in data.mappings.items():
        where = f"{origin} mappings[{quoted(source)}]"
        mappings += _attempt(findings, f"mapping of {quoted(source)}", _mapping, source, destinations, where)
    return Crossings(tuple(exports), tuple(imports), tuple(mappings), tuple(findings))


def _attempt(findings: list[str], what: str, make: Callable[..., _Made], *arguments: object) -> Iterable[_Made]:
    """What is made, or nothing and a finding."""
    try:
        return (make(*arguments),)
    except ValueError as problem:
        findings.append(f"{what}{PASSED_OVER}{problem}")
        return ()


def _export(offered: claimed.Export, origin: str, findings: list[str]) -> Export:
    if offered.is_stream:
        return StreamExport(
            subject=offered.subject,
            account_token_position=offered.account_token_position,
            token_required=offered.token_required,
            revocations=offered.revocations,
            origin=origin,
        )
    response = ResponseType(offered.response_type or ResponseType.SINGLETON.value)
    return ServiceExport(
        subject=offered.subject,
        account_token_position=offered.account_token_position,
        token_required=offered.token_required,
        revocations=offered.revocations,
        response_type=response,
        response_threshold=offered.response_threshold / _NANOSECONDS or DEFAULT_RESPONSE_THRESHOLD,
        latency=_latency(offered, response, findings),
        allow_trace=offered.allow_trace,
        origin=origin,
    )


def _latency(offered: claimed.Export, response: ResponseType, findings: list[str]) -> ServiceLatency | None:
    """What is measured; a service that cannot be measured is offered all the same."""
    latency = offered.service_latency
    if latency is None:
        return None
    problem = ""
    if not is_literal(latency.results):
        problem = "invalid publish subject"
    elif response is not ResponseType.SINGLETON:
        problem = "bad service response type"
    if problem:
        findings.append(f"latency of service export {quoted(offered.subject)} is not measured: {problem}")
        return None
    sampling = latency.sampling if isinstance(latency.sampling, int) else SAMPLE_BY_HEADERS
    return ServiceLatency(latency.results, sampling)


def _import(taken: claimed.Import, origin: str) -> Import:
    """One import. The older ``to`` is a prefix for a stream; for a service ``subject`` is then the one here, and ``to``
    the exporter's."""
    activation = activation_of(taken.activation()) if taken.token else None
    if not taken.is_service:
        local = taken.local_subject or prefixed(taken.to.removesuffix("."), taken.subject)
        return StreamImport(
            account=taken.account,
            subject=taken.subject,
            to=local,
            activation=activation,
            allow_trace=taken.allow_trace,
            origin=origin,
        )
    older = bool(taken.to) and not taken.local_subject
    return ServiceImport(
        account=taken.account,
        subject=taken.to if older else taken.subject,
        to=taken.subject if older else taken.local_subject,
        activation=activation,
        share=taken.share,
        origin=origin,
    )


def activation_of(token: claimed.ActivationClaims) -> Activation:
    """The facts of an activation whose own signature was verified."""
    return Activation(
        kind=token.nats.kind,
        subject=token.nats.import_subject,
        importer=token.subject,
        issuer=token.issuer,
        issuer_account=token.nats.issuer_account,
        issued_at=token.issued_at,
        expires_at=token.expires_at or None,
        not_before=token.not_before or None,
        token_id=token.token_id,
    )


def _mapping(source: str, destinations: list[WeightedMapping], origin: str) -> SubjectMapping:
    weighted = tuple(
        WeightedDestination(found.subject, found.effective_weight, found.cluster) for found in destinations
    )
    return SubjectMapping(source, weighted, origin)
