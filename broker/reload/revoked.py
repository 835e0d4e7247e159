"""Other revocation lists are in force: whoever is connected with a certificate that they revoke is closed."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.reload.swap import in_turns
from broker.session import journal
from broker.session.states import State
from broker.wire.errors import CloseReason, ErrorText
from tls.identity import CertificateFormatError

if TYPE_CHECKING:
    from broker.net.connection import Connection
    from broker.net.service import Service

LOGGER: Final = logging.getLogger("natskeep.tls")


async def close_revoked(service: Service, listener: str) -> None:
    """Holds every connection of a listener to its lists of now, in turns with everything else."""
    closed: list[int] = []
    connections = [one for one in service.connections.values() if one.listener == listener]
    await in_turns(service, connections, partial(_look, service, closed))
    if closed:
        LOGGER.info("Closed %d connections whose certificates are revoked", len(closed))


def _look(service: Service, closed: list[int], connection: Connection) -> None:
    session, sealed = connection.session, connection.sealed
    lists = service.certificates.lists(connection.listener)
    if lists is None or sealed is None or session.state is State.CLOSED:
        return
    try:
        finding = service.inspection.revoked(sealed.connection.verified_chain, lists)
    except CertificateFormatError:
        # Without being read it was not let in.
        return
    if finding is None:
        return
    closed.append(session.cid)
    denial = service.control.trail.certificate_refused(session, finding.subject, finding.reason)
    if session.secured:
        journal.write(LOGGER, logging.ERROR, session, "client certificate revoked - denial %s: %s: %s",
                      denial, finding.subject, finding.reason, denial=denial)
        session.fail(ErrorText.USER_REVOKED, CloseReason.REVOKED, log="")
    else:
        session.close(CloseReason.TLS_HANDSHAKE_FAILURE)
