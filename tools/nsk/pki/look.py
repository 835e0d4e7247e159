"""What a certificate of a PKI says, and how it stands: for tables and for JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tools.nsk.errors import NskError
from tools.nsk.pki.folder import Folder, is_issued_by
from tools.nsk.pki.issue import Revoked, request_of
from tools.nsk.pki.names import shown

SOON: Final = timedelta(days=30)
"""From when on the end of a certificate is near."""


class State(Enum):
    """How a certificate stands; of several, the first that applies."""

    UNREADABLE = "unreadable"
    FOREIGN = "of another CA"
    REVOKED = "revoked"
    EXPIRED = "expired"
    EARLY = "not yet valid"
    EXPIRING = "expiring"
    VALID = "valid"


@dataclass(frozen=True, slots=True)
class CertificateState:
    """One certificate. Texts are empty where its file cannot be read."""

    name: Annotated[str, "its name, which its files have"]
    kind: Annotated[str, "ca, intermediate ca, server, client, or server and client"]
    state: Annotated[State, "how it stands"]
    subject: Annotated[str, "its subject, in the form of RFC 4514"]
    names: Annotated[list[str], "its names, each with dns:, ip:, uri: or email: before it"]
    issuer: Annotated[str, "the subject of the CA that issued it"]
    serial: Annotated[str, "its serial number in hexadecimal digits"]
    not_before: Annotated[int, "from when on it is valid, in Unix seconds"]
    not_after: Annotated[int, "until when it is valid, in Unix seconds"]
    revoked_at: Annotated[int | None, "when it was revoked, in Unix seconds, else null"]
    must_staple: Annotated[bool, "whether its server has to show an OCSP response"]
    ocsp_urls: Annotated[list[str], "where OCSP responders are"]
    crl_urls: Annotated[list[str], "where CRLs are published"]
    pin: Annotated[str, "SHA-256 of its public key, as pinned_certs of a server takes it"]
    certificate_file: Annotated[str, "the file of the certificate"]
    key_file: Annotated[str | None, "the file of its private key, null when it is not here"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificates of a PKI."""

    directory: Annotated[str, "the directory of the PKI"]
    certificates: Annotated[list[CertificateState], "each that was made, or that there is"]


def states(folder: Folder, now: datetime) -> list[CertificateState]:
    """Every certificate of a PKI, the CAs first. Raises NskError where there is no CA, or it cannot be read."""
    folder.require()
    issuers, revoked = folder.issuer_certificates(), folder.revoked()
    return [state_of(folder, name, issuers, revoked, now) for name in folder.names()]


def one_state(folder: Folder, name: str, now: datetime) -> CertificateState:
    """One certificate. Raises NskError where it is not there, or cannot be read."""
    folder.require()
    folder.certificates(name)
    return state_of(folder, name, folder.issuer_certificates(), folder.revoked(), now)


def state_of(
    folder: Folder, name: str, issuers: Sequence[x509.Certificate], revoked: Mapping[int, Revoked], now: datetime
) -> CertificateState:
    """One certificate; one that cannot be read is told as such."""
    path, key_path = folder.certificate_path(name), folder.key_path(name)
    key_file = str(key_path) if folder.files.is_file(key_path) else None
    try:
        certificate = folder.certificates(name)[0]
        request = request_of(certificate)
    except (NskError, ValueError):
        return CertificateState(
            name, "", State.UNREADABLE, "", [], "", "", 0, 0, None, False, [], [], "", str(path), key_file
        )
    end = revoked.get(certificate.serial_number)
    return CertificateState(
        name=name,
        kind=request.role.value,
        state=_state(certificate, issuers, end, now),
        subject=request.subject.rfc4514_string(),
        names=shown(request.names),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:032x}",
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        revoked_at=int(end.at.timestamp()) if end else None,
        must_staple=request.must_staple,
        ocsp_urls=list(request.ocsp_urls),
        crl_urls=list(request.crl_urls),
        pin=hashlib.sha256(_public_key(certificate)).hexdigest(),
        certificate_file=str(path),
        key_file=key_file,
    )


def _state(
    certificate: x509.Certificate, issuers: Sequence[x509.Certificate], revoked: Revoked | None, now: datetime
) -> State:
    end = certificate.not_valid_after_utc
    if not is_issued_by(certificate, issuers):
        return State.FOREIGN
    if revoked is not None:
        return State.REVOKED
    if end <= now:
        return State.EXPIRED
    if certificate.not_valid_before_utc > now:
        return State.EARLY
    return State.EXPIRING if end <= now + SOON else State.VALID


def _public_key(certificate: x509.Certificate) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(serialization.Encoding.DER, form)
