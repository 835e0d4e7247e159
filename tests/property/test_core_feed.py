"""Messages go into a stream and out of it in order, and what is not acknowledged is known, as a plain model says."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broker.core import feed
from broker.core.feed import Feed
from broker.core.intake import Intake
from broker.core.log import Cursor, Filter, Log
from broker.core.outbox import Hub
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription

OPEN = Policy(None, (), ())
PREFIX = b"$JS.ACK.S.C."


class World:
    """A namespace with one ordinary client, whose outbox can be read."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.namespace = Namespace("A")
        self.plans = PlanCache(self.namespace, OPEN)
        self.client = Client(self.hub)
        self.client.headers = True
        self.client.bind(self.plans)
        self.sids = 0

    def subscribe(self, client: Client, subject: bytes) -> Subscription:
        self.sids += 1
        made = Subscription(client, subject, None, b"%d" % self.sids)
        self.namespace.insert(made)
        return made

    def end_turn(self) -> None:
        while deferred := self.hub.take_deferred():
            for call, arguments in deferred:
                call(*arguments)

    def received(self) -> list[tuple[bytes, bytes, bytes | None, bytes]]:
        """Subject, reply, header and payload of what the client got."""
        data = bytes(self.client.view())
        self.client.consume(len(data))
        made = []
        while data:
            line, _, data = data.partition(b"\r\n")
            words = line.split(b" ")
            sizes = 2 if words[0] == b"HMSG" else 1
            size = int(words[-1])
            header = int(words[-2]) if sizes == 2 else 0
            body, data = data[:size], data[size + 2 :]
            reply = words[3] if len(words) > 3 + sizes else b""
            made.append((words[1], reply, body[:header] if sizes == 2 else None, body[header:]))
        return made


class Stream:
    """What stands behind an intake: it stores what is handed out under another subject, and answers it otherwise."""

    def __init__(self, world: World, log: Log) -> None:
        self.intake = Intake(world.hub)
        self.intake.bind(world.plans)
        self.intake.owner = self
        self.intake.log = log
        self.intake.speak(b'{"seq":', b"}")
        self.special: list[object] = []
        """Who published what was handed out."""

    def taken(self) -> None:
        while (message := self.intake.drain(7)) is not None:
            subject, reply, header, payload, owner = message
            self.special.append(owner)
            sequence = self.intake.log.append(subject, header, payload, 7)
            if reply is not None:
                self.intake.owe_text(reply, b"special %d" % sequence)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([b"s.a", b"s.b", b"elsewhere"]),
        st.sampled_from([None, b"answers"]),
        st.sampled_from([None, b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0\r\nA: b\r\nNats-Msg-Id: 1\r\n\r\n"]),
        st.binary(max_size=30),
        st.booleans(),
    ),
    max_size=40,
)


@given(MESSAGES, st.booleans(), st.sampled_from([-1, 20]))
@settings(deadline=None)
def test_what_is_published_is_stored_in_order_and_answered(
    messages: list[tuple[bytes, bytes | None, bytes | None, bytes, bool]], plain: bool, largest: int
) -> None:
    world = World()
    log = Log(file=False)
    stream = Stream(world, log)
    stream.intake.plain, stream.intake.largest, stream.intake.allowance = plain, largest, 1 << 40
    world.subscribe(stream.intake, b"s.*")
    world.subscribe(world.client, b"answers")
    expected: list[tuple[bytes, bytes | None, bytes]] = []
    answers: list[bytes] = []
    special: list[object] = []
    for subject, reply, header, payload, turn in messages:
        world.client.owner = object()
        world.client.send(subject, reply, header, payload)
        if subject != b"elsewhere":
            expected.append((subject, header, payload))
            asks = b"Nats-" in (header or b"")
            large = largest >= 0 and len(header or b"") + len(payload) > largest
            odd = not plain or asks or large
            if odd:
                special.append(world.client.owner if asks or large else None)
            if reply:
                answers.append(b"special %d" % len(expected) if odd else b'{"seq":%d}' % len(expected))
        if turn:
            world.end_turn()
    world.end_turn()
    stored = [log.get(number) for number in range(1, len(expected) + 1)]
    assert [(one.subject, one.header, one.payload) for one in stored if one is not None] == expected
    assert log.last == len(expected)
    assert stream.special == special
    assert world.received() == []
    half = len(answers) // 2
    stream.intake.give(half)
    assert [payload for *_, payload in world.received()] == answers[:half]
    stream.intake.refuse(stream.intake.answers, b"no")
    assert [payload for *_, payload in world.received()] == [b"no"] * (len(answers) - half)
    assert stream.intake.pending == 0


