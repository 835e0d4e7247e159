"""A development CA and one server certificate, for this machine only.

Keys are ECDSA on P-256, certificates follow RFC 5280. The CA is constrained to localhost and the loopback addresses
(section 4.2.1.10), so trusting it for the demo lets nobody pose as another host, even with its key.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.nsk.files import write_store_file

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 397
RENEW_DAYS: Final = 30
"""A certificate is made anew when fewer days than these are left."""

_CLOCK_SKEW: Final = datetime.timedelta(minutes=5)
_LOOPBACK: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_LOOPBACK_NETWORKS: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_SERVER_NAMES: Final = (x509.DNSName("localhost"), *map(x509.IPAddress, _LOOPBACK))
_NAME_CONSTRAINTS: Final = (x509.DNSName("localhost"), *map(x509.IPAddress, _LOOPBACK_NETWORKS))


class Outcome(Enum):
    """What became of a thing that the demo needs."""

    MADE = "made"
    REUSED = "reused"
    RENEWED = "renewed"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the PEM files lie."""

    directory: Path

    @property
    def authority(self) -> Path:
        """The CA's certificate, which clients trust."""
        return self.directory / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The CA's private key."""
        return self.directory / "ca-key.pem"

    @property
    def server(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's private key."""
        return self.directory / "server-key.pem"


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def matches(self) -> bool:
        return self.certificate.public_key() == self.key.public_key()

    def lasts(self, now: datetime.datetime) -> bool:
        begins, ends = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return begins <= now and now + datetime.timedelta(days=RENEW_DAYS) < ends


def ensure_certificates(files: CertificateFiles, now: datetime.datetime | None = None) -> tuple[Outcome, Outcome]:
    """Makes what is missing, unusable or about to expire; tells what became of the CA and of the server certificate.

    A new CA brings a new server certificate with it, and clients then need the new CA file. Raises OSError.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    found = any(path.exists() for path in (files.authority, files.authority_key))
    authority = _read(files.authority, files.authority_key)
    authority_outcome = Outcome.REUSED
    if authority is None or not authority.lasts(now):
        authority = _make_authority(now)
        _write(authority, files.authority, files.authority_key)
        authority_outcome = Outcome.RENEWED if found else Outcome.MADE
    found = any(path.exists() for path in (files.server, files.server_key))
    server = _read(files.server, files.server_key)
    if server is not None and server.lasts(now) and _is_issued_by(server.certificate, authority.certificate):
        return authority_outcome, Outcome.REUSED
    _write(_make_server(authority, now), files.server, files.server_key)
    return authority_outcome, Outcome.RENEWED if found else Outcome.MADE


def _make_authority(now: datetime.datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("natskeep demo CA")
    builder = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(_NAME_CONSTRAINTS, None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return _Pair(builder.sign(key, hashes.SHA256()), key)


def _make_server(authority: _Pair, now: datetime.datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_name("localhost"), authority.certificate.subject, key, now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_SERVER_NAMES), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    return _Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "natskeep demo"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _read(certificate_path: Path, key_path: Path) -> _Pair | None:
    """The pair of two files, or None when it is missing, damaged, or one is not the other's."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    pair = _Pair(certificate, key)
    return pair if pair.matches else None


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _write(pair: _Pair, certificate_path: Path, key_path: Path) -> None:
    """Writes key and certificate. Interrupted between the two, they do not match and are made anew."""
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_store_file(key_path, key.decode("ascii"))
    write_store_file(certificate_path, pair.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"))
