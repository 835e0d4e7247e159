"""The nonce that a client signs, and how a signature over it is read."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Final

from auth.errors import AuthError, AuthFailure
from auth.nkey import NKeyError, verify

NONCE_BYTES: Final = 11
_RAW_URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_STANDARD: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


def new_nonce() -> str:
    """A fresh nonce of 15 characters from the system's random source; every connection gets its own."""
    return base64.urlsafe_b64encode(secrets.token_bytes(NONCE_BYTES)).decode("ascii").rstrip("=")


def decode_signature(text: str) -> bytes:
    """The bytes of a signature: base64url without padding, or else standard base64 with it (RFC 4648).

    Raises ValueError for any other spelling, non-canonical spare bits included.
    """
    if _RAW_URL.fullmatch(text):
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        canonical = base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
    elif _STANDARD.fullmatch(text):
        raw = base64.b64decode(text, validate=True)
        canonical = base64.b64encode(raw).decode("ascii")
    else:
        raise ValueError("not base64")
    if canonical != text:
        raise ValueError("not canonical base64")
    return raw


def verify_signature(public_key: str, nonce: str, signature: str | None) -> None:
    """Check that the holder of a public key signed the nonce. Raises AuthError."""
    if not signature:
        raise AuthError(AuthFailure.SIGNATURE_MISSING)
    if not nonce:
        raise AuthError(AuthFailure.SIGNATURE_NOT_VERIFIED, "the connection had no nonce")
    try:
        raw = decode_signature(signature)
    except (ValueError, binascii.Error):
        raise AuthError(AuthFailure.SIGNATURE_NOT_BASE64) from None
    try:
        verify(public_key, nonce.encode("ascii"), raw)
    except NKeyError:
        raise AuthError(AuthFailure.SIGNATURE_NOT_VERIFIED) from None