def test_what_a_store_may_count_is_asked_for() -> None:
    world = World()
    stream = Stream(world, Log(file=False))
    stream.intake.plain, stream.intake.allowance = True, 400
    world.subscribe(stream.intake, b"s")
    for _ in range(10):
        world.client.send(b"s", None, None, b"x" * 100)
    world.end_turn()
    assert 0 < len(stream.special) < 10
    assert stream.intake.log.messages == 10


class Machine(RuleBasedStateMachine):
    """A feed over a stream in memory, its receiver, and a dictionary of what is outstanding."""

    @initialize(wanted=st.sampled_from([None, [b"s.a"]]))
    def begin(self, wanted: list[bytes] | None) -> None:
        self.world = World()
        self.log = Log(file=False)
        self.wanted = wanted
        self.feed = Feed(self.world.hub, self.log, Cursor(self.log, Filter(wanted), 1), PREFIX)
        self.feed.bind(self.world.plans)
        self.feed.owner = self
        self.feed.reports = True
        self.feed.wait = 100
        self.world.subscribe(self.feed, PREFIX + b">")
        self.listening: Subscription | None = None
        self.outstanding: dict[int, list[int]] = {}
        self.ahead: list[int] = []
        self.stored: dict[int, tuple[bytes, bytes | None, bytes]] = {}
        self.number = 0
        self.now = 0
        self.said: list[tuple[bytes, bytes | None, bytes]] = []
        self.replies: dict[int, bytes] = {}
        self.listen()

    # What the feed calls

    def settled(self) -> None:
        for sequence in self.feed.take_settled():
            del self.outstanding[sequence]

    def acknowledged(self, arguments: bytes, reply: bytes | None, payload: bytes, _: object) -> None:
        self.said.append((arguments, reply, payload))

    @rule()
    def listen(self) -> None:
        if self.listening is None:
            self.listening = self.world.subscribe(self.world.client, b"inbox")

    @rule()
    def stop_listening(self) -> None:
        if self.listening is not None:
            self.world.namespace.remove(self.listening)
            self.listening = None

    @rule(subject=st.sampled_from([b"s.a", b"s.b"]), header=st.sampled_from([None, b"NATS/1.0\r\nA: b\r\n\r\n"]))
    def store(self, subject: bytes, header: bytes | None) -> None:
        sequence = self.log.append(subject, header, b"payload %d" % self.now, 5)
        self.stored[sequence] = (subject, header, b"payload %d" % self.now)
        if self.wanted is None or subject in self.wanted:
            self.ahead.append(sequence)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.stored:
            sequence = data.draw(st.sampled_from(sorted(self.stored)))
            self.log.remove(sequence)
            del self.stored[sequence]
            self.ahead = [number for number in self.ahead if number != sequence]

    def arrived(self, sequence: int, deliveries: int, pending: int) -> None:
        ((subject, reply, header, payload),) = self.world.received()
        self.number += 1
        told = b"%d.%d.%d.5.%d" % (deliveries, sequence, self.number, pending)
        assert (subject, header, payload) == self.stored[sequence]
        assert reply == PREFIX + told
        self.replies[sequence] = reply
        number = self.outstanding[sequence][0] if deliveries > 1 else self.number
        self.outstanding[sequence] = [number, self.now, self.now + 100, deliveries]

    @rule(limit=st.sampled_from([-1, 40, 1000]))
    def deliver(self, limit: int) -> None:
        self.now += 10
        sent, size, why = self.feed.deliver_new(b"inbox", 1, limit, self.now)
        first = self.ahead[0] if self.ahead else 0
        length = 0
        if first:
            told = PREFIX + b"1.%d.%d.5.%d" % (first, self.number + 1, len(self.ahead) - 1)
            length = len(told) + sum(len(part or b"") for part in self.stored[first])
        if not first:
            assert (sent, why) == (0, feed.NOTHING_LEFT)
        elif limit >= 0 and length > limit:
            assert (sent, why) == (0, feed.TOO_LARGE)
        elif self.listening is None:
            assert (sent, why) == (0, feed.NOBODY)
        else:
            assert (sent, size, why) == (1, length, feed.ENOUGH)
            del self.ahead[0]
            self.arrived(first, 1, len(self.ahead))

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        self.now += 10
        sequence = data.draw(st.sampled_from(sorted(self.outstanding))) if self.outstanding else 99
        why, _ = self.feed.deliver_again(b"inbox", sequence, -1, self.now)
        if sequence not in self.outstanding or sequence not in self.stored:
            assert why == feed.GONE
        elif self.listening is None:
            assert why == feed.NOBODY
        else:
            assert why == feed.ENOUGH
            self.arrived(sequence, self.outstanding[sequence][3] + 1, len(self.ahead))

    @rule(data=st.data(), payload=st.sampled_from([b"", b"+ACK", b"+OK", b"-NAK", b"+ACKS"]), answer=st.booleans())
    def acknowledge(self, data: st.DataObject, payload: bytes, answer: bool) -> None:
        if self.replies:
            sequence = data.draw(st.sampled_from(sorted(self.replies)))
            reply = self.replies[sequence]
            self.said.clear()
            was_outstanding = sequence in self.outstanding
            self.world.client.send(reply, b"back" if answer else None, None, payload)
            self.world.end_turn()
            if answer or not was_outstanding or payload not in {b"", b"+ACK", b"+OK"}:
                assert self.said == [(reply, b"back" if answer else None, payload)]
            else:
                assert self.said == []
                assert sequence not in self.outstanding

    @rule(data=st.data())
    def acknowledge_to(self, data: st.DataObject) -> None:
        sequence = data.draw(st.integers(0, 30))
        gone = sorted(number for number in self.outstanding if number <= sequence)
        assert self.feed.acknowledge_to(sequence) == gone
        for number in gone:
            del self.outstanding[number]

    @rule(data=st.data())
    def put_off(self, data: st.DataObject) -> None:
        if self.outstanding:
            sequence = data.draw(st.sampled_from(sorted(self.outstanding)))
            assert self.feed.put_off(sequence, self.now + 7)
            self.outstanding[sequence][2] = self.now + 7

    @rule()
    def restart(self) -> None:
        given_before = self.feed.given()
        self.feed.clear()
        for one in given_before:
            number = self.feed.number
            self.feed.restore(*one)
            assert self.feed.number == number

    @invariant()
    def same(self) -> None:
        assert self.feed.outstanding == len(self.outstanding)
        assert self.feed.given() == [(number, *rest) for number, rest in sorted(self.outstanding.items())]
        due = [rest[2] for rest in self.outstanding.values() if rest[2] > self.now]
        overdue = sorted(number for number, rest in self.outstanding.items() if rest[2] <= self.now)
        assert self.feed.overdue(self.now) == (overdue, min(due, default=0))
        assert self.feed.redelivered() == sum(rest[3] > 1 for rest in self.outstanding.values())
        lowest = self.feed.lowest()
        assert lowest == (
            (min(self.outstanding), self.outstanding[min(self.outstanding)][0]) if self.outstanding else None
        )
        assert self.feed.cursor.ahead == len(self.ahead)


