"""``pki list`` and ``pki describe``: the certificates that there are, and how they stand."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from tools.nsk.cli import Command
from tools.nsk.commands import PKI_FLAGS
from tools.nsk.commands.pki_shared import folder_of, program_of
from tools.nsk.flags import Flags
from tools.nsk.output import Channel
from tools.nsk.pki.look import Certificates, CertificateState, State, one_state, states
from tools.nsk.render import Table, printable
from tools.nsk.session import Session
from tools.nsk.values import format_date, format_distance


def _list(session: Session, flags: Flags) -> Certificates:
    folder, now = folder_of(session, flags), datetime.now(UTC)
    found = states(folder, now)
    table = Table(printable(str(folder.directory)), ["Name", "For", "Names", "Valid until", "State"])
    for one in found:
        until = f"{format_date(one.not_after)}, {format_distance(one.not_after, now.timestamp())}" if one.serial else ""
        names = "\n".join(map(printable, one.names)) or printable(one.subject)
        table.row(printable(one.name), one.kind, names, until, one.state.value)
    session.output.write(table.render(), Channel.LISTING)
    for one in found:
        if one.state in (State.EXPIRED, State.EXPIRING, State.REVOKED):
            renewal = f"{program_of(session, flags)} renew {shlex.quote(one.name)}"
            session.output.message(f"{printable(one.name)} is {one.state.value}: {renewal}")
    return Certificates(str(folder.directory), found)


def _describe(session: Session, flags: Flags) -> CertificateState:
    folder, now = folder_of(session, flags), datetime.now(UTC)
    state = one_state(folder, flags.arguments[0], now)
    table = Table(printable(state.name))
    table.row("For", state.kind)
    table.row("State", state.state.value)
    table.row("Subject", printable(state.subject))
    table.rows("Names", map(printable, state.names))
    table.row("Issuer", printable(state.issuer))
    table.row("Serial", state.serial)
    table.row("Valid from", format_date(state.not_before))
    table.row("Valid until", f"{format_date(state.not_after)}, {format_distance(state.not_after, now.timestamp())}")
    if state.revoked_at is not None:
        table.row("Revoked at", format_date(state.revoked_at))
    if state.must_staple:
        table.row("Must staple", "yes")
    table.rows("OCSP", map(printable, state.ocsp_urls))
    table.rows("CRL", map(printable, state.crl_urls))
    table.row("Pin", state.pin)
    table.row("Certificate", printable(state.certificate_file))
    table.row("Private key", printable(state.key_file or "not here"))
    session.output.write(table.render())
    return state


LIST = Command(
    "list",
    "Show the CAs and certificates that there are, until when each is valid, and which are revoked.",
    _list,
    group_flags=PKI_FLAGS,
    result=Certificates,
)
DESCRIBE = Command(
    "describe",
    "Show what a certificate says: ca, intermediate, or the name of another one.",
    _describe,
    group_flags=PKI_FLAGS,
    arguments=(1, 1),
    result=CertificateState,
)
