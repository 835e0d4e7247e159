"""What a peer's certificate says about him.

The facts are read from a certificate that the TLS handshake has verified; nothing here verifies anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib import import_module


class CertificateFormatError(ValueError):
    """A certificate whose contents cannot be read."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The facts of one certificate."""

    emails: tuple[str, ...]
    """RFC 822 names among the subject alternative names, in the order of the certificate."""
    dns_names: tuple[str, ...]
    """DNS names among them."""
    uris: tuple[str, ...]
    """URIs among them."""
    subject: tuple[tuple[tuple[str, str], ...], ...]
    """Relative distinguished names in the order of the certificate, each as pairs of attribute and value. An attribute
    without a common short name stands as its dotted object identifier."""
    public_key_sha256: str
    """Lower-case hex digest of the DER SubjectPublicKeyInfo; what pins compare with."""
    not_after: datetime
    """When it expires, in UTC."""


def peer_certificate(der: bytes) -> PeerCertificate:
    """Reads a certificate in DER, as :attr:`tls.engine.ServerConnection.peer_certificate` holds it.

    Raises:
        CertificateFormatError: it cannot be read. A handshake can accept such a certificate, because the TLS library
            looks at fewer of its fields; without facts there is no identity.
    """
    certificate: PeerCertificate = import_module("tls.certificates").read_peer(der)
    return certificate


@dataclass(frozen=True, slots=True)
class Secured:
    """The TLS of a connection: version and cipher suite as OpenSSL names them, and the peer's certificates.

    They are in DER, the peer's own first, and the handshake has verified them.
    """

    version: str
    suite: str
    chain: tuple[bytes, ...] = ()
