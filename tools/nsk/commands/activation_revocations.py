"""``revocations add_activation|delete_activation|list_activations``: whose activations an export no longer takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from auth.claims import Export
from auth.nkey import KeyKind
from tools.nsk import exchange
from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.flags import MOMENT, Flag, Flags, boolean, text
from tools.nsk.managed import submit
from tools.nsk.render import Table, printable
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.values import format_date, format_mail_date


@dataclass(frozen=True, slots=True)
class ActivationRevocation:
    """Activations of an account, or of all (``*``), that an export no longer takes."""

    public_key: Annotated[str, "the importing account's public key, or * for all accounts"]
    before: Annotated[int, "activations issued up to this Unix time are refused"]


@dataclass(frozen=True, slots=True)
class ActivationRevocations:
    """The revocations of an export, after what the command did."""

    account: Annotated[str, "the account's name"]
    export: Annotated[str, "the export's name"]
    subject: Annotated[str, "the export's subject"]
    revocations: Annotated[list[ActivationRevocation], "all there are, sorted by key"]


def _result(account: str, export: Export) -> ActivationRevocations:
    found = [ActivationRevocation(key, moment) for key, moment in sorted(export.revocations.items())]
    return ActivationRevocations(account, export.name, export.subject, found)


def _place(session: Session, flags: Flags) -> exchange.ExportPlace:
    kind = exchange.kind_of(service=flags.boolean("service"))
    return exchange.ExportPlace(session.plain_account(flags.text("account")), kind, flags.text("subject"))


def _target(session: Session, flags: Flags, place: exchange.ExportPlace) -> str:
    if not flags.text("target-account"):
        # What is wrong with the export is told first.
        place.export(session.store.account(place.account))
    return session.account_key(flags.text("target-account"), "target-account", wildcard=True)


def _add(session: Session, flags: Flags) -> ActivationRevocations:
    store = session.store
    place = _place(session, flags)
    key = _target(session, flags, place)
    moment = flags.number("at") or int(time.time())
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    export = exchange.revoke_activations(store, place, key, moment, signer=signer)
    report = Report()
    submit(store, store.account(place.account), report)
    if key == exchange.EVERY_ACCOUNT:
        before = format_date(moment).replace(" UTC", " +0000 UTC")
        report.ok(f'revoked all activations for "{export.name}" issued before {before}')
    else:
        report.ok(f'revoked activation "{export.name}" for account {key}')
    session.finish(report, summarise=True)
    return _result(place.account, export)


def _delete(session: Session, flags: Flags) -> ActivationRevocations:
    store = session.store
    place = _place(session, flags)
    key = _target(session, flags, place)
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    export = exchange.restore_activations(store, place, key, signer=signer)
    report = Report()
    submit(store, store.account(place.account), report)
    whose = "all accounts" if key == exchange.EVERY_ACCOUNT else f"account {key}"
    report.ok(f"deleted {place.kind} {export.name} revocation for {whose}")
    session.finish(report, summarise=True)
    return _result(place.account, export)


def _list(session: Session, flags: Flags) -> ActivationRevocations:
    place = _place(session, flags)
    export = place.export(session.store.account(place.account))
    if not export.revocations:
        raise NskError(f"{place.kind} {export.name} has no revocations")
    title = printable(f"Revoked Accounts for {place.kind} {export.name or export.subject}")
    table = Table(title, ("Public Key", "Revoke Credentials Before"))
    for key, moment in sorted(export.revocations.items()):
        table.row("* [All Accounts]" if key == exchange.EVERY_ACCOUNT else printable(key), format_mail_date(moment))
    session.output.line(table.render())
    return _result(place.account, export)


_EXPORT_FLAGS = (
    text("account", "a", "account name"),
    boolean("service", "", "service"),
    text("subject", "s", "export subject"),
)
_TARGET_FLAG = text("target-account", "t", "target-account")

ADD = Command(
    "add_activation",
    "Revoke an accounts access to an export",
    _add,
    (
        *_EXPORT_FLAGS,
        _TARGET_FLAG,
        Flag(
            "at",
            "",
            "revokes all activations for an account created or edited before a Unix timestamp "
            "('0' is treated as now, accepted formats are RFC3339 or #seconds since epoch)",
            kind=MOMENT,
            default=0,
        ),
    ),
    aliases=("add-activation",),
    changes=True,
    result=ActivationRevocations,
)
DELETE = Command(
    "delete_activation",
    "Remove an account revocation from an export",
    _delete,
    (*_EXPORT_FLAGS, _TARGET_FLAG),
    aliases=("delete-activation",),
    changes=True,
    result=ActivationRevocations,
)
LIST = Command(
    "list_activations",
    "List account revocations for an export",
    _list,
    _EXPORT_FLAGS,
    aliases=("list-activations",),
    result=ActivationRevocations,
)
