"""Passwords and tokens of the configuration: in the clear or as bcrypt hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from importlib import import_module
from typing import Final

_BCRYPT: Final = re.compile(r"\$2[abxy]\$\d{2}\$.*", re.ASCII | re.DOTALL)
_BCRYPT_BYTES: Final = 72


def is_bcrypt(stored: str) -> bool:
    """Whether a stored password is a bcrypt hash. Comparing with one takes long by design: use a thread."""
    return _BCRYPT.fullmatch(stored) is not None


def matches(stored: str, given: str) -> bool:
    """Whether a given password is the stored one. The time taken tells nothing about a stored plain text.

    bcrypt reads 72 bytes of a password and no more, as its other implementations do.
    """
    secret = given.encode("utf-8", "surrogatepass")
    if is_bcrypt(stored):
        try:
            # Most servers keep no hashes, or no passwords at all.
            checkpw = import_module("bcrypt").checkpw
            return bool(checkpw(secret[:_BCRYPT_BYTES], stored.encode("utf-8", "surrogatepass")))
        except ValueError:
            return False
    expected = hashlib.sha256(stored.encode("utf-8", "surrogatepass")).digest()
    return hmac.compare_digest(expected, hashlib.sha256(secret).digest())
