"""The trail of security decisions: one log line for each, under a denial id that explanations can refer to."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from accounts.policy import Decision
    from auth.errors import AuthError
    from broker.session.session import Session

LOGGER: Final = logging.getLogger("natskeep.audit")


def label(session: Session) -> str:
    """Who a line is about: address, connection and, once known, account and user."""
    text = f"{session.remote_ip}:{session.remote_port} - cid:{session.cid}"
    principal = session.principal
    return text if principal is None else f'{text} - "{principal.account.label}/{principal.user}"'


def denial_id() -> str:
    """A short id under which one denial is found again."""
    return secrets.token_hex(4)


def printable(text: str) -> str:
    """Text from the wire for a log: what could break the line or the terminal is escaped."""
    return text.encode("unicode_escape", "surrogateescape" if text.isascii() else "backslashreplace").decode("ascii")


def refused(session: Session, what: str, target: str, decision: Decision | None) -> str:
    """Records that policy refused something to a session. Returns the denial id."""
    identity = denial_id()
    why = "a limit" if decision is None else decision.reason
    LOGGER.error('%s - %s Violation - Subject "%s" - denial %s: %s',
                 label(session), what, printable(target), identity, printable(why))
    return identity


def authentication_failed(session: Session, error: AuthError) -> None:
    """Records a failed authentication with its internal reason, which the client never learns."""
    LOGGER.error("%s - authentication error - denial %s: %s", label(session), denial_id(), error.log_text)


def authenticated(session: Session) -> None:
    """Records who a connection turned out to be."""
    principal = session.principal
    if principal is not None and LOGGER.isEnabledFor(logging.DEBUG):
        LOGGER.debug("%s - authenticated by %s", label(session), principal.method)
