"""What many subscriptions cost: work grows with their number, not with its square.

The bounds are many times what the work takes, and a small part of what its square took.
"""

from __future__ import annotations

import time

from broker.core.outbox import Hub
from broker.core.plan import Client, Namespace, Subscription

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
