"""A plain model of one stream and its consumers: what they must say, found by looking through everything each time.

Times are nanoseconds that the test counts. Only what clients can see is here; how it is kept is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.oracle.sublist import pattern_matches

SECOND = 10**9
WRONG_SEQUENCE = 10071
WRONG_ID = 10070
NO_ROOM = 10077
NEVER = 1 << 62


def fits(pattern: str, subject: str) -> bool:
    """Whether a filter lets a subject through; an empty one lets everything."""
    return not pattern or pattern_matches(pattern.encode(), subject.encode())


@dataclass
class Stored:
    """One message."""

    subject: str
    payload: bytes
    time: int
    ends: int = NEVER
    identity: str = ""


@dataclass
class Given:
    """A message that a consumer delivered and that is not settled."""

    number: int
    due: int
    deliveries: int = 1


@dataclass
class PlainStream:
    """What a stream must hold."""

    config: dict[str, Any]
    last: int = 0
    held: dict[int, Stored] = field(default_factory=dict)
    ids: dict[str, tuple[int, int]] = field(default_factory=dict)
    last_id: str = ""
    consumers: dict[str, PlainConsumer] = field(default_factory=dict)

    def limit(self, name: str) -> int:
        return int(self.config.get(name, -1))

    @property
    def first(self) -> int:
        if self.held:
            return min(self.held)
        return self.last + 1 if self.last else 0

    def of(self, pattern: str, start: int = 0) -> list[int]:
        """The sequences of a pattern from one on."""
        return [one for one in sorted(self.held) if one >= start and fits(pattern, self.held[one].subject)]

    # Messages come

    def publish(self, subject: str, payload: bytes, headers: dict[str, str], now: int) -> dict[str, Any]:
        """What the publisher is told: the sequence, whether it was a duplicate, or the code of an error."""
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        if expected is not None and int(expected) != max(self.of(subject), default=0):
            return {"error": WRONG_SEQUENCE}
        expected = headers.get("Nats-Expected-Last-Sequence")
        if expected is not None and int(expected) != self.last:
            return {"error": WRONG_SEQUENCE}
        identity = headers.get("Nats-Msg-Id", "")
        window = self.config["duplicate_window"]
        if identity in self.ids and now - self.ids[identity][1] < window:
            return {"seq": self.ids[identity][0], "duplicate": True}
        expected = headers.get("Nats-Expected-Last-Msg-Id")
        if expected is not None and expected != self.last_id:
            return {"error": WRONG_ID}
        is_kept = self.config["retention"] != "interest" or any(
            fits(one.filter, subject) for one in self.consumers.values()
        )
        if is_kept and self.config["discard"] == "new" and not self._has_room(subject, headers):
            return {"error": NO_ROOM}
        self.last += 1
        if is_kept:
            ends = now + int(headers["Nats-TTL"]) * SECOND if "Nats-TTL" in headers else NEVER
            self.held[self.last] = Stored(subject, payload, now, ends, identity)
            self.enforce()
        self.last_id = identity
        if identity:
            self.ids[identity] = (self.last, now)
        sequence = self.last
        if headers.get("Nats-Rollup") == "all":
            self._drop(one for one in sorted(self.held) if one < sequence)
        elif headers.get("Nats-Rollup") == "sub":
            self._drop(one for one in self.of(subject) if one < sequence)
        self.gone(below=self.first)
        return {"seq": sequence}

    def _has_room(self, subject: str, headers: dict[str, str]) -> bool:
        most, each = self.limit("max_msgs"), self.limit("max_msgs_per_subject")
        replaces = 0 < each <= len(self.of(subject))
        if replaces and self.config.get("discard_new_per_subject") and "Nats-Rollup" not in headers:
            return False
        return not (0 < most <= len(self.held) and not replaces)

    def enforce(self) -> None:
        """Applies the maxima."""
        each = self.limit("max_msgs_per_subject")
        if each > 0:
            for subject in {one.subject for one in self.held.values()}:
                self._drop(self.of(subject)[:-each])
        most = self.limit("max_msgs")
        if most > 0 and self.config["discard"] == "old":
            self._drop(sorted(self.held)[:-most])

    def restart(self, now: int) -> None:
        """The server begins anew: ids are those of the messages that are there."""
        window = self.config["duplicate_window"]
        kept = {one: stored for one, stored in sorted(self.held.items()) if now - stored.time < window}
        self.ids = {stored.identity: (one, stored.time) for one, stored in kept.items() if stored.identity}
        self.last_id = kept[self.last].identity if self.last in kept else ""

    def update(self, config: dict[str, Any]) -> None:
        """Somebody changes the maxima: that of the whole counts first."""
        self.config = config
        most = self.limit("max_msgs")
        if most > 0 and config["discard"] == "old":
            self._drop(sorted(self.held)[:-most])
        self.enforce()
        self.gone()

    # Messages go

    def _drop(self, sequences: Any) -> None:
        for sequence in list(sequences):
            del self.held[sequence]

    def remove(self, sequence: int) -> bool:
        """Somebody removes a message."""
        if sequence not in self.held:
            return False
        del self.held[sequence]
        self.gone()
        return True

    def purge(self, subject: str, sequence: int, keep: int) -> int:
        """Somebody purges; returns how many messages went."""
        if sequence == 1:
            return 0
        chosen = self.of(subject)
        if sequence:
            chosen = [one for one in chosen if one < sequence]
        elif keep:
            chosen = chosen[:-keep]
        if sequence > self.last + 1 and not subject:
            self.last = sequence - 1
        self._drop(chosen)
        left = self.first if not subject else min(self.of(subject), default=self.last + 1)
        for consumer in self.consumers.values():
            if not subject or consumer.filter == subject:
                consumer.purged(left)
            elif not consumer.filter or fits(consumer.filter, subject):
                consumer.purged(self.first)
        return len(chosen)

    def expire(self, now: int) -> None:
        """Lets go of what is too old."""
        age = self.config["max_age"]
        old = [
            one for one, stored in self.held.items() if stored.ends <= now or (age and stored.time + age <= now)
        ]
        if old:
            self._drop(old)
            self.gone()

    def gone(self, below: int = NEVER) -> None:
        """Messages went that consumers may wait for, those below a sequence; others they find when it is their time."""
        for consumer in self.consumers.values():
            for sequence in [one for one in sorted(consumer.given) if one not in self.held and one < below]:
                consumer.settle([sequence])

    def settled(self, consumer: PlainConsumer, sequence: int) -> None:
        """A consumer is done with a message."""
        if self.config["retention"] == "limits" or sequence not in self.held:
            return
        subject = self.held[sequence].subject
        others = [one for one in self.consumers.values() if one is not consumer]
        if self.config["retention"] == "workqueue" or not any(
            fits(one.filter, subject) and one.needs(sequence) for one in others
        ):
            del self.held[sequence]

    def forget(self, name: str) -> None:
        """A consumer is deleted: what only it wanted goes with it."""
        consumer = self.consumers.pop(name)
        if self.config["retention"] == "interest":
            for sequence in self.of(consumer.filter):
                self.settled(consumer, sequence)

    @property
    def state(self) -> dict[str, int]:
        """What its description tells."""
        return {
            "messages": len(self.held),
            "first_seq": self.first,
            "last_seq": self.last,
            "num_subjects": len({one.subject for one in self.held.values()}),
            "num_deleted": self.last - self.first + 1 - len(self.held) if self.held else 0,
            "consumer_count": len(self.consumers),
        }


@dataclass
class PlainConsumer:
    """What a consumer must deliver."""

    stream: PlainStream
    config: dict[str, Any]
    position: int = 1
    """The next sequence that it looks at, behind all that were chosen when it was made."""
    chosen: list[int] = field(default_factory=list)
    number: int = 0
    delivered: int = 0
    floor: tuple[int, int] = (0, 0)
    given: dict[int, Given] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        stream, policy = self.stream, self.config["deliver_policy"]
        own = stream.of(self.filter)
        if policy == "all":
            self.position = max(stream.first, 1)
        elif policy == "last":
            self.position = max(own, default=stream.last + 1)
        elif policy == "by_start_sequence":
            self.position = max(self.config["opt_start_seq"], stream.first)
        else:
            self.position = stream.last + 1
        if policy == "last_per_subject":
            subjects = {stream.held[one].subject for one in own}
            self.chosen = sorted(max(stream.of(subject)) for subject in subjects)
        self.delivered = max((self.chosen[0] if self.chosen else self.position) - 1, 0)
        self.floor = (0, self.delivered)

    @property
    def filter(self) -> str:
        return str(self.config.get("filter_subject", ""))

    @property
    def policy(self) -> str:
        return str(self.config["ack_policy"])

    def ahead(self) -> list[int]:
        """What it has not delivered yet, in its order."""
        return [one for one in self.chosen if one in self.stream.held] + self.stream.of(self.filter, self.position)

    def needs(self, sequence: int) -> bool:
        """Whether it is not done with a message that it may see."""
        return sequence in self.given or sequence in self.chosen or sequence >= self.position

    def room(self) -> int:
        """How many new messages it may give before some are settled."""
        most = int(self.config.get("max_ack_pending", 1000))
        return most - len(self.given) if self.policy != "none" and most > 0 else 1 << 30

    def wait(self, deliveries: int) -> int:
        backoff = self.config.get("backoff")
        return int(backoff[min(deliveries, len(backoff)) - 1] if backoff else self.config["ack_wait"])

    def fetch(self, count: int, now: int) -> list[tuple[int, int, int, int]]:
        """Deliveries, stream sequence, consumer sequence and what is ahead of each of at most so many messages."""
        made: list[tuple[int, int, int, int]] = []
        while len(made) < count:
            if self.again:
                sequence = self.again.pop(0)
                given = self.given.get(sequence)
                if given is None or self.give_up(sequence):
                    continue
                if sequence not in self.stream.held:
                    self.settle([sequence])
                    continue
                self.number += 1
                given.deliveries += 1
                given.due = now + self.wait(given.deliveries)
                made.append((given.deliveries, sequence, self.number, len(self.ahead())))
                continue
            waiting = self.ahead()
            if not waiting or self.room() <= 0:
                break
            sequence = waiting[0]
            self.number += 1
            self.delivered = max(self.delivered, sequence)
            if sequence in self.chosen:
                self.chosen = self.chosen[self.chosen.index(sequence) + 1 :]
            else:
                self.chosen = []
                self.position = sequence + 1
            if self.policy != "none":
                self.given[sequence] = Given(self.number, now + self.wait(1))
            made.append((1, sequence, self.number, len(self.ahead())))
        if self.policy == "none":
            self.floor = (self.number, self.delivered) if made else self.floor
            for _, sequence, _, _ in made:
                self.stream.settled(self, sequence)
        return made

    def may_get(self, count: int) -> int:
        """How many of so many messages it would deliver at once; the others have to wait until some are settled."""
        again = sum(one in self.given and one in self.stream.held and not self.has_had_all(one) for one in self.again)
        new = min(len(self.ahead()), max(self.room(), 0))
        is_held_up = len(self.ahead()) > max(self.room(), 0)
        return min(count, again + new) if is_held_up else count

    def has_had_all(self, sequence: int) -> bool:
        most = int(self.config.get("max_deliver", -1))
        return 0 < most <= self.given[sequence].deliveries

    def give_up(self, sequence: int) -> bool:
        """Whether a message was delivered as often as it may be; then it is waited for no more."""
        if not self.has_had_all(sequence):
            return False
        self.move([sequence])
        return True

    def move(self, sequences: list[int]) -> None:
        """Takes messages for settled, and moves the floor."""
        for sequence in sequences:
            del self.given[sequence]
        if not self.given:
            self.floor = (self.number, max(self.delivered, self.floor[1]))
        elif sequences and min(sequences) < min(self.given):
            lowest = min(self.given)
            self.floor = (max(self.floor[0], self.given[lowest].number - 1), max(self.floor[1], lowest - 1))

    def settle(self, sequences: list[int]) -> None:
        """As `move`; and the stream hears of it."""
        self.move(sequences)
        for sequence in sequences:
            self.stream.settled(self, sequence)

    def acknowledge(self, sequence: int) -> None:
        """A client is done with a message, or with all up to it."""
        if self.policy == "all":
            found = [one for one in sorted(self.given) if one <= sequence]
        else:
            found = [sequence] if sequence in self.given else []
        if found:
            self.settle(found)
        elif self.policy == "explicit":
            self.stream.settled(self, sequence)

    def refuse(self, sequence: int, delay: int | None, now: int) -> None:
        """A client does not want a message now."""
        if sequence not in self.given:
            return
        if delay is None:
            if not self.give_up(sequence):
                self._queue(sequence)
            return
        if sequence in self.again:
            self.again.remove(sequence)
        self.given[sequence].due = now + delay

    def in_progress(self, sequence: int, now: int) -> None:
        """A client is still at it."""
        if sequence in self.given:
            self.given[sequence].due = now + self.wait(1)

    def terminate(self, sequence: int) -> None:
        """A client never wants a message again."""
        if sequence in self.given:
            self.settle([sequence])
        else:
            self.stream.settled(self, sequence)

    def _queue(self, sequence: int) -> None:
        if sequence not in self.again:
            self.again.append(sequence)
        self.given[sequence].due = NEVER

    def pass_time(self, now: int) -> None:
        """What is due by now is delivered again before all that is new."""
        for due in sorted({one.due for one in self.given.values() if one.due <= now}):
            for sequence in sorted(one for one, given in self.given.items() if given.due == due):
                if not self.give_up(sequence):
                    self._queue(sequence)

    def purged(self, first: int) -> None:
        """All that it would have delivered below a sequence was purged."""
        for sequence in [one for one in self.given if one not in self.stream.held]:
            del self.given[sequence]
        self.delivered = max(self.delivered, first - 1)
        if not self.given:
            self.floor = (self.number, max(self.floor[1], self.delivered))
        elif self.floor[1] < first - 1:
            lowest = min(self.given)
            self.floor = (max(self.floor[0], self.given[lowest].number - 1), max(self.floor[1], lowest - 1))

    @property
    def info(self) -> dict[str, Any]:
        """What its description tells."""
        return {
            "delivered": (self.number, self.delivered),
            "ack_floor": self.floor,
            "num_ack_pending": len(self.given),
            "num_redelivered": sum(one.deliveries > 1 for one in self.given.values()),
            "num_pending": len(self.ahead()),
        }
