"""``expirations``."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from auth.gojson import dumps
from tools.nsk.cli import Command
from tools.nsk.errors import NskError
from tools.nsk.expirations import Expiration, distance, expirations, rfc3339
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import Table, printable
from tools.nsk.session import Session
from tools.nsk.values import parse_when


class _Row(msgspec.Struct):
    resource: str
    id: str
    when: str
    expiry: int
    expiration_date: str
    expires_soon: bool
    expired: bool


class _Report(msgspec.Struct):
    expiration_threshold: str
    report: list[_Row] | None


def _expirations(session: Session, flags: Flags) -> None:
    within = flags.text("within")
    try:
        threshold = parse_when(within, datetime.now(UTC))
    except ValueError as error:
        raise NskError(str(error), show_usage=True) from None
    found = list(expirations(session.store, threshold))
    if flags.boolean("skip"):
        found = [item for item in found if item.expired or item.expires_soon]
    if flags.boolean("json"):
        rows = [
            _Row(item.resource, item.id, item.when, item.expiry, item.date, item.expires_soon, item.expired)
            for item in found
        ]
        body = msgspec.json.format(dumps(_Report(rfc3339(threshold), rows or None)), indent=2)
        session.output.line(body.decode())
        return
    session.output.line(_table(found, threshold), Channel.LISTING)


def _table(found: list[Expiration], threshold: int) -> str:
    table = Table(f"Expiration Report ({distance(threshold)})", ("Expired", "Resource", "Expiration"))
    for item in found:
        state = "Yes" if item.expired else "Soon" if item.expires_soon else "No"
        table.row(state, printable(item.resource), f"{rfc3339(item.expiry)} - {item.when}")
    return table.render()


EXPIRATIONS = Command(
    "expirations",
    "Create a new expiration report",
    _expirations,
    (
        text(
            "within",
            "e",
            "print an expiration report for entities that expire within the specified duration.\n"
            "Supported are YYYY-MM-DD for absolute, and relative of now\n"
            " (m)inute, (h)our, (d)ay, (w)week, (M)onth, (y)ear expressions",
            default="1M",
        ),
        boolean("json", "", "print the expiration report in json format to stdout"),
        boolean("skip", "", "skip reporting entities that are not expired or expiring soon"),
    ),
    examples="""\
expirations --skip --within 1w (reports entities that are expiring within on week)
expirations --json --within 3M (reports in JSON all entities marking those expiring within a month)
""",
    usage_on_error=True,
)
