"""Reads X.509 certificates (RFC 5280).

A module of its own because the library takes long to load, and a server without TLS reads no certificate.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509

from tls.der import INTEGER, bounds, elements
from tls.identity import CertificateFormatError, PeerCertificate
from tls.policy import TLSSettingsError

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


def read_peer(der: bytes) -> PeerCertificate:
    """The facts of a certificate in DER. Raises CertificateFormatError."""
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
    except (
        ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType
    ) as error:
        raise CertificateFormatError(f"the peer's certificate cannot be read: {error}") from None


def read_host_names(path: str) -> list[str]:
    """The names that the certificate in a PEM file is good for, in lower case. Raises TLSSettingsError."""
    try:
        with open(path, "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise TLSSettingsError(f"open {path}: {error.strerror}") from None
        raise TLSSettingsError(f"{path} holds no certificate in PEM format") from None


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def public_key_bits(certificate: x509.Certificate) -> bytes:
    """The key itself, as it stands in the certificate; what key identifiers are digests of (RFC 5280 4.2.1.2)."""
    info = _public_key_info(certificate)
    _, bits = elements(info, *bounds(info, 0))
    # The first byte counts the bits that fill up the last one, of which a key has none.
    return info[bits[1] + 1 : bits[2]]


def _public_key_info(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo as it stands in the certificate (RFC 5280 section 4.1).

    Encoding the parsed key again would not do, for one key can be encoded in more than one way.
    """
    data = certificate.tbs_certificate_bytes
    fields = list(elements(data, *bounds(data, 0)))
    # The version is left out of certificates of version 1, where the serial number comes first.
    begin, _, end = fields[5 if data[fields[0][0]] == INTEGER else 6]
    return data[begin:end]
