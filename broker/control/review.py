"""Live sessions under a new policy: what they may still have stays as it is, and the rest is taken from them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from accounts.limits import UNLIMITED
from broker.control.equipment import equip
from broker.control.subscribe import remove, subscription_ceiling
from broker.control.tenant import Tenant, wire
from broker.log.text import quoted
from broker.session.session import shown
from broker.wire.errors import CloseReason, ErrorText, removed_subscription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accounts.policy import PolicyTable
    from auth.principal import Principal
    from broker.control.control import Control
    from broker.core.plan import Subscription
    from broker.session.session import Session


def review(control: Control, session: Session, principal: Principal) -> int:
    """Puts an active session under a new principal of its account; returns how many subscriptions it lost.

    A session whose policy decides as before keeps its plans and the response subjects that are open to it.
    """
    tenant, before = session.tenant, session.principal
    if not isinstance(tenant, Tenant) or before is None:
        return 0
    session.principal = principal
    control.tenant(principal)
    lost = 0
    if principal.policy.fingerprint != before.policy.fingerprint:
        session.client.bind(tenant.acquire(principal.policy))
        tenant.release(before.policy)
        lost = _trim(control, tenant, session, principal.policy)
    equip(tenant, session, principal, control.options.max_payload)
    if principal.expires_at != before.expires_at:
        session.transport.expire_at(principal.expires_at)
    ceiling = subscription_ceiling(session, control.options.max_subscriptions)
    if ceiling != UNLIMITED and (ceiling == 0 or len(session.subscriptions) > ceiling):
        session.fail(ErrorText.SUBSCRIPTIONS_EXCEEDED, CloseReason.MAXIMUM_SUBSCRIPTIONS)
    return lost


def refused_subscriptions(table: PolicyTable, subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """Those that a policy does not allow."""
    return [
        one
        for one in subscriptions
        if not table.decide_subscribe(shown(one.subject), None if one.queue is None else shown(one.queue)).allowed
    ]


def _trim(control: Control, tenant: Tenant, session: Session, table: PolicyTable) -> int:
    """Removes what the policy does not allow, tells the client, and filters anew what stays."""
    refused = refused_subscriptions(table, session.subscriptions.values())
    for subscription in refused:
        remove(tenant, session, subscription)
        subject, sid = shown(subscription.subject), shown(subscription.sid)
        queue = None if subscription.queue is None else shown(subscription.queue)
        session.refuse(removed_subscription(subject, queue, sid))
        control.report(session, f"Removed sub {quoted(subject)} (sid {quoted(sid)}) - not authorized", logging.INFO)
    for subscription in session.subscriptions.values():
        queue = None if subscription.queue is None else shown(subscription.queue)
        denies = table.delivery_denies_overlapping(shown(subscription.subject), queue)
        subscription.refilter([wire(rule.subject) for rule in denies])
    # Kept plans of other roles hold the filters of before.
    tenant.namespace.invalidate()
    return len(refused)


def close_surplus(control: Control, tenants: Iterable[Tenant] | None = None) -> None:
    """Ends the newest sessions of each account that has more of them than it may: of all accounts, or of some."""
    for tenant in list(control.tenants.values()) if tenants is None else tenants:
        ceiling = tenant.account.limits.connections
        surplus = 0 if ceiling == UNLIMITED else len(tenant.sessions) - max(ceiling, 0)
        if surplus > 0:
            for session in sorted(tenant.sessions, key=lambda one: one.cid)[-surplus:]:
                session.fail(ErrorText.ACCOUNT_CONNECTIONS_EXCEEDED, CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS)


def forget_accounts(control: Control) -> None:
    """Drops accounts that there are no more, as soon as nobody is in them."""
    for name, tenant in list(control.tenants.items()):
        if control.account(name) is None and not tenant.sessions:
            control.wiring.forget(name)
