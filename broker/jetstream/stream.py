"""One stream: it keeps what is published on its subjects, within its limits, and has consumers."""

from __future__ import annotations

from functools import partial
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Final

from accounts.subject import is_literal
from broker.control.tenant import wire
from broker.core.log import Filter
from broker.jetstream.codec import ZERO_TIME, Plain, dumps, now, plain, shown_time
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.config.metadata import told
from broker.jetstream.config.stream_update import check_update
from broker.jetstream.config.words import Compression, Discard, PersistMode, Retention, Storage
from broker.jetstream.direct import DirectGet
from broker.jetstream.errors import ApiError
from broker.jetstream.following.local import LocalFollower
from broker.jetstream.following.origin import Origin
from broker.jetstream.following.remote import RemoteFollower
from broker.jetstream.publish.ingest import Ingest
from broker.jetstream.publish.lifetimes import is_marker, marker
from broker.session.session import shown

if TYPE_CHECKING:
    from collections.abc import Generator

    from broker.control.clock import Timer
    from broker.core.log import Entry, Keeper, Log
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.publish.lifetimes import Lifetimes
    from broker.jetstream.snapshot.sending import Snapshot

DOCUMENT: Final = "stream/"
"""Behind it stands the id of the stream whose document it is."""

EVERYTHING: Final = Filter()

PLACES: Final = 1 << 14
"""Sequences that are looked at before others have their turn."""

MAXIMUM_SUBJECTS: Final = 100_000
"""Subjects that one answer lists."""

MAXIMUM_DELETED: Final = 1_000_000
"""Sequences without a message that one answer lists: a mirror or an archive may have any number of them."""


def limit(log: Log, config: StreamConfig) -> None:
    """Has a log keep to the maxima of a configuration from now on."""
    drops = config.discard is Discard.OLD
    log.maximum_messages = config.max_msgs if drops else -1
    log.maximum_bytes = config.max_bytes if drops else -1
    log.maximum_per_subject = config.max_msgs_per_subject


