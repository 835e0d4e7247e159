"""Puts what crosses the walls of accounts into the core, and keeps it as the accounts say now.

What an account imports is decided by `accounts.exchange`; here the decisions become shadows of subscriptions, gates
and mappings. Whatever changes, an account or the time, leads to the same step: compile again, and replace in one turn
of the loop.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from accounts.callout import ANSWERS, REQUEST_SUBJECT
from accounts.exchange import Exchange, compile_exchange
from accounts.exports import ResponseType
from accounts.subject import REST, SINGLE, specificity, tokens
from broker.control.tenant import Inflow, Tenant, wire
from broker.core.exchange import Crossing
from broker.core.mapping import Mapping, Mappings
from broker.core.transform import Transform
from broker.session.session import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from accounts.account import Account
    from accounts.exchange import ServiceLink
    from accounts.mapping import SubjectMapping
    from accounts.transform import SubjectTransform
    from broker.control.clock import Clock, Timer
    from broker.core.exchange import Meter
    from broker.core.plan import Subscription

LOGGER: Final = logging.getLogger("natskeep.control")

LONGEST_TIMER: Final = 3600.0
"""The end of an activation is a time of the wall clock, which can be set; it is looked at no less often, in seconds."""

_OF_THE_CALLOUT: Final = (wire(REQUEST_SUBJECT), wire(ANSWERS))
"""What an account says to its auth callout, and hears of it."""

_WILDCARDS: Final = (SINGLE, REST)


class Wiring:
    """The ways between the live accounts of one server."""

    def __init__(
        self,
        tenants: dict[str, Tenant],
        lookup: Callable[[str], Account | None],
        clock: Clock,
        hidden: Callable[[Account], tuple[ServiceLink, ...]] = lambda account: (),
    ) -> None:
        """``hidden`` tells what an account imports without declaring it, and without anybody's consent."""
        self._hidden = hidden
        self._tenants = tenants
        self._lookup = lookup
        self._clock = clock
        self._importers: dict[str, set[str]] = {}
        """By account: the live accounts in which something depends on it."""
        self._known: dict[str, Account | None] = {}
        """Every account that was looked at, as it was when what depends on it was compiled."""
        self._absent: dict[str, tuple[str, ...]] = {}
        """By account: those that it imports from and that cannot be used."""
        self._ends: dict[str, Timer] = {}
        self._deadlines: dict[Crossing, Timer] = {}
        self.meter: Callable[[ServiceLink], Meter | None] = lambda link: None
        """Who measures the requests of a service import."""
        self.missing: Callable[[tuple[str, ...]], None] = lambda names: None
        """Told of accounts that others import from, and that cannot be used."""
        self.own_mappings: Callable[[Account], tuple[SubjectMapping, ...]] = lambda account: ()
        """How subjects of an account are rewritten that it says nothing of itself."""
        self.compiled: Callable[[Tenant], None] = lambda tenant: None
        """Told of live accounts that are there from now on, or that are not what they were."""
        self.forgotten: Callable[[Tenant], None] = lambda tenant: None
        """Told of live accounts that are gone."""

    def tenant(self, name: str) -> Tenant | None:
        """The live account of that name, made now where nobody has used it yet; None where there is no such account."""
        account = self._lookup(name)
        return None if account is None else self.enter(account)

    def enter(self, account: Account) -> Tenant:
        """The live account, made and wired where nobody has used it yet."""
        tenant = self._bare(account)
        # What is asked of one account may go on to others, so they are wired too: in a list, since chains may be long.
        waiting = [tenant]
        while waiting:
            following = waiting.pop()
            if not following.wired:
                following.wired = True
                self._compile(following)
                waiting += self._connect(following)
                self.compiled(following)
        return tenant

    def _bare(self, account: Account) -> Tenant:
        """The live account, wired or not: enough for whoever only hears what is published there."""
        tenant = self._tenants.get(account.name)
        if tenant is None:
            tenant = self._tenants[account.name] = Tenant(account)
            tenant.reach = partial(self.subscribed, tenant)
        return tenant

    def looked_at(self, name: str) -> bool:
        """Whether something that is compiled depends on an account, be it there or not."""
        return name in self._known

    def absent(self, name: str) -> tuple[str, ...]:
        """The accounts that a live account imports from and that cannot be used."""
        return self._absent.get(name, ())

    # Subscriptions

    def subscribed(self, tenant: Tenant, subscription: Subscription) -> None:
        """Lets a new subscription of the account hear what the account imports."""
        if not tenant.streams:
            return
        pattern = shown(subscription.subject)
        first = pattern.partition(".")[0]
        keys = tuple(tenant.streams) if first in _WILDCARDS else (first, *_WILDCARDS)
        for key in keys:
            for inflow in tenant.streams.get(key, ()):
                there = inflow.outward.preimage(pattern)
                exporter = None if there is None else self._lookup(inflow.exporter)
                if there is not None and exporter is not None:
                    # Passwords do not cross walls, whatever is exported.
                    kept = () if exporter.callout is None else _OF_THE_CALLOUT
                    subscription.shadow(self._bare(exporter).namespace, wire(there), inflow.compiled, inflow, kept)

    # Changes

    def refresh(self, names: Iterable[str] | None = None) -> None:
        """Compiles whatever depends on an account that is not what it was: one of those named, or any."""
        changed = []
        for name in list(self._known) if names is None else names:
            before = self._known.get(name)
            account, tenant = self._lookup(name), self._tenants.get(name)
            if tenant is not None and account is not None:
                tenant.account = account
            if account is not before and account != before:
                changed.append(name)
        self.changed(changed)

    def changed(self, names: Iterable[str]) -> None:
        """Compiles these accounts again, and all that depend on them."""
        affected = set(names)
        for name in tuple(affected):
            affected |= self._importers.get(name, set())
        found = [self._tenants[name] for name in sorted(affected) if name in self._tenants]
        tenants = [tenant for tenant in found if tenant.wired]
        reached = [tenant for tenant in tenants if tenant.streams]
        for tenant in tenants:
            self._compile(tenant)
        for tenant in tenants:
            for exporter in self._connect(tenant):
                self.enter(exporter.account)
            if tenant in reached or tenant.streams:
                self._reach_again(tenant)
            self.compiled(tenant)

    def forget(self, name: str) -> None:
        """The account is gone."""
        tenant = self._tenants.pop(name)
        self.forgotten(tenant)
        self._disconnect(tenant)
        tenant.close()

    def _disconnect(self, tenant: Tenant) -> None:
        self._absent.pop(tenant.account.name, None)
        for name in () if tenant.exchange is None else tenant.exchange.consulted:
            self._importers.get(name, set()).discard(tenant.account.name)
        timer = self._ends.pop(tenant.account.name, None)
        if timer is not None:
            timer.cancel()

    def _reach_again(self, tenant: Tenant) -> None:
        for session in tenant.sessions:
            for subscription in session.subscriptions.values():
                subscription.withdraw()
                self.subscribed(tenant, subscription)
        for subscription in tenant.insiders:
            subscription.withdraw()
            self.subscribed(tenant, subscription)

    def _compile(self, tenant: Tenant) -> None:
        account, now = tenant.account, time.time()
        self._disconnect(tenant)
        self._known[account.name] = self._lookup(account.name)
        if self._known[account.name] is None:
            tenant.exchange = None
            return
        before = () if tenant.exchange is None else tenant.exchange.refused
        exchange = tenant.exchange = compile_exchange(account, self._lookup, now)
        for problem in exchange.refused:
            if problem not in before:
                LOGGER.error("Account %s: %s", account.label, problem)
        for name in exchange.consulted:
            self._importers.setdefault(name, set()).add(account.name)
            self._known[name] = self._lookup(name)
        absent = tuple(name for name in sorted(exchange.consulted) if not self._is_usable(name, now))
        if absent:
            self._absent[account.name] = absent
            self.missing(absent)
        if exchange.ends_at is not None:
            self._look_at(account.name, exchange.ends_at)

    def _is_usable(self, name: str, now: float) -> bool:
        """Whether an account is known that has not expired."""
        account = self._known[name]
        return account is not None and (account.expires_at is None or now < account.expires_at)

    def _look_at(self, name: str, moment: float) -> None:
        """Compiles the account again at a Unix time, since time alone changes what it may import."""
        left = moment - time.time()
        if left > 0:
            later = partial(self._look_at, name, moment)
            self._ends[name] = self._clock.call_later(min(left, LONGEST_TIMER), later)
        else:
            self.changed((name,))

    def _connect(self, tenant: Tenant) -> list[Tenant]:
        """Replaces gates and mappings; returns the accounts behind the gates.

        A service import that stays what it was goes on waiting for its answers.
        """
        exchange = tenant.exchange or Exchange(tenant.account)
        before, tenant.crossings = tenant.crossings, {}
        tenant.streams = {}
        for stream in exchange.streams:
            outward = stream.imported.outward
            key = stream.imported.local_subject.partition(".")[0]
            inflow = Inflow(
                stream.imported.account, stream.importer, stream.imported.allow_trace, outward, _compiled(outward)
            )
            tenant.streams.setdefault(key, []).append(inflow)
        gates, behind = [], []
        hidden = () if tenant.exchange is None else self._hidden(tenant.account)
        for link in (*exchange.services, *hidden):
            account = self._lookup(link.imported.account)
            if account is None:
                continue
            exporter = self._bare(account)
            behind.append(exporter)
            essence = (_essence(link), exporter)
            crossing = before.pop(essence, None) or self._crossing(tenant, exporter, link)
            crossing.link = link
            tenant.crossings[essence] = crossing
            gates.append((wire(link.imported.local_subject), crossing))
        if gates or before:
            tenant.namespace.open_gates(gates)
        for crossing in before.values():
            crossing.close()
        mappings = exchange.mappings
        own = () if tenant.exchange is None else self.own_mappings(tenant.account)
        if own:
            declared = {mapping.source for mapping in mappings}
            every = (*mappings, *(mapping for mapping in own if mapping.source not in declared))
            mappings = tuple(sorted(every, key=lambda mapping: specificity(mapping.source)))
        tenant.namespace.map(_mappings(mappings) if mappings else None)
        tenant.namespace.traces_parents = tenant.account.trace is not None
        return behind

    def _crossing(self, tenant: Tenant, exporter: Tenant, link: ServiceLink) -> Crossing:
        imported, export = link.imported, link.export
        return Crossing(
            tenant.namespace,
            tenant.arrivals,
            exporter.arrivals,
            None if imported.local_subject == imported.subject and not imported.to else _compiled(imported.inward),
            link=link,
            service=export,
            many=export.response_type is not ResponseType.SINGLETON,
            threshold=export.response_threshold,
            meter=None if export.latency is None else self.meter(link),
            watch=self._watch,
        )

    # Answers that do not come

    def _watch(self, crossing: Crossing) -> None:
        if crossing not in self._deadlines:
            self._expire(crossing)

    def _expire(self, crossing: Crossing) -> None:
        self._deadlines.pop(crossing, None)
        now = self._clock.monotonic()
        deadline = crossing.expire(now)
        if deadline is not None:
            self._deadlines[crossing] = self._clock.call_later(deadline - now, partial(self._expire, crossing))

    def close(self) -> None:
        """Calls off every timer, and ends all ways between accounts. Nobody may be connected any more."""
        for timer in (*self._ends.values(), *self._deadlines.values()):
            timer.cancel()
        self._ends.clear()
        self._deadlines.clear()
        for tenant in self._tenants.values():
            tenant.close()


def _essence(link: ServiceLink) -> tuple[object, ...]:
    """What tells service imports apart, wherever they are written."""
    imported, export = link.imported, link.export
    return (
        imported.account, imported.subject, imported.to, imported.share,
        export.subject, export.response_type, export.response_threshold, export.latency,
    )


def _compiled(transform: SubjectTransform) -> Transform:
    return Transform(transform.program)


def _mappings(mappings: Iterable[SubjectMapping]) -> Mappings:
    return Mappings(_ranked(mappings))


def _ranked(mappings: Iterable[SubjectMapping]) -> Iterator[tuple[bytes, Mapping]]:
    for rank, mapping in enumerate(mappings):
        shares = [
            (ceiling, None if transform is None else _compiled(transform)) for ceiling, transform in mapping.shares("")
        ]
        yield wire(mapping.source), Mapping(rank, tokens(mapping.source)[-1] == REST, shares)
