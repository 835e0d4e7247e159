"""How many clients a subject has, for whoever looks for why nobody answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from accounts.subject import contains, is_literal
from broker.control.tenant import wire
from broker.core.plan import Shadow, Subscription
from broker.session.client_info import REQUEST_INFO
from broker.session.session import Session, shown

if TYPE_CHECKING:
    from broker.control.internal import Received
    from broker.control.tenant import Tenant


class _Asker(msgspec.Struct):
    """What the header of a request from another account says of it."""

    acc: str = ""
    svc: str = ""


def asking_account(received: Received, system: str) -> str:
    """The account that a request comes from: the system account, or the one that imports the service from it.

    Of whoever belongs to another account the header tells it, which the broker itself has set. Empty where it does not.
    """
    principal = None if received.session is None else received.session.principal
    if principal is None or principal.account.name == system:
        return system
    for line in (received.header or b"").split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == REQUEST_INFO.encode():
            asker = msgspec.json.decode(value, type=_Asker)
            return asker.svc or asker.acc
    return ""


def count(tenant: Tenant, subject: str, queue: str | None = None) -> int:
    """Subscriptions of the account's clients that a message on a literal subject would meet, or that lie in a pattern.

    With a queue only its members count. Subscriptions of the broker itself, and what other accounts hear of this one,
    do not.
    """
    name = None if queue is None else wire(queue)
    return sum(1 for one in _candidates(tenant, subject) if name is None or one.queue == name)


def _candidates(tenant: Tenant, subject: str) -> Iterator[Subscription]:
    if is_literal(subject):
        for found in tenant.namespace.sublist.match(wire(subject)):
            if _is_clients(found):
                yield found
        return
    for session in tenant.sessions:
        for subscription in session.subscriptions.values():
            if contains(subject, shown(subscription.subject)):
                yield subscription


def _is_clients(found: object) -> TypeGuard[Subscription]:
    return isinstance(found, Subscription) and not isinstance(found, Shadow) and isinstance(found.client.owner, Session)
