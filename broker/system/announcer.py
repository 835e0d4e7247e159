"""Tells the system account what happens on the server. Nothing is built that nobody listens to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from accounts.account import GLOBAL_ACCOUNT
from auth.gojson import dumps
from auth.principal import Method
from broker.control.observer import Observer
from broker.control.tenant import Tenant, wire
from broker.monitor.statistics import account_stat
from broker.session.session import NOTHING_SAID
from broker.system import subjects
from broker.system.encoding import encoded
from broker.system.envelope import Sender
from broker.system.events import (
    AccountConnections,
    ServerStatistics,
    Stamp,
    account_connections,
    audit_state,
    certificate_state,
    client_connected,
    client_disconnected,
    link_invalid,
    peer_rejected,
)
from broker.system.statistics import statsz
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from accounts.account import Account
    from broker.control.clock import Timer
    from broker.control.internal import Internal
    from broker.monitor.watched import Watched
    from broker.net.certificates import Told
    from broker.session.session import Session
    from broker.system.envelope import Voice

FIRST_STATISTICS: Final = 0.25
"""Seconds after the start at which the server's statistics are told first; each interval is twice the one before."""

STATISTICS_INTERVAL: Final = 10.0
"""Seconds between two of them, at most."""

SHORTEST_INTERVAL: Final = 1.0
"""Seconds between two of them, at least, except where they were asked for."""

CONNECTIONS_INTERVAL: Final = 30.0
"""Seconds after which an account's connections are told again while it has any."""

TOLD_A_TURN: Final = 256
"""Accounts whose connections are told again in one turn of the loop."""

NOT_LET_IN: Final = frozenset(
    {CloseReason.AUTHENTICATION_FAILURE, CloseReason.PROXY_NOT_TRUSTED, CloseReason.PROXY_REQUIRED}
)
"""Why a connection ends that did not prove who it is."""


