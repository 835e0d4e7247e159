"""Certificates for tests, made afresh for every run: a CA, servers, clients, and one client of another CA."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_OIDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
}
_DAY = datetime.timedelta(days=1)
_RSA_BITS: Final = 2048

LOCAL: Final = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
"""The names of a server on this machine."""

_NOTHING: Final = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip
_SIGNS: Final = x509.KeyUsage(**_NOTHING | {"digital_signature": True})
_ISSUES: Final = x509.KeyUsage(**_NOTHING | {"key_cert_sign": True, "crl_sign": True})

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class _Issuer:
    name: x509.Name
    key: _Key


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where ``NAME.pem`` and ``NAME-key.pem`` lie, and the SHA-256 of each certificate's public key in hex."""

    directory: Path
    pins: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each certificate, in hex."""
    _made: dict[str, _Issuer] = field(default_factory=dict, repr=False)

    def make(
        self,
        file: str,
        subject: dict[str, str],
        names: Sequence[x509.GeneralName] = (),
        issuer: str = "ca",
        *,
        days: tuple[int, int] = (-1, 30),
        usages: Sequence[x509.ObjectIdentifier] = (),
        is_rsa: bool = False,
    ) -> None:
        """Writes a certificate and its key; with an empty issuer it is a CA and signs itself. `days` are when it begins
        and ends, from now."""
        now = datetime.datetime.now(datetime.UTC)
        key: _Key = rsa.generate_private_key(65537, _RSA_BITS) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(_OIDS[kind], value) for kind, value in subject.items()])
        self._made[file] = _Issuer(name, key)
        by = self._made[issuer or file]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(by.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * _DAY)
            .not_valid_after(now + days[1] * _DAY)
            .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None), critical=True)
            .add_extension(_ISSUES if not issuer else _SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(by.key, hashes.SHA256())
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
        self.fingerprints[file] = certificate.fingerprint(hashes.SHA256()).hex()


def make_certificates(directory: Path) -> Certificates:
    """Fills ``directory``: ``ca``, the servers ``server`` and ``server2``, and clients named after what tells who
    they are: ``plain email dns uri dn multi``. ``evil`` looks like ``plain`` but another CA signed it."""
    made = Certificates(directory)
    made.make("ca", {"CN": "Test CA"}, issuer="")
    made.make("otherca", {"CN": "Other CA"}, issuer="")
    made.make("server", {"CN": "localhost"}, LOCAL)
    made.make("server2", {"CN": "second"}, LOCAL)
    made.make("plain", {"CN": "plain"})
    made.make("email", {"CN": "email"}, [x509.RFC822Name("derek@nats.test")])
    made.make("dns", {"CN": "dnsuser"}, [x509.DNSName("app.nats.test")])
    made.make("uri", {"CN": "uriuser"}, [x509.UniformResourceIdentifier("spiffe://nats.test/app")])
    made.make("dn", {"O": "Org", "OU": "Unit", "CN": "www.nats.test"})
    made.make("multi", {"CN": "multi"}, [x509.RFC822Name("m@nats.test"), x509.DNSName("m.nats.test")])
    made.make("evil", {"CN": "plain"}, issuer="otherca")
    return made
