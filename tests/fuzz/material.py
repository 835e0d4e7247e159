"""Tokens and keys that the fuzz targets start from; made afresh, of no worth."""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass

from auth import jwt
from auth.claims import AccountClaims, OperatorClaims, UserClaims
from auth.nkey import KeyKind, KeyPair


@dataclass(frozen=True)
class Material:
    """A chain of valid tokens with the keys of its ends."""

    operator: KeyPair
    account: KeyPair
    user: KeyPair
    operator_token: str
    account_token: str
    user_token: str
    version_1_token: str

    @property
    def tokens(self) -> list[str]:
        return [self.operator_token, self.account_token, self.user_token, self.version_1_token]


@functools.cache
def material() -> Material:
    operator, account, user = (KeyPair.generate(kind) for kind in (KeyKind.OPERATOR, KeyKind.ACCOUNT, KeyKind.USER))
    return Material(
        operator,
        account,
        user,
        jwt.encode(OperatorClaims(subject=operator.public, name="operator"), operator),
        jwt.encode(AccountClaims(subject=account.public, name="account"), operator),
        jwt.encode(UserClaims.new(user.public), account),
        _version_1(account, user),
    )


def _version_1(account: KeyPair, user: KeyPair) -> str:
    """A token of the old form, which nothing writes any more: its signature covers the payload only."""
    header = _encoded({"typ": "jwt", "alg": "ed25519"})
    payload = _encoded(
        {"iat": 1700000000, "iss": account.public, "name": "u", "sub": user.public, "type": "user", "nats": {}}
    )
    return f"{header}.{payload}.{_unpadded(account.sign(payload.encode()))}"


def _encoded(document: dict[str, object]) -> str:
    return _unpadded(json.dumps(document, separators=(",", ":")).encode())


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
