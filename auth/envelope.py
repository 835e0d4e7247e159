"""The JWT envelope of NATS: header, payload and an Ed25519 signature by the issuer's nkey.

:mod:`auth.compact` reads and writes the compact form. Two generations of tokens exist. Version 2 signs header and
payload; version 1 (``type`` at the top level of the payload) signs the payload alone, and is read but never written.
RFC 7515 and RFC 7519 say what is refused beyond that: non-canonical base64url, unknown critical headers, duplicate
names, invalid UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

from auth.gojson import quote

if TYPE_CHECKING:
    from types import ModuleType

    from auth.compact import Opened
    from auth.nkey import KeyPair

MAXIMUM_TOKEN_BYTES: Final = 1024 * 1024
_ALGORITHMS: Final = ("ed25519-nkey", "ed25519")


class JwtError(ValueError):
    """A token that cannot be read or whose signature does not hold; the text never holds the token."""


def _compact() -> ModuleType:
    """PyJWT takes long to load, and a server without operators needs none of it."""
    return import_module("auth.compact")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. Null is as good as absent; a name may stand only once (RFC 7519 section 4)."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate name in an object")
    return {name: value for name, value in pairs if value is not None}


def loads(payload: bytes) -> dict[str, Any]:
    """The JSON object of a payload; members that are null are left out.

    Raises JwtError for anything that is not one well-formed UTF-8 JSON object.
    """
    try:
        text = payload.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if "\\u" in text:
            # A lone surrogate can be written as an escape but stands for no character.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise JwtError("token is not well-formed JSON") from None
    if not isinstance(value, dict):
        raise JwtError("token is not a JSON object")
    return value


def seal(payload: bytes, keypair: KeyPair) -> str:
    """The version 2 token with this payload, signed."""
    token: str = _compact().seal(payload, keypair)
    return token


def is_v1(payload: Mapping[str, Any]) -> bool:
    """Whether a payload has the version 1 shape; the header's algorithm does not decide this."""
    return bool(payload.get("type"))


def open_unverified(token: str, *, limit: int | None = MAXIMUM_TOKEN_BYTES) -> dict[str, Any]:
    """The payload of a token whose signature was NOT checked. Raises JwtError."""
    return _open(token, limit)[0]


def open_verified(token: str, *, limit: int | None = MAXIMUM_TOKEN_BYTES) -> dict[str, Any]:
    """The payload of a token that its own ``iss`` signed. Whether that issuer is trusted is another matter.

    Raises JwtError.
    """
    payload, signature = _open(token, limit)
    v1 = is_v1(payload)
    if not _compact().is_signed_by(token, payload.get("iss", ""), signature, v1=v1):
        raise JwtError(f"claim failed {'V1' if v1 else 'V2'} signature verification")
    return payload


def _open(token: str, limit: int | None) -> tuple[dict[str, Any], bytes]:
    """Payload and signature of a token, both unverified. Raises JwtError."""
    if limit is not None and len(token) > limit:
        raise JwtError(f"token size {len(token)} exceeds maximum of {limit} bytes: token too large")
    if token.count(".") != 2:
        raise JwtError("expected 3 chunks")
    compact = _compact()
    try:
        opened: Opened = compact.split(token)
    except compact.CompactError as error:
        raise JwtError(str(error)) from None
    _check_header(opened.header)
    return loads(opened.payload), opened.signature


def _check_header(header: dict[str, Any]) -> None:
    kind, algorithm = header.get("typ"), header.get("alg")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise JwtError(f"not supported type {quote(str(kind or ''))}")
    if algorithm not in _ALGORITHMS:
        raise JwtError(f"unexpected {quote(str(algorithm or ''))} algorithm")
