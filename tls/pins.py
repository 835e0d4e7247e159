"""Pinned certificates: accept only peers whose public key is on a list (pins as in RFC 7469, 2.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tls.policy import TLSSettingsError

_PIN: Final = re.compile(r"[0-9a-f]{64}")


class PinMismatchError(Exception):
    """The peer's certificate is valid but its key is not pinned, or the peer has none."""

    def __init__(self, key_digest: str | None) -> None:
        super().__init__("certificate not pinned")
        self.whose = "" if key_digest is None else f"key id: {key_digest}"
        """The key, by what a pin of it would be; empty where the peer showed no certificate."""
        self.how = f"for {self.whose}" if self.whose else "as client did not provide a certificate"


def parse_pin(text: str) -> str:
    """A pin in its one form: 64 lower-case hexadecimal digits.

    Raises:
        TLSSettingsError: it is not the SHA-256 digest of something.
    """
    pin = text.lower()
    if not _PIN.fullmatch(pin):
        raise TLSSettingsError(
            f"'pinned_certs' key {text} does not look like hex-encoded sha256 of DER encoded SubjectPublicKeyInfo; "
            "print it with: openssl x509 -in CERT -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum"
        )
    return pin


def check_pin(key_digest: str | None, pins: Iterable[str]) -> None:
    """Checks a peer against the pins; without any pins, everyone passes.

    Args:
        key_digest: ``public_key_sha256`` of the peer's :class:`tls.identity.PeerCertificate`; ``None`` when it showed
            no certificate.
        pins: accepted digests, as :func:`parse_pin` gives them.

    Raises:
        PinMismatchError: there are pins and this is none of them.
    """
    accepted = frozenset(pins)
    if accepted and key_digest not in accepted:
        raise PinMismatchError(key_digest)
