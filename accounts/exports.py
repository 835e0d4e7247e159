"""What an account offers to others: streams of messages, and services that answer.

Source of the rules: the NATS documentation on accounts, and NATS ADR-32 for the latency of services.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias

from accounts.subject import SINGLE, contains, is_valid, specificity, tokens
from accounts.transform import INVALID_SUBJECT

DEFAULT_RESPONSE_THRESHOLD: Final = 120.0
"""Seconds that a service has to answer, where the export says nothing."""

SAMPLE_BY_HEADERS: Final = 0
"""As a sampling: what the tracing headers of a request ask for."""


class ResponseType(Enum):
    """How a service answers one request."""

    SINGLETON = "Singleton"
    """With one message."""
    STREAM = "Stream"
    """With messages up to an empty one."""
    CHUNKED = "Chunked"
    """With the pieces of one message, up to an empty one."""


@dataclass(frozen=True, slots=True)
class ServiceLatency:
    """Measurements of a service: the literal subject in the exporting account that they are published to, and the share
    of requests that are measured, 1 to 100 percent or :data:`SAMPLE_BY_HEADERS`."""

    subject: str
    sampling: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Export:
    kind: ClassVar[str]
    subject: str
    """What is offered; wildcards are allowed."""
    accounts: frozenset[str] | None = None
    """The only accounts that may import it; None where that is not limited by name."""
    account_token_position: int = 0
    """Token of ``subject``, from 1, that is ``*`` and in which an importer must put its own name; 0 is none."""
    token_required: bool = False
    """Whether an importer needs an activation token."""
    revocations: Mapping[str, int] = field(default_factory=dict, hash=False)
    """For each importer, or ``*`` for all, the Unix second up to which activations are revoked."""
    origin: str = ""
    """Where it was declared."""

    def __post_init__(self) -> None:
        """Raises ValueError for a subject that nothing can match, and a position where no ``*`` stands."""
        if not is_valid(self.subject):
            raise ValueError(INVALID_SUBJECT)
        position, parts = self.account_token_position, tokens(self.subject)
        if position and not (1 <= position <= len(parts) and parts[position - 1] == SINGLE):
            raise ValueError(f"account_token_position {position} is not the place of a * in the subject")
        object.__setattr__(self, "revocations", MappingProxyType(dict(self.revocations)))

    @property
    def is_restricted(self) -> bool:
        """Whether not everyone may import it."""
        return self.accounts is not None or self.account_token_position > 0 or self.token_required

    def permits(self, importer: str, subject: str) -> bool:
        """Whether an account may import ``subject`` by its name alone; an activation token is another matter."""
        if not contains(self.subject, subject):
            return False
        position = self.account_token_position
        # An account of the name * must not import for all the others.
        if position and (importer == SINGLE or tokens(subject)[position - 1] != importer):
            return False
        return self.accounts is None or importer in self.accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamExport(_Export):
    """Messages of the account that others may subscribe to."""

    kind: ClassVar[str] = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceExport(_Export):
    """Requests that others may send into the account."""

    kind: ClassVar[str] = "service"
    response_type: ResponseType = ResponseType.SINGLETON
    response_threshold: float = DEFAULT_RESPONSE_THRESHOLD
    """Seconds after which an answer comes too late."""
    latency: ServiceLatency | None = None
    allow_trace: bool = False
    """Whether a traced request is followed into the account."""


Export: TypeAlias = StreamExport | ServiceExport


def deciding_exports(exports: Iterable[Export], kind: str, subject: str) -> tuple[Export, ...]:
    """The exports that decide on an import of ``subject``: those of the most specific subject that contains it.

    So a restricted export of ``a.b`` holds for imports of ``a.b`` beside an open one of ``a.>``. Where one subject is
    exported more than once, its restricted exports decide.
    """
    fitting = [export for export in exports if export.kind == kind and contains(export.subject, subject)]
    if not fitting:
        return ()
    if len(fitting) == 1:
        return tuple(fitting)
    closest = min(fitting, key=lambda export: specificity(export.subject)).subject
    same = tuple(export for export in fitting if export.subject == closest)
    return tuple(export for export in same if export.is_restricted) or same
