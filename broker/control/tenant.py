"""A live account: its namespace in the core, the plan caches of its roles, and the sessions bound to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.core.plan import Namespace, PlanCache, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from accounts.account import Account
    from accounts.exchange import Exchange
    from accounts.policy import PolicyTable
    from accounts.transform import SubjectTransform
    from broker.core.exchange import Crossing
    from broker.core.meter import Meter
    from broker.core.plan import Client, Subscription
    from broker.core.transform import Transform
    from broker.session.session import Session


def wire(subject: str) -> bytes:
    """A subject as the core sees it."""
    return subject.encode("utf-8", "surrogateescape")


def compile_core_policy(table: PolicyTable) -> Policy:
    """The publish side of a policy table in the form that the core executes."""
    closed = bool(table.publish_allow) or table.publish_is_closed
    responses = table.responses
    return Policy(
        [wire(rule.subject) for rule in table.publish_allow] if closed else None,
        [wire(rule.subject) for rule in table.publish_deny],
        [wire(rule.subject) for rule in table.reply_deny],
        None if responses is None else (responses.max_messages, responses.expires),
    )


UNRESTRICTED = Policy(None, (), ())
"""What holds for messages that were judged where they were published."""


class Matching(NamedTuple):
    """Delivery plans of an account's roles: how many are kept, how often one was asked for, and how often made."""

    plans: int
    lookups: int
    builds: int
    widest: int
    """Receivers of the widest plan that is kept."""
    receivers: int
    """Receivers of all plans that are kept, together."""


class Inflow(NamedTuple):
    """A stream import at work: where it comes from and goes to, how subjects come here, and the same compiled."""

    exporter: str
    importer: str
    allow_trace: bool
    """Whether traces go on behind it."""
    outward: SubjectTransform
    compiled: Transform


class Traffic(NamedTuple):
    """Messages and bytes in and out, as clients see them: in is what they published."""

    in_messages: int = 0
    in_bytes: int = 0
    out_messages: int = 0
    out_bytes: int = 0

    @classmethod
    def of(cls, client: Client) -> Traffic:
        """All that a client has moved since it connected."""
        return cls(client.in_messages, client.in_bytes, client.out_messages, client.out_bytes)

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(*(one + two for one, two in zip(self, other, strict=True)))

    def minus(self, other: Traffic) -> Traffic:
        """What came after `other`."""
        return Traffic(*(one - two for one, two in zip(self, other, strict=True)))


NO_TRAFFIC: Final = Traffic()


class Tenant:
    """One account at work. Roles with equal policy tables share one plan cache for as long as one of them is bound."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.namespace = Namespace(account.name)
        self.arrivals = PlanCache(self.namespace, UNRESTRICTED, arrivals=True)
        """Plans for what comes from other accounts: requests, and answers to requests."""
        self.announcements = PlanCache(self.namespace, UNRESTRICTED)
        """Plans for what the server itself says."""
        self.sessions: set[Session] = set()
        self.insiders: set[Subscription] = set()
        """Subscriptions of the broker itself that hear what the account imports, as those of its clients do."""
        self.reach: Callable[[Subscription], None] = lambda subscription: None
        """Lets a subscription hear what the account imports."""
        self.exchange: Exchange | None = None
        """What crosses its wall; None where the account cannot be used."""
        self.wired = False
        """Whether what crosses its wall has been put into the core; what only others hear of needs no wires."""
        self.streams: dict[str, list[Inflow]] = {}
        """Its stream imports in force, by the first token of the subject here; a wildcard there is a key of its own."""
        self.crossings: dict[object, Crossing] = {}
        """Its service imports in force, by what they are."""
        self.meter: Meter | None = None
        """What its users publish, all together; None where that is not limited."""
        self.user_meters: dict[tuple[str, str], Meter] = {}
        """What its limited users publish, each with all its connections."""
        self.slow_consumers = 0
        """Clients that were closed because they took too little."""
        self.subscribed = 0
        """Subscriptions that were ever made."""
        self._gone = NO_TRAFFIC
        self._before: dict[Session, Traffic] = {}
        self._caches: dict[str, tuple[PlanCache, int]] = {}
        self._released = (0, 0)
        """Lookups and builds of the caches that are gone."""

    def listen(self, subscription: Subscription) -> None:
        """Lets the broker hear what is published in the account, and what the account imports."""
        self.namespace.insert(subscription)
        self.insiders.add(subscription)
        self.reach(subscription)

    def unlisten(self, subscription: Subscription) -> None:
        """Ends such a subscription."""
        self.insiders.discard(subscription)
        self.namespace.remove(subscription)

    def enter(self, session: Session) -> None:
        """Makes the session one of its own."""
        self.sessions.add(session)
        moved = Traffic.of(session.client)
        if moved != NO_TRAFFIC:
            self._before[session] = moved

    def leave(self, session: Session) -> None:
        """Lets the session go; what it has moved here stays counted."""
        if session in self.sessions:
            gone, before, client = self._gone, self._before.pop(session, NO_TRAFFIC), session.client
            self._gone = Traffic(
                gone.in_messages + client.in_messages - before.in_messages,
                gone.in_bytes + client.in_bytes - before.in_bytes,
                gone.out_messages + client.out_messages - before.out_messages,
                gone.out_bytes + client.out_bytes - before.out_bytes,
            )
            self.sessions.remove(session)

    @property
    def traffic(self) -> Traffic:
        """What its sessions have moved while they were in it, those that are gone included."""
        total = self._gone
        for session in self.sessions:
            total = total.plus(self._moved(session))
        return total

    def _moved(self, session: Session) -> Traffic:
        return Traffic.of(session.client).minus(self._before.get(session, NO_TRAFFIC))

    def close(self) -> None:
        """Lets go of all that leads to other accounts, and back: the core's references are not seen by the search for
        cycles, so an account that nobody uses any more would stay for ever."""
        for crossing in self.crossings.values():
            crossing.close()
        self.crossings.clear()
        self.namespace.close()
        for cache in (self.arrivals, self.announcements, *(cache for cache, _ in self._caches.values())):
            cache.clear()

    def acquire(self, table: PolicyTable) -> PlanCache:
        """The plan cache for a policy table; `release` gives it back."""
        known = self._caches.get(table.fingerprint)
        cache, holders = known if known is not None else (PlanCache(self.namespace, compile_core_policy(table)), 0)
        self._caches[table.fingerprint] = (cache, holders + 1)
        return cache

    def release(self, table: PolicyTable) -> None:
        cache, holders = self._caches[table.fingerprint]
        if holders == 1:
            del self._caches[table.fingerprint]
            self._released = (self._released[0] + cache.lookups, self._released[1] + cache.builds)
        else:
            self._caches[table.fingerprint] = (cache, holders - 1)

    @property
    def matching(self) -> Matching:
        """What finding receivers has come to."""
        caches = [self.arrivals, self.announcements, *(cache for cache, _ in self._caches.values())]
        fanouts = [cache.fanout() for cache in caches]
        lookups, builds = self._released
        return Matching(
            plans=sum(cache.kept for cache in caches),
            lookups=lookups + sum(cache.lookups for cache in caches),
            builds=builds + sum(cache.builds for cache in caches),
            widest=max(widest for widest, _ in fanouts),
            receivers=sum(total for _, total in fanouts),
        )

    @property
    def subscriptions(self) -> int:
        """Subscriptions of all its sessions."""
        return len(self.namespace) - self.namespace.shadows
