"""What an account is told about whoever sends it a request from another account: the header `Nats-Request-Info`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accounts.exchange import ServiceLink
from broker.session.client_info import ClientInfo, asking

if TYPE_CHECKING:
    from broker.core.exchange import Crossing
    from broker.session.session import Session


def link_of(gate: Crossing) -> ServiceLink:
    """The import behind a gate. Raises TypeError for a gate that wiring did not make."""
    if not isinstance(gate.link, ServiceLink):
        raise TypeError("a gate without an import")
    return gate.link


def asker(session: Session, gate: Crossing, before: tuple[Crossing, ...], server: str, system: str) -> ClientInfo:
    """Who asks, as the service behind ``gate`` is told.

    ``before`` are the first and the last gate that the request came through until here, none where it comes from its
    own account. Only imports that share tell more than the account and the round trip. The system account is told
    which server it was.
    """
    link = link_of(gate)
    passed = (*map(link_of, before), link)
    tells_server = any(one.imported.share or one.imported.account == system for one in passed)
    return asking(
        session,
        server if tells_server else "",
        share=passed[0].imported.share,
        through=link.importer if before else "",
    )
