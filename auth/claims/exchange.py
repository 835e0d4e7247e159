"""Exports and imports as account claims hold them: what an account offers, what it takes from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from accounts import subject as subjects
from auth.claims.activation import EXPORT_KINDS, ActivationClaims
from auth.claims.base import Int64, Issue, error, has_wildcards, info_issues, subject_issues, warning
from auth.envelope import JwtError
from auth.gojson import quote

HEADERS_SAMPLING: Final = "headers"
RESPONSE_TYPES: Final = ("Singleton", "Stream", "Chunked")

_OPENED: Final = "opened"
"""Where an import keeps the claims of the token that it held when they were last asked for."""


class ServiceLatency(msgspec.Struct):
    """How many requests are measured: a percentage from 1 to 100, or ``headers`` when the requests say so."""

    sampling: int | str = HEADERS_SAMPLING
    results: str = ""

    def issues(self) -> Iterator[Issue]:
        """Findings about the rate and the subject."""
        if self.sampling not in (HEADERS_SAMPLING, 0) and not (
            isinstance(self.sampling, int) and 1 <= self.sampling <= 100
        ):
            yield error("sampling percentage needs to be between 1-100")
        yield from subject_issues(self.results)
        if has_wildcards(self.results):
            yield error("results subject can not contain wildcards")


class Export(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One subject offered to other accounts. ``response_threshold`` is in nanoseconds."""

    name: str = ""
    subject: str = ""
    type: str = ""
    token_required: bool = msgspec.field(name="token_req", default=False)
    revocations: dict[str, Int64] = msgspec.field(default_factory=dict)
    response_type: str = ""
    response_threshold: Int64 = 0
    service_latency: ServiceLatency | None = None
    account_token_position: Int64 = 0
    advertise: bool = False
    allow_trace: bool = False
    description: str = ""
    info_url: str = ""

    @property
    def is_service(self) -> bool:
        """Whether requests are taken."""
        return self.type == "service"

    @property
    def is_stream(self) -> bool:
        """Whether messages are given."""
        return self.type == "stream"

    def issues(self) -> Iterator[Issue]:
        """Findings about this export alone."""
        if self.type not in EXPORT_KINDS:
            yield error(f"invalid export type: {quote(self.type or 'unknown')}")
        if self.is_service and self.response_type not in ("", *RESPONSE_TYPES):
            yield error(f"invalid response type for service: {quote(self.response_type)}")
        if self.is_stream:
            if self.response_type:
                yield error(f"invalid response type for stream: {quote(self.response_type)}")
            if self.allow_trace:
                yield error("AllowTrace only valid for service export")
        if self.service_latency is not None:
            if not self.is_service:
                yield error("latency tracking only permitted for services")
            yield from self.service_latency.issues()
        if self.response_threshold < 0:
            yield error("negative response threshold is invalid")
        if self.response_threshold > 0 and not self.is_service:
            yield error("response threshold only valid for services")
        yield from subject_issues(self.subject)
        yield from self._token_position_issues()
        yield from info_issues(self.description, self.info_url)

    def _token_position_issues(self) -> Iterator[Issue]:
        position = self.account_token_position
        if position == 0:
            return
        if not has_wildcards(self.subject):
            yield error(f"Account Token Position can only be used with wildcard subjects: {self.subject}")
            return
        parts = self.subject.split(".")
        if position < 0 or position > len(parts):
            yield error(f"Account Token Position {position} exceeds length of subject '{self.subject}'")
        elif parts[position - 1] != "*":
            found = parts[position - 1]
            yield error(f"Account Token Position {position} matches '{found}' but must match a * in: {self.subject}")


