"""The plan's twin against what was observed on the wire."""

from __future__ import annotations

import pytest

from tests.oracle.parser import Publish
from tests.oracle.plan import (
    PUBLISHED,
    REPLY_REFUSED,
    SUBJECT_REFUSED,
    Client,
    Delivery,
    Namespace,
    Policy,
    Subscription,
)


def first(_queue: bytes | None, members: list[Subscription]) -> Subscription:
    return members[0]


class Room:
    """A namespace with short ways to subscribe and publish; time stands unless a test moves it."""

    def __init__(self) -> None:
        self.namespace = Namespace()
        self.now = 100.0

    def subscribe(
        self, client: Client, subject: bytes, sid: bytes, queue: bytes | None = None, denies: tuple[bytes, ...] = ()
    ) -> Subscription:
        subscription = Subscription(client, subject, queue, sid, denies)
        self.namespace.insert(subscription)
        return subscription

    def publish(
        self,
        client: Client,
        subject: bytes,
        reply: bytes | None = None,
        header: bytes | None = None,
        payload: bytes = b"x",
    ) -> int:
        message = Publish(subject, reply, header, payload)
        return self.namespace.publish(client, message, now=self.now, choose=first)


def sids(client: Client) -> list[bytes]:
    taken, client.received = client.received, []
    return [delivery.sid for delivery in taken]


def test_every_plain_subscription_and_one_of_each_queue() -> None:
    room, client = Room(), Client()
    room.subscribe(client, b"foo.*", b"1", b"q")
    room.subscribe(client, b"foo.bar", b"2", b"q")
    room.subscribe(client, b">", b"3", b"q")
    room.subscribe(client, b"foo.bar", b"4", b"z")
    room.subscribe(client, b"foo.bar", b"5")
    room.subscribe(client, b"other", b"6")
    assert room.publish(Client(), b"foo.bar") == PUBLISHED
    assert sids(client) == [b"5", b"1", b"4"]


@pytest.mark.parametrize(
    ("pattern", "subject", "received"),
    [
        (b"foo.*", b"foo.*", True),
        (b"foo.*", b"foo.>", True),
        (b"foo.a", b"foo.*", False),
        (b"f*", b"f*", True),
        (b">", b"a..b", False),
        (b">", b".a", False),
    ],
)
def test_published_wildcards_are_plain_tokens(pattern: bytes, subject: bytes, received: bool) -> None:
    room, client = Room(), Client()
    room.subscribe(client, pattern, b"1")
    room.publish(client, subject)
    assert bool(sids(client)) is received


def test_own_messages_without_echo_do_not_count_as_delivered() -> None:
    room, client = Room(), Client(echo=False, headers=True, no_responders=True)
    room.subscribe(client, b"a", b"1")
    room.subscribe(client, b"r", b"2")
    room.publish(client, b"a", b"r")
    status = b"NATS/1.0 503\r\nNats-Subject: a\r\n\r\n"
    assert client.received == [Delivery(b"r", b"2", None, status, b"")]


def test_no_responders_needs_a_plain_subscription_of_the_publisher() -> None:
    room, client, other = Room(), Client(headers=True, no_responders=True), Client()
    room.subscribe(client, b"r", b"1", b"q")
    room.subscribe(other, b"r", b"2")
    room.publish(client, b"none", b"r")
    assert sids(client) == sids(other) == []
    room.subscribe(client, b"r.*", b"3")
    room.publish(client, b"none", b"r.9")
    room.publish(client, b"a..b", b"r.9")
    assert sids(client) == [b"3", b"3"]
    room.publish(client, b"none", b"r..9")
    room.publish(client, b"none")
    assert sids(client) == []


def test_the_status_counts_for_no_maximum() -> None:
    room, client = Room(), Client(headers=True, no_responders=True)
    room.subscribe(client, b"rr", b"1").limit(1)
    room.publish(client, b"none", b"rr")
    room.publish(client, b"none", b"rr")
    assert sids(client) == [b"1", b"1"]


