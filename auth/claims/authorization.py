"""Authorization requests and responses: what an auth callout is asked about a login, and what it answers.

A server signs requests with its own key; the callout's account, or one of its signing keys, signs responses. Names of
fields and their order are those of NATS ADR-26.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

import msgspec

from auth.claims.base import Claims, Issue, error
from auth.gojson import quote
from auth.nkey import KeyKind, is_public_key

REQUEST_AUDIENCE: Final = "nats-authorization-request"


class ServerFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The server that asks. ``xkey`` is its public curve key, where requests are encrypted."""

    name: str
    host: str
    id: str
    version: str = ""
    cluster: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    xkey: str = ""


class ClientFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The connection that the login came on, as far as the server knows it. ``nonce`` is what a signature is over."""

    host: str = ""
    id: Annotated[int, msgspec.Meta(ge=0)] = 0
    user: str = ""
    name: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    name_tag: str = ""
    kind: str = ""
    type: str = ""
    mqtt_id: str = ""
    nonce: str = ""


class ConnectFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What CONNECT said, secrets included."""

    jwt: str = ""
    nkey: str = ""
    signature: str = msgspec.field(name="sig", default="")
    token: str = msgspec.field(name="auth_token", default="")
    user: str = ""
    password: str = msgspec.field(name="pass", default="")
    name: str = ""
    lang: str = ""
    version: str = ""
    protocol: int

    def __repr__(self) -> str:
        return f"ConnectFacts(user={self.user!r}, nkey={self.nkey!r})"


class EncryptionFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """TLS of the connection: certificates in PEM, as chains where they were verified."""

    version: str = ""
    cipher: str = ""
    certificates: list[str] = msgspec.field(name="certs", default_factory=list)
    verified_chains: list[list[str]] = msgspec.field(default_factory=list)


class AuthorizationRequestData(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The ``nats`` section of a request. ``user_nkey`` is the key that the answer has to be about."""

    server_id: ServerFacts
    user_nkey: str
    client_info: ClientFacts
    connect_opts: ConnectFacts
    client_tls: EncryptionFacts | None = None
    request_nonce: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    type: str = ""
    version: int = 0


class AuthorizationRequestClaims(Claims, omit_defaults=True, kw_only=True):
    """A server asks about one login."""

    type_name: ClassVar[str] = "authorization_request"
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = (KeyKind.SERVER,)
    type_error: ClassVar[str] = "not an authorization request claim"

    nats: AuthorizationRequestData

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding."""
        return [*self.time_issues(now), *self._own_issues()]

    def _own_issues(self) -> Iterator[Issue]:
        key = self.nats.user_nkey
        if not key:
            yield error("User nkey is required")
        elif not is_public_key(key, KeyKind.USER):
            yield error(f"User nkey {quote(key)} is not a valid user public key")


class AuthorizationResponseData(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The ``nats`` section of a response: a user JWT, or why there is none."""

    jwt: str = ""
    error: str = ""
    issuer_account: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    type: str = ""
    version: int = 0

    def __repr__(self) -> str:
        return f"AuthorizationResponseData(error={self.error!r})"


class AuthorizationResponseClaims(Claims, omit_defaults=True, kw_only=True):
    """The callout's answer about one login: for a server (audience), about the user key of the request (subject)."""

    type_name: ClassVar[str] = "authorization_response"
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = (KeyKind.ACCOUNT,)
    type_error: ClassVar[str] = "not an authorization response claim"

    nats: AuthorizationResponseData = msgspec.field(default_factory=AuthorizationResponseData)

    @classmethod
    def new(cls, subject: str) -> AuthorizationResponseClaims:
        """A fresh answer about a user's public key."""
        return cls(subject=subject)

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding."""
        return [*self.time_issues(now), *self._own_issues()]

    def _own_issues(self) -> Iterator[Issue]:
        data = self.nats
        if not is_public_key(self.subject, KeyKind.USER):
            yield error("Subject must be a user public key")
        if not is_public_key(self.audience, KeyKind.SERVER):
            yield error("Audience must be a server public key")
        if not data.error and not data.jwt:
            yield error("Error or Jwt is required")
        if data.error and data.jwt:
            yield error("Only Error or Jwt can be set")
        if data.issuer_account and not is_public_key(data.issuer_account, KeyKind.ACCOUNT):
            yield error("issuer_account is not an account public key")
