"""Certificates as events show them; imported only where there is one to show."""

from __future__ import annotations

import base64
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from broker.system.events import CertificateInfo

_NAMES: Final = {NameOID.SERIAL_NUMBER: "SERIALNUMBER", NameOID.POSTAL_CODE: "POSTALCODE"}
"""Short names that nats-server uses besides those of RFC 4514."""


def information(certificate: x509.Certificate) -> CertificateInfo:
    """Everything that an event says of a certificate."""
    return CertificateInfo(
        subject=certificate.subject.rfc4514_string(_NAMES),
        issuer=certificate.issuer.rfc4514_string(_NAMES),
        fingerprint=base64.b64encode(certificate.fingerprint(hashes.SHA256())).decode(),
        raw=base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode(),
    )
