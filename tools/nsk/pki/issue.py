"""Issuing: CAs, certificates of servers and clients, and CRLs, as values; nothing here touches a file.

Keys are ECDSA on P-256, serial numbers 128 random bits (RFC 5280 section 4.1.2.2). A certificate says what it may be
used for and nothing more, so that one of a client opens no server.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the clocks of peers may lag behind."""
_SERIAL_BITS: Final = 128

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class Role(Enum):
    """What a certificate is for."""

    AUTHORITY = "ca"
    INTERMEDIATE = "intermediate ca"
    SERVER = "server"
    CLIENT = "client"
    PEER = "server and client"
    """Of a server that dials others as well, as routes and leaf nodes do."""

    @property
    def signs(self) -> bool:
        """Whether it issues others."""
        return self in (Role.AUTHORITY, Role.INTERMEDIATE)


_USAGES: Final = {
    Role.SERVER: (ExtendedKeyUsageOID.SERVER_AUTH,),
    Role.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
    Role.PEER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a certificate is to say.

    ``path_length`` is how many CAs may stand below a CA, None for any number; ``permitted`` are the only names that one
    may vouch for. ``ocsp_urls`` and ``crl_urls`` tell where revocations are published, and ``must_staple`` that the
    server shows its OCSP response in the handshake (RFC 7633).
    """

    role: Role
    subject: x509.Name
    lifetime: timedelta
    names: tuple[x509.GeneralName, ...] = ()
    path_length: int | None = None
    permitted: tuple[x509.GeneralName, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    must_staple: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key. ``chain`` are the CAs between it and the root, its own issuer first."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_text(self) -> str:
        """The PEM of the certificate and its chain: what a server or client shows."""
        return "".join(_pem(one) for one in (self.certificate, *self.chain))

    @property
    def key_text(self) -> str:
        """The PEM of the key (PKCS #8, not encrypted)."""
        form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        return self.key.private_bytes(encoding, form, serialization.NoEncryption()).decode("ascii")


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def issue(
    request: Request, issuer: Pair | None, *, key: ec.EllipticCurvePrivateKey | None = None, now: datetime | None = None
) -> Pair:
    """A certificate with a new key, or the given one. Without an issuer it is a root, and signs itself.

    It ends no later than its issuer does.
    """
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    key = key or new_key()
    end = now + request.lifetime
    if issuer is not None:
        end = min(end, issuer.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(issuer.certificate.subject if issuer else request.subject)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(_SERIAL_BITS) or 1)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(request, key, issuer):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    # The root itself is what peers have already.
    chain = () if issuer is None or is_root(issuer.certificate) else (issuer.certificate, *issuer.chain)
    return Pair(certificate, key, chain)


def is_root(certificate: x509.Certificate) -> bool:
    """Whether a certificate names itself as its issuer."""
    return certificate.subject == certificate.issuer


def _extensions(
    request: Request, key: ec.EllipticCurvePrivateKey, issuer: Pair | None
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    signs = request.role.signs
    yield x509.BasicConstraints(ca=signs, path_length=request.path_length if signs else None), True
    yield _key_usage(signs=signs), True
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    # By the key alone, so that a CA that was renewed with its key still fits.
    yield _authority_identifier(issuer.certificate if issuer else None, key), False
    if not signs:
        yield x509.ExtendedKeyUsage(_USAGES[request.role]), False
    if request.names:
        yield x509.SubjectAlternativeName(request.names), False
    if request.permitted:
        yield x509.NameConstraints(request.permitted, None), True
    if request.ocsp_urls:
        access = AuthorityInformationAccessOID.OCSP
        places = [x509.AccessDescription(access, x509.UniformResourceIdentifier(url)) for url in request.ocsp_urls]
        yield x509.AuthorityInformationAccess(places), False
    if request.crl_urls:
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in request.crl_urls
        ]
        yield x509.CRLDistributionPoints(points), False
    if request.must_staple:
        yield x509.TLSFeature([x509.TLSFeatureType.status_request]), False


def _authority_identifier(
    issuer: x509.Certificate | None, key: ec.EllipticCurvePrivateKey
) -> x509.AuthorityKeyIdentifier:
    if issuer is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


# What a certificate says.


def request_of(certificate: x509.Certificate) -> Request:
    """The request that a certificate came of, so that another one can be made like it.

    Raises ValueError for what none of the roles is about.
    """
    extensions = certificate.extensions
    constraints = _found(extensions, x509.BasicConstraints)
    usages = _found(extensions, x509.ExtendedKeyUsage)
    subtrees = _found(extensions, x509.NameConstraints)
    access = _found(extensions, x509.AuthorityInformationAccess)
    points = _found(extensions, x509.CRLDistributionPoints)
    names = _found(extensions, x509.SubjectAlternativeName)
    features = _found(extensions, x509.TLSFeature)
    begin = certificate.not_valid_before_utc + CLOCK_SKEW
    return Request(
        role=_role(certificate, constraints, usages),
        subject=certificate.subject,
        lifetime=certificate.not_valid_after_utc - begin,
        names=tuple(names or ()),
        path_length=constraints.path_length if constraints else None,
        permitted=tuple(subtrees.permitted_subtrees or ()) if subtrees else (),
        ocsp_urls=tuple(
            str(one.access_location.value)
            for one in access or ()
            if one.access_method == AuthorityInformationAccessOID.OCSP
        ),
        crl_urls=tuple(str(name.value) for point in points or () for name in point.full_name or ()),
        must_staple=features is not None and x509.TLSFeatureType.status_request in features,
    )


def _role(
    certificate: x509.Certificate, constraints: x509.BasicConstraints | None, usages: x509.ExtendedKeyUsage | None
) -> Role:
    if constraints is not None and constraints.ca:
        return Role.AUTHORITY if is_root(certificate) else Role.INTERMEDIATE
    found = set(usages or ())
    for role, wanted in _USAGES.items():
        if found == set(wanted):
            return role
    raise ValueError("it is for neither servers nor clients")


def _found(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def renewed(
    pair: Pair, issuer: Pair | None, *, keep_key: bool, lifetime: timedelta | None = None, now: datetime | None = None
) -> Pair:
    """Another certificate that says the same, with a new key unless the old one is to be kept. Raises ValueError."""
    request = request_of(pair.certificate)
    if lifetime is not None:
        request = replace(request, lifetime=lifetime)
    return issue(request, issuer, key=pair.key if keep_key else None, now=now)


# Revocation.


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that is revoked: its serial number, when, and why."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


def issue_crl(
    issuer: Pair, revoked: Sequence[Revoked], number: int, lifetime: timedelta, *, now: datetime | None = None
) -> x509.CertificateRevocationList:
    """The CRL of an issuer with all that it has revoked. ``number`` grows with each one (RFC 5280 section 5.2.3)."""
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(now + lifetime)
        .add_extension(_authority_identifier(issuer.certificate, issuer.key), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.at)
        if one.reason is not x509.ReasonFlags.unspecified:
            entry = entry.add_extension(x509.CRLReason(one.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256())


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """The number of a CRL, 0 where it has none."""
    found = _found(crl.extensions, x509.CRLNumber)
    return found.crl_number if found else 0


def revoked_by(crl: x509.CertificateRevocationList) -> list[Revoked]:
    """What a CRL revokes."""
    found = []
    for entry in crl:
        reason = _found(entry.extensions, x509.CRLReason)
        at = entry.revocation_date_utc
        found.append(Revoked(entry.serial_number, at, reason.reason if reason else x509.ReasonFlags.unspecified))
    return found
