"""Authorities made afresh for a test: certificates that name an OCSP responder, and lists of those that are revoked."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
DAY = datetime.timedelta(days=1)
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING
LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def now() -> datetime.datetime:
    """The time, in whole seconds, as answers and lists hold it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Holder:
    """A certificate with its key, and the authority that signed it; none for a root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: Holder | None = None

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(DER)

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(PEM)

    @property
    def chain_pem(self) -> bytes:
        """The certificate and the authorities between it and the root."""
        is_below_root = self.issuer is not None and self.issuer.issuer is not None
        return self.pem + (self.issuer.chain_pem if self.issuer is not None and is_below_root else b"")

    def key_pem(self, locked: serialization.KeySerializationEncryption | None = None) -> bytes:
        """The private key, in the clear unless it is to be locked."""
        how = locked or serialization.NoEncryption()
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, how)

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificate and those of its authorities up to the root, in DER."""
        return (self.der, *(self.issuer.chain if self.issuer else ()))

    def issue(
        self,
        name: str,
        *,
        ocsp: Iterable[str] = (),
        authority: bool = False,
        must_staple: bool = False,
        usage: x509.ObjectIdentifier | None = None,
        names: Iterable[x509.GeneralName] = (),
        lists: Iterable[str] = (),
        begins: datetime.datetime | None = None,
        ends: datetime.datetime | None = None,
        signs_lists: bool = True,
    ) -> Holder:
        """Signs another certificate; ``ocsp`` are responders that it names, ``lists`` where its CRL is to be had."""
        return _make(
            name, self, ocsp=ocsp, authority=authority, must_staple=must_staple, usage=usage, names=names, lists=lists,
            begins=begins, ends=ends, signs_lists=signs_lists,
        )

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """Writes ``NAME.pem``, with the authorities between it and the root, and ``NAME-key.pem``; the paths."""
        cert_file, key_file = directory / f"{name}.pem", directory / f"{name}-key.pem"
        cert_file.write_bytes(self.chain_pem)
        key_file.write_bytes(self.key_pem())
        return str(cert_file), str(key_file)

    def revocations(
        self,
        revoked: Iterable[Holder | int] = (),
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        number: int = 1,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        """A CRL of this authority in DER; ``key`` signs in place of its own."""
        since = since or now() - datetime.timedelta(minutes=1)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(since)
            .next_update(until or since + DAY)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one if isinstance(one, int) else one.serial)
                .revocation_date(since)
                .build()
            )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(DER)


def root(name: str = "Test Root") -> Holder:
    """A new root authority."""
    return _make(name, None, authority=True)


def _make(
    name: str,
    issuer: Holder | None,
    *,
    ocsp: Iterable[str] = (),
    authority: bool = False,
    must_staple: bool = False,
    usage: x509.ObjectIdentifier | None = None,
    names: Iterable[x509.GeneralName] = (),
    lists: Iterable[str] = (),
    begins: datetime.datetime | None = None,
    ends: datetime.datetime | None = None,
    signs_lists: bool = True,
) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = begins or min(now(), ends or now()) - DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends or now() + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer.key if issuer else key).public_key()),
            critical=False,
        )
    )
    if authority:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=signs_lists, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    responders = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)) for url in ocsp
    ]
    if responders:
        builder = builder.add_extension(x509.AuthorityInformationAccess(responders), critical=False)
    if must_staple:
        builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    places = [
        x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in lists
    ]
    if places:
        builder = builder.add_extension(x509.CRLDistributionPoints(places), critical=False)
    alternative = list(names)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return Holder(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key, issuer)
