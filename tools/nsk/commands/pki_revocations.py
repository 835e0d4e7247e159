"""``pki revoke`` and ``pki crl``: what is revoked, and the CRLs that say so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from cryptography import x509

from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.commands import PKI_FLAGS
from tools.nsk.commands.pki_shared import NEAR, WHEN, folder_of, homes_of, life_of, program_of, quoted_path
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, text
from tools.nsk.pki.folder import AUTHORITY, Folder
from tools.nsk.pki.issue import crl_number
from tools.nsk.pki.manage import REASONS, issuer_of, publish, revoke
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.values import format_date

_CRL_LIFE: Final = "30d"
_SERIAL: Final = re.compile(r"(?:0x)?[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The CRL of a CA."""

    issuer: Annotated[str, "the CA: ca or intermediate"]
    file: Annotated[str, "the file of the CRL"]
    number: Annotated[int, "its number, which grows"]
    until: Annotated[int, "until when it is to be replaced by a newer one, in Unix seconds"]
    revoked: Annotated[list[str], "the serial numbers of what is revoked, in hexadecimal digits"]


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """The CRLs that were made."""

    directory: Annotated[str, "the directory of the PKI"]
    lists: Annotated[list[RevocationList], "one for each CA whose key is here"]


def _revoke(session: Session, flags: Flags) -> RevocationLists:
    folder, report = folder_of(session, flags), Report()
    reason = flags.text("reason") or x509.ReasonFlags.unspecified.value
    if reason not in REASONS:
        raise NskError(f"{quote(reason)} is no reason for a revocation", remedy=f"name one: {'|'.join(REASONS)}")
    serial = flags.text("serial").lower().replace(":", "")
    if bool(flags.arguments) == bool(serial):
        raise NskError("name the certificates to revoke, or one by its --serial", remedy="nsk pki list shows them")
    wanted: list[tuple[str, int, str]] = []
    if serial:
        if not _SERIAL.fullmatch(serial):
            raise NskError(f"{quote(serial)} is no serial number", remedy="nsk pki describe shows them")
        wanted.append((f"serial number {serial}", int(serial, 16), folder.issuer_name))
    for name in flags.arguments:
        if name == AUTHORITY:
            raise NskError(
                "a root is not revoked: whoever trusts it has to be told to trust it no more",
                remedy="take ca.pem away from clients and servers, and begin anew with nsk pki init",
            )
        wanted.append((quote(name), folder.certificates(name)[0].serial_number, issuer_of(folder, name)))
    life = life_of(flags, default=_CRL_LIFE)
    for what, number, issuer in wanted:
        if revoke(folder, number, REASONS[reason], issuer=issuer, lifetime=life):
            report.ok(f"revoked {what}")
        else:
            report.ok(f"{what} was revoked before")
    issuers = list(dict.fromkeys(issuer for _, _, issuer in wanted))
    issuers += _complete(folder, life, report)
    lists = _report_lists(folder, issuers, report)
    for name in flags.arguments:
        report.message(f"another one with the same names: {program_of(session, flags)} renew {shlex.quote(name)}")
    session.finish(report)
    return RevocationLists(str(folder.directory), lists)


def _complete(folder: Folder, life: timedelta, report: Report) -> list[str]:
    """Make the first CRL of the other CAs: servers ask for one of each in a chain."""
    made = []
    for issuer in folder.issuers:
        if folder.crl(issuer) is not None:
            continue
        if folder.key(issuer) is None:
            report.warn(f"there is no CRL of {quote(issuer)} so far: nsk pki crl makes it where its key is")
            continue
        publish(folder, issuer, lifetime=life)
        made.append(issuer)
    return made


def _crl(session: Session, flags: Flags) -> RevocationLists:
    folder, report, now = folder_of(session, flags), Report(), datetime.now(UTC)
    life = life_of(flags, default=_CRL_LIFE)
    near = life_of(flags, "if-expires-within") if flags.given("if-expires-within") else None
    made = []
    for issuer in folder.issuers:
        old = folder.crl(issuer)
        if near is not None and old is not None and old.next_update_utc and old.next_update_utc > now + near:
            report.ok(f"the CRL of {quote(issuer)} holds until {format_date(int(old.next_update_utc.timestamp()))}")
            continue
        if folder.key(issuer) is None:
            report.warn(f"the key of {quote(issuer)} is not here, so its CRL stays as it is")
            continue
        publish(folder, issuer, lifetime=life)
        made.append(issuer)
    lists = _report_lists(folder, made, report)
    session.finish(report)
    return RevocationLists(str(folder.directory), lists)


def _report_lists(folder: Folder, issuers: Iterable[str], report: Report) -> list[RevocationList]:
    made = []
    for issuer in issuers:
        crl = folder.crl(issuer)
        assert crl is not None
        end = crl.next_update_utc
        assert end is not None
        number = crl_number(crl)
        serials = [f"{entry.serial_number:032x}" for entry in crl]
        until = int(end.timestamp())
        made.append(RevocationList(issuer, str(folder.crl_path(issuer)), number, until, serials))
        report.ok(
            f"wrote CRL {number} of {quote(issuer)} with {len(serials)} revoked, to be replaced by {format_date(until)}"
        )
    if made:
        there = (issuer for issuer in folder.issuers if folder.crl(issuer) is not None)
        paths = ", ".join(quoted_path(folder.crl_path(issuer)) for issuer in there)
        report.message(f"servers that verify clients read it where their tls block names it:\n  crl_files: [ {paths} ]")
    return made


REVOKE = Command(
    "revoke",
    "Revoke certificates, and write the CRL that says so.",
    _revoke,
    (
        text("reason", "", f"why: {', '.join(REASONS)}"),
        text("serial", "", "serial number of a certificate that is not here any more"),
        text("valid-for", "", f"how long the CRL may be used: {WHEN}", default=_CRL_LIFE),
    ),
    group_flags=PKI_FLAGS,
    arguments=(0, 1000),
    changes=True,
    homes=homes_of,
    examples="    nsk pki revoke app --reason keyCompromise",
    result=RevocationLists,
)
CRL = Command(
    "crl",
    "Write the CRL of each CA anew, before the old one ends.",
    _crl,
    (text("valid-for", "", f"how long it may be used: {WHEN}", default=_CRL_LIFE), NEAR),
    group_flags=PKI_FLAGS,
    changes=True,
    homes=homes_of,
    examples="    nsk pki crl --if-expires-within 7d",
    result=RevocationLists,
)
