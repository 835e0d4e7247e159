"""The trail of security decisions: one log line for each, under a denial id that explanations can refer to."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

from auth.principal import Method
from broker.log.text import REDACTED, printable, quoted
from broker.session import journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from accounts.policy import Decision
    from auth.errors import AuthError
    from broker.core.outbox import Hub
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions

RECORDED_A_SECOND: Final = 20
"""Refusals of one connection in one second that are recorded one by one; the rest is counted."""

LOGGER: Final = logging.getLogger("natskeep.audit")

_VIOLATIONS: Final = {
    "Publish": "Publish Violation - Subject",
    "Reply": "Publish Violation - Reply",
    "Subscription": "Subscription Violation - Subject",
}
"""What nats-server calls each refusal."""


def denial_id() -> str:
    """A short id under which one denial is found again."""
    return secrets.token_hex(4)


class Trail:
    """Records what policy refused; of a session that is refused over and over, the first cases of each second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._spent: dict[int, tuple[float, int]] = {}
        """By connection: when its current second began, and how many refusals it has had since."""

    def refused(
        self, session: Session, what: str, target: str, decide: Callable[[], Decision | None], *, where: str = ""
    ) -> None:
        """Records one refusal of a "Publish", a "Reply" or a "Subscription".

        `decide` finds the rule again; it is not called for what is only counted. `where` follows the subject.
        """
        now = self._hub.now
        since, count = self._spent.get(session.cid, (now, 0))
        if now - since >= 1.0:
            self._say_count(session, count)
            since, count = now, 0
        self._spent[session.cid] = (since, count + 1)
        if count >= RECORDED_A_SECOND:
            return
        decision = decide()
        why = "a limit" if decision is None else decision.reason
        denial = denial_id()
        journal.write(LOGGER, logging.ERROR, session, "%s %s%s - denial %s: %s",
                      _VIOLATIONS[what], quoted(target), printable(where), denial, printable(why), denial=denial)

    def forget(self, session: Session) -> None:
        """Says what was only counted, and forgets a session that leaves its account."""
        _, count = self._spent.pop(session.cid, (0.0, 0))
        self._say_count(session, count)

    def _say_count(self, session: Session, count: int) -> None:
        if count > RECORDED_A_SECOND:
            journal.write(LOGGER, logging.ERROR, session, "%d more refusals were not recorded one by one",
                          count - RECORDED_A_SECOND)


def authentication_failed(session: Session, error: AuthError) -> None:
    """Records a failed authentication with its internal reason, which the client never learns."""
    denial = denial_id()
    journal.write(LOGGER, logging.ERROR, session, "authentication error%s - denial %s: %s",
                  _claimed(session.connect), denial, printable(error.log_text), denial=denial)


def _claimed(connect: ConnectOptions) -> str:
    """Who the client said to be, as far as that is no secret."""
    if connect.unverified_nkey:
        return f" - Nkey {quoted(connect.unverified_nkey)}"
    if connect.unverified_user:
        return f" - User {quoted(connect.unverified_user)}"
    return f' - Token "{REDACTED}"' if connect.unverified_token else ""


def authenticated(session: Session) -> None:
    """Records who a connection turned out to be."""
    principal = session.principal
    if principal is not None and principal.method is not Method.NONE:
        journal.write(LOGGER, logging.DEBUG, session, "authenticated by %s", principal.method)
