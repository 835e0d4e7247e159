"""What an account is told about whoever sends it a request from another account: the header `Nats-Request-Info`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from accounts.exchange import ServiceLink
from broker.session.record import shown_user

if TYPE_CHECKING:
    from broker.core.exchange import Crossing
    from broker.session.session import Session

HEADER: Final = "Nats-Request-Info"

_NANOSECONDS: Final = 1_000_000_000


def header_line(facts: dict[str, Any]) -> bytes:
    """The line of the header block, with its line end. JSON has no line end in itself, so it stays one line."""
    return b"%b: %b\r\n" % (HEADER.encode(), msgspec.json.encode(facts))


def link_of(gate: Crossing) -> ServiceLink:
    """The import behind a gate. Raises TypeError for a gate that wiring did not make."""
    if not isinstance(gate.link, ServiceLink):
        raise TypeError("a gate without an import")
    return gate.link


def facts_of(
    session: Session, gate: Crossing, before: tuple[Crossing, ...], server: str, system: str
) -> dict[str, Any]:
    """Who asks, as the service behind ``gate`` is told.

    ``before`` are the first and the last gate that the request came through until here, none where it comes from its
    own account. Only imports that share tell more than the account and the round trip. The system account is told
    which server it was.
    """
    link = link_of(gate)
    passed = (*map(link_of, before), link)
    first = passed[0]
    principal, connect, transport = session.principal, session.connect, session.transport
    facts: dict[str, Any] = {}
    if first.imported.share:
        facts["start"] = datetime.fromtimestamp(transport.started, UTC).isoformat().replace("+00:00", "Z")
        facts["host"] = session.remote_ip
        facts["id"] = session.cid
    facts["acc"] = "" if principal is None else principal.account.name
    if before:
        facts["svc"] = link.importer
    if first.imported.share:
        user = shown_user(principal, connect)
        told = {"user": user, "name": connect.name, "lang": connect.lang, "ver": connect.version}
        facts |= {key: value for key, value in told.items() if value}
    facts["rtt"] = round(_round_trip(session) * _NANOSECONDS)
    if any(one.imported.share or one.imported.account == system for one in passed):
        facts["server"] = server
    if first.imported.share:
        facts |= {"kind": "Client", "client_type": "nats"}
    return facts


def _round_trip(session: Session) -> float:
    """Seconds, as measured; until then the time that the client took to answer INFO."""
    transport = session.transport
    if session.liveness.round_trip or transport.connected is None:
        return session.liveness.round_trip
    return max(transport.connected - transport.started, 0.0)
