"""What the pages of the dashboard show, collected from the live server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accounts.account import Account
from accounts.limits import UNLIMITED
from auth.principal import Method
from broker.control.tenant import Tenant, Traffic
from broker.monitor.exchange import ExportDetail, ImportDetail, exports, imports
from broker.monitor.ui.rates import Rate, Rates
from broker.net.certificates import WHOSE
from broker.session.record import shown_user
from broker.session.session import shown
from broker.wire.values import readable

if TYPE_CHECKING:
    from broker.control.audit import Denial
    from broker.monitor.watched import Watched
    from broker.session.session import Session

ROWS: Final = 100
"""Rows of a table on one page."""

EXPIRING_SECONDS: Final = 30 * 86400
"""Credentials that end within this time are listed."""

LOOKED_AT: Final = 20_000
"""Sessions whose credentials are looked at for one page."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much there is of something, and how much there may be; None is no limit."""

    used: int
    limit: int | None

    @property
    def percent(self) -> int | None:
        """How full it is."""
        if self.limit is None:
            return None
        return 100 if self.limit <= 0 else min(100, round(100 * self.used / self.limit))


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account of the overview."""

    name: str
    label: str
    connections: Usage
    subscriptions: int
    rate: Rate | None
    slow_consumers: int
    denials: int


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connection of an account."""

    cid: int
    user: str
    program: str
    address: str
    rate: Rate | None
    pending: int
    subscriptions: Usage
    started: float


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """One subscription of an account."""

    subject: str
    queue: str
    cid: int
    delivered: int


@dataclass(frozen=True, slots=True)
class Ending:
    """A credential that ends."""

    what: str
    account: str
    ends: float

    @property
    def seconds(self) -> float:
        """Until then; negative when it is over."""
        return self.ends - time.time()


def limit(value: int) -> int | None:
    """A limit for a page: None where there is none."""
    return None if value == UNLIMITED else max(value, 0)


def pager(page: int, count: int) -> dict[str, int | None]:
    """Which rows of so many a page shows, and which pages are beside it."""
    last = max((count - 1) // ROWS, 0)
    return {
        "first": min(page * ROWS + 1, count),
        "last": min((page + 1) * ROWS, count),
        "count": count,
        "before": page - 1 if page else None,
        "after": page + 1 if page < last else None,
    }


class Views:
    """Collects; remembers only the last looks of the rates."""

    def __init__(self, watched: Watched, rates: Rates | None = None) -> None:
        self._watched = watched
        self._rates = rates or Rates()

    @property
    def watched(self) -> Watched:
        """The live server."""
        return self._watched

    def account(self, name: str) -> Account | None:
        """The account of that name, None where there is none."""
        return self._watched.account(name)

    def tenant(self, name: str) -> Tenant | None:
        """The account at work, None where nobody is in it."""
        return self._watched.service.control.tenants.get(name)

    def server_rate(self, moved: Traffic) -> Rate | None:
        """Of all connections together."""
        return self._rates.of("", moved)

    def names(self) -> list[str]:
        """All accounts, those with connections first."""
        tenants = self._watched.service.control.tenants

        def order(name: str) -> tuple[bool, str]:
            tenant = tenants.get(name)
            return tenant is None or not tenant.sessions, name

        return sorted(self._watched.account_names, key=order)

    def rows(self, names: list[str]) -> Iterator[AccountRow]:
        """The accounts of the overview, one by one, so that others may have a turn."""
        counts: dict[str, int] = {}
        for (name, _), count in self._watched.service.control.trail.counted():
            counts[name] = counts.get(name, 0) + count
        for name in names:
            account = self.account(name)
            if account is None:
                continue
            here = self.tenant(name) or Tenant(account)
            yield AccountRow(
                readable(name),
                readable(account.label),
                Usage(len(here.sessions), limit(account.limits.connections)),
                here.subscriptions,
                self._rates.of(("account", name), here.traffic),
                here.slow_consumers,
                counts.get(name, 0),
            )

    def connections(self, name: str, page: int) -> tuple[int, list[ConnectionRow]]:
        """How many connections an account has, and those of a page."""
        tenant = self.tenant(name)
        sessions = [] if tenant is None else sorted(tenant.sessions, key=lambda one: one.cid)
        chosen = sessions[page * ROWS : (page + 1) * ROWS]
        return len(sessions), [self._connection(session) for session in chosen]

    def _connection(self, session: Session) -> ConnectionRow:
        carrier = self._watched.service.connections.get(session.cid)
        principal = session.principal
        return ConnectionRow(
            session.cid,
            readable(shown_user(principal, session.connect)),
            readable(session.connect.name),
            session.address,
            self._rates.of(session.cid, Traffic.of(session.client)),
            session.client.pending,
            Usage(
                len(session.subscriptions),
                None if principal is None else limit(principal.limits.subscriptions),
            ),
            time.time() if carrier is None else carrier.started,
        )

    def subscriptions(self, name: str, page: int) -> tuple[int, list[SubscriptionRow]]:
        """How many subscriptions an account has, and those of a page."""
        tenant = self.tenant(name)
        if tenant is None:
            return 0, []
        found: list[SubscriptionRow] = []
        place, start = 0, page * ROWS
        for session in sorted(tenant.sessions, key=lambda one: one.cid):
            if place + len(session.subscriptions) > start and len(found) < ROWS:
                for one in session.subscriptions.values():
                    if place >= start and len(found) < ROWS:
                        queue = "" if one.queue is None else readable(shown(one.queue))
                        found.append(SubscriptionRow(readable(shown(one.subject)), queue, session.cid, one.delivered))
                    place += 1
            else:
                place += len(session.subscriptions)
        return place, found

    def exports(self, account: Account) -> list[ExportDetail]:
        """What an account offers."""
        return exports(account)

    def imports(self, account: Account) -> list[ImportDetail]:
        """What it takes, and whether that is in force."""
        return imports(account, self._watched.account, time.time())

    def denials(self, only: str) -> list[Denial]:
        """The latest refusals, newest first; of one account where one is named."""
        latest = self._watched.service.control.trail.latest()
        return [one for one in latest if not only or one.whom.account == only][:ROWS]

    def endings(self, only: str) -> list[Ending]:
        """Credentials that end soon, the next one first."""
        soon = time.time() + EXPIRING_SECONDS
        found: list[Ending] = []
        for listener, standing in () if only else self._watched.service.certificates.standing.items():
            for chain in standing.served.chains:
                if chain.ends_at < soon:
                    what = f"the certificate of {WHOSE[listener]} for {readable(chain.name)}"
                    found.append(Ending(what, "", chain.ends_at))
        looked_at = 0
        for name in [only] if only else self.names():
            account, tenant = self.account(name), self.tenant(name)
            if account is not None and account.expires_at is not None and account.expires_at < soon:
                found.append(Ending("the account's claims", readable(account.label), account.expires_at))
            for session in () if tenant is None or looked_at > LOOKED_AT else tenant.sessions:
                looked_at += 1
                found.extend(_ending(session, soon))
        return sorted(found, key=lambda one: one.ends)[: 2 * ROWS]


def _ending(session: Session, soon: float) -> Iterator[Ending]:
    principal = session.principal
    if principal is None or principal.method is Method.NONE or principal.user_expires_at is None:
        return
    if principal.user_expires_at < soon:
        user = readable(shown_user(principal, session.connect))
        what = f"user {user} on connection {session.cid}"
        yield Ending(what, readable(principal.account.label), principal.user_expires_at)