class Import(msgspec.Struct, omit_defaults=True, kw_only=True, dict=True):
    """One subject taken from another account. ``to`` is the older form of ``local_subject``."""

    name: str = ""
    subject: str = ""
    account: str = ""
    token: str = ""
    to: str = ""
    local_subject: str = ""
    type: str = ""
    share: bool = False
    allow_trace: bool = False

    def __repr__(self) -> str:
        return f"Import(subject={self.subject!r}, account={self.account!r}, type={self.type!r})"

    @property
    def is_service(self) -> bool:
        """Whether requests are sent."""
        return self.type == "service"

    @property
    def effective_local_subject(self) -> str:
        """The subject inside the importing account."""
        return self.to or self.local_subject or self.subject

    @property
    def exported_subject(self) -> str:
        """The subject inside the exporting account. For a service the older ``to`` is that one."""
        return self.to if self.is_service and self.to else self.subject

    def activation(self) -> ActivationClaims:
        """The claims of its token, which its own issuer signed. Raises JwtError."""
        known: tuple[str, ActivationClaims] | None = self.__dict__.get(_OPENED)
        if known is None or known[0] != self.token:
            # The signature takes longer than all else about an import, and what validates it is not what uses it.
            known = self.__dict__[_OPENED] = (self.token, ActivationClaims.from_token(self.token))
        return known[1]

    def issues(self, importer: str) -> Iterator[Issue]:
        """Findings about this import in the account with the given public key. Token times are not looked at."""
        if self.type not in EXPORT_KINDS:
            yield error(f"invalid import type: {quote(self.type or 'unknown')}")
        if self.is_service and self.allow_trace:
            yield error("AllowTrace only valid for stream import")
        if not self.account:
            yield error("account to import from is not specified")
        if self.to:
            yield warning("the field to has been deprecated (use LocalSubject instead)")
        yield from subject_issues(self.subject)
        if self.local_subject:
            yield from _renaming_issues(self.local_subject, self.subject)
            if self.to:
                yield error("Local Subject replaces To")
        if self.share and not self.is_service:
            yield error(f"sharing information (for latency tracking) is only valid for services: {quote(self.subject)}")
        if self.token:
            yield from self._token_issues(importer)

    def _token_issues(self, importer: str) -> Iterator[Issue]:
        quoted = quote(self.subject)
        try:
            activation = self.activation()
        except JwtError:
            yield error(f"import {quoted} contains an invalid activation token")
            return
        if self.account not in (activation.issuer, activation.nats.issuer_account):
            yield error(f"activation token doesn't match account for import {quoted}")
        if activation.subject != importer:
            yield error(f"activation token doesn't match account it is being included in, {quoted}")
        if activation.nats.kind != self.type:
            yield error(f"mismatch between token import type {activation.nats.kind} and type of import {self.type}")
        yield from activation.own_issues()
        granted = activation.nats.import_subject
        if not subjects.contains(granted, self.exported_subject):
            yield error(f"activation token import subject {quote(granted)} doesn't match import {quoted}")


def _renaming_issues(local: str, source: str) -> Iterator[Issue]:
    yield from subject_issues(local)
    if not source:
        yield error("subject cannot be empty")
    if (local == ">" or local.endswith(".>")) != (source == ">" or source.endswith(".>")):
        yield error("both, renaming subject and subject, need to end or not end in >")
    wildcards = source.split(".").count("*")
    references = 0
    for part in local.split("."):
        if part == "*":
            references += 1
        elif part.startswith("$") and part[1:].isascii() and part[1:].isdigit():
            if int(part[1:]) > wildcards:
                yield error(f"Reference {part} in {quote(local)} reference * in {quote(source)} that do not exist")
            else:
                references += 1
    if references != wildcards:
        yield error("subject does not contain enough * or reference wildcards $[0-9]")


def export_list_issues(exports: list[Export | None]) -> Iterator[Issue]:
    """Findings about the exports of one account, alone and among each other."""
    offered: dict[str, list[str]] = {}
    for export in exports:
        if export is None:
            yield error("null export is not allowed")
            continue
        yield from export.issues()
        offered.setdefault(export.type, []).append(export.subject)
    for kind, found in offered.items():
        yield from _overlap_issues(kind, found)


def _overlap_issues(kind: str, offered: list[str]) -> Iterator[Issue]:
    """One finding for each subject that another one lies within."""
    within: dict[str, str] = {}
    for place, subject in enumerate(offered):
        for other in offered[:place]:
            if subjects.contains(subject, other):
                within.setdefault(subject, other)
            if subjects.contains(other, subject):
                within.setdefault(other, subject)
    for outer, inner in within.items():
        yield error(f"{kind} export subject {quote(outer)} already exports {quote(inner)}")


def import_list_issues(imports: list[Import | None], importer: str) -> Iterator[Issue]:
    """Findings about the imports of the account with the given public key, alone and among each other."""
    services: dict[str, list[str]] = {}
    for item in imports:
        if item is None:
            yield error("null import is not allowed")
            continue
        if item.is_service:
            local = item.effective_local_subject
            others = services.setdefault(item.account, [])
            for other in others:
                if subjects.contains(other, local) or subjects.contains(local, other):
                    yield error(
                        f"overlapping subject namespace for {quote(local)} and {quote(other)}"
                        f" in same account {quote(item.account)}"
                    )
            if local in others:
                yield error(f"overlapping subject namespace for {quote(local)} in account {quote(item.account)}")
            others.append(local)
        yield from item.issues(importer)


def revoke(revocations: dict[str, int], key: str, moment: int) -> None:
    """Revoke what was issued to a key until a moment (Unix seconds); an earlier revocation never shortens one."""
    revocations[key] = max(moment, revocations.get(key, moment))


def is_export_revoked(export: Export, account: str, issued_at: int) -> bool:
    """Whether an activation for an account, issued at a moment, has been revoked."""
    moments = [export.revocations[key] for key in ("*", account) if key in export.revocations]
    return any(moment >= issued_at for moment in moments)
