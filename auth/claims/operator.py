"""Operator claims: the root of trust, its signing keys and what it asks of servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from auth.claims.base import Claims, Issue, error
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, is_public_key

_SERVICE_SCHEMES: Final = ("nats", "tls", "ws", "wss")


class OperatorData(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The ``nats`` section of operator claims."""

    signing_keys: list[str] = msgspec.field(default_factory=list)
    account_server_url: str = ""
    operator_service_urls: list[str] = msgspec.field(default_factory=list)
    system_account: str = ""
    assert_server_version: str = ""
    strict_signing_key_usage: bool = False
    tags: list[str] = msgspec.field(default_factory=list)
    type: str = ""
    version: int = 0


class OperatorClaims(Claims, omit_defaults=True, kw_only=True):
    """Claims that an operator makes about itself."""

    type_name: ClassVar[str] = "operator"
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = (KeyKind.OPERATOR,)
    subject_kind: ClassVar[KeyKind | None] = KeyKind.OPERATOR
    subject_error: ClassVar[str] = "expected subject to be an operator public key"
    type_error: ClassVar[str] = "not operator claim"

    nats: OperatorData = msgspec.field(default_factory=OperatorData)

    @classmethod
    def new(cls, subject: str) -> OperatorClaims:
        """Fresh claims for an operator's public key."""
        return cls(subject=subject, issuer=subject)

    @classmethod
    def migrate_v1(cls, nats: dict[str, Any]) -> None:
        """Version 1 had identities, which nothing reads any more."""
        nats.pop("identities", None)

    def did_sign(self, claims: Claims) -> bool:
        """Whether the operator or one of its signing keys issued the claims; strict usage admits signing keys only."""
        if claims.issuer == self.subject:
            return not self.nats.strict_signing_key_usage or claims.subject == self.subject
        return claims.issuer in self.nats.signing_keys

    def trusted_keys(self) -> tuple[str, ...]:
        """The keys that accounts of this operator may be signed with."""
        own = () if self.nats.strict_signing_key_usage else (self.subject,)
        return (*own, *self.nats.signing_keys)

    def check_subject(self) -> None:
        """As for all claims, and the account server URL must be usable. Raises JwtError."""
        super().check_subject()
        for issue in self._account_server_issues():
            raise JwtError(issue.description)

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding."""
        return [*self.time_issues(now), *self._own_issues()]

    def _own_issues(self) -> Iterator[Issue]:
        yield from self._account_server_issues()
        for url in self.nats.operator_service_urls:
            if problem := service_url_problem(url):
                yield error(problem)
        for key in self.nats.signing_keys:
            if not is_public_key(key, KeyKind.OPERATOR):
                yield error(f"{key} is not an operator public key")
        system_account = self.nats.system_account
        if system_account and not is_public_key(system_account, KeyKind.ACCOUNT):
            yield error(f"{system_account} is not an account public key")
        try:
            server_version(self.nats.assert_server_version)
        except ValueError as problem:
            yield error(f"assert server version error: {problem}")

    def _account_server_issues(self) -> Iterator[Issue]:
        url = self.nats.account_server_url
        if not url:
            return
        try:
            scheme = urlsplit(url).scheme
        except ValueError as problem:
            yield error(f"error parsing account server url: {problem}")
            return
        if not scheme:
            yield error(f"account server url {quote(url)} requires a protocol")


def service_url_problem(url: str) -> str:
    """What is wrong with a URL under which clients reach the operator's servers, or an empty text."""
    quoted = quote(url)
    try:
        parts = urlsplit(url)
    except ValueError as problem:
        return f"error parsing operator service url {quoted}: {problem}"
    if "@" in parts.netloc:
        return f"operator service url {quoted} - credentials are not supported"
    if parts.path:
        return f"operator service url {quoted} - paths are not supported"
    if parts.scheme.lower() not in _SERVICE_SCHEMES:
        return f"operator service url {quoted} - protocol not supported (only 'nats', 'tls', 'ws', 'wss' only)"
    return ""


def server_version(text: str) -> tuple[int, int, int]:
    """Major, minor and update of ``x.y.z``; an empty text is 0.0.0. Raises ValueError."""
    if not text:
        return (0, 0, 0)
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError("asserted server version must be of the form <major>.<minor>.<update>")
    numbers = []
    for part in parts:
        digits = part.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"asserted server version cant parse {part} to int")
        if part.startswith("-"):
            raise ValueError(f"asserted server version can't contain negative values: {part}")
        numbers.append(int(part))
    return (numbers[0], numbers[1], numbers[2])
