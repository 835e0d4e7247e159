"""The compact form of tokens (RFC 7515) through PyJWT, with the algorithms of NATS registered.

A module of its own because PyJWT takes long to load, and a server without operators never reads a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

import jwt
from jwt.algorithms import Algorithm

from auth.nkey import KeyPair, NKeyError, verify

ALGORITHM: Final = "ed25519-nkey"
ALGORITHM_V1: Final = "ed25519"


class CompactError(ValueError):
    """A token that is not in the compact form; the text never holds the token."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of a token, none of them verified."""

    header: dict[str, Any]
    payload: bytes
    signature: bytes


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


def seal(payload: bytes, keypair: KeyPair) -> str:
    """The version 2 token with this payload, signed."""
    signer: Any = keypair
    return _ENVELOPE.encode(payload, signer, algorithm=ALGORITHM, sort_headers=False)


def split(token: str) -> Opened:
    """The parts of a token; nothing is verified. Raises CompactError."""
    try:
        opened = _ENVELOPE.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, UnicodeEncodeError):
        raise CompactError("token is not a well-formed JWT") from None
    return Opened(opened["header"], opened["payload"], opened["signature"])


def is_signed_by(token: str, issuer: str, signature: bytes, *, v1: bool) -> bool:
    """Whether the issuer's key made the signature; ``v1`` says that only the payload is signed."""
    algorithm = _ALGORITHM_V1 if v1 else _ALGORITHM
    return algorithm.verify(token.rpartition(".")[0].encode("ascii"), issuer, signature)
