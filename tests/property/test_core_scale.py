"""What many subscriptions cost: work grows with their number, not with its square, and plans do not repeat a subject.

The bounds are many times what the work takes, and a small part of what its square took.
"""

from __future__ import annotations

import time

from broker.core.outbox import Hub
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription

SECONDS = 2.0


def test_subscriptions_to_one_subject_go_as_fast_as_they_came() -> None:
    namespace, client = Namespace("A"), Client(Hub())
    subscriptions = [Subscription(client, b"one", None, b"%d" % number) for number in range(300_000)]
    begin = time.process_time()
    for subscription in subscriptions:
        namespace.insert(subscription)
    assert all(namespace.remove(subscription) for subscription in subscriptions)
    assert time.process_time() - begin < SECONDS
    assert len(namespace) == 0


def test_a_plan_over_many_queue_groups() -> None:
    namespace, client = Namespace("A"), Client(Hub())
    cache = PlanCache(namespace, Policy(None, [], []))
    client.bind(cache)
    for number in range(200_000):
        namespace.insert(Subscription(client, b"one", b"group-%d" % (number % 100_000), b"%d" % number))
    client.close()
    begin = time.process_time()
    assert client.send(b"one", None, None, b"") == 0
    assert time.process_time() - begin < SECONDS


def test_a_plan_holds_a_long_subject_once() -> None:
    namespace, client = Namespace("A"), Client(Hub())
    cache = PlanCache(namespace, Policy(None, [], []))
    client.bind(cache)
    for number in range(2000):
        namespace.insert(Subscription(client, b">", None, b"%d" % number))
    client.close()
    subject = b"t" * 4000
    client.send(subject, None, None, b"")
    client.send(subject, None, None, b"")
    # Plans above 4 MiB are not kept.
    assert cache.kept == 1
