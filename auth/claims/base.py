"""What all claims share: the registered fields, findings of a validation, and how a payload becomes claims."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Self, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

from auth import envelope
from auth.envelope import JwtError
from auth.gojson import dumps, quote
from auth.nkey import KeyKind, public_key_kind

VERSION: Final = 2
_INFO_LIMIT: Final = 8 * 1024

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A signed 64-bit number, as every count and time in a claim is."""

UNLIMITED: Final = -1
"""The one value of a limit that means there is none."""


class IssueLevel(Enum):
    """How much a finding weighs: errors always block, times block whoever asks for them, warnings never do."""

    ERROR = "error"
    TIME = "time"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding of a validation, in the words of the NATS tools."""

    level: IssueLevel
    description: str

    def __str__(self) -> str:
        return self.description


def error(description: str) -> Issue:
    """A finding that always blocks."""
    return Issue(IssueLevel.ERROR, description)


def warning(description: str) -> Issue:
    """A finding that never blocks."""
    return Issue(IssueLevel.WARNING, description)


def blocking(issues: Iterable[Issue], *, include_times: bool = False) -> list[Issue]:
    """The findings that make claims unusable."""
    return [
        issue
        for issue in issues
        if issue.level is IssueLevel.ERROR or (include_times and issue.level is IssueLevel.TIME)
    ]


class RegisteredClaims(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields of RFC 7519 section 4.1 and ``name``. Times are Unix seconds; 0 means not set."""

    audience: str = msgspec.field(name="aud", default="")
    expires_at: Int64 = msgspec.field(name="exp", default=0)
    token_id: str = msgspec.field(name="jti", default="")
    issued_at: Int64 = msgspec.field(name="iat", default=0)
    issuer: str = msgspec.field(name="iss", default="")
    name: str = ""
    not_before: Int64 = msgspec.field(name="nbf", default=0)
    subject: str = msgspec.field(name="sub", default="")

    def registered_json(self) -> bytes:
        """The JSON of the registered fields without the token id: what a token id is the hash of."""
        return dumps(
            RegisteredClaims(
                audience=self.audience,
                expires_at=self.expires_at,
                issued_at=self.issued_at,
                issuer=self.issuer,
                name=self.name,
                not_before=self.not_before,
                subject=self.subject,
            )
        )

    def time_issues(self, now: float | None = None) -> list[Issue]:
        """Findings about expiry and start at a time (Unix seconds, now when not given)."""
        moment = int(time.time() if now is None else now)
        issues = []
        if 0 < self.expires_at < moment:
            issues.append(Issue(IssueLevel.TIME, "claim is expired"))
        if self.not_before > 0 and self.not_before > moment:
            issues.append(Issue(IssueLevel.TIME, "claim is not yet valid"))
        return issues


class Claims(RegisteredClaims, omit_defaults=True, kw_only=True):
    """Claims of one type. Each subclass adds its ``nats`` section and says who may sign it and for whom."""

    type_name: ClassVar[str] = ""
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = ()
    subject_kind: ClassVar[KeyKind | None] = None
    subject_error: ClassVar[str] = ""
    type_error: ClassVar[str] = ""

    @classmethod
    def migrate_v1(cls, nats: dict[str, Any]) -> None:
        """Turn the ``nats`` section of a version 1 token into the version 2 shape, in place."""

    @classmethod
    def prepare(cls, nats: dict[str, Any]) -> None:
        """Fill in what absent or older fields of a ``nats`` section mean, in place."""

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Typed claims from a payload. Raises JwtError when type, version or a field is not as it must be."""
        top = dict(payload)
        section = top.get("nats", {})
        if not isinstance(section, dict):
            raise JwtError(f"{cls.type_name} claim: `nats` must be an object")
        section = dict(section)
        top["nats"] = section
        v1 = envelope.is_v1(payload)
        found = payload.get("type") if v1 else section.get("type")
        if found != cls.type_name:
            raise JwtError(cls.type_error)
        refuse_case_variants(cls, top)
        if v1:
            cls.migrate_v1(section)
            for name in ("tags", "issuer_account"):
                if name in top:
                    section[name] = top[name]
            section["type"] = cls.type_name
            section["version"] = 1
        else:
            check_version(section.get("version", 0))
        cls.prepare(section)
        try:
            claims = msgspec.convert(top, cls)
        except msgspec.ValidationError as problem:
            raise JwtError(f"{cls.type_name} claim: {problem}") from None
        claims.check_issuer()
        return claims

    @classmethod
    def from_token(cls, token: str) -> Self:
        """Claims of a token that its own issuer signed. Raises JwtError."""
        return cls.from_payload(envelope.open_verified(token))

    def check_issuer(self) -> None:
        """Whether the issuer is of a kind that may sign these claims. Raises JwtError."""
        if self.issuer_kinds and public_key_kind(self.issuer) not in self.issuer_kinds:
            kinds = " ".join(kind.label for kind in self.issuer_kinds)
            raise JwtError(f"unable to validate expected prefixes - [{kinds}]")

    def check_subject(self) -> None:
        """Whether the subject is of the kind that these claims are about. Raises JwtError."""
        if not self.subject:
            raise JwtError("subject is not set")
        if self.subject_kind is not None and public_key_kind(self.subject) is not self.subject_kind:
            raise JwtError(self.subject_error)

    def normalise(self) -> None:
        """Bring lists into the order in which tokens hold them, just before signing."""

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding, at a time in Unix seconds (now when not given)."""
        return self.time_issues(now)

    @property
    def is_self_signed(self) -> bool:
        """Whether subject and issuer are the same key."""
        return self.subject == self.issuer

    def to_json(self) -> bytes:
        """The payload, byte for byte as it is signed."""
        return dumps(self)


