"""What a peer's certificate says about him.

The facts are read from a certificate that the TLS handshake has verified; nothing here verifies anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

# The short names of RFC 4514 section 3 and those that certificates show beside them.
_ATTRIBUTES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.17": "POSTALCODE",
    "0.9.2342.19200300.100.1.25": "DC",
}


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
    """Reads a certificate in DER, as ``SSLObject.getpeercert(binary_form=True)`` returns it.

    Raises:
        CertificateFormatError: it cannot be read. A handshake can accept such a certificate, because the TLS library
            looks at fewer of its fields; without facts there is no identity.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _alternative_names(certificate)
        subject = tuple(
            tuple((_ATTRIBUTES.get(pair.oid.dotted_string, pair.oid.dotted_string), _text(pair.value)) for pair in name)
            for name in certificate.subject.rdns
        )
        return PeerCertificate(
            emails=tuple(names.get_values_for_type(x509.RFC822Name)),
            dns_names=tuple(names.get_values_for_type(x509.DNSName)),
            uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            subject=subject,
            public_key_sha256=hashlib.sha256(_public_key_info(certificate)).hexdigest(),
            not_after=certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateFormatError(f"the peer's certificate cannot be read: {error}") from None


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def _public_key_info(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo as it stands in the certificate (RFC 5280 section 4.1).

    Encoding the parsed key again would not do, for one key can be encoded in more than one way.
    """
    fields = _elements(_content(certificate.tbs_certificate_bytes))
    # The version is left out of certificates of version 1, where the serial number (an INTEGER) comes first.
    return fields[5 if fields[0][0] == 0x02 else 6]


def _elements(data: bytes) -> list[bytes]:
    """The DER elements that stand one after another in ``data``, each with its tag and length."""
    elements = []
    while data:
        header, length = _header(data)
        elements.append(data[: header + length])
        data = data[header + length :]
    return elements


def _content(element: bytes) -> bytes:
    return element[_header(element)[0] :]


def _header(data: bytes) -> tuple[int, int]:
    """How long tag and length are, and how long the content is. Tags of one byte are all there are here."""
    first = data[1]
    if first < 0x80:
        return 2, first
    end = 2 + (first & 0x7F)
    return end, int.from_bytes(data[2:end], "big")
