"""An operator with a system account, an account, its signing keys and a user, ready to be bent for one test."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from auth import jwt
from auth.authenticate import Authenticator, ConnectionType, Evidence
from auth.claims import AccountClaims, OperatorClaims, UserClaims, UserScope
from auth.nkey import KeyKind, KeyPair
from auth.principal import Principal
from auth.resolver.memory import MemoryResolver
from auth.settings import AuthSettings

NOW = 1_700_000_000
NONCE = "PXoWU7zWAMt75FY"


def key(kind: KeyKind, number: int) -> KeyPair:
    """A fixed key; never a secret."""
    return KeyPair(kind, bytes([number]) * 32)


OPERATOR = key(KeyKind.OPERATOR, 1)
OPERATOR_SIGNING = key(KeyKind.OPERATOR, 2)
STRANGER = key(KeyKind.OPERATOR, 3)
SYSTEM = key(KeyKind.ACCOUNT, 4)
ACCOUNT = key(KeyKind.ACCOUNT, 5)
ACCOUNT_SIGNING = key(KeyKind.ACCOUNT, 6)
SCOPED = key(KeyKind.ACCOUNT, 7)
OTHER_ACCOUNT = key(KeyKind.ACCOUNT, 8)
USER = key(KeyKind.USER, 9)
OTHER_USER = key(KeyKind.USER, 10)
PROXY = key(KeyKind.SERVER, 11)


def sign_nonce(user: KeyPair = USER, nonce: str = NONCE) -> str:
    """The ``sig`` of a client that holds the user's seed."""
    return base64.urlsafe_b64encode(user.sign(nonce.encode())).decode().rstrip("=")


def seal(payload: dict[str, Any], signer: KeyPair, *, v1: bool = False, header: dict[str, Any] | None = None) -> str:
    """Any payload under a right signature, however odd."""

    def encoded(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    algorithm = "ed25519" if v1 else "ed25519-nkey"
    head = encoded(json.dumps(header or {"typ": "JWT", "alg": algorithm}).encode())
    body = encoded(json.dumps(payload).encode())
    signed = body if v1 else f"{head}.{body}"
    return f"{head}.{body}.{encoded(signer.sign(signed.encode()))}"


@dataclass
class Realm:
    """Change the claims, then ask for an authenticator or for the outcome of one CONNECT."""

    operator: OperatorClaims = field(default_factory=lambda: OperatorClaims.new(OPERATOR.public))
    account: AccountClaims = field(default_factory=lambda: AccountClaims.new(ACCOUNT.public))
    user: UserClaims = field(default_factory=lambda: UserClaims.new(USER.public))
    operator_key: KeyPair = OPERATOR
    account_signer: KeyPair = OPERATOR
    user_signer: KeyPair = ACCOUNT
    issued_at: int = NOW - 100

    def __post_init__(self) -> None:
        self.operator.name, self.account.name, self.user.name = "op", "ACME", "bob"
        self.operator.nats.system_account = SYSTEM.public
        self.operator.nats.signing_keys = [OPERATOR_SIGNING.public]
        self.account.nats.signing_keys = [ACCOUNT_SIGNING.public]

    def use_scope(self) -> UserScope:
        """Sign the user with the scoped key; returns the scope."""
        scope = UserScope.new(SCOPED.public)
        scope.role = "worker"
        self.account.nats.signing_keys.append(scope)
        self.user.nats = UserClaims.new(USER.public, scoped=True).nats
        self.user.nats.issuer_account = ACCOUNT.public
        self.user_signer = SCOPED
        return scope

    def preload(self) -> dict[str, str]:
        system = AccountClaims.new(SYSTEM.public)
        system.name = "SYS"
        return {
            SYSTEM.public: jwt.encode(system, self.account_signer, issued_at=self.issued_at),
            ACCOUNT.public: jwt.encode(self.account, self.account_signer, issued_at=self.issued_at),
        }

    def settings(self, **changes: Any) -> AuthSettings:
        preload = changes.pop("preload", None) or self.preload()
        fields: dict[str, Any] = {
            "operators": (jwt.encode(self.operator, self.operator_key, issued_at=self.issued_at),),
            "resolver": MemoryResolver(preload),
            "preload": preload,
        }
        return AuthSettings(**(fields | changes))

    def authenticator(self, **changes: Any) -> Authenticator:
        return Authenticator(self.settings(**changes))

    def token(self) -> str:
        return jwt.encode(self.user, self.user_signer, issued_at=self.issued_at)

    def evidence(self, **changes: Any) -> Evidence:
        fields: dict[str, Any] = {"nonce": NONCE, "unverified_signature": sign_nonce(), "remote_ip": "127.0.0.1"}
        if "unverified_jwt" not in changes:
            fields["unverified_jwt"] = self.token()
        return Evidence(**(fields | changes))

    def connect(self, *, now: float = NOW, settings: dict[str, Any] | None = None, **changes: Any) -> Principal:
        """The principal of one CONNECT, or AuthError."""
        return self.authenticator(**(settings or {})).authenticate(self.evidence(**changes), now)


__all__ = ["ConnectionType", "Evidence", "Realm"]