def check_version(version: object) -> None:
    """Refuse every version of the ``nats`` section but 2. Raises JwtError."""
    if not isinstance(version, int) or isinstance(version, bool):
        raise JwtError("`nats.version` must be an integer")
    if version > VERSION:
        raise JwtError("JWT was generated by a newer version ")
    if version < VERSION:
        raise JwtError(f"library supports version {VERSION} or less - received {version}")


@lru_cache(maxsize=64)
def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}


def refuse_case_variants(annotation: Any, value: Any) -> None:
    """Refuse a field whose name differs from a known one only in the case of letters. Raises JwtError.

    Other NATS servers read such a field as the known one; to ignore it here could drop an expiry or a deny.
    """
    if isinstance(value, dict):
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            known = _fields(annotation)
            for name, item in value.items():
                if name in known:
                    refuse_case_variants(known[name], item)
                elif name.lower() in known:
                    raise JwtError(f"claim field {quote(name)} must be written {quote(name.lower())}")
        elif get_origin(annotation) is dict:
            for item in value.values():
                refuse_case_variants(get_args(annotation)[1], item)
        else:
            _refuse_in_union(annotation, value)
    elif isinstance(value, list):
        if get_origin(annotation) is list:
            for item in value:
                refuse_case_variants(get_args(annotation)[0], item)
        else:
            _refuse_in_union(annotation, value)


def _refuse_in_union(annotation: Any, value: Any) -> None:
    if get_origin(annotation) in _UNIONS:
        for member in get_args(annotation):
            refuse_case_variants(member, value)


_UNIONS: Final = (Union, type(int | str))


def subject_issues(subject: str) -> Iterator[Issue]:
    """Findings about a subject, wildcards allowed."""
    if not subject:
        yield error("subject cannot be empty")
        return
    quoted = quote(subject)
    if " " in subject:
        yield error(f"subject {quoted} cannot have spaces")
    if subject.startswith(".") or subject.endswith("."):
        yield error(f"subject {quoted} cannot start or end with a `.`")
    if ".." in subject:
        yield error(f"subject {quoted} cannot contain consecutive `.`")


def has_wildcards(subject: str) -> bool:
    """Whether a subject holds a wildcard token."""
    parts = subject.split(".")
    return "*" in parts or parts[-1] == ">"


def info_issues(description: str, info_url: str) -> Iterator[Issue]:
    """Findings about the description and link that accounts and exports carry."""
    if len(description.encode()) > _INFO_LIMIT:
        yield error("Description is too long")
    if not info_url:
        return
    if len(info_url.encode()) > _INFO_LIMIT:
        yield error("Info URL is too long")
    try:
        parts = urlsplit(info_url)
        usable = bool(parts.hostname) and bool(parts.scheme)
    except ValueError as problem:
        yield error(f"error parsing info url: {problem}")
        return
    if not usable:
        yield error("error parsing info url: no hostname or scheme")


def add_tags(tags: list[str], new: Iterable[str]) -> None:
    """Add tags the way the NATS tools do: trimmed, lower case, each once."""
    for tag in new:
        cleaned = tag.strip().lower()
        if cleaned and cleaned not in tags:
            tags.append(cleaned)


def remove_tags(tags: list[str], old: Iterable[str]) -> None:
    """Remove tags, whatever their case."""
    unwanted = {tag.strip().lower() for tag in old}
    tags[:] = [tag for tag in tags if tag.lower() not in unwanted]
