"""What is shown of TLS: versions and cipher suites by their usual names, and whose certificates take part."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509

from tls.identity import CertificateFormatError, peer_certificate
from tls.policy import INSECURE_SUITES, SECURE_SUITES

if TYPE_CHECKING:
    from tls.policy import TLSSettings

_REMEMBERED: Final = 1024
_VERSIONS: Final = {"TLSv1.2": "1.2", "TLSv1.3": "1.3"}
_SUITES: Final = {
    name: suite for suite, name in reversed([*SECURE_SUITES.items(), *INSECURE_SUITES.items()])
}


class PeerCertificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A certificate that a peer has shown; the digests are lower-case hex."""

    subject: str = ""
    spki_sha256: str = ""
    cert_sha256: str = ""


def version_name(name: str) -> str:
    """A protocol version without the protocol's name."""
    return _VERSIONS.get(name, name)


def suite_name(name: str) -> str:
    """The IANA name of a cipher suite that OpenSSL names."""
    return _SUITES.get(name, name)


@lru_cache(_REMEMBERED)
def describe(der: bytes) -> PeerCertificate:
    """The facts of a certificate in DER."""
    digest = hashlib.sha256(der).hexdigest()
    try:
        facts = peer_certificate(der)
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except (CertificateFormatError, ValueError):
        return PeerCertificate(cert_sha256=digest)
    return PeerCertificate(subject, facts.public_key_sha256, digest)


def certificate_ends(settings: TLSSettings) -> float | None:
    """The Unix time at which the first of a listener's certificates expires, None when none can be read."""
    files = [settings.cert_file, *(pair.cert_file for pair in settings.certificates)]
    for file in filter(None, files):
        try:
            certificates = x509.load_pem_x509_certificates(Path(file).read_bytes())
        except (OSError, ValueError):
            continue
        return certificates[0].not_valid_after_utc.timestamp()
    return None
