"""Reads X.509 certificates (RFC 5280) and the files that hold them and their keys.

A module of its own because the library takes long to load, and a server without TLS reads no certificate.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tls.der import INTEGER, bounds, elements
from tls.failures import Culprit
from tls.identity import CertificateFormatError, PeerCertificate
from tls.policy import CertificatePair, TLSSettingsError

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

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_KEYS: Final = (
    rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey,
)  # fmt: skip
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)
UNREADABLE: Final = (
    ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)  # fmt: skip
"""What the library raises where something is not as RFC 5280 has it."""

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)
WHAT: Final = "error parsing X509 certificate/key pair"


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
    except UNREADABLE as error:
        raise CertificateFormatError(f"the peer's certificate cannot be read: {error}") from None


@dataclass(frozen=True, slots=True, repr=False)
class Pair:
    """A certificate with its chain and its private key, as two files hold them."""

    files: CertificatePair
    chain: tuple[x509.Certificate, ...]
    """The certificate itself first."""
    key: _Key
    which: str = ""
    """Which of several pairs it is, as errors call it."""

    @classmethod
    def read(cls, files: CertificatePair, which: str = "") -> Pair:
        """Reads the files. Raises TLSSettingsError where one cannot be used."""
        what = f"{WHAT}{which}: "
        chain_text, key_text = (_read(path, what) for path in (files.cert_file, files.key_file))
        chain, key = _chain(chain_text, files.cert_file, what), _key(key_text, files.key_file, what)
        if key.public_key() != chain[0].public_key():
            raise TLSSettingsError(
                f"{what}the private key {files.key_file} does not belong to the certificate {files.cert_file}"
            )
        return cls(files, chain, key, which)

    @property
    def names(self) -> tuple[str, ...]:
        """The host names that the certificate is good for, in lower case."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))

    @property
    def kind(self) -> str:
        """The kind of its key, as far as a client may need one rather than another."""
        return type(self.key).__name__


def encoded(certificate: x509.Certificate) -> bytes:
    """A certificate in DER."""
    return certificate.public_bytes(Encoding.DER)


def culprit(certificate: x509.Certificate) -> Culprit | None:
    """What to say of a certificate that was refused; None where it cannot be read."""
    try:
        return Culprit(
            certificate.subject.rfc4514_string(),
            hashlib.sha256(encoded(certificate)).hexdigest(),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError, x509.InvalidVersion):
        return None


def read_authorities(path: str) -> bytes:
    """What a file of authorities holds, which is one certificate at least. Raises TLSSettingsError."""
    text = _read(path, "")
    try:
        x509.load_pem_x509_certificates(text)
    except ValueError:
        raise TLSSettingsError(
            f"failed to parse root ca certificate: {path} holds no certificate in PEM format"
        ) from None
    return text


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = (error.strerror or "input/output error") if isinstance(error, OSError) else "invalid path"
        raise TLSSettingsError(f"{what}open {path}: {reason[:1].lower()}{reason[1:]}") from None


def _chain(text: bytes, path: str, what: str) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except ValueError:
        raise TLSSettingsError(f"{what}{path} holds no certificate in PEM format") from None


def _key(text: bytes, path: str, what: str) -> _Key:
    """The first private key of a file, in which other things may stand as well."""
    block = _PRIVATE_KEY.search(text)
    try:
        key = load_pem_private_key(block.group() if block else b"", password=None)
    except TypeError:
        raise TLSSettingsError(
            f"{what}the private key {path} is encrypted; decrypt it with: openssl pkey -in {path}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TLSSettingsError(f"{what}{path} holds no private key in PEM format") from None
    if not isinstance(key, _KEYS):
        raise TLSSettingsError(f"{what}the key {path} cannot be used for TLS; use RSA, ECDSA or Ed25519")
    return key


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def extension_of(certificate: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    """An extension of a certificate; None where it has none of that kind. Raises CertificateFormatError."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE as error:
        raise CertificateFormatError(f"a certificate cannot be read: {error}") from None


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
