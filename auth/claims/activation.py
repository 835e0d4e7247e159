"""Activation claims: the token with which an exporting account lets one other account import."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from auth.claims.base import Claims, Issue, error, subject_issues
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, is_public_key

EXPORT_KINDS: Final = ("stream", "service")


class ActivationData(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The ``nats`` section of activation claims."""

    import_subject: str = msgspec.field(name="subject", default="")
    kind: str = ""
    issuer_account: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    type: str = ""
    version: int = 0


class ActivationClaims(Claims, omit_defaults=True, kw_only=True):
    """The right of the account in ``subject`` to import from the account that issued the claims."""

    type_name: ClassVar[str] = "activation"
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = (KeyKind.ACCOUNT, KeyKind.OPERATOR)
    subject_kind: ClassVar[KeyKind | None] = KeyKind.ACCOUNT
    subject_error: ClassVar[str] = "expected subject to be an account"
    type_error: ClassVar[str] = "not activation claim"

    nats: ActivationData = msgspec.field(default_factory=ActivationData)

    @classmethod
    def new(cls, subject: str) -> ActivationClaims:
        """Fresh claims for the public key of the importing account."""
        return cls(subject=subject)

    @classmethod
    def migrate_v1(cls, nats: dict[str, Any]) -> None:
        """In version 1 the kind stood in ``type``; limits on use were never enforced and are dropped."""
        nats["kind"] = nats.get("type", "")
        for name in ("max", "payload", "src", "times"):
            nats.pop(name, None)

    @property
    def exporting_account(self) -> str:
        """The account that offers what is activated."""
        return self.nats.issuer_account or self.issuer

    def hash_id(self) -> str:
        """The name under which tools store the token. Raises JwtError when the claims lack a part of it."""
        if not self.issuer or not self.subject or not self.nats.import_subject:
            raise JwtError("not enough data in the activaion claims to create a hash")
        text = f"{self.issuer}.{self.subject}.{_literal_head(self.nats.import_subject)}"
        return b32encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding."""
        return [*self.time_issues(now), *self.own_issues()]

    def own_issues(self) -> Iterator[Issue]:
        """Findings apart from the times."""
        if self.nats.kind not in EXPORT_KINDS:
            yield error(f"invalid import type: {quote(self.nats.kind or 'unknown')}")
        yield from subject_issues(self.nats.import_subject)
        if self.nats.issuer_account and not is_public_key(self.nats.issuer_account, KeyKind.ACCOUNT):
            yield error("account_id is not an account public key")


def _literal_head(subject: str) -> str:
    head: list[str] = []
    for token in subject.split("."):
        if token in ("*", ">"):
            break
        head.append(token)
    return ".".join(head) or "_"
