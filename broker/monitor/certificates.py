"""What is shown of TLS: whose certificates take part."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import import_module
from typing import Final

import msgspec

from tls.identity import CertificateFormatError, peer_certificate

_REMEMBERED: Final = 1024


class PeerCertificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A certificate that a peer has shown; the digests are lower-case hex."""

    subject: str = ""
    spki_sha256: str = ""
    cert_sha256: str = ""


@lru_cache(_REMEMBERED)
def describe(der: bytes) -> PeerCertificate:
    """The facts of a certificate in DER."""
    digest = hashlib.sha256(der).hexdigest()
    try:
        facts = peer_certificate(der)
        # Most servers never show one, so what reads them is loaded with the first.
        x509 = import_module("cryptography.x509")
        subject: str = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except (CertificateFormatError, ValueError):
        return PeerCertificate(cert_sha256=digest)
    return PeerCertificate(subject, facts.public_key_sha256, digest)