class Stream:
    """A stream at work. `open` begins to take messages, `close` ends that."""

    def __init__(self, account: AccountJetStream, config: StreamConfig, stream_id: str, created: int, log: Log) -> None:
        self.account = account
        self.config = config
        self.id = stream_id
        """Names what is kept of it; a stream that is made again under the same name has another."""
        self.created = created
        """Nanoseconds since 1970."""
        self.log = log
        log.usage = account.usages[config.storage]
        self.consumers: dict[str, Consumer] = {}
        self.is_closed = False
        self._first = 0
        """The first sequence when messages came last."""
        self._age_timer: Timer | None = None
        self._wake_at = 0
        """When the timer comes, in nanoseconds since 1970."""
        self.ingest = Ingest(self)
        self.direct = DirectGet(self)
        self.snapshots: set[Snapshot] = set()
        """Archives of it that are being sent."""
        self.followers: list[LocalFollower | RemoteFollower] = []
        """Where it takes messages from: its mirror or its sources."""
        self._adopt(config)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.config.name

    @property
    def is_memory(self) -> bool:
        """Whether it is gone when the server ends."""
        return self.config.storage is Storage.MEMORY

    @property
    def answers_at_once(self) -> bool:
        """Whether publishers hear of a message before it is on disk: it never will be, or the stream says so."""
        return self.is_memory or self.config.persist_mode is PersistMode.ASYNC

    # Life

    def open(self, lifetimes: Lifetimes | None = None) -> None:
        """Begins to take what is published on its subjects. ``lifetimes`` are those of its messages, where known."""
        self.ingest.recall(lifetimes)
        self.ingest.listen(self.config.subjects)
        self.direct.adopt(allowed=self.config.allow_direct)
        self._expire()
        for consumer in self.consumers.values():
            consumer.open()
        self._follow()

    def save(self) -> None:
        """Has its configuration kept, unless it is gone with the server anyway."""
        if not self.is_memory:
            document = {"created": self.created, "config": plain(self.config)}
            self.account.store.put(DOCUMENT + self.id, dumps(document))

    def update(self, wanted: StreamConfig, *, pedantic: bool = False) -> None:
        """Configures it anew. Raises JetStreamError, and then has changed nothing."""
        old = self.config
        config = check_update(old, wanted, self.account, pedantic=pedantic)
        self.account.check_room(config, old)
        self._check_consumers(old, config)
        self.account.check_overlap(config, self)
        self._adopt(config)
        self.save()
        self.ingest.listen(config.subjects)
        self.direct.adopt(allowed=config.allow_direct)
        self.log.enforce_all()
        self.changed()
        self._messages_gone()
        self._expire()
        if (config.mirror, config.sources) != (old.mirror, old.sources):
            self._unfollow(deleted=False)
            self._follow()
        for consumer in list(self.consumers.values()):
            consumer.stream_changed(old)
        self.account.advisories.stream("UPDATED", "modify", self.name)

    def close(self, *, deleted: bool) -> None:
        """Takes nothing more; ``deleted`` lets go of all that is kept of it."""
        self.is_closed = True
        for snapshot in list(self.snapshots):
            snapshot.abort("stream closed")
        self.log.usage = None
        self._unfollow(deleted=deleted)
        self.ingest.close(deleted=deleted)
        self.direct.close()
        if self._age_timer is not None:
            self._age_timer.cancel()
            self._age_timer = None
        for consumer in list(self.consumers.values()):
            consumer.close(deleted=deleted)
        self.consumers.clear()
        if deleted and not self.is_memory:
            self.account.store.delete(DOCUMENT + self.id)
            self.account.store.drop(self.id)

    def _adopt(self, config: StreamConfig) -> None:
        """Works by a configuration from now on."""
        self.config = config
        limit(self.log, config)
        self.account.store.pack(self.id, wanted=config.compression is Compression.S2)
        self.ingest.adopt(config)

    def _check_consumers(self, old: StreamConfig, new: StreamConfig) -> None:
        """Checks that no consumer has more than its stream will allow. Raises JetStreamError."""
        if new.consumer_limits == old.consumer_limits:
            return
        longest, most = new.consumer_limits.inactive_threshold, new.consumer_limits.max_ack_pending
        above = [
            name
            for name, consumer in self.consumers.items()
            if 0 < longest < consumer.config.inactive_threshold or 0 < most < consumer.config.max_ack_pending
        ]
        if above:
            raise ApiError.STREAM_UPDATE.error(err=f"change to limits violates consumers: {', '.join(above)}")

    def _follow(self) -> None:
        """Begins to take messages from its mirror or its sources."""
        is_mirror = self.config.mirror is not None
        for config in self.config.sources if self.config.mirror is None else [self.config.mirror]:
            origin = Origin(config)
            kind = LocalFollower if config.external is None and config.consumer is None else RemoteFollower
            self.followers.append(kind(self, origin, is_mirror=is_mirror))
        for follower in self.followers:
            self.account.followers.setdefault(follower.origin.name, []).append(follower)
            follower.open()

    def _unfollow(self, *, deleted: bool) -> None:
        for follower in self.followers:
            self.account.followers[follower.origin.name].remove(follower)
            follower.close(deleted=deleted)
        self.followers = []

    # Messages come

    def grew(self) -> None:
        """Messages were stored; they are on disk when the store says so."""
        self.account.store.changed(self.id)
        if self.log.first != self._first:
            # What is above the limits went from the front.
            self._first = self.log.first
            for consumer in list(self.consumers.values()):
                consumer.delivery.drop_below(self._first)
        if self.config.max_age and self._age_timer is None:
            self._expire()
        ends = self.ingest.lifetimes.next
        if ends and (self._age_timer is None or ends < self._wake_at):
            self._expire()
        if self.is_memory:
            self._stored(None)
        else:
            self.account.store.after(self._stored)

    def _stored(self, problem: Exception | None) -> None:
        if problem is None:
            for consumer in list(self.consumers.values()):
                consumer.wake()
            self.account.tell_followers(self)

    def changed(self, *, erase: bool = False) -> None:
        """Has it kept that messages were removed; with ``erase``, they are overwritten."""
        self.account.store.changed(self.id, erase=erase)
        if not self.log.losing and not self.is_memory:
            self.log.losing = True
            self.account.store.after(self._lost)

    def _lost(self, _: Exception | None) -> None:
        self.log.losing = False

    def settled(self, consumer: Consumer, sequences: list[int]) -> None:
        """A consumer is done with messages: they go, where the stream keeps them no longer than that."""
        retention = self.config.retention
        if retention is Retention.LIMITS or consumer.config.direct or not sequences:
            return
        removed = [one for one in sequences if not self._is_wanted(one, consumer) and self.log.remove(one)]
        if removed:
            self.changed()

    def passed(self, consumer: Consumer, start: int, end: int) -> None:
        """A consumer that waits for no acknowledgements has delivered what it wants from start to end."""
        if self.config.retention is not Retention.LIMITS and not consumer.config.direct:
            self._give_up(consumer, start, end)

    def interest_lost(self, consumer: Consumer) -> None:
        """A consumer is gone: what only it still wanted goes too, where the stream keeps what is wanted."""
        if self.config.retention is Retention.INTEREST and not consumer.config.direct:
            self._give_up(consumer, 0, self.log.last)

    def _give_up(self, consumer: Consumer, start: int, end: int) -> None:
        """Lets go of what a consumer wanted and no other does, a slice in each turn."""
        if self.is_closed:
            return
        filter_, stop = consumer.filter(), min(end, start + PLACES)
        removed, following = self.log.sweep(filter_, start, stop, PLACES, PLACES, self._keepers(consumer, start, stop))
        if removed:
            self.changed()
        following = following or (stop + 1 if stop < end else 0)
        following = max(following, self.log.first) if following else 0
        if 0 < following <= end:
            self.account.clock.call_later(0.0, partial(self._give_up, consumer, following, end))

    def _keepers(self, but_for: Consumer, start: int, stop: int) -> list[Keeper]:
        """What other consumers still wait for from start to stop."""
        if self.config.retention is Retention.WORK_QUEUE:
            return []
        others = [one for one in self.consumers.values() if one is not but_for and not one.config.direct]
        return [one.delivery.wanted(start, stop) for one in others]

    def _is_wanted(self, sequence: int, but_for: Consumer) -> bool:
        """Whether a consumer other than this one still waits for a message."""
        if self.config.retention is Retention.WORK_QUEUE:
            return False
        others = [one for one in self.consumers.values() if one is not but_for and not one.config.direct]
        if not any(one.delivery.needs(sequence) for one in others):
            return False
        entry = self.log.get(sequence)
        if entry is None:
            return False
        subject = shown(entry.subject)
        return any(one.delivery.needs(sequence) and one.matches(subject) for one in others)

    def wants(self, subject: str) -> bool:
        """Whether any consumer would deliver what is published on a subject."""
        return any(consumer.matches(subject) for consumer in self.consumers.values())

    # Messages go

    def _expire(self) -> None:
        """Lets go of a slice of what is too old, and comes back at once for more, or when the next one is."""
        if self._age_timer is not None:
            self._age_timer.cancel()
            self._age_timer = None
        age, lifetimes, log = self.config.max_age, self.ingest.lifetimes, self.log
        if self.is_closed or not (age or lifetimes.next):
            return
        gone = self._drop_ended(lifetimes.due(now(), PLACES))
        if age:
            gone += self._drop_old(now() - age)
        if gone:
            self.changed()
            self._messages_gone()
        times = [lifetimes.next] if lifetimes.next else []
        if age and log.messages:
            oldest = log.first
            while oldest in lifetimes.lasting:
                oldest = log.next(EVERYTHING, oldest + 1)
            if oldest:
                times.append(log.time_of(oldest) + age)
        if times:
            self._wake_at = min(times)
            left = (self._wake_at - now()) / NANOSECONDS
            self._age_timer = self.account.clock.call_later(max(left, 0.0), self._expire)

    def _drop_old(self, limit: int) -> int:
        """Lets go of messages that were stored before a time; returns how many."""
        log, lasting = self.log, self.ingest.lifetimes.lasting
        if not lasting and not self.config.subject_delete_marker_ttl:
            return log.expire(limit, PLACES)
        ended: list[int] = []
        at = log.next(EVERYTHING, 0)
        while at and log.time_of(at) < limit and len(ended) < PLACES:
            if at not in lasting:
                ended.append(at)
            at = log.next(EVERYTHING, at + 1)
        return self._drop_ended(ended)

    def _drop_ended(self, sequences: list[int]) -> int:
        """Lets go of messages whose time is over, with a marker for each subject of which none is left."""
        count = 0
        for sequence in sequences:
            entry = self.log.get(sequence)
            if entry is None or not self.log.remove(sequence):
                continue
            count += 1
            ttl = self.config.subject_delete_marker_ttl
            if ttl and not is_marker(entry.header) and self.log.find(entry.subject) is None:
                self.ingest.take_over(entry.subject, marker(ttl), b"")
                self.grew()
        return count

    def remove(self, sequence: int, *, erase: bool = True) -> None:
        """Lets one message go, and with ``erase`` overwrites it. Raises JetStreamError where it is not there."""
        if not self.log.remove(sequence):
            if self.is_memory:
                raise ApiError.SEQUENCE_NOT_FOUND.error(seq=sequence)
            is_beyond = sequence > self.log.last
            raise ApiError.STREAM_MSG_DELETE_FAILED.error(err="stream store EOF" if is_beyond else "no message found")
        self.changed(erase=erase)
        self._messages_gone()

    def purge(self, subject: str = "", sequence: int = 0, keep: int = 0) -> Generator[None, None, int]:
        """Lets messages go, a slice in each turn, and returns how many.

        Those of ``subject``, all where it is empty; below ``sequence``, any where it is 0; not the last ``keep``; and
        none that came after it began. Raises JetStreamError where the stream is gone before the end.
        """
        log = self.log
        everything = subject in ("", ">")
        filter_ = Filter(None if everything else [wire(subject)])
        if sequence == 1:
            return 0
        removed, most = 0, log.remaining(filter_, 0)
        if keep:
            most = max(most - keep, 0)
        at, stop = log.first, (sequence or log.last + 1) - 1
        while at and most:
            gone, at = log.sweep(filter_, at, stop, PLACES, most, [])
            removed, most = removed + gone, most - gone
            if at and most:
                self.changed()
                yield
                if self.is_closed:
                    raise ApiError.STREAM_PURGE_FAILED.error(err="stream closed")
        if everything and not keep:
            log.truncate_before(stop + 1)
        self.changed()
        left = log.first if everything else log.next(filter_, 0) or log.last + 1
        for consumer in list(self.consumers.values()):
            consumer.purged("" if everything else subject, left)
        return removed

    def _messages_gone(self) -> None:
        """Messages were removed by somebody, or by time: consumers may wait for some of them."""
        for consumer in list(self.consumers.values()):
            consumer.messages_gone()

    # Answers

    def info(self, *, as_stored: bool = False) -> Plain:
        """What answers tell of it; ``as_stored`` leaves the server's own level and release out."""
        config = plain(self.config)
        if not as_stored:
            config["metadata"] = told(self.config.metadata)
        info: Plain = {"config": config, "created": shown_time(self.created), "state": self.state()}
        if self.account.domain:
            info["domain"] = self.account.domain
        info |= self.following()
        info["ts"] = shown_time(now())
        return info

    def following(self) -> Plain:
        """How far it is with the streams whose messages it takes; nothing where there are none."""
        followed = [follower.info() for follower in self.followers]
        if self.config.mirror is not None and followed:
            return {"mirror": followed[0]}
        return {"sources": followed} if followed else {}

    def state(self, *, deleted: bool = False, subjects: dict[str, int] | None = None) -> Plain:
        """What it holds; with ``deleted`` the sequences that are gone, and with what is asked of single subjects."""
        log = self.log
        state: Plain = {
            "messages": log.messages,
            "bytes": log.bytes,
            "first_seq": log.first,
            "first_ts": shown_time(log.first_time or ZERO_TIME),
            "last_seq": log.last,
            "last_ts": shown_time(log.last_time or ZERO_TIME),
        }
        if log.subjects:
            state["num_subjects"] = log.subjects
        if subjects:
            state["subjects"] = subjects
        if log.deleted:
            state["num_deleted"] = log.deleted
            if deleted:
                gone = (one for first, last in log.gaps() for one in range(first, last + 1))
                state["deleted"] = list(islice(gone, MAXIMUM_DELETED))
        state["consumer_count"] = self.visible_consumers
        return state

    def counts(self, pattern: str, offset: int) -> Generator[None, None, tuple[int, dict[str, int]]]:
        """How many messages single subjects of a pattern have, in the order of the subjects, a slice in each turn.

        Returns how many subjects there are, and of those behind the first ``offset`` as many as one answer lists.
        """
        log, filter_ = self.log, Filter([wire(pattern)])
        parts: list[list[tuple[bytes, int]]] = []
        epoch, number = log.epoch, 0
        while True:
            found, number = log.counts_of(filter_, number, PLACES)
            parts.append(sorted(found.items()))
            if not number:
                break
            yield
            if log.epoch != epoch:
                # Subjects have other numbers now.
                parts, epoch, number = [], log.epoch, 0
        made: dict[str, int] = {}
        skipped, chosen = 0, merge(*parts)
        while skipped < offset and (passed := sum(1 for _ in islice(chosen, min(PLACES, offset - skipped)))):
            skipped += passed
            yield
        while part := list(islice(chosen, min(PLACES, MAXIMUM_SUBJECTS - len(made)))):
            made |= {shown(subject): count for subject, count in part}
            if len(part) == PLACES:
                yield
        return sum(map(len, parts)), made

    @property
    def visible_consumers(self) -> int:
        """Its consumers that were made by somebody, rather than by a mirror or a source."""
        return sum(not consumer.config.direct for consumer in self.consumers.values())

    def entry(self, sequence: int) -> Entry | None:
        """A message by its sequence; None where there is none."""
        return self.log.get(sequence)

    def next_entry(self, subject: str, start: int) -> Entry | None:
        """The first message of a subject at or behind a sequence."""
        return self._at(self.log.next(Filter([wire(subject)]), start))

    def last_entry(self, subject: str) -> Entry | None:
        """The last message of a subject."""
        if is_literal(subject):
            found = self.log.find(wire(subject))
            return self._at(0 if found is None else found[2])
        return self._at(self.log.previous(Filter([wire(subject)]), self.log.last))

    def _at(self, sequence: int) -> Entry | None:
        return self.log.get(sequence) if sequence else None
