"""Subscribing and unsubscribing: the checks in the reference's order, then the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accounts import subject as subjects
from accounts.limits import UNLIMITED, effective_subscriptions
from broker.control.tenant import Tenant, wire
from broker.core.plan import Subscription
from broker.session.session import shown
from broker.wire.errors import ErrorText, subscribe_violation, too_many_tokens

if TYPE_CHECKING:
    from accounts.policy import Decision
    from broker.session.session import Session


class RefusedError(Exception):
    """A subscription that may not be made: what the client is told, and what decided."""

    def __init__(self, text: str, decision: Decision | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.decision = decision


def subscription_ceiling(session: Session, server_maximum: int) -> int:
    """How many subscriptions the session may hold: the smallest of server, account and user; -1 is unlimited.

    `server_maximum` is 0 or less for unlimited.
    """
    principal = session.principal
    if principal is None:
        return server_maximum if server_maximum > 0 else UNLIMITED
    return effective_subscriptions(
        server_maximum if server_maximum > 0 else UNLIMITED, principal.account.limits, principal.limits
    )


def subscribe(
    tenant: Tenant,
    session: Session,
    subject: bytes,
    queue: bytes | None,
    sid: bytes,
    *,
    server_maximum: int,
    token_maximum: int,
) -> Subscription | None:
    """Makes the subscription and returns it, None where its sid is in use already; or raises RefusedError.

    Order: permission, number of tokens, number of subscriptions, a sid in use (which is ignored), valid subject.
    """
    principal = session.principal
    if principal is None:
        raise RefusedError(ErrorText.AUTHORIZATION_VIOLATION.value)
    text = shown(subject)
    queue_text = None if queue is None else shown(queue)
    table = principal.policy
    decision = table.decide_subscribe(text, queue_text)
    if not decision.allowed:
        raise RefusedError(subscribe_violation(text, queue_text), decision)
    if token_maximum and subject.count(b".") + 1 > token_maximum:
        raise RefusedError(too_many_tokens(text))
    existing = session.subscriptions.get(sid)
    if existing is not None and existing.closed:
        # It has had its last message, but the batch that brought it is not over yet.
        remove(tenant, session, existing)
        existing = None
    ceiling = subscription_ceiling(session, server_maximum)
    if ceiling != UNLIMITED and len(session.subscriptions) >= ceiling:
        raise RefusedError(ErrorText.SUBSCRIPTIONS_EXCEEDED.value)
    if existing is not None:
        return None
    if not subjects.is_valid(text):
        raise RefusedError(ErrorText.INVALID_SUBJECT.value)
    denies = [wire(rule.subject) for rule in table.delivery_denies_overlapping(text, queue_text)]
    subscription = Subscription(session.client, subject, queue, sid, denies)
    tenant.namespace.insert(subscription)
    tenant.subscribed += 1
    session.subscriptions[sid] = subscription
    return subscription


def unsubscribe(tenant: Tenant, session: Session, sid: bytes, maximum: int) -> None:
    """Ends the subscription at once, or after `maximum` deliveries in all; an unknown sid is ignored."""
    subscription = session.subscriptions.get(sid)
    if subscription is not None and subscription.limit(maximum):
        remove(tenant, session, subscription)


def remove(tenant: Tenant, session: Session, subscription: Subscription) -> None:
    """Takes the subscription out of the namespace and the session, if it is still there."""
    if session.subscriptions.get(subscription.sid) is subscription:
        del session.subscriptions[subscription.sid]
        tenant.namespace.remove(subscription)
        if session.tracer is not None:
            session.tracer.changed(b"DELSUB " + subscription.sid)


def remove_all(tenant: Tenant, session: Session) -> None:
    """Takes all of the session's subscriptions out."""
    for subscription in session.subscriptions.values():
        tenant.namespace.remove(subscription)
        if session.tracer is not None:
            session.tracer.changed(b"DELSUB " + subscription.sid)
    session.subscriptions.clear()
