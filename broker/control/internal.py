"""The broker as a client of its own accounts: it subscribes, publishes and answers like any other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from broker.control.tenant import wire
from broker.core.plan import Inbox, Subscription
from broker.session.client_info import ClientInfo
from broker.session.session import Session, shown
from broker.wire.values import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.control.tenant import Tenant
    from broker.core.exchange import Crossing
    from broker.core.outbox import Hub
    from broker.core.plan import Client


@dataclass(frozen=True, slots=True)
class Received:
    """A message to the broker. ``header`` is the whole header block, None for none; ``session`` is None where the
    broker itself sent it: at a client's bidding, such as an answer, unless ``is_own`` says that it asks for itself."""

    subject: str
    reply: str
    header: bytes | None
    payload: bytes
    session: Session | None
    is_own: bool = False


class Internal:
    """The broker inside one account. What it is sent is handled at the end of the turn, in the order of its coming.

    A request that nobody takes is answered with the status 503, as a client's is that asks for it.
    """

    def __init__(
        self, tenant: Tenant, hub: Hub, *, echo: bool = False, is_own: bool = False, client: Inbox | None = None
    ) -> None:
        """``echo`` lets it hear what it says itself; ``is_own`` marks it: no client chooses what it says, nor where.

        ``client`` is the one to speak through, if not one of its own.
        """
        self.tenant = tenant
        self.is_own = is_own
        self._client = Inbox(hub) if client is None else client
        self._client.owner = self
        self._client.headers = True
        self._client.echo = echo
        self._client.no_responders = True
        self._client.bind(tenant.announcements)
        self._handlers: dict[bytes, Callable[[Received], None]] = {}
        self._subscriptions: dict[bytes, Subscription] = {}
        self._sids = count(1)

    def subscribe(
        self, subject: str, handler: Callable[[Received], None], queue: str | None = None, *, imports: bool = False
    ) -> Subscription:
        """Hands what comes on the subject to ``handler``; with ``imports``, also what the account imports there."""
        sid = b"%d" % next(self._sids)
        made = Subscription(self._client, wire(subject), None if queue is None else wire(queue), sid)
        self._handlers[sid] = handler
        self._subscriptions[sid] = made
        if imports:
            self.tenant.listen(made)
        else:
            self.tenant.namespace.insert(made)
        self.tenant.subscribed += 1
        return made

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription; one that has ended already is left alone."""
        if self._subscriptions.pop(subscription.sid, None) is not None:
            del self._handlers[subscription.sid]
            self.tenant.unlisten(subscription)

    def publish(self, subject: str, payload: bytes, *, reply: str = "", header: bytes | None = None) -> None:
        """Publishes in the account. ``header`` is a whole header block."""
        self._client.send(wire(subject), wire(reply) if reply else None, header, payload)

    def has_interest(self, subject: str) -> bool:
        """Whether anybody would receive what is published on a subject."""
        return bool(self.tenant.namespace.sublist.match(wire(subject)))

    def has_literal_interest(self, subject: str) -> bool:
        """Whether anybody has subscribed to just this subject, rather than to all of a pattern."""
        found = self.tenant.namespace.sublist.match(wire(subject))
        return any(isinstance(one, Subscription) and one.subject == wire(subject) for one in found)

    def listeners(self, subject: str) -> int:
        """How many others would receive what is published on a subject; each queue group counts as one."""
        found = self.tenant.namespace.sublist.match(wire(subject))
        others = [one for one in found if isinstance(one, Subscription) and one.client is not self._client]
        return sum(one.queue is None for one in others) + len({one.queue for one in others if one.queue is not None})

    def __len__(self) -> int:
        """How many subscriptions it has."""
        return len(self._subscriptions)

    def close(self) -> None:
        """Ends all that it listens to."""
        for subscription in list(self._subscriptions.values()):
            self.unsubscribe(subscription)
        self._client.close()

    # What the core calls

    def received(
        self, subscription: Subscription, sender: Client, message: tuple[bytes, bytes | None, bytes | None, bytes]
    ) -> None:
        """A message came on one of its subscriptions, which may have ended: subject, reply, header and payload."""
        subject, reply, header, payload = message
        handler = self._handlers.get(subscription.sid)
        if handler is not None:
            owner = sender.owner
            session = owner if isinstance(owner, Session) else None
            is_own = isinstance(owner, Internal) and owner.is_own
            handler(Received(shown(subject), "" if reply is None else shown(reply), header, payload, session, is_own))

    def request_info(self, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        """What other accounts are told about the broker when it asks them something."""
        return ClientInfo(acc=readable(self.tenant.account.name)).header_line()
