"""What an account takes from others, each import bound to the account that exports it and to its subject there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import ClassVar, Final, Self, TypeAlias

from accounts.activation import Activation
from accounts.permissions import quoted
from accounts.subject import REST, SINGLE, is_valid, tokens
from accounts.transform import INVALID_SUBJECT, InvalidTransformError, SubjectTransform

PREFIX_WILDCARD: Final = "stream import prefix can not contain wildcard tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    kind: ClassVar[str]
    account: str
    """The name of the exporting account."""
    subject: str
    """The subject there, equal to what is exported or part of it."""
    to: str = ""
    """The subject here, as written: plain, or with ``*`` or ``$n`` for the wildcards of ``subject``; empty where both
    are the same."""
    activation: Activation | None = None
    """What lets it use an export that demands an activation; a configuration file has none."""
    origin: str = ""
    """Where it was declared."""
    outward: SubjectTransform = field(init=False, repr=False, compare=False)
    """From the exporting account's subject to the one here."""
    local_subject: str = field(init=False, repr=False, compare=False)
    """The subject here, with ``*`` for each wildcard that it takes over."""

    def __post_init__(self) -> None:
        """Raises ValueError with the text of nats-server for subjects that do not fit together."""
        if not is_valid(self.subject) or (self.to and not is_valid(self.to)):
            raise ValueError(INVALID_SUBJECT)
        try:
            outward = SubjectTransform.for_import(self.subject, self.to or self.subject)
        except InvalidTransformError as error:
            raise InvalidTransformError(self._context() + str(error)) from None
        object.__setattr__(self, "outward", outward)
        object.__setattr__(self, "local_subject", outward.pattern)

    def declared_at(self, origin: str) -> Self:
        """The same import, declared elsewhere."""
        # What holds for one holds for the other, so nothing is checked again.
        kind = type(self)
        twin = object.__new__(kind)
        for read, write in _OTHER_FIELDS[kind]:
            write(twin, read(self))
        object.__setattr__(twin, "origin", origin)
        return twin

    def _context(self) -> str:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamImport(_Import):
    """Messages of another account, seen here."""

    kind: ClassVar[str] = "stream"
    allow_trace: bool = False
    """Whether a traced message is followed into this account."""

    def _context(self) -> str:
        pair = f"from {quoted(self.subject)} to {quoted(self.to)}"
        return f"failed to create mapping transform for stream import subject {pair}: "


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceImport(_Import):
    """Requests made here that another account answers."""

    kind: ClassVar[str] = "service"
    share: bool = False
    """Whether the exporting account may see who asks."""
    inward: SubjectTransform = field(init=False, repr=False, compare=False)
    """From the subject that is asked here to the one that is answered there."""

    def __post_init__(self) -> None:
        _Import.__post_init__(self)
        object.__setattr__(self, "inward", self.outward.inverse())

    def _context(self) -> str:
        pair = f"from {quoted(self.to)} to {quoted(self.subject)}"
        return f"failed to create mapping transform for service import subject {pair}: "


Import: TypeAlias = StreamImport | ServiceImport


def _other_fields(kind: type) -> list[tuple[Callable[[object], object], Callable[[object, object], None]]]:
    """What reads and what writes each field but the origin; the dataclass itself lets nobody write."""
    slots = [getattr(kind, one.name) for one in fields(kind) if one.name != "origin"]
    return [(slot.__get__, slot.__set__) for slot in slots]


_OTHER_FIELDS: Final[dict[type, list[tuple[Callable[[object], object], Callable[[object, object], None]]]]] = {
    kind: _other_fields(kind) for kind in (StreamImport, ServiceImport)
}


def prefixed(prefix: str, subject: str) -> str:
    """The ``to`` of a stream import with a prefix.

    Raises ValueError for a prefix with wildcards or empty tokens.
    """
    if not prefix:
        return ""
    if {SINGLE, REST} & set(tokens(prefix)):
        raise ValueError(PREFIX_WILDCARD)
    if not is_valid(prefix):
        raise ValueError(INVALID_SUBJECT)
    return f"{prefix}.{subject}"
