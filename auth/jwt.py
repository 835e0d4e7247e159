"""Reading and writing NATS JWTs as typed claims.

``decode`` checks the token's own signature and that its issuer is of a kind that may sign such claims; it does not
ask whether the issuer is trusted (auth.trust does). ``encode`` writes version 2 tokens byte for byte as the NATS
tools do: registered fields, then the ``nats`` section, the token id a hash of the registered fields alone.
"""

from __future__ import annotations

import hashlib
import time
from base64 import b32encode
from typing import Any, Final, get_args

from auth import envelope
from auth.claims import (
    AccountClaims,
    ActivationClaims,
    AuthorizationRequestClaims,
    AuthorizationResponseClaims,
    Claims,
    GenericClaims,
    OperatorClaims,
    UserClaims,
)
from auth.claims.base import VERSION
from auth.envelope import JwtError
from auth.nkey import KeyPair

__all__ = ["JwtError", "decode", "decode_unverified", "encode", "token_id"]

_TypedClaims = (
    OperatorClaims
    | AccountClaims
    | UserClaims
    | ActivationClaims
    | AuthorizationRequestClaims
    | AuthorizationResponseClaims
)
_TYPES: Final[dict[str, type[Claims]]] = {claims.type_name: claims for claims in get_args(_TypedClaims)}


def token_id(claims: Claims) -> str:
    """The ``jti``: base32 without padding of the SHA-512/256 of the registered fields."""
    digest = hashlib.new("sha512_256", claims.registered_json()).digest()
    return b32encode(digest).decode("ascii").rstrip("=")


def encode(claims: Claims, keypair: KeyPair, *, issued_at: int | None = None) -> str:
    """Sign claims: sets issuer, time of issue (Unix seconds, now when not given), token id and version in them.

    Raises JwtError when the subject is missing or of the wrong kind, or when such a key may not sign such claims.
    """
    claims.check_subject()
    claims.issuer = keypair.public
    claims.check_issuer()
    claims.issued_at = int(time.time()) if issued_at is None else issued_at
    claims.token_id = token_id(claims)
    if isinstance(claims, _TypedClaims):
        claims.nats.type = claims.type_name
        claims.nats.version = VERSION
    claims.normalise()
    return envelope.seal(claims.to_json(), keypair)


def decode(token: str) -> Claims:
    """The claims of a token that its own issuer signed, of the class that the token's type names.

    Raises JwtError.
    """
    return _typed(envelope.open_verified(token))


def decode_unverified(token: str) -> Claims:
    """The claims of a token whose signature was NOT checked. Raises JwtError."""
    return _typed(envelope.open_unverified(token))


def _typed(payload: dict[str, Any]) -> Claims:
    section = payload.get("nats")
    kind = payload.get("type") or (section.get("type") if isinstance(section, dict) else None)
    claims_type = _TYPES.get(kind) if isinstance(kind, str) else None
    return (claims_type or GenericClaims).from_payload(payload)
