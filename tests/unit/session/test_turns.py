"""One turn of a publisher with very many receivers is cut into pieces, and nothing is lost between them."""

from __future__ import annotations

from broker.core.outbox import Hub
from broker.core.parser import Lane, ReadBuffer
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription
from broker.wire.events import Event

RECEIVERS = 1000
MESSAGES = 2000
FRAME = b"PUB a 0\r\n\r\n"


def test_a_wide_fan_out_is_spread_over_turns() -> None:
    hub = Hub()
    namespace = Namespace("A")
    plans = PlanCache(namespace, Policy(None, [], []))
    publisher, receiver = Client(hub), Client(hub)
    for client in (publisher, receiver):
        client.bind(plans)
    receiver.ceiling = 1 << 40
    for number in range(RECEIVERS):
        namespace.insert(Subscription(receiver, b"a", None, b"%d" % number))
    lane = Lane(publisher, ReadBuffer(1 << 18))
    lane.open, lane.verbose, lane.pedantic = True, False, False
    assert lane.feed(FRAME * MESSAGES) == len(FRAME) * MESSAGES
    turns, most = 0, 0
    while (event := lane.advance()) != Event.MORE:
        assert event == Event.TURN_SPENT
        most = max(most, receiver.pending)
        receiver.consume(receiver.pending)
        lane.suspend()
        lane.resume()
        turns += 1
    assert turns > 10
    assert most < 4 << 20
    assert receiver.out_messages == RECEIVERS * MESSAGES
    assert lane.unfinished == 0


def test_messages_to_few_need_no_pause() -> None:
    hub = Hub()
    namespace = Namespace("A")
    plans = PlanCache(namespace, Policy(None, [], []))
    publisher, receiver = Client(hub), Client(hub)
    for client in (publisher, receiver):
        client.bind(plans)
    namespace.insert(Subscription(receiver, b"a", None, b"1"))
    lane = Lane(publisher, ReadBuffer(1 << 18))
    lane.open, lane.verbose, lane.pedantic = True, False, False
    lane.feed(FRAME * MESSAGES)
    assert lane.advance() == Event.MORE
    assert receiver.out_messages == MESSAGES
