"""The trail of security decisions: one log line for each, under a denial id that explanations can refer to."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from accounts.policy import Decision
    from auth.errors import AuthError
    from broker.core.outbox import Hub
    from broker.session.session import Session

RECORDED_A_SECOND: Final = 20
"""Refusals of one connection in one second that are recorded one by one; the rest is counted."""

LOGGER: Final = logging.getLogger("natskeep.audit")


def label(session: Session) -> str:
    """Who a line is about: address, connection and, once known, account and user."""
    text = f"{session.remote_ip}:{session.remote_port} - cid:{session.cid}"
    principal = session.principal
    if principal is None:
        return text
    # Names come from tokens and configurations, and behind a sentinel from the client itself.
    return f'{text} - "{printable(principal.account.label)}/{printable(principal.user)}"'


def denial_id() -> str:
    """A short id under which one denial is found again."""
    return secrets.token_hex(4)


def printable(text: str) -> str:
    """Text from the wire for a log: what could break the line or the terminal is escaped."""
    return text.encode("unicode_escape").decode("ascii")


class Trail:
    """Records what policy refused; of a session that is refused over and over, the first cases of each second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._spent: dict[int, tuple[float, int]] = {}
        """By connection: when its current second began, and how many refusals it has had since."""

    def refused(self, session: Session, what: str, target: str, decide: Callable[[], Decision | None]) -> None:
        """Records one refusal. `decide` finds the rule again; it is not called for what is only counted."""
        now = self._hub.now
        since, count = self._spent.get(session.cid, (now, 0))
        if now - since >= 1.0:
            if count > RECORDED_A_SECOND:
                LOGGER.error("%s - %d more refusals were not recorded one by one",
                             label(session), count - RECORDED_A_SECOND)
            since, count = now, 0
        self._spent[session.cid] = (since, count + 1)
        if count >= RECORDED_A_SECOND:
            return
        decision = decide()
        why = "a limit" if decision is None else decision.reason
        LOGGER.error('%s - %s Violation - Subject "%s" - denial %s: %s',
                     label(session), what, printable(target), denial_id(), printable(why))

    def forget(self, session: Session) -> None:
        """Says what was only counted, and forgets a session that leaves its account."""
        _, count = self._spent.pop(session.cid, (0.0, 0))
        if count > RECORDED_A_SECOND:
            LOGGER.error("%s - %d more refusals were not recorded one by one",
                         label(session), count - RECORDED_A_SECOND)


def authentication_failed(session: Session, error: AuthError) -> None:
    """Records a failed authentication with its internal reason, which the client never learns."""
    LOGGER.error("%s - authentication error - denial %s: %s", label(session), denial_id(), error.log_text)


def authenticated(session: Session) -> None:
    """Records who a connection turned out to be."""
    principal = session.principal
    if principal is not None and LOGGER.isEnabledFor(logging.DEBUG):
        LOGGER.debug("%s - authenticated by %s", label(session), principal.method)
