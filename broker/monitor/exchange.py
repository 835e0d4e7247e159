"""What an account gives to others, takes from them, and maps, as /accountz shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from accounts.exchange import compile_exchange
from accounts.exports import SAMPLE_BY_HEADERS, ResponseType, ServiceExport
from accounts.imports import ServiceImport
from auth.claims import Export as ExportClaim
from auth.claims import ServiceLatency
from auth.claims.exchange import HEADERS_SAMPLING
from broker.wire.values import moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from accounts.account import Account
    from accounts.exports import Export
    from accounts.exports import ServiceLatency as Latency
    from accounts.imports import Import
    from accounts.mapping import SubjectMapping

_RESPONSES: Final = {
    ResponseType.SINGLETON: "Singleton",
    ResponseType.STREAM: "Streamed",
    ResponseType.CHUNKED: "Chunked",
}


class ExportDetail(ExportClaim, kw_only=True):
    """One subject that is offered."""

    approved_accounts: list[str] = msgspec.field(default_factory=list)
    revoked_activations: dict[str, str] = msgspec.field(default_factory=dict)


class ImportDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One subject that is taken."""

    subject: str
    """In the exporting account."""
    account: str
    to: str = ""
    """The older name of `local_subject`, for services only."""
    local_subject: str
    type: str
    invalid: bool
    """Whether it is not in force."""
    share: bool
    tracking: bool
    """Whether it is the answer to a measured request: an import never is."""
    latency: ServiceLatency | None = None
    """How requests are measured, where the exporting account has them measured."""


class DestinationDetail(msgspec.Struct, omit_defaults=True):
    """Where a share of the messages goes."""

    subject: str
    weight: int
    cluster: str = ""


def exports(account: Account) -> list[ExportDetail]:
    """What the account offers: services first, as the reference has them."""
    return [_export(one) for one in sorted(account.exports, key=lambda one: not isinstance(one, ServiceExport))]


def _export(export: Export) -> ExportDetail:
    detail = ExportDetail(
        subject=export.subject,
        type=export.kind,
        token_required=export.token_required,
        approved_accounts=sorted(export.accounts or ()),
        revoked_activations={key: moment(at) for key, at in export.revocations.items()},
    )
    if isinstance(export, ServiceExport):
        detail.response_type = _RESPONSES[export.response_type]
        if export.latency is not None:
            detail.service_latency = _latency(export.latency)
    return detail


def _latency(latency: Latency) -> ServiceLatency:
    sampling = latency.sampling
    return ServiceLatency(HEADERS_SAMPLING if sampling == SAMPLE_BY_HEADERS else sampling, latency.subject)


def imports(account: Account, other: Callable[[str], Account | None], now: float) -> list[ImportDetail]:
    """What the account takes: streams first. `other` finds an exporting account."""
    exchange = compile_exchange(account, other, now)
    refused = [problem.found for problem in exchange.refused]
    measured = [(link.imported, link.export.latency) for link in exchange.services if link.export.latency is not None]
    return [
        _import(
            one,
            is_refused=any(one is found for found in refused),
            latency=next((latency for imported, latency in measured if imported is one), None),
        )
        for one in sorted(account.imports, key=lambda one: isinstance(one, ServiceImport))
    ]


def _import(found: Import, *, is_refused: bool, latency: Latency | None) -> ImportDetail:
    is_service = isinstance(found, ServiceImport)
    return ImportDetail(
        subject=found.subject,
        account=found.account,
        to=found.local_subject if is_service else "",
        local_subject=found.local_subject,
        type=found.kind,
        invalid=is_refused,
        share=isinstance(found, ServiceImport) and found.share,
        tracking=False,
        latency=None if latency is None else _latency(latency),
    )


def mappings(account: Account) -> dict[str, list[DestinationDetail]]:
    """Where the messages to each mapped subject go, by weight."""
    return {one.source: _destinations(one) for one in account.mappings}


def _destinations(mapping: SubjectMapping) -> list[DestinationDetail]:
    return [DestinationDetail(one.subject, one.weight, one.cluster) for one in mapping.destinations]
