"""The JWT envelope of NATS: header, payload and an Ed25519 signature by the issuer's nkey.

PyJWT reads and writes the compact form; the algorithm ``ed25519-nkey`` is registered with it here. Two
generations of tokens exist. Version 2 signs header and payload; version 1 (``type`` at the top level of the payload)
signs the payload alone, and is read but never written. RFC 7515 and RFC 7519 say what is refused beyond that:
non-canonical base64url, unknown critical headers, duplicate names, invalid UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import jwt
from jwt.algorithms import Algorithm

from auth.gojson import quote
from auth.nkey import KeyPair, NKeyError, verify

ALGORITHM: Final = "ed25519-nkey"
ALGORITHM_V1: Final = "ed25519"
MAXIMUM_TOKEN_BYTES: Final = 1024 * 1024
_ALGORITHMS: Final = [ALGORITHM, ALGORITHM_V1]


class JwtError(ValueError):
    """A token that cannot be read or whose signature does not hold; the text never holds the token."""


class _NKeyAlgorithm(Algorithm):
    """Ed25519 with nkeys: a KeyPair signs, the text of a public key verifies."""

    def prepare_key(self, key: Any) -> Any:
        return key

    def sign(self, msg: bytes, key: Any) -> bytes:
        if not isinstance(key, KeyPair):
            raise jwt.InvalidKeyError("a key pair is needed to sign")
        return key.sign(msg)

    def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:
        try:
            verify(str(key), self._signed(msg), sig)
        except NKeyError:
            return False
        return True

    def _signed(self, message: bytes) -> bytes:
        return message

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> NoReturn:
        raise NotImplementedError("nkeys have no JWK form")

    @staticmethod
    def from_jwk(jwk: Any) -> NoReturn:
        raise NotImplementedError("nkeys have no JWK form")


class _NKeyAlgorithmV1(_NKeyAlgorithm):
    """Version 1 tokens: the signature covers the encoded payload without the header."""

    def _signed(self, message: bytes) -> bytes:
        return message.partition(b".")[2]


def _envelope() -> jwt.PyJWS:
    envelope = jwt.PyJWS(algorithms=[])
    envelope.register_algorithm(ALGORITHM, _ALGORITHM)
    envelope.register_algorithm(ALGORITHM_V1, _ALGORITHM_V1)
    return envelope


_ALGORITHM: Final = _NKeyAlgorithm()
_ALGORITHM_V1: Final = _NKeyAlgorithmV1()
_ENVELOPE: Final = _envelope()


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
    signer: Any = keypair
    return _ENVELOPE.encode(payload, signer, algorithm=ALGORITHM, sort_headers=False)


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
    version, algorithm = ("V1", _ALGORITHM_V1) if is_v1(payload) else ("V2", _ALGORITHM)
    signed = token.rpartition(".")[0].encode("ascii")
    if not algorithm.verify(signed, payload.get("iss", ""), signature):
        raise JwtError(f"claim failed {version} signature verification")
    return payload


def _open(token: str, limit: int | None) -> tuple[dict[str, Any], bytes]:
    """Payload and signature of a token, both unverified. Raises JwtError."""
    if limit is not None and len(token) > limit:
        raise JwtError(f"token size {len(token)} exceeds maximum of {limit} bytes: token too large")
    if token.count(".") != 2:
        raise JwtError("expected 3 chunks")
    try:
        opened = _ENVELOPE.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, UnicodeEncodeError):
        raise JwtError("token is not a well-formed JWT") from None
    _check_header(opened["header"])
    return loads(opened["payload"]), opened["signature"]


def _check_header(header: dict[str, Any]) -> None:
    kind, algorithm = header.get("typ"), header.get("alg")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise JwtError(f"not supported type {quote(str(kind or ''))}")
    if algorithm not in _ALGORITHMS:
        raise JwtError(f"unexpected {quote(str(algorithm or ''))} algorithm")
