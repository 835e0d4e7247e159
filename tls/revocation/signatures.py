"""Signatures of authorities over what they say of certificates."""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

_WEAK: Final = (hashes.MD5, hashes.SHA1)
"""Digests for which others than the signer can make a second text."""

_PIECE: Final = 1 << 20
"""Bytes that are digested without a break."""


class SignatureError(Exception):
    """A signature that is not the authority's, or of a kind that proves nothing."""


class Signed:
    """A text with its signature. Of a text that is signed by its digest only the digest is kept."""

    __slots__ = ("_digest", "_padding", "_signature", "_text")

    def __init__(
        self, signature: bytes, text: bytes, digest: hashes.HashAlgorithm | None, padded: object = None
    ) -> None:
        """``digest`` is None where the kind of signature names none, ``padded`` what the padding of RSA is.

        May take long for a long text, and may run in a thread.
        """
        self._signature = signature
        self._digest = digest
        self._padding = padded if isinstance(padded, padding.PSS) else padding.PKCS1v15()
        self._text = text if digest is None else _digested(text, digest)

    def check(self, key: object) -> None:
        """Checks that the holder of a key signed it. Raises SignatureError."""
        digest, signature, text = self._digest, self._signature, self._text
        if isinstance(digest, _WEAK):
            raise SignatureError(f"it is signed with {digest.name}, which proves nothing")
        try:
            if digest is None and isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
                key.verify(signature, text)
            elif digest is not None and isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, text, self._padding, Prehashed(digest))
            elif digest is not None and isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, text, ec.ECDSA(Prehashed(digest)))
            else:
                raise SignatureError("its signature is of a kind that the authority's key does not make")
        except InvalidSignature:
            raise SignatureError("its signature is not that of the authority") from None
        except (UnsupportedAlgorithm, ValueError, TypeError) as error:
            raise SignatureError(f"its signature cannot be checked: {error}") from None


def check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Checks that the one certificate is signed by the holder of the other. Raises SignatureError."""
    if certificate.issuer != issuer.subject:
        raise SignatureError("it is not issued by the authority")
    try:
        signed = Signed(
            certificate.signature,
            certificate.tbs_certificate_bytes,
            certificate.signature_hash_algorithm,
            certificate.signature_algorithm_parameters,
        )
        key = issuer.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        raise SignatureError(f"its signature cannot be checked: {error}") from None
    signed.check(key)


def _digested(text: bytes, digest: hashes.HashAlgorithm) -> bytes:
    """By pieces, between which other threads have their turn."""
    hashing = hashlib.new(digest.name)
    for start in range(0, len(text), _PIECE):
        hashing.update(text[start : start + _PIECE])
    return hashing.digest()
