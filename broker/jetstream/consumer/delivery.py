"""How a consumer hands out its stream's messages, and what becomes of them: the part that pull and push have in common.

New messages leave through the feed in the compiled core. What is not settled in time, or is refused, waits here to be
delivered again, before all that is new.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.control.tenant import wire
from broker.core import feed as fates
from broker.core.feed import Feed
from broker.core.log import Cursor
from broker.core.plan import Subscription
from broker.jetstream.access import Access, DeniedError
from broker.jetstream.config.words import AckPolicy, Retention
from broker.jetstream.consumer import acknowledgements, standing
from broker.jetstream.consumer.acknowledgements import Kind
from broker.jetstream.consumer.standing import Standing
from broker.session.session import Session, shown

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.core.exchange import Crossing
    from broker.core.log import Keeper
    from broker.jetstream.consumer.acknowledgements import Place
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.store.tables import StoreError

LOGGER: Final = logging.getLogger("natskeep.jetstream")

SLICE: Final = 1024
"""Messages that are delivered before others have their turn."""

CONGESTED_PAUSE: Final = 0.01
"""Seconds to wait for a receiver that lags."""

SAVE_AFTER: Final = 0.25
"""Seconds for which progress that nobody waits for is kept in memory alone."""

DELETED: Final = "Unacknowledged message was deleted"
"""Why a message that was given is delivered no more."""

FAR: Final = 1 << 62
"""A time that does not come, in nanoseconds."""


class Delivery:
    """The delivering side of one consumer. All of it runs in the loop's thread."""

    def __init__(self, consumer: Consumer, kept: Standing | None) -> None:
        self.consumer = consumer
        self.stream = stream = consumer.stream
        self.account = account = stream.account
        self.internal = account.internal
        tenant = self.internal.tenant
        prefix = f"$JS.ACK.{stream.name}.{consumer.name}."
        cursor = Cursor(stream.log, consumer.filter(), consumer.start)
        self.feed = Feed(account.hub, stream.log, cursor, wire(prefix))
        self.feed.bind(tenant.announcements)
        self.feed.owner = self
        self.feed.reports = True
        self.last_active: int | None = None
        """When it delivered last, in nanoseconds since 1970."""
        self.last_settled: int | None = None
        self._floor = (0, max(consumer.start - 1, 0))
        self._again: deque[int] = deque()
        self._queued: set[int] = set()
        self._due_timer: Timer | None = None
        self._run_timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._closed = False
        self._has_others = kept is not None
        """Whether what was given and is not settled may be what its filters do not let through any more."""
        self.adopt()
        if kept is None:
            self.feed.last = self._floor[1]
            if consumer.selected:
                cursor.select(consumer.selected, stream.log.last + 1)
                consumer.selected = []
        else:
            self._restore(kept)
        self._acknowledging = Subscription(self.feed, wire(prefix + ">"), None, b"1")
        tenant.namespace.insert(self._acknowledging)

    # Life

    def adopt(self) -> None:
        """Works by its consumer's configuration from now on."""
        config = self.consumer.config
        self.feed.headers_only = config.headers_only
        self.feed.explicit = config.ack_policy is AckPolicy.EXPLICIT
        self.feed.remembers = config.ack_policy is not AckPolicy.NONE
        self.feed.wait = config.backoff[0] if config.backoff else config.ack_wait or FAR

    def refilter(self) -> None:
        """Takes the consumer's filter anew, from where it stands."""
        self.feed.cursor.refilter(self.consumer.filter())
        self._has_others = True

    def open(self) -> None:
        """Begins to deliver."""
        if self._due_timer is None:
            self._look_for_due()
        self.wake()

    def close(self, *, deleted: bool) -> None:
        """Delivers nothing more."""
        self._closed = True
        for timer in (self._due_timer, self._run_timer, self._save_timer):
            if timer is not None:
                timer.cancel()
        if not deleted:
            self.save()
        self.internal.tenant.namespace.remove(self._acknowledging)
        self.feed.close()
        self.feed.cursor.close()

    def request_info(self, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        """See `broker.control.internal.Internal.request_info`."""
        return self.internal.request_info(gate, first, last)

    # Delivering

    def wake(self) -> None:
        """Delivers what there is and may be delivered."""
        if self._closed or self._run_timer is not None or self.consumer.pause_remaining:
            return
        if self._run():
            self._later(0.0)

    def _run(self) -> bool:
        """Delivers a slice; returns whether others are to have their turn before more is delivered."""
        raise NotImplementedError

    def _later(self, seconds: float) -> None:
        if self._run_timer is None and not self._closed:
            self._run_timer = self.account.clock.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._run_timer = None
        self.wake()

    @property
    def room(self) -> int:
        """How many new messages may be given before some are settled."""
        most = self.consumer.config.max_ack_pending
        return SLICE if most <= 0 or not self.feed.remembers else max(most - self.feed.outstanding, 0)

    @property
    def has_again(self) -> bool:
        """Whether messages wait to be delivered once more."""
        return bool(self._again)

    def next_again(self) -> int | None:
        """The message that is delivered once more before all others, or None. It stays the next."""
        while self._again:
            sequence = self._again[0]
            given = self.feed.look(sequence)
            if given is None or self._has_had_all(sequence, given[4]):
                self.forget_again()
                continue
            return sequence
        return None

    def forget_again(self) -> None:
        """The next of these was delivered, or is gone."""
        self._queued.discard(self._again.popleft())

    def deliver_again(self, subject: bytes, sequence: int, most_bytes: int) -> tuple[int, int]:
        """Delivers one more time; returns why it did not, and how many bytes it is."""
        now = time.time_ns()
        fate, size = self.feed.deliver_again(subject, sequence, most_bytes, now)
        if fate == fates.ENOUGH:
            self.forget_again()
            given = self.feed.look(sequence)
            backoff = self.consumer.config.backoff
            if given is not None and backoff:
                self.feed.put_off(sequence, now + backoff[min(given[4], len(backoff)) - 1])
            self.delivered(now)
        elif fate == fates.GONE:
            self.forget_again()
            self._terminate(sequence, DELETED)
        return fate, size

    def deliver_new(self, subject: bytes, count: int, most_bytes: int) -> tuple[int, int, int]:
        """Delivers new messages, see `broker.core.feed.Feed.deliver_new`."""
        now = time.time_ns()
        before = self.feed.cursor.at
        sent, size, why = self.feed.deliver_new(subject, count, most_bytes, now)
        if sent:
            self.delivered(now)
            if not self.feed.remembers:
                self._floor = (self.feed.number, self.feed.last)
                self.stream.passed(self.consumer, before, self.feed.last)
        return sent, size, why

    def delivered(self, now: int) -> None:
        """Something was delivered."""
        self.last_active = now
        self.save_soon()
        if self.feed.remembers:
            self._watch_due()

    def is_congested(self) -> bool:
        """Whether a receiver of the last messages lags; asks once."""
        lagging = self.feed.take_congested()
        return lagging is not None and lagging.pending > lagging.soft_ceiling

    # What is not settled in time

    def _watch_due(self) -> None:
        if self._due_timer is not None or self._closed or not self.feed.outstanding:
            return
        _, following = self.feed.overdue(0)
        if 0 < following < FAR:
            self._due_timer = self.account.clock.call_later(
                max((following - time.time_ns()) / 1e9, 0.001), self._look_for_due
            )

    def _look_for_due(self) -> None:
        self._due_timer = None
        due, _ = self.feed.overdue(time.time_ns())
        for sequence in due:
            given = self.feed.look(sequence)
            if given is None or self._has_had_all(sequence, given[4]):
                continue
            self._queue_again(sequence)
        self._watch_due()
        if due:
            self.wake()

    def _queue_again(self, sequence: int) -> None:
        """It is delivered again; until then it is not looked for any more."""
        if sequence not in self._queued:
            self._queued.add(sequence)
            self._again.append(sequence)
        self.feed.put_off(sequence, FAR)

    def _has_had_all(self, sequence: int, deliveries: int) -> bool:
        """Whether it was delivered as often as it may be; then it is given up, and that is told."""
        most = self.consumer.config.max_deliver
        if most <= 0 or deliveries < most:
            return False
        self._settle([sequence] if self.feed.acknowledge(sequence) else [], give_up=True)
        facts = {"stream": self.stream.name, "consumer": self.consumer.name, "stream_seq": sequence}
        self._tell("MAX_DELIVERIES", "max_deliver", {**facts, "deliveries": deliveries})
        return True

    def _tell(self, what: str, kind: str, facts: dict[str, object]) -> None:
        self.account.advisories.tell(f"CONSUMER.{what}.{self.stream.name}.{self.consumer.name}", kind, facts)

    # Acknowledgements

    def settled(self) -> None:
        """See `broker.core.feed.Feed`: plain acknowledgements came."""
        sequences = self.feed.take_settled()
        if sequences and not self._closed:
            self._settle(sequences)
            self.wake()

    def acknowledged(self, subject: bytes, reply: bytes | None, payload: bytes, owner: object) -> None:
        """See `broker.core.feed.Feed`: an acknowledgement that says more, or asks for an answer."""
        place = acknowledgements.place(subject)
        if place is None or self._closed:
            return
        kind, rest = acknowledgements.said(payload)
        if kind is Kind.NEXT:
            self.acknowledge(place)
            asker = owner if isinstance(owner, Session) else None
            access = Access(self.account, asker, shown(subject))
            if reply is not None and self.is_permitted(access, shown(reply)):
                self.take_request(rest.strip(), shown(reply))
            return
        if kind is Kind.ACKNOWLEDGED:
            self.acknowledge(place)
        elif kind is Kind.REFUSED:
            self._refuse(place, rest)
        elif kind is Kind.IN_PROGRESS:
            self._in_progress(place)
        elif kind is Kind.TERMINATED:
            self._terminate(place.sequence, rest.strip().decode("utf-8", "replace"), place)
        if reply is not None:
            self._answer_when_kept(shown(reply))
        self.wake()

    def take_request(self, payload: bytes, reply: str) -> None:
        """A client asks for messages, and may have them."""
        raise NotImplementedError

    def is_permitted(self, access: Access, reply: str) -> bool:
        """Whether who asks may have this consumer's messages sent to a reply subject; where not it is told why."""
        try:
            self.check_access(access)
        except DeniedError as error:
            if access.may_answer(reply):
                self.internal.publish(reply, b"", header=f"NATS/1.0 403 {error}\r\n\r\n".encode())
            return False
        return access.may_answer(reply)

    def check_access(self, access: Access) -> None:
        """Checks that whoever asks may have all that this consumer delivers, again or anew. Raises DeniedError."""
        name = self.consumer.name
        access.pull(self.stream, self.consumer.config, name)
        if not self._has_others or not access.is_restricted:
            return
        given = [entry for one in self.feed.given() if (entry := self.stream.log.get(one[0])) is not None]
        for entry in given:
            access.pull_one(self.stream, entry, name)
        self._has_others = bool(given)

    def acknowledge(self, place: Place) -> None:
        """The message of a delivery is done with; all before it too, where the policy says so."""
        if self.feed.explicit:
            if not self.feed.acknowledge(place.sequence):
                self._settle_late(place.sequence)
                return
            sequences = [place.sequence]
        else:
            sequences = self.feed.acknowledge_to(place.sequence)
        self._settle(sequences)

    def _settle_late(self, sequence: int) -> None:
        """A message is acknowledged that is not waited for, as one that was given up: it goes all the same."""
        entry = self.stream.log.get(sequence) if sequence < self.feed.cursor.at else None
        if entry is not None and self.consumer.matches(shown(entry.subject)):
            self.stream.settled(self.consumer, [sequence])

    def _settle(self, sequences: list[int], *, give_up: bool = False) -> None:
        """These are settled: moves the floor, and lets the stream know."""
        if not sequences:
            return
        lowest = self.feed.lowest()
        if lowest is None:
            self._floor = (self.feed.number, max(self.feed.last, self._floor[1], *sequences))
        elif min(sequences) < lowest[0]:
            self._floor = (max(self._floor[0], lowest[1] - 1), max(self._floor[1], lowest[0] - 1))
        if not give_up:
            self.last_settled = time.time_ns()
            self.stream.settled(self.consumer, sequences)
        self.save_soon()

    def _refuse(self, place: Place, rest: bytes) -> None:
        given = self.feed.look(place.sequence)
        if given is None:
            return
        facts = {"stream": self.stream.name, "consumer": self.consumer.name, "consumer_seq": place.number}
        self._tell("MSG_NAKED", "nak", {**facts, "stream_seq": place.sequence, "deliveries": place.deliveries})
        try:
            delay = acknowledgements.delay(rest)
        except ValueError:
            LOGGER.warning(
                "JetStream consumer '%s > %s > %s' bad NAK delay value: %r",
                self.account.name, self.stream.name, self.consumer.name, rest.decode("utf-8", "replace"),
            )  # fmt: skip
            delay = None
        if delay is None:
            if not self._has_had_all(place.sequence, given[4]):
                self._queue_again(place.sequence)
            return
        if place.sequence in self._queued:
            self._queued.discard(place.sequence)
            self._again.remove(place.sequence)
        self.feed.put_off(place.sequence, time.time_ns() + delay)
        self._watch_due_anew()

    def _in_progress(self, place: Place) -> None:
        if self.feed.put_off(place.sequence, time.time_ns() + self.feed.wait):
            self._watch_due_anew()

    def _watch_due_anew(self) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        self._watch_due()
        self.save_soon()

    def _terminate(self, sequence: int, reason: str, place: Place | None = None) -> None:
        """It is never delivered again, and that is told. ``place`` is what a client says it was given as."""
        given = self.feed.look(sequence)
        if given is None:
            self._settle_late(sequence)
            return
        self.feed.acknowledge(sequence)
        self._settle([sequence])
        number, deliveries = (given[1], given[4]) if place is None else (place.number, place.deliveries)
        facts: dict[str, object] = {"stream": self.stream.name, "consumer": self.consumer.name}
        facts |= {"consumer_seq": number, "stream_seq": sequence, "deliveries": deliveries}
        if reason:
            facts["reason"] = reason
        self._tell("MSG_TERMINATED", "terminated", facts)
        if place is None:
            self.wake()

    def drop_missing(self) -> None:
        """Settles what the stream let go before it was acknowledged."""
        log = self.stream.log
        for sequence in [one[0] for one in self.feed.given() if not log.has(one[0])]:
            self._terminate(sequence, DELETED)

    def drop_below(self, first: int) -> None:
        """Settles what went from the front of the stream unacknowledged: ``first`` is what is left first."""
        while True:
            lowest = self.feed.lowest()
            if lowest is None or lowest[0] >= first:
                return
            self._terminate(lowest[0], DELETED)

    def purged(self, sequence: int) -> None:
        """All that it would have delivered below a sequence was purged; that is no news to those who were given it."""
        for gone in [one[0] for one in self.feed.given() if not self.stream.log.has(one[0])]:
            self.feed.acknowledge(gone)
        self.feed.last = max(self.feed.last, sequence - 1)
        lowest = self.feed.lowest()
        if lowest is None:
            self._floor = (self.feed.number, max(self._floor[1], self.feed.last))
        elif self._floor[1] < sequence - 1:
            self._floor = (max(self._floor[0], lowest[1] - 1), max(self._floor[1], lowest[0] - 1))
        self.save_soon()
        self.wake()

    def _answer_when_kept(self, reply: str) -> None:
        if not self.consumer.is_kept:
            self.internal.publish(reply, b"")
            return
        self.save()
        self.account.store.after(partial(self._answer, reply))

    def _answer(self, reply: str, problem: StoreError | None) -> None:
        if problem is None:
            self.internal.publish(reply, b"")

    # Where it stands

    def save_soon(self) -> None:
        """Has its progress kept before long."""
        if self.consumer.is_kept and self._save_timer is None and not self._closed:
            self._save_timer = self.account.clock.call_later(SAVE_AFTER, self.save)

    def save(self) -> None:
        """Has its progress kept with the next commit."""
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        if self.consumer.is_kept:
            self.account.store.put(self.consumer.standing_key, standing.dumps(self.standing()))

    def standing(self) -> Standing:
        """Where it stands."""
        return Standing(
            number=self.feed.number, sequence=self.feed.last, position=self.feed.cursor.at,
            floor_number=self._floor[0], floor_sequence=self._floor[1], given=self.feed.given(),
            selected=self.feed.cursor.left(),
        )  # fmt: skip

    def _restore(self, kept: Standing) -> None:
        feed = self.feed
        feed.number = kept.number
        feed.last = kept.sequence
        self._floor = (kept.floor_number, kept.floor_sequence)
        if kept.selected:
            feed.cursor.select(kept.selected, kept.position)
        else:
            feed.cursor.seek(kept.position)
        for one in sorted(kept.given):
            feed.restore(*one)
            if one[3] >= FAR:
                self._queue_again(one[0])

    def reset(self, sequence: int | None) -> int:
        """Goes back to a sequence, or to the first that is not settled, forgets what was given, and counts anew.

        Returns the sequence.
        """
        position = self._floor[1] + 1 if sequence is None else sequence
        self.feed.clear()
        self._again.clear()
        self._queued.clear()
        self.feed.cursor.seek(position)
        self.feed.number, self.feed.last = 0, position - 1
        self._floor = (0, position - 1)
        self.last_active = self.last_settled = None
        self.consumer.start = position
        if self.stream.config.retention is Retention.INTEREST:
            self.stream.passed(self.consumer, 0, position - 1)
        self.save()
        self.wake()
        return position

    def floor(self) -> tuple[int, int]:
        """The numbers of the consumer and of the stream up to which all is settled."""
        return self._floor if self.feed.remembers or self.feed.number == 0 else (self.feed.number, self.feed.last)

    def needs(self, sequence: int) -> bool:
        """Whether it has not delivered a message yet, or waits for it to be settled."""
        return self.feed.cursor.awaits(sequence) or self.feed.look(sequence) is not None

    def wanted(self, start: int, stop: int) -> Keeper:
        """What it needs from start to stop: what passes its filter, from a sequence on or of some sequences."""
        cursor = self.feed.cursor
        return cursor.filter, cursor.at, self.feed.given_between(start, stop).union(cursor.left())

    def is_used(self, seconds: float) -> bool:
        """Whether anybody used it within so many seconds."""
        raise NotImplementedError

    def end_requests(self, status: str) -> None:
        """Tells clients that wait for messages that none will come, and why."""

    @property
    def waiting(self) -> int:
        """Requests that wait for messages."""
        return 0