TestFeed = Machine.TestCase
TestFeed.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def delivered_with(prepare: Callable[[Feed], None], header: bytes | None) -> tuple[bytes | None, bytes]:
    """Header and payload of one message out of a feed that was prepared."""
    world = World()
    log = Log(file=False)
    log.append(b"s.a", header, b"payload", 5)
    made = Feed(world.hub, log, Cursor(log, Filter(), 1), PREFIX)
    made.bind(world.plans)
    prepare(made)
    world.subscribe(world.client, b"inbox")
    assert made.deliver_new(b"inbox", 5, -1, 0)[0] == 1
    ((_, _, told, payload),) = world.received()
    return told, payload


def test_headers_alone_and_lines_of_the_server() -> None:
    def headers_only(made: Feed) -> None:
        made.headers_only = True

    def extra(made: Feed) -> None:
        made.extra = b"Nats-Pin-Id: x\r\n"

    size = b"Nats-Msg-Size: 7\r\n\r\n"
    assert delivered_with(headers_only, None) == (b"NATS/1.0\r\n" + size, b"")
    assert delivered_with(headers_only, b"NATS/1.0\r\nA: b\r\n\r\n") == (b"NATS/1.0\r\nA: b\r\n" + size, b"")
    assert delivered_with(extra, None) == (b"NATS/1.0\r\nNats-Pin-Id: x\r\n\r\n", b"payload")
    assert delivered_with(extra, b"NATS/1.0\r\nA: b\r\n\r\n") == (
        b"NATS/1.0\r\nA: b\r\nNats-Pin-Id: x\r\n\r\n",
        b"payload",
    )
    assert delivered_with(lambda _: None, None) == (None, b"payload")
