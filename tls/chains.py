"""Reads certificate chains, and tells whether clients would accept one (RFC 5280, sections 4.2 and 6).

A chain is complete where it ends at a certificate that signed itself, or at one whose issuer clients can be expected to
know: an authority of ``ca_file`` or of the system, or who issued the last certificate of a chain that is served now.

A module of its own because the library takes long to load, and a server without TLS reads no certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tls.authorities import bundles_of_the_system, called
from tls.certificates import UNREADABLE
from tls.identity import CertificateFormatError
from tls.policy import TLSSettingsError
from tls.revocation.answers import promises_staple
from tls.served import Chain

Issuer = tuple[bytes, bytes]

_SERVERS: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def read_chain(file: str, pem: bytes) -> tuple[Chain, tuple[x509.Certificate, ...]]:
    """The chain that begins with the first certificate of a PEM file, and the certificates that are part of it.

    Raises CertificateFormatError.
    """
    try:
        held = x509.load_pem_x509_certificates(pem)
        own = held[0]
        links = _links(own, held[1:])
        hosts, addresses = _names(own)
        found = Chain(
            file=file,
            subject=own.subject.rfc4514_string(),
            dns_names=hosts,
            addresses=addresses,
            serial=f"{own.serial_number:x}",
            fingerprints=tuple(hashlib.sha256(one.public_bytes(Encoding.DER)).hexdigest() for one in held),
            not_before=own.not_valid_before_utc.timestamp(),
            not_after=own.not_valid_after_utc.timestamp(),
            ends_at=min(one.not_valid_after_utc.timestamp() for one in _presented(links)),
            issuer=_issuer(links[-1]),
            promises_staple=promises_staple(own),
        )
    except UNREADABLE as error:
        raise CertificateFormatError(str(error)) from None
    return found, links


def check_chain(
    file: str, links: Sequence[x509.Certificate], now: float, issuers: Collection[Issuer], authorities: bytes
) -> None:
    """Checks a chain that is to be served.

    Args:
        file: where it stands, for the text of an error.
        links: as :func:`read_chain` returns them.
        now: Unix time.
        issuers: who issued the last certificates of the chains that are served now.
        authorities: PEM of ``ca_file``, empty where there is none.

    Raises:
        TLSSettingsError: it is not valid now or any more, is not meant for servers, or is not complete.
    """
    moment = datetime.fromtimestamp(now, UTC)
    for link in _presented(links):
        what = f"the certificate {_named(link)} in {file}"
        if link.not_valid_after_utc < moment:
            raise TLSSettingsError(f"{what} expired on {_time(link.not_valid_after_utc)}; renew it")
        if link.not_valid_before_utc > moment:
            start = _time(link.not_valid_before_utc)
            raise TLSSettingsError(f"{what} is valid from {start} only; wait until then, or set the clock")
    try:
        is_for_servers = _is_for_servers(links[0])
        stray = [link for link in links[1:] if not _may_issue(link)]
    except UNREADABLE as error:
        raise TLSSettingsError(f"the certificate in {file} cannot be read: {error}; issue it anew") from None
    if not is_for_servers:
        raise TLSSettingsError(
            f"the certificate {_named(links[0])} in {file} is not for servers; issue it with the extended key usage "
            "serverAuth"
        )
    if stray:
        raise TLSSettingsError(f"the certificate {_named(stray[0])} in {file} issues others without being an authority")
    if not _is_complete(links[-1], issuers, authorities):
        raise TLSSettingsError(
            f"the chain in {file} ends at {_named(links[-1])}, whose issuer {_shown(links[-1].issuer)} nobody here "
            "knows; append the issuer's certificate to the file"
        )


def _links(own: x509.Certificate, others: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """A certificate, then each time the one that issued the one before it."""
    left, links = list(others), [own]
    while not _is_issued_by(links[-1], links[-1]):
        issuer = next((one for one in left if _is_issued_by(links[-1], one)), None)
        if issuer is None:
            break
        left.remove(issuer)
        links.append(issuer)
    return tuple(links)


def _is_issued_by(one: x509.Certificate, other: x509.Certificate) -> bool:
    if one.issuer != other.subject:
        return False
    try:
        one.verify_directly_issued_by(other)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _presented(links: Sequence[x509.Certificate]) -> Sequence[x509.Certificate]:
    """The certificates that clients look at: of an authority at the end they have one of their own."""
    return links[:-1] if len(links) > 1 and links[-1].issuer == links[-1].subject else links


def _names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hosts and addresses."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(one.value).lower() for one in common[:1]), ()
    hosts = (name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName))
    return tuple(dict.fromkeys(hosts)), tuple(map(str, names.get_values_for_type(x509.IPAddress)))


def _issuer(certificate: x509.Certificate) -> Issuer:
    try:
        key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        key = None
    return certificate.issuer.public_bytes(), key or b""


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not _SERVERS.isdisjoint(usage)


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        # Before version 3 there were no extensions to say it in.
        return certificate.version is not x509.Version.v3


def _is_complete(last: x509.Certificate, issuers: Collection[Issuer], authorities: bytes) -> bool:
    if _is_issued_by(last, last) or _issuer(last) in issuers:
        return True
    bundles = chain([authorities], bundles_of_the_system())
    return any(_is_issued_by(last, one) for bundle in bundles for one in called(last.issuer, bundle))


def _named(certificate: x509.Certificate) -> str:
    return _shown(certificate.subject)


def _shown(name: x509.Name) -> str:
    return name.rfc4514_string() or "without a name"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
