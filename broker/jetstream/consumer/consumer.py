"""One consumer of a stream: its configuration, where it stands, and what answers tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from accounts.subject import contains, matches, overlaps
from broker.control.tenant import wire
from broker.core.log import Filter
from broker.jetstream.codec import ZERO_TIME, Int64, Plain, decode, dumps, now, plain, shown_time
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.config.consumer import ConsumerConfig
from broker.jetstream.config.metadata import told
from broker.jetstream.config.words import DeliverPolicy, PriorityPolicy
from broker.jetstream.consumer import standing
from broker.jetstream.consumer.pulling import Pulling
from broker.jetstream.consumer.pushing import Pushing
from broker.jetstream.consumer.resetting import Resetting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.control.clock import Timer
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.consumer.standing import Standing
    from broker.jetstream.stream import Stream

DOCUMENT: Final = "consumer/"
"""Behind it stand the id of the stream and the consumer's name."""


class Consumer:
    """A consumer at work. `open` begins to deliver, `close` ends that."""

    def __init__(
        self, stream: Stream, name: str, config: ConsumerConfig, created: int, kept: Standing | None = None
    ) -> None:
        self.stream = stream
        self.name = name
        self.config = config
        self.created = created
        """Nanoseconds since 1970."""
        self.is_closed = False
        self.selected = self._selection() if kept is None else []
        """The sequences that it delivers before all that is new."""
        self.start = self._beginning() if kept is None else kept.position
        """The first sequence that it looks at."""
        self._pause_timer: Timer | None = None
        self._idle_timer: Timer | None = None
        self.delivery: Pulling | Pushing = self._delivery(kept)
        self._resetting = Resetting(self)

    @classmethod
    def load(cls, stream: Stream) -> Iterator[Consumer]:
        """The consumers of a stream that the store has."""
        store = stream.account.store
        standings = store.documents(f"{standing.DOCUMENT}{stream.id}/")
        for document in store.documents(f"{DOCUMENT}{stream.id}/").values():
            kept = decode(document, _Kept, strict=False)
            place = standings.get(f"{standing.DOCUMENT}{stream.id}/{kept.name}")
            found = None if place is None else standing.loads(place)
            yield cls(stream, kept.name, kept.config, kept.created, found)

    def _delivery(self, kept: Standing | None) -> Pulling | Pushing:
        return Pushing(self, kept) if self.config.is_push else Pulling(self, kept)

    # Life

    def open(self) -> None:
        """Begins to deliver."""
        if self.is_closed:
            return
        self.delivery.open()
        self._wait_out_pause()
        self._watch_idle()

    def save(self) -> None:
        """Has its configuration kept, unless it is gone with the server anyway."""
        if self.is_kept:
            document = {"name": self.name, "created": self.created, "config": plain(self.config)}
            self.stream.account.store.put(self._key, dumps(document))

    def update(self, config: ConsumerConfig) -> None:
        """Works by another configuration, which has been checked, from now on."""
        old, self.config = self.config, config
        self.save()
        if config.is_push != old.is_push or config.flow_control != old.flow_control:
            kept = self.delivery.standing()
            self.delivery.close(deleted=False)
            self.delivery = self._delivery(kept)
        self.delivery.adopt()
        if config.filters != old.filters:
            self.delivery.refilter()
        self.open()

    def unpin(self, group: str) -> None:
        """Takes its pinned client from a priority group."""
        if isinstance(self.delivery, Pulling):
            self.delivery.pin.release("admin", group)
            self.delivery.wake()

    def delete(self) -> None:
        """Lets it go, and tells of that."""
        if self.stream.consumers.get(self.name) is self:
            del self.stream.consumers[self.name]
        self.close(deleted=True)
        if not self.config.direct:
            self.stream.account.advisories.consumer("DELETED", "delete", self.stream.name, self.name)

    def close(self, *, deleted: bool) -> None:
        """Delivers nothing more; ``deleted`` lets go of all that is kept of it."""
        if self.is_closed:
            return
        self.is_closed = True
        for timer in (self._pause_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._resetting.close()
        self.delivery.close(deleted=deleted)
        if deleted and self.is_kept:
            self.stream.account.store.delete(self._key)
            self.stream.account.store.delete(self.standing_key)
        if deleted and not self.stream.is_closed:
            self.stream.interest_lost(self)

    @property
    def _key(self) -> str:
        return f"{DOCUMENT}{self.stream.id}/{self.name}"

    @property
    def standing_key(self) -> str:
        """Under which the store has where it stands."""
        return f"{standing.DOCUMENT}{self.stream.id}/{self.name}"

    @property
    def is_kept(self) -> bool:
        """Whether it is there again after a restart."""
        return not (self.config.mem_storage or self.config.direct or self.stream.is_memory)

    # Time

    def _wait_out_pause(self) -> None:
        """Goes on when its pause is over, and tells of that."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None
        remaining = self.pause_remaining
        if remaining:
            self._pause_timer = self.stream.account.clock.call_later(remaining / NANOSECONDS, self._pause_over)

    def _pause_over(self) -> None:
        self._pause_timer = None
        if self.pause_remaining:
            self._wait_out_pause()
            return
        facts = {"stream": self.stream.name, "consumer": self.name, "paused": False}
        facts["pause_until"] = shown_time(ZERO_TIME if self.config.pause_until is None else self.config.pause_until)
        self.stream.account.advisories.tell(f"CONSUMER.PAUSE.{self.stream.name}.{self.name}", "consumer_pause", facts)
        self.delivery.wake()

    def _watch_idle(self) -> None:
        """Is let go when nobody uses it for as long as its configuration says."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        threshold = self.config.inactive_threshold
        if threshold > 0 and not self.is_closed:
            self._idle_timer = self.stream.account.clock.call_later(threshold / NANOSECONDS, self._look_for_use)

    def _look_for_use(self) -> None:
        self._idle_timer = None
        if self.delivery.is_used(self.config.inactive_threshold / NANOSECONDS):
            self._watch_idle()
        else:
            self.delete()

    # What its stream tells it

    def matches(self, subject: str) -> bool:
        """Whether it delivers what is published on a subject."""
        filters = self.config.filters
        return not filters or any(matches(pattern, subject) for pattern in filters)

    def wake(self) -> None:
        """The stream has new messages, which are on disk; or somebody listens now."""
        self.delivery.wake()

    def messages_gone(self) -> None:
        """Messages were removed from the stream by somebody, or by time."""
        self.delivery.drop_missing()

    def purged(self, subject: str, first: int) -> None:
        """Messages of a subject were purged, of all where it is empty; ``first`` is the first that is left of them."""
        filters = self.config.filters
        if all(contains(subject or ">", pattern) for pattern in filters or [">"]):
            self.delivery.purged(first)
        elif not filters or any(overlaps(pattern, subject) for pattern in filters):
            self.delivery.purged(self.stream.log.first)

    def stream_changed(self, old: StreamConfig) -> None:
        """The stream is configured anew; ``old`` is how it was before."""

    # Answers

    def info(self, *, as_stored: bool = False) -> Plain:
        """What answers tell of it; ``as_stored`` leaves the server's own level and release out."""
        config = plain(self.config)
        if not as_stored:
            config["metadata"] = told(self.config.metadata)
        delivery = self.delivery
        feed = delivery.feed
        number, sequence = delivery.floor()
        delivered: Plain = {"consumer_seq": feed.number, "stream_seq": feed.last}
        floor: Plain = {"consumer_seq": number, "stream_seq": sequence}
        if delivery.last_active is not None:
            delivered["last_active"] = shown_time(delivery.last_active)
        if delivery.last_settled is not None:
            floor["last_active"] = shown_time(delivery.last_settled)
        info: Plain = {
            "stream_name": self.stream.name,
            "name": self.name,
            "created": shown_time(self.created),
            "config": config,
            "delivered": delivered,
            "ack_floor": floor,
            "num_ack_pending": feed.outstanding,
            "num_redelivered": feed.redelivered(),
            "num_waiting": delivery.waiting,
            "num_pending": feed.cursor.ahead,
        }
        if isinstance(delivery, Pushing) and delivery.is_active:
            info["push_bound"] = True
        remaining = self.pause_remaining
        if remaining:
            info["paused"] = True
            info["pause_remaining"] = remaining
        info["ts"] = shown_time(now())
        if isinstance(delivery, Pulling) and self.config.priority_policy is PriorityPolicy.PINNED_CLIENT:
            info["priority_groups"] = [delivery.pin.shown(group) for group in self.config.priority_groups]
        return info

    @property
    def pause_remaining(self) -> int:
        """Nanoseconds for which it stays paused; 0 where it is not."""
        until = self.config.pause_until
        return 0 if until is None else max(until - now(), 0)

    def filter(self) -> Filter:
        """What it delivers of its stream."""
        filters = self.config.filters
        return Filter([wire(subject) for subject in filters] if filters else None)

    def _selection(self) -> list[int]:
        if self.config.deliver_policy is not DeliverPolicy.LAST_PER_SUBJECT:
            return []
        return self.stream.log.lasts(self.filter())

    def _beginning(self) -> int:
        log, policy = self.stream.log, self.config.deliver_policy
        if policy in (DeliverPolicy.NEW, DeliverPolicy.LAST_PER_SUBJECT):
            return self.selected[0] if self.selected else log.last + 1
        if policy is DeliverPolicy.BY_START_SEQUENCE:
            return max(self.config.opt_start_seq, log.first)
        if policy is DeliverPolicy.BY_START_TIME:
            return log.at_time(self.config.opt_start_time or 0)
        if policy is DeliverPolicy.LAST:
            return log.previous(self.filter(), log.last) or log.last + 1
        return max(log.first, 1)


class _Kept(msgspec.Struct, kw_only=True):
    """The document of a consumer."""

    name: str = ""
    created: Int64 = 0
    config: ConsumerConfig = msgspec.field(default_factory=ConsumerConfig)
