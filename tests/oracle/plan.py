"""The twin of broker.core.plan: who receives a message, found afresh for every message.

Which member of a queue group receives is left to chance by the protocol, so the caller chooses among those who may;
likewise which of several subscriptions of the publisher hears that there are no responders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.oracle.parser import Publish
from tests.oracle.sublist import Sublist, pattern_matches

PUBLISHED = 0
SUBJECT_REFUSED = 1
REPLY_REFUSED = 2


@dataclass(frozen=True)
class Policy:
    """What a client may publish.

    ``publish_allow`` is None where everything is allowed. ``reply_deny`` holds literal subjects and prefixes that end
    in ``.>``; prefixes are compared as text. ``responses`` is a number of messages and of seconds, negative for
    unlimited, or None.
    """

    publish_allow: tuple[bytes, ...] | None = None
    publish_deny: tuple[bytes, ...] = ()
    reply_deny: tuple[bytes, ...] = ()
    responses: tuple[int, float] | None = None

    def denies(self, subject: bytes) -> bool:
        """Say whether a deny fits; it is final."""
        return any(pattern_matches(pattern, subject) for pattern in self.publish_deny)

    def allows(self, subject: bytes) -> bool:
        """Say whether the allow list fits, or there is none."""
        return self.publish_allow is None or any(pattern_matches(pattern, subject) for pattern in self.publish_allow)

    def refuses_reply(self, reply: bytes) -> bool:
        """Say whether ``reply`` may not stand as the reply subject of a message."""
        for rule in self.reply_deny:
            prefix = rule[:-1] if rule.endswith(b".>") else None
            if reply == rule or (prefix is not None and reply.startswith(prefix) and reply != prefix):
                return True
        return False


@dataclass
class Grant:
    """A reply subject that is open for a while."""

    remaining: int
    expires: float | None


@dataclass(frozen=True)
class Delivery:
    """What one subscription receives; ``header`` is None in a MSG."""

    subject: bytes
    sid: bytes
    reply: bytes | None
    header: bytes | None
    payload: bytes


@dataclass(eq=False)
class Client:
    """A connection: its settings, its policy, and what it received."""

    policy: Policy = field(default_factory=Policy)
    echo: bool = True
    headers: bool = False
    no_responders: bool = False
    closed: bool = False
    grants: dict[bytes, Grant] = field(default_factory=dict)
    received: list[Delivery] = field(default_factory=list)


@dataclass(eq=False)
class Subscription:
    """One interest. It ends after ``maximum`` deliveries counted from its beginning, 0 for never."""

    client: Client
    subject: bytes
    queue: bytes | None
    sid: bytes
    denies: tuple[bytes, ...] = ()
    delivered: int = 0
    maximum: int = 0
    closed: bool = False

    def limit(self, maximum: int) -> bool:
        """End after ``maximum`` deliveries in all; return whether that is now."""
        if maximum <= 0 or self.delivered >= maximum:
            self.closed = True
            return True
        self.maximum = maximum
        return False

    def hears(self, subject: bytes) -> bool:
        """Say whether messages on ``subject`` may be given to it."""
        return not self.closed and not any(pattern_matches(pattern, subject) for pattern in self.denies)


Choose = Callable[[bytes | None, list[Subscription]], Subscription]
"""Chooses one of some subscriptions: members of the queue group that is named, or hearers of a 503 (None)."""


class Namespace:
    """One account's subscriptions."""

    def __init__(self) -> None:
        self.sublist = Sublist()

    def insert(self, subscription: Subscription) -> None:
        """Open the namespace to ``subscription``."""
        self.sublist.insert(subscription.subject, subscription)

    def remove(self, subscription: Subscription) -> bool:
        """Take ``subscription`` out; return whether it was in."""
        subscription.closed = True
        return self.sublist.remove(subscription.subject, subscription)

    def hearers(self, subject: bytes) -> list[Subscription]:
        """Return the subscriptions that may be given a message on ``subject``, whoever sends it."""
        matching = [item for item in self.sublist.match(subject) if isinstance(item, Subscription)]
        return [subscription for subscription in matching if subscription.hears(subject)]

    def publish(self, sender: Client, message: Publish, *, now: float, choose: Choose) -> int:
        """Publish one message of ``sender`` at the monotonic second ``now``; return what came of it."""
        subject, reply = message.subject, message.reply
        if sender.policy.denies(subject):
            return SUBJECT_REFUSED
        grant = None
        if not sender.policy.allows(subject):
            grant = sender.grants.get(subject)
            if grant is None or (grant.expires is not None and grant.expires <= now):
                return SUBJECT_REFUSED
        if reply is not None and sender.policy.refuses_reply(reply):
            return REPLY_REFUSED
        if grant is not None:
            _spend(sender, subject, grant)
        hearers = [
            subscription
            for subscription in self.hearers(subject)
            if not subscription.client.closed and (subscription.client is not sender or sender.echo)
        ]
        chosen = [subscription for subscription in hearers if subscription.queue is None]
        for queue in sorted({subscription.queue for subscription in hearers if subscription.queue is not None}):
            members = [subscription for subscription in hearers if subscription.queue == queue]
            member = choose(queue, members)
            if member not in members:
                raise ValueError("the chosen subscription is none of the members that may receive")
            chosen.append(member)
        for subscription in chosen:
            _deliver(subscription, message, now)
        if not chosen and reply is not None and sender.no_responders and sender.headers:
            self._say_no_responders(sender, subject, reply, choose)
        return PUBLISHED

    def _say_no_responders(self, sender: Client, subject: bytes, reply: bytes, choose: Choose) -> None:
        """Tell the publisher on its own plain subscription. The status is not a message: it counts for nothing."""
        own = [hearer for hearer in self.hearers(reply) if hearer.client is sender and hearer.queue is None]
        if own and not sender.closed:
            status = b"NATS/1.0 503\r\nNats-Subject: " + subject + b"\r\n\r\n"
            sender.received.append(Delivery(reply, choose(None, own).sid, None, status, b""))


def _spend(sender: Client, subject: bytes, grant: Grant) -> None:
    if grant.remaining > 0:
        grant.remaining -= 1
        if grant.remaining == 0:
            del sender.grants[subject]


def _deliver(subscription: Subscription, message: Publish, now: float) -> None:
    client = subscription.client
    # An empty header block is none, and whoever did not announce headers gets the payload alone.
    header = message.header if message.header and client.headers else None
    client.received.append(Delivery(message.subject, subscription.sid, message.reply, header, message.payload))
    subscription.delivered += 1
    if subscription.maximum and subscription.delivered >= subscription.maximum:
        subscription.closed = True
    if message.reply is not None and client.policy.responses is not None:
        messages, seconds = client.policy.responses
        client.grants[message.reply] = Grant(messages, None if seconds < 0 else now + seconds)