class Announcer(Observer):
    """The events of one server."""

    def __init__(self, watched: Watched, internal: Internal, voice: Voice) -> None:
        self._watched = watched
        self._control = watched.service.control
        self._internal = internal
        self._voice = voice
        self._server = watched.identity.server_id
        self._own = 0
        """Subscriptions of the broker itself in the system account; where there are no others, nobody listens."""
        self._interval = FIRST_STATISTICS
        self._statistics_timer: Timer | None = None
        self._told_at = 0.0
        self._due: dict[str, float] = {}
        """By account: the monotonic time at which its connections are told again, the next one first."""
        self._due_timer: Timer | None = None
        self._flush_timer: Timer | None = None

    def open(self) -> None:
        """Begins to tell."""
        self._own = len(self._internal.tenant.namespace)
        self._control.observer = self
        self._look_again_in(self._interval)

    def close(self) -> None:
        """Tells that the server ends, and nothing after that."""
        self._tell(subjects.shutdown(self._server), lambda sender: sender)
        self._control.observer = Observer()
        for timer in (self._statistics_timer, self._due_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()

    def lame_duck(self) -> None:
        """Tells that the server is about to end."""
        self._tell(subjects.lame_duck(self._server), lambda sender: sender)

    def audit(self, problem: str) -> None:
        """Tells that the audit ledger cannot be written, and why; or that it can be again."""
        self._tell(subjects.audit(self._server), lambda sender: audit_state(sender, problem))

    def certificate(self, told: Told) -> None:
        """Tells what became of a listener's certificate."""
        self._tell(subjects.certificate(self._server), lambda sender: certificate_state(sender, told))

    def peer_invalid(self, chain: Sequence[Certificate], at_fault: Certificate, reason: str, kind: str) -> None:
        peer = chain[0]
        self._tell(subjects.peer_link_invalid(self._server), partial(link_invalid, at_fault, peer, reason))
        self._tell(subjects.peer_rejected(self._server), partial(peer_rejected, peer, kind))

    def _tell(self, subject: str, build: Callable[[Sender], object]) -> None:
        """Publishes what ``build`` makes, where anybody listens; it counts either way."""
        tenant = self._internal.tenant
        if len(tenant.namespace) > self._own:
            self._tell_in(tenant, subject, build)
        else:
            self._voice.skip()

    def _tell_in(self, tenant: Tenant | None, subject: str, build: Callable[[Sender], object]) -> None:
        if tenant is None or not tenant.namespace.sublist.match(wire(subject)):
            self._voice.skip()
            return
        internal = self._control.internal(tenant.account.name)
        internal.publish(subject, dumps(build(self._voice.sender())))
        if self._flush_timer is None:
            # Not every step that is told of ends with a flush.
            self._flush_timer = self._control.clock.call_later(0.0, self._flushed)

    def _flushed(self) -> None:
        self._flush_timer = None

    # Sessions

    def bound(self, session: Session, account: Account) -> None:
        self._tell_connections(account.name)
        if session.principal is not None and session.principal.method is not Method.NONE:
            self._tell(subjects.connect(account.name), partial(client_connected, session, account))

    def unbound(self, session: Session, account: Account) -> None:
        self._tell_connections(account.name)

    def ended(self, session: Session, account: Account | None, reason: CloseReason) -> None:
        name = GLOBAL_ACCOUNT if account is None else account.name
        build = partial(client_disconnected, session, account, reason.value)
        if reason in NOT_LET_IN:
            if session.connect is not NOTHING_SAID:
                # Where a callout decides, it is its account that learns of logins that failed.
                place = self._control.tenants.get(session.delegated_to or name)
                self._tell_in(place, subjects.AUTH_ERROR_IN_ACCOUNT, build)
            self._tell(subjects.auth_error(self._server), build)
        self._tell(subjects.disconnect(name), build)

    def traced(self, account: str, destination: str, build: Callable[[object], object], accepts: str) -> None:
        tenant = self._control.tenants.get(account)
        if tenant is None or not _may_be_heard(tenant, destination):
            self._voice.skip()
            return
        header, body = encoded(dumps(build(self._voice.sender())), accepts.lower())
        self._control.internal(account).publish(destination, body, header=header)

    # Connections of accounts

    def _tell_connections(self, name: str) -> None:
        """Tells how many connections an account has, now and again until it has none."""
        if name == GLOBAL_ACCOUNT:
            return
        stamp = Stamp()
        tenant = self._control.tenants.get(name)
        self._due.pop(name, None)
        if tenant is None:
            return
        for subject in subjects.connections(name):
            self._tell(subject, partial(self._connections, tenant, stamp))
        if tenant.sessions:
            self._due[name] = self._control.clock.monotonic() + CONNECTIONS_INTERVAL
            if self._due_timer is None:
                self._due_timer = self._control.clock.call_later(CONNECTIONS_INTERVAL, self._tell_due)

    def _connections(self, tenant: Tenant, stamp: Stamp, sender: Sender) -> AccountConnections:
        return account_connections(account_stat(tenant.account, tenant), sender, stamp)

    def _tell_due(self) -> None:
        """Tells the connections of accounts for which it is time, of some in each turn."""
        now = self._control.clock.monotonic()
        for name in [name for name, due in islice(self._due.items(), TOLD_A_TURN) if due <= now]:
            self._tell_connections(name)
        self._due_timer = None
        if self._due:
            left = next(iter(self._due.values())) - now
            self._due_timer = self._control.clock.call_later(max(left, 0.0), self._tell_due)

    # The server

    def broadcast(self) -> None:
        """Tells the server's statistics now."""
        self._told_at = self._control.clock.monotonic()
        self._tell(subjects.statistics(self._server), self._statistics)

    def _statistics(self, sender: Sender) -> ServerStatistics:
        return ServerStatistics(server=sender, statsz=statsz(self._watched))

    def _time_for_statistics(self) -> None:
        left = self._told_at + min(SHORTEST_INTERVAL, self._interval) - self._control.clock.monotonic()
        if left > 0:
            self._look_again_in(left)
        else:
            self._interval = min(self._interval * 2, STATISTICS_INTERVAL)
            self._look_again_in(self._interval)
            self.broadcast()

    def _look_again_in(self, seconds: float) -> None:
        self._statistics_timer = self._control.clock.call_later(seconds, self._time_for_statistics)


def _may_be_heard(tenant: Tenant, subject: str) -> bool:
    """Whether somebody may receive what is published on the subject: here, or behind a mapping or an import."""
    exchange = tenant.exchange
    if exchange is not None and (exchange.mappings or exchange.services):
        return True
    return bool(tenant.namespace.sublist.match(wire(subject)))
