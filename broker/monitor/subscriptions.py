"""/subsz: the subscriptions of all accounts, or of one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from accounts.subject import is_literal, matches
from broker.monitor.connections import DEFAULT_LIMIT, SubscriptionDetail, subscription_detail
from broker.monitor.query import Query, QueryError
from broker.session.session import shown
from broker.wire.values import moment

if TYPE_CHECKING:
    from broker.control.tenant import Tenant
    from broker.monitor.watched import Watched


class SublistStats(msgspec.Struct, kw_only=True):
    """The state of the matcher. Matches are the plans that were asked for, hits those that were kept from before."""

    num_subscriptions: int = 0
    num_cache: int = 0
    """Delivery plans that are kept."""
    num_inserts: int = 0
    num_removes: int = 0
    num_matches: int = 0
    cache_hit_rate: int | float = 0
    max_fanout: int = 0
    avg_fanout: int | float = 0


class Subsz(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The state of the matcher and, where it was asked for, a page of subscriptions."""

    server_id: str
    now: str
    num_subscriptions: int
    num_cache: int
    num_inserts: int
    num_removes: int
    num_matches: int
    cache_hit_rate: int | float
    max_fanout: int
    avg_fanout: int | float
    total: int
    """Subscriptions that match what was asked for; 0 when the list was not."""
    offset: int
    limit: int
    subscriptions_list: list[SubscriptionDetail] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubszOptions:
    """What a listing is asked for."""

    subscriptions: bool = False
    offset: int = 0
    limit: int = 0
    account: str = ""
    test: str = ""
    """A subject: only subscriptions that a message on it would match."""

    @classmethod
    def read(cls, query: Query) -> SubszOptions:
        """From the parameters of a request. Raises QueryError."""
        return cls(
            subscriptions=query.boolean("subs"),
            offset=query.integer("offset"),
            limit=query.integer("limit"),
            account=query.text("acc"),
            test=query.text("test"),
        )


def subsz(watched: Watched, options: SubszOptions) -> Subsz:
    """The subscriptions that were asked for. Raises QueryError for a test subject that is none."""
    if options.test and not is_literal(options.test):
        raise QueryError(f"invalid test subject, must be valid publish subject: {options.test}")
    tenants = watched.service.control.tenants
    chosen = [tenants[name] for name in sorted(tenants) if options.account in {"", name}]
    stats = _stats(chosen)
    page = Subsz(
        server_id=watched.identity.server_id,
        now=moment(time.time()),
        **msgspec.structs.asdict(stats),
        total=0,
        offset=max(options.offset, 0),
        limit=options.limit if options.limit > 0 else DEFAULT_LIMIT,
    )
    if options.subscriptions:
        rows = [row for tenant in chosen for row in _matching(tenant, options.test)]
        page.total = len(rows)
        page.subscriptions_list = rows[page.offset : page.offset + page.limit]
    return page


def sublist_stats(tenant: Tenant) -> SublistStats:
    """The matcher of one account."""
    return _stats((tenant,))


def _stats(tenants: Iterable[Tenant]) -> SublistStats:
    tenants = tuple(tenants)
    found = [tenant.matching for tenant in tenants]
    held = sum(tenant.subscriptions for tenant in tenants)
    made = sum(tenant.subscribed for tenant in tenants)
    plans, lookups, builds, _, receivers = (sum(column) for column in zip(*found, strict=True)) if found else (0,) * 5
    return SublistStats(
        num_subscriptions=held,
        num_cache=plans,
        num_inserts=made,
        num_removes=made - held,
        num_matches=lookups,
        cache_hit_rate=(lookups - builds) / lookups if lookups else 0,
        max_fanout=max((one.widest for one in found), default=0),
        avg_fanout=receivers / plans if receivers else 0,
    )


def _matching(tenant: Tenant, test: str) -> Iterator[SubscriptionDetail]:
    account = tenant.account
    for session in sorted(tenant.sessions, key=lambda one: one.cid):
        for subscription in session.subscriptions.values():
            if not test or matches(shown(subscription.subject), test):
                yield subscription_detail(subscription, session.cid, account.name, account.label)
