"""The trail of security decisions: one log line for each, under a denial id that explanations can refer to.

Where the server keeps a ledger, the same goes there, with more of the who and less of the words.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auth.principal import Method
from broker.control.tally import NAMED, WINDOW, Tally
from broker.log.text import REDACTED, printable, quoted, without_secrets
from broker.session import journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from accounts.policy import Decision
    from auth.errors import AuthError
    from broker.audit.recorder import Recorder
    from broker.control.clock import Timer
    from broker.core.outbox import Hub
    from broker.log import About
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions

RECORDED_A_SECOND: Final = 20
"""Refusals of one connection in one second that are recorded one by one; the rest is counted."""

LOGINS_OF_ADDRESS: Final = 20
"""Failed logins from one address that are recorded one by one in one window of a tally."""

LOGINS: Final = 200
"""And of all addresses."""

BACKOFFS_OF_ADDRESS: Final = 3
BACKOFFS: Final = 50
"""The same for addresses that are turned away."""

OTHERS: Final = "other addresses"

REMEMBERED: Final = 200
"""Refusals that monitoring can show."""

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


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal as it was recorded: when (Unix time), under which id, what was asked, why not, and whose it was."""

    time: float
    id: str
    action: str
    target: str
    reason: str
    whom: About


class Trail:
    """Records security events; of a session that is refused over and over, the first cases of each second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.recorder: Recorder | None = None
        """The ledger, where there is one."""
        self.counts: dict[tuple[str, str], int] = {}
        """Refusals by account (empty where nobody was known) and action, since the start."""
        self.recent: deque[Denial] = deque(maxlen=REMEMBERED)
        """The latest refusals that were recorded, oldest first."""
        self.later: Callable[[float, Callable[[], None]], Timer] | None = None
        """Calls back after so many seconds; None where nothing does, and what is only counted is said at the end."""
        self._logins = Tally(self._say_logins, each=LOGINS_OF_ADDRESS, together=LOGINS)
        self._backoffs = Tally(self._say_backoffs, each=BACKOFFS_OF_ADDRESS, together=BACKOFFS)
        self._crowding = Tally(self._say_crowding, each=1, together=NAMED)
        self._spent: dict[int, tuple[float, int]] = {}
        """By connection: when its current second began, and how many refusals it has had since."""

    def refused(
        self, session: Session, what: str, target: str, decide: Callable[[], Decision | None], *, where: str = ""
    ) -> str:
        """Records one refusal of a "Publish", a "Reply" or a "Subscription"; its id, empty where it is only counted.

        `decide` finds the rule again; it is not called for what is only counted. `where` follows the subject.
        """
        now = self._hub.now
        account = "" if session.principal is None else session.principal.account.name
        self._count(account, what.lower())
        since, count = self._spent.get(session.cid, (now, 0))
        if now - since >= 1.0:
            self._say_count(session, count)
            since, count = now, 0
        self._spent[session.cid] = (since, count + 1)
        if count >= RECORDED_A_SECOND:
            return ""
        decision = decide()
        why = "a limit" if decision is None else decision.reason
        denial = denial_id()
        journal.write(LOGGER, logging.ERROR, session, "%s %s%s - denial %s: %s",
                      _VIOLATIONS[what], quoted(target), printable(where), denial, printable(why), denial=denial)
        whom = journal.about(session)
        self.recent.append(Denial(time.time(), denial, what.lower(), without_secrets(target), why, whom))
        if self.recorder is not None:
            self._record(session, "denied", action=what.lower(), target=target, denial=denial, reason=why)
        return denial

    def forget(self, session: Session) -> None:
        """Says what was only counted, and forgets a session that leaves its account."""
        _, count = self._spent.pop(session.cid, (0.0, 0))
        self._say_count(session, count)

    def _say_count(self, session: Session, count: int) -> None:
        if count > RECORDED_A_SECOND:
            more = count - RECORDED_A_SECOND
            journal.write(LOGGER, logging.ERROR, session, "%d more refusals were not recorded one by one", more)
            if self.recorder is not None:
                self._record(session, "denied", action="more", count=more)

    def login_failed(self, session: Session, error: AuthError) -> None:
        """Records a login that was refused; of many from one address, and of very many from all, the first ones."""
        if self._admits(self._logins, session.source):
            self.authentication_failed(session, error)
        else:
            self._count("", "connect")

    def _say_logins(self, address: str, count: int) -> None:
        LOGGER.error("%d more failed logins from %s were not recorded one by one", count, address or OTHERS)
        if self.recorder is not None:
            self._record(None, "denied", action="more", address=address, count=count)

    def _admits(self, tally: Tally, key: str) -> bool:
        if not tally.is_open:
            self._open(tally)
        return tally.admits(key)

    def _open(self, tally: Tally) -> None:
        if self.later is not None:
            tally.timer = self.later(WINDOW, lambda: self._window_over(tally))

    def _window_over(self, tally: Tally) -> None:
        tally.timer = None
        tally.end()
        if tally.is_open:
            self._open(tally)

    def close(self) -> None:
        """Says what was only counted so far; nothing more is to come."""
        for tally in (self._logins, self._backoffs, self._crowding):
            tally.end()
            tally.is_open = False
            if tally.timer is not None:
                tally.timer.cancel()
                tally.timer = None

    def authentication_failed(self, session: Session, error: AuthError) -> None:
        """Records a failed authentication with its internal reason, which the client never learns."""
        denial = denial_id()
        journal.write(LOGGER, logging.ERROR, session, "authentication error%s - denial %s: %s",
                      _claimed(session.connect), denial, printable(error.log_text), denial=denial)
        whom = journal.about(session)
        self._count(whom.account, "connect")
        self.recent.append(Denial(time.time(), denial, "connect", "", without_secrets(error.log_text), whom))
        if self.recorder is not None:
            connect = session.connect
            claimed = connect.unverified_nkey or connect.unverified_user
            self._record(session, "denied", action="connect", claimed=claimed, denial=denial, reason=error.log_text)

    def header_refused(self, session: Session, why: str) -> None:
        """Records a PROXY header that is not valid, is missing, or came from where none is taken."""
        self._count("", "proxy")
        if not self._admits(self._logins, session.source):
            return
        denial = denial_id()
        journal.write(LOGGER, logging.ERROR, session, "PROXY header refused - denial %s: %s",
                      denial, printable(why), denial=denial)
        self.recent.append(Denial(time.time(), denial, "proxy", "", why, journal.about(session)))
        if self.recorder is not None:
            self._record(session, "denied", action="proxy", denial=denial, reason=f"PROXY header: {why}")

    def backed_off(self, address: str, seconds: float) -> None:
        """Records that nobody of an address is let in for a while, because too many logins and handshakes failed."""
        if not self._admits(self._backoffs, address):
            return
        LOGGER.warning("%s is turned away for %gs: too many failed logins and handshakes", address, seconds)
        if self.recorder is not None:
            self._record(None, "backed_off", address=address, seconds=seconds)

    def _say_backoffs(self, address: str, count: int) -> None:
        LOGGER.warning("%s was turned away %d more times", address or OTHERS, count)
        if self.recorder is not None:
            self._record(None, "backed_off", address=address, count=count)

    def crowded(self, what: str, limit: str) -> None:
        """Records that a connection was "dropped" or "refused" for a limit: the first, and how many followed."""
        if self._admits(self._crowding, f"{what} {limit}"):
            self._say_crowding(f"{what} {limit}", 1)

    def _say_crowding(self, key: str, count: int) -> None:
        what, _, limit = key.partition(" ")
        LOGGER.warning("%d connections that had not logged in were %s: %s", count, what, limit)
        if self.recorder is not None:
            self._record(None, "crowded", outcome=what, limit=limit, count=count)

    def certificate_refused(self, session: Session, subject: str, reason: str) -> str:
        """Records a client whose certificate, or one above it, is not accepted; as of logins, the first ones.

        Returns the id of the denial, empty where it was only counted.
        """
        if session.principal is None and not self._admits(self._logins, session.remote_ip):
            self._count("", "certificate")
            return ""
        denial = denial_id()
        whom = journal.about(session)
        self._count(whom.account, "certificate")
        self.recent.append(Denial(time.time(), denial, "certificate", subject, reason, whom))
        if self.recorder is not None:
            self._record(session, "denied", action="certificate", target=subject, denial=denial, reason=reason)
        return denial

    def authenticated(self, session: Session, *, break_glass: bool = False) -> None:
        """Records who a connection turned out to be; a user kept for emergencies is worth a warning."""
        principal = session.principal
        if principal is None:
            return
        if break_glass:
            journal.write(LOGGER, logging.WARNING, session, "break-glass user authenticated by %s", principal.method)
        elif principal.method is not Method.NONE:
            journal.write(LOGGER, logging.DEBUG, session, "authenticated by %s", principal.method)
        if self.recorder is not None:
            members = {"method": str(principal.method), "issuer": principal.issuer_key}
            self._record(session, "authenticated", **members, break_glass=break_glass or None,
                         delegated_by=principal.delegated_by)

    def kicked(self, session: Session, by: Session | None) -> None:
        """Records a connection that the system account ended."""
        if self.recorder is not None:
            who = journal.about(session)
            self._record(by, "kicked", target=f"{who.account}/{who.user}", target_cid=session.cid,
                         target_address=who.address)

    def account_changed(
        self,
        account: str,
        changes: Iterable[str],
        revoked: Iterable[str] = (),
        *,
        by: Session | None = None,
        cause: str,
    ) -> None:
        """Records what is other than before about an account; ``cause`` is how that came about."""
        listed = list(changes)
        if self.recorder is None or not listed:
            return
        self._record(by, "account_changed", target=account, cause=cause, changes=listed)
        for key in revoked:
            self._record(by, "revoked", target=f"{account}/{key}", cause=cause)

    def reloaded(self, changes: Iterable[str], problem: str = "") -> None:
        """Records that another configuration is in place, or why it is not."""
        if self.recorder is not None:
            self._record(None, "reloaded", changes=list(changes), problem=problem)

    def keys_rotated(self, added: Iterable[str], removed: Iterable[str]) -> None:
        """Records that other operator keys are trusted than before."""
        came, went = sorted(added), sorted(removed)
        if self.recorder is not None and (came or went):
            self._record(None, "key_rotated", added=came, removed=went)

    def custody(self, what: str, by: Session | None, **members: object) -> None:
        """Records what becomes of the keys that seal what accounts have on disk."""
        if self.recorder is not None:
            self._record(by, what, **members)

    def server(self, what: str, **members: object) -> None:
        """Records what the server itself does: it starts, stops, or leaves as a lame duck."""
        if self.recorder is not None:
            self._record(None, what, **members)

    def is_unrecorded(self) -> bool:
        """Whether logins are to be turned away, since the ledger cannot be written."""
        recorder = self.recorder
        return recorder is not None and recorder.refuses and bool(recorder.problem)

    def _count(self, account: str, action: str) -> None:
        self.counts[account, action] = self.counts.get((account, action), 0) + 1

    def counted(self) -> list[tuple[tuple[str, str], int]]:
        """How many refusals there were, by account and action; a copy, for whoever goes through all of them."""
        return list(self.counts.items())

    def latest(self) -> list[Denial]:
        """The latest refusals, newest first; a copy."""
        return list(reversed(self.recent))

    def _record(self, session: Session | None, event: str, **members: object) -> None:
        recorder = self.recorder
        if recorder is None:
            return
        if session is not None:
            account, user = journal.account_and_user(session)
            members = {
                "account": account,
                "user": user,
                "address": session.address,
                "cid": session.cid,
                "program": session.connect.name,
                **members,
            }
        recorder.record(event, {name: _blanked(value) for name, value in members.items()})


def _blanked(value: object) -> object:
    """A member without seeds and tokens, which stand where a client has mistaken one place for another."""
    return without_secrets(value) if isinstance(value, str) else value


def _claimed(connect: ConnectOptions) -> str:
    """Who the client said to be, as far as that is no secret."""
    if connect.unverified_nkey:
        return f" - Nkey {quoted(connect.unverified_nkey)}"
    if connect.unverified_user:
        return f" - User {quoted(connect.unverified_user)}"
    return f' - Token "{REDACTED}"' if connect.unverified_token else ""
