"""Certificates for tests, made afresh for every run: a CA, servers, clients, and one client of another CA."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_OIDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
}
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where ``NAME.pem`` and ``NAME-key.pem`` lie, and the SHA-256 of each certificate's public key in hex."""

    directory: Path
    pins: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Issuer:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


class _Maker:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pins: dict[str, str] = {}
        self._now = datetime.datetime.now(datetime.UTC)

    def make(
        self,
        file: str,
        subject: dict[str, str],
        names: Sequence[x509.GeneralName] = (),
        issuer: _Issuer | None = None,
    ) -> _Issuer:
        """Writes a certificate; without an issuer it is a CA and signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(_OIDS[kind], value) for kind, value in subject.items()])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer.name if issuer else name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _DAY)
            .not_valid_after(self._now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
        (self.directory / f"{file}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.directory / f"{file}-key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.pins[file] = hashlib.sha256(public).hexdigest()
        return _Issuer(name, key)


def make_certificates(directory: Path) -> Certificates:
    """Fills ``directory``: ``ca``, the servers ``server`` and ``server2``, and clients named after what tells who
    they are: ``plain email dns uri dn multi``. ``evil`` looks like ``plain`` but another CA signed it."""
    maker = _Maker(directory)
    ca = maker.make("ca", {"CN": "Test CA"})
    other_ca = maker.make("otherca", {"CN": "Other CA"})
    host = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    maker.make("server", {"CN": "localhost"}, host, ca)
    maker.make("server2", {"CN": "second"}, host, ca)
    maker.make("plain", {"CN": "plain"}, (), ca)
    maker.make("email", {"CN": "email"}, [x509.RFC822Name("derek@nats.test")], ca)
    maker.make("dns", {"CN": "dnsuser"}, [x509.DNSName("app.nats.test")], ca)
    maker.make("uri", {"CN": "uriuser"}, [x509.UniformResourceIdentifier("spiffe://nats.test/app")], ca)
    maker.make("dn", {"O": "Org", "OU": "Unit", "CN": "www.nats.test"}, (), ca)
    maker.make("multi", {"CN": "multi"}, [x509.RFC822Name("m@nats.test"), x509.DNSName("m.nats.test")], ca)
    maker.make("evil", {"CN": "plain"}, (), other_ca)
    return Certificates(directory, maker.pins)
