"""The compiled plans against their twin: the same subscriptions, the same messages, the same receivers.

Where the protocol leaves a choice to chance, the twin is asked whether the core's choice was one of the allowed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.outbox import Hub
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription
from tests.oracle import plan as twin
from tests.oracle.frames import read_frames
from tests.oracle.parser import Publish

Task = tuple[Any, ...]
"""The name of a method of ``Pair`` and its arguments."""

CLIENTS = 4
PATTERNS = [b"a", b"b", b"a.b", b"a.*", b"*.b", b"*", b">", b"a.>", b"r", b"r.*", b"c"]
SUBJECTS = [b"a", b"b", b"a.b", b"a.c", b"a.b.c", b"c", b"r", b"r.1", b"_R_.x", b"a.*", b">", b"a..b", b""]
REPLIES = [None, b"r", b"r.1", b"a", b"c", b"_R_.x", b"x..y"]
POLICIES = [
    twin.Policy(),
    twin.Policy(None, (b"c", b"a.>"), (b"_R_.>", b"$JS.ACK.>")),
    twin.Policy((b"a", b"a.*"), (b"a.b",), (b"_R_.>",)),
    twin.Policy((), (b"r.1",), (b"_R_.>",), (2, 10.0)),
    twin.Policy((b"a",), (), (), (-1, -1.0)),
    twin.Policy((b"a.b",), (), (), (1, 30.0)),
]


class Pair:
    """The core and its twin side by side: clients over two namespaces, all steps done to both."""

    def __init__(self, policies: list[int], flags: list[tuple[bool, bool, bool]]) -> None:
        self.hub = Hub()
        self.hub.now = 1000.0
        self.namespaces = [Namespace("A"), Namespace("B")]
        self.models = [twin.Namespace(), twin.Namespace()]
        caches: dict[tuple[int, int], PlanCache] = {}
        self.clients: list[Client] = []
        self.model_clients: list[twin.Client] = []
        self.subscriptions: list[tuple[int, Subscription, twin.Subscription]] = []
        for number, (which, (echo, headers, no_responders)) in enumerate(zip(policies, flags, strict=True)):
            policy, home = POLICIES[which], self.home(number)
            if (home, which) not in caches:
                compiled = Policy(policy.publish_allow, policy.publish_deny, policy.reply_deny, policy.responses)
                caches[home, which] = PlanCache(self.namespaces[home], compiled)
            client = Client(self.hub)
            client.bind(caches[home, which])
            client.echo, client.headers, client.no_responders = echo, headers, no_responders
            self.clients.append(client)
            self.model_clients.append(twin.Client(policy, echo, headers, no_responders))

    @staticmethod
    def home(number: int) -> int:
        """The namespace of a client: the last one lives alone in the second."""
        return 1 if number == CLIENTS - 1 else 0

    def subscribe(self, number: int, pattern: bytes, queue: bytes | None, denies: tuple[bytes, ...]) -> None:
        sid = b"%d" % len(self.subscriptions)
        core = Subscription(self.clients[number], pattern, queue, sid, denies)
        model = twin.Subscription(self.model_clients[number], pattern, queue, sid, denies)
        self.namespaces[self.home(number)].insert(core)
        self.models[self.home(number)].insert(model)
        self.subscriptions.append((self.home(number), core, model))

    def unsubscribe(self, which: int) -> None:
        if self.subscriptions:
            home, core, model = self.subscriptions[which % len(self.subscriptions)]
            assert self.namespaces[home].remove(core) == self.models[home].remove(model)

    def limit(self, which: int, maximum: int) -> None:
        if self.subscriptions:
            _, core, model = self.subscriptions[which % len(self.subscriptions)]
            assert core.limit(maximum) == model.limit(maximum)

    def refilter(self, which: int, denies: tuple[bytes, ...]) -> None:
        if self.subscriptions:
            home, core, model = self.subscriptions[which % len(self.subscriptions)]
            core.refilter(denies)
            self.namespaces[home].invalidate()
            model.denies = denies

    def publish(self, number: int, message: Publish) -> None:
        outcome = self.clients[number].send(message.subject, message.reply, message.header, message.payload)
        received = []
        for client in self.clients:
            data = bytes(client.view())
            client.consume(len(data))
            received.append(Counter(read_frames(data)))
        served = {frame.sid for frames in received for frame in frames if isinstance(frame, twin.Delivery)}

        def choose(_queue: bytes | None, members: list[twin.Subscription]) -> twin.Subscription:
            chosen = [member for member in members if member.sid in served]
            assert len(chosen) == 1, "exactly one of those who may receive"
            return chosen[0]

        home = self.home(number)
        model_outcome = self.models[home].publish(self.model_clients[number], message, now=self.hub.now, choose=choose)
        assert outcome == model_outcome
        for client, frames in zip(self.model_clients, received, strict=True):
            assert frames == Counter(client.received)
            client.received.clear()
        finished = {subscription.sid for subscription in self.hub.take_finished()}
        for _, core, model in self.subscriptions:
            assert (core.closed, core.delivered) == (model.closed, model.delivered)
            assert core.sid not in finished or (core.closed and core.delivered == core.maximum)


numbers = st.integers(0, CLIENTS - 1)
denies = st.just(()) | st.lists(st.sampled_from([b"a", b"a.b", b"r", b"r.*", b"a.>"]), max_size=2).map(tuple)
headers = st.sampled_from([None, None, b"", b"NATS/1.0\r\nA: b\r\n\r\n"])
published = st.builds(
    Publish, st.sampled_from(SUBJECTS), st.sampled_from(REPLIES), headers, st.sampled_from([b"", b"hello\r\n", b"\x00"])
)
queues = st.sampled_from([None, None, b"q", b"z"])
subscribes = st.tuples(st.just("subscribe"), numbers, st.sampled_from(PATTERNS), queues, denies)
steps = st.one_of(
    subscribes,
    st.tuples(st.just("publish"), numbers, published),
    st.tuples(st.just("publish"), numbers, published),
    st.tuples(st.just("unsubscribe"), st.integers(0, 30)),
    st.tuples(st.just("limit"), st.integers(0, 30), st.integers(-1, 3)),
    st.tuples(st.just("refilter"), st.integers(0, 30), denies),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 11.0, 31.0])),
    st.tuples(st.just("invalidate"), st.integers(0, 1)),
)


def run(pair: Pair, tasks: list[Task]) -> None:
    for name, *arguments in tasks:
        if name == "wait":
            pair.hub.now += arguments[0]
        elif name == "invalidate":
            pair.namespaces[arguments[0]].invalidate()
        else:
            getattr(pair, name)(*arguments)


def subscribe(number: int, pattern: bytes, queue: bytes | None = None, denies: tuple[bytes, ...] = ()) -> Task:
    return ("subscribe", number, pattern, queue, denies)


def publish(number: int, subject: bytes, reply: bytes | None = None, header: bytes | None = None) -> Task:
    return ("publish", number, Publish(subject, reply, header, b"x"))


OPEN = (True, True, True)
SCENARIOS: dict[str, tuple[list[int], list[Task]]] = {
    "subject before reply": ([1, 0, 0, 0], [publish(0, b"c", b"_R_.x"), publish(0, b"a", b"_R_.x")]),
    "odd reserved replies": (
        [1, 0, 0, 0],
        [publish(0, b"a", reply) for reply in (b"_R_.", b"_R_..x", b"_R_", b"$JS.ACK.", b"$JS.ACK..a")],
    ),
    "a status counts for no maximum": (
        [0, 0, 0, 0],
        [subscribe(0, b"r"), ("limit", 0, 1), *[publish(0, b"none", b"r")] * 3, publish(1, b"r"), publish(1, b"r")],
    ),
    "a status obeys the denies": ([0, 0, 0, 0], [subscribe(0, b"*", None, (b"r",)), publish(0, b"none.x", b"r")]),
    "a denied message has no responders": (
        [0, 0, 0, 0],
        [subscribe(0, b"r.*"), subscribe(1, b"*", None, (b"c",)), publish(0, b"c", b"r.1"), publish(0, b"d", b"r.1")],
    ),
    "a response is used up": (
        [3, 0, 0, 0],
        [subscribe(0, b"a"), *[publish(1, b"a", b"r")] * 2, *[publish(0, b"r")] * 3, publish(0, b"r.1")],
    ),
    "a refused reply uses up no response": (
        [3, 0, 0, 0],
        [subscribe(0, b"a"), publish(1, b"a", b"r"), *[publish(0, b"r", b"_R_.x")] * 3, *[publish(0, b"r")] * 3],
    ),
    "a deny outlasts a response": (
        [3, 0, 0, 0],
        [subscribe(0, b"a"), publish(1, b"a", b"r.1"), publish(0, b"r.1")],
    ),
    "a response expires": (
        [3, 0, 0, 0],
        [subscribe(0, b"a"), publish(1, b"a", b"r"), ("wait", 9.0), publish(0, b"r"), ("wait", 2.0), publish(0, b"r")],
    ),
    "an odd reply subject opens as it is": (
        [3, 0, 0, 0],
        [subscribe(0, b"a"), publish(1, b"a", b"x..y"), *[publish(0, b"x..y")] * 3],
    ),
    "kept plans hear of literal and wildcard changes": (
        [0, 0, 0, 0],
        [
            *[publish(1, b"a.b")] * 3,
            subscribe(0, b"a.b"),
            *[publish(1, b"a.b")] * 3,
            subscribe(0, b"a.*", b"q"),
            subscribe(2, b"a.>", b"q"),
            *[publish(1, b"a.b")] * 3,
            ("unsubscribe", 0),
            *[publish(1, b"a.b")] * 3,
            ("unsubscribe", 1),
            ("limit", 2, 7),
            *[publish(1, b"a.b")] * 9,
        ],
    ),
    "accounts never meet": (
        [0, 0, 0, 0],
        [subscribe(CLIENTS - 1, b">"), publish(0, b"a", b"r"), subscribe(0, b">"), publish(CLIENTS - 1, b"a", b"r")],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    policies, tasks = SCENARIOS[name]
    run(Pair(policies, [OPEN] * CLIENTS), tasks)


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, len(POLICIES) - 1), min_size=CLIENTS, max_size=CLIENTS),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=CLIENTS, max_size=CLIENTS),
    st.lists(subscribes, max_size=8),
    st.lists(steps, max_size=40),
)
def test_the_same_receivers(
    policies: list[int],
    flags: list[tuple[bool, bool, bool]],
    beginning: list[Task],
    following: list[Task],
) -> None:
    run(Pair(policies, flags), [*beginning, *following])


def test_every_member_of_a_group_gets_its_share() -> None:
    hub, namespace = Hub(), Namespace("A")
    plans = PlanCache(namespace, Policy(None, (), ()))
    sender, receiver = Client(hub), Client(hub)
    sender.bind(plans)
    members = [
        Subscription(receiver, pattern, b"q", b"%d" % number)
        for number, pattern in enumerate((b"foo.*", b"foo.bar", b">"))
    ]
    for member in members:
        namespace.insert(member)
    for _ in range(600):
        sender.send(b"foo.bar", None, None, b"")
    assert sum(member.delivered for member in members) == 600
    assert min(member.delivered for member in members) > 120


def test_a_member_that_cannot_take_it_leaves_it_to_another() -> None:
    hub, namespace = Hub(), Namespace("A")
    plans = PlanCache(namespace, Policy(None, (), ()))
    sender, full, able = Client(hub), Client(hub), Client(hub)
    sender.bind(plans)
    full.ceiling = 10
    namespace.insert(Subscription(full, b"a", b"q", b"1"))
    taker = Subscription(able, b"a", b"q", b"2")
    namespace.insert(taker)
    for _ in range(50):
        sender.send(b"a", None, None, b"payload")
    assert taker.delivered == 50
    assert full.overflowed
    assert full.pending == 0
