"""What is done to a PKI in its directory: begun, added to, renewed, revoked from.

Within ``folder.files.transaction`` the changes of several calls happen together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.pki.folder import AUTHORITY, INTERMEDIATE, ISSUERS, Folder, is_issued_by, is_valid
from tools.nsk.pki.issue import Pair, Request, Revoked, Role, crl_number, issue, issue_crl, request_of, revoked_by
from tools.nsk.pki.names import refuse_outside

CRL_LIFETIME: Final = timedelta(days=30)
REASONS: Final = {
    flag.value: flag
    for flag in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}
"""Why certificates are revoked, by the names of RFC 5280 section 5.3.1."""


def begin(
    folder: Folder, request: Request, intermediate: x509.Name | None = None, *, now: datetime | None = None
) -> None:
    """A CA, and below it an intermediate one where its subject is given. Raises NskError where there is one already."""
    if folder.exists:
        raise NskError(
            f"there is a CA in `{folder.directory}` already",
            remedy="nsk pki list shows what there is; --dir <directory> begins another PKI",
        )
    stale = [name for name in folder.names() if name not in ISSUERS]
    if stale or any(folder.files.is_file(folder.key_path(name)) for name in ISSUERS):
        raise NskError(
            f"`{folder.directory}` holds keys or certificates and no CA",
            remedy="bring back ca.pem if it is lost, or begin elsewhere: --dir <directory>",
        )
    authority = issue(request, None, now=now)
    folder.write(AUTHORITY, authority)
    if intermediate is not None:
        below = replace(request, role=Role.INTERMEDIATE, subject=intermediate, path_length=0, permitted=())
        folder.write(INTERMEDIATE, issue(below, authority, now=now))


def add(folder: Folder, name: str, request: Request, *, replaces: bool = False, now: datetime | None = None) -> Pair:
    """A certificate with a new key. Raises NskError where the name is taken, unless it ``replaces`` what is there."""
    if not replaces and folder.files.is_file(folder.certificate_path(name)):
        raise NskError(
            f"there is a certificate {quote(name)} already",
            remedy=f"nsk pki renew {name} makes it anew with the names that it has, --force with others",
        )
    issuer = _working_issuer(folder, now)
    refuse_outside(request.names, folder.issuer_certificates())
    pair = issue(request, issuer, now=now)
    folder.write(name, pair)
    return pair


def _working_issuer(folder: Folder, now: datetime | None) -> Pair:
    issuer = folder.issuer()
    end = issuer.certificate.not_valid_after_utc
    if not is_valid(issuer.certificate, now or datetime.now(UTC)):
        name = folder.issuer_name
        raise NskError(
            f"the CA {quote(name)} is not valid now, it ends at {end:%Y-%m-%d %H:%M:%S} UTC",
            remedy=f"nsk pki renew {name} gives it more time; whoever trusts ca.pem needs it anew where that is the CA",
        )
    return issuer


def renew(
    folder: Folder,
    name: str,
    *,
    keep_key: bool = False,
    lifetime: timedelta | None = None,
    now: datetime | None = None,
) -> Pair:
    """Make a certificate anew with what it says, and as long a life unless another is given. Its key is a new one.

    A CA keeps its key: with another one it would be another CA, and nothing that it issued would count. Raises
    NskError.
    """
    certificate = folder.certificates(name)[0]
    try:
        request = request_of(certificate)
    except ValueError as problem:
        raise NskError(
            f"{quote(name)} was not made here: {problem}", remedy="nsk pki server or nsk pki client makes one"
        ) from None
    if lifetime is not None:
        request = replace(request, lifetime=lifetime)
    if name == AUTHORITY:
        issuer = None
    elif name == INTERMEDIATE:
        issuer = folder.pair(AUTHORITY)
    else:
        issuer = _working_issuer(folder, now)
        if keep_key and certificate.serial_number in folder.revoked():
            raise NskError(
                f"{quote(name)} is revoked, so its key may be in other hands", remedy="renew it without --keep-key"
            )
    keeps = keep_key or name in ISSUERS
    pair = issue(request, issuer, key=folder.pair(name).key if keeps else None, now=now)
    folder.write(name, pair)
    if name == INTERMEDIATE:
        _show_chain(folder, pair)
    return pair


def _show_chain(folder: Folder, intermediate: Pair) -> None:
    """Put a renewed intermediate CA below the certificates that it issued."""
    for name in folder.names():
        if name in ISSUERS:
            continue
        certificate = folder.certificates(name)[0]
        if folder.key(name) is not None and is_issued_by(certificate, [intermediate.certificate]):
            own = folder.pair(name)
            folder.write(name, replace(own, chain=(intermediate.certificate, *intermediate.chain)))


def revoke(
    folder: Folder,
    serial: int,
    reason: x509.ReasonFlags,
    *,
    issuer: str = "",
    lifetime: timedelta = CRL_LIFETIME,
    now: datetime | None = None,
) -> bool:
    """Put a certificate on the CRL of the CA that issued it, the one that issues unless another is named.

    False where it was there already, which makes the CRL anew all the same. Raises NskError.
    """
    now = now or datetime.now(UTC)
    issuer = issuer or folder.issuer_name
    known = serial in {one.serial for one in _listed(folder, issuer)}
    added = () if known else (Revoked(serial, now.replace(microsecond=0), reason),)
    publish(folder, issuer, added, lifetime=lifetime, now=now)
    return not known


def publish(
    folder: Folder,
    issuer: str,
    added: Sequence[Revoked] = (),
    *,
    lifetime: timedelta = CRL_LIFETIME,
    now: datetime | None = None,
) -> x509.CertificateRevocationList:
    """Make the CRL of a CA anew: with all that is on it, and what is added. Raises NskError."""
    old = folder.crl(issuer)
    number = crl_number(old) + 1 if old is not None else 1
    crl = issue_crl(folder.pair(issuer), [*_listed(folder, issuer), *added], number, lifetime, now=now)
    folder.write_crl(issuer, crl)
    return crl


def _listed(folder: Folder, issuer: str) -> list[Revoked]:
    crl = folder.crl(issuer)
    return [] if crl is None else revoked_by(crl)


def issuer_of(folder: Folder, name: str) -> str:
    """Which CA of the directory issued a certificate. Raises NskError for one that none did."""
    certificate = folder.certificates(name)[0]
    for issuer in folder.issuers:
        if is_issued_by(certificate, [folder.certificates(issuer)[0]]):
            return issuer
    raise NskError(f"no CA of `{folder.directory}` issued {quote(name)}", remedy="the CA that issued it can revoke it")