def test_maximum_counts_from_the_beginning() -> None:
    room, client = Room(), Client()
    subscription = room.subscribe(client, b"m", b"1")
    room.publish(client, b"m")
    room.publish(client, b"m")
    assert not subscription.limit(3)
    room.publish(client, b"m")
    room.publish(client, b"m")
    assert sids(client) == [b"1"] * 3
    assert subscription.closed
    assert room.subscribe(client, b"m", b"2").limit(0)


def test_denied_messages_are_filtered() -> None:
    room, client = Room(), Client()
    room.subscribe(client, b"*", b"1", b"q1", (b"foo", b"baz"))
    room.subscribe(client, b"*", b"2", b"q2", (b"baz",))
    for subject in (b"foo", b"baz"):
        room.publish(Client(), subject)
    assert sids(client) == [b"2"]


def test_headers_only_for_those_who_announced_them() -> None:
    room, plain, able = Room(), Client(), Client(headers=True)
    room.subscribe(plain, b"a", b"1")
    room.subscribe(able, b"a", b"2")
    room.publish(able, b"a", b"r", b"H", b"x")
    room.publish(able, b"a", None, b"", b"x")
    assert plain.received == [Delivery(b"a", b"1", b"r", None, b"x"), Delivery(b"a", b"1", None, None, b"x")]
    assert able.received == [Delivery(b"a", b"2", b"r", b"H", b"x"), Delivery(b"a", b"2", None, None, b"x")]


def test_refusals() -> None:
    room = Room()
    client = Client(Policy((b"a.*", b"b.>"), (b"b.no",), (b"_R_.>", b"$JS.ACK.>")))
    assert room.publish(client, b"a.b") == PUBLISHED
    assert room.publish(client, b"a.*") == PUBLISHED
    assert room.publish(client, b"a.b.c") == SUBJECT_REFUSED
    assert room.publish(client, b"b.no") == SUBJECT_REFUSED
    assert room.publish(client, b"a.b", b"_R_.x") == REPLY_REFUSED
    assert room.publish(client, b"a.b", b"_R_..x") == REPLY_REFUSED
    assert room.publish(client, b"a.b", b"$JS.ACK.") == PUBLISHED
    assert room.publish(client, b"b.no", b"_R_.x") == SUBJECT_REFUSED
    assert room.publish(Client(Policy((), (b">",))), b"a..b") == SUBJECT_REFUSED
    assert room.publish(Client(Policy(None, (b">",))), b"a..b") == PUBLISHED


def test_responses() -> None:
    room, requester = Room(), Client()
    responder = Client(Policy((), (b"r.>",), (), (2, 60.0)))
    room.subscribe(responder, b"svc", b"1")
    assert room.publish(responder, b"in") == SUBJECT_REFUSED
    room.publish(requester, b"svc", b"in")
    room.publish(requester, b"svc", b"in")
    assert [room.publish(responder, b"in") for _ in range(3)] == [PUBLISHED, PUBLISHED, SUBJECT_REFUSED]
    room.publish(requester, b"svc", b"in")
    room.publish(requester, b"svc", b"r.9")
    assert room.publish(responder, b"r.9") == SUBJECT_REFUSED
    room.now += 61
    assert room.publish(responder, b"in") == SUBJECT_REFUSED


def test_unlimited_responses() -> None:
    room, responder = Room(), Client(Policy((), (), (), (-1, -1.0)))
    room.subscribe(responder, b"svc", b"1")
    room.publish(Client(), b"svc", b"in")
    room.now += 1e9
    assert [room.publish(responder, b"in") for _ in range(5)] == [PUBLISHED] * 5
    assert room.publish(responder, b"other") == SUBJECT_REFUSED


def test_removed_subscriptions_hear_nothing() -> None:
    room, client = Room(), Client()
    subscription = room.subscribe(client, b"a", b"1")
    assert room.namespace.remove(subscription)
    assert not room.namespace.remove(subscription)
    room.publish(client, b"a")
    assert sids(client) == []
