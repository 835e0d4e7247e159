"""``expirations``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

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


class ExpiringEntity(msgspec.Struct):
    """An operator, account, user or creds file."""

    resource: Annotated[str, msgspec.Meta(description="operator/account/user, or the path of a creds file")]
    id: Annotated[str, msgspec.Meta(description="the public key")]
    when: Annotated[str, msgspec.Meta(description="how far away the expiry is, such as In 2 Days, or Never")]
    expiry: Annotated[int, msgspec.Meta(description="the Unix time of the expiry, 0 when there is none")]
    expiration_date: Annotated[str, msgspec.Meta(description="the same by RFC 3339, empty when there is none")]
    expires_soon: Annotated[bool, msgspec.Meta(description="whether it expires before the threshold")]
    expired: Annotated[bool, msgspec.Meta(description="whether it has expired")]


class ExpirationReport(msgspec.Struct):
    """What expires, and when, in nsc's own form."""

    expiration_threshold: Annotated[str, msgspec.Meta(description="until when something expires soon, by RFC 3339")]
    report: Annotated[list[ExpiringEntity] | None, msgspec.Meta(description="null when there is nothing to report")]


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
            ExpiringEntity(item.resource, item.id, item.when, item.expiry, item.date, item.expires_soon, item.expired)
            for item in found
        ]
        body = msgspec.json.format(dumps(ExpirationReport(rfc3339(threshold), rows or None)), indent=2)
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
    result=ExpirationReport,
)
