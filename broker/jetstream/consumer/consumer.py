"""One consumer of a stream: its configuration, where it stands, and what answers tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from accounts.subject import matches
from broker.control.tenant import wire
from broker.core.log import Filter
from broker.jetstream.codec import Int64, Plain, decode, dumps, now, plain, shown_time
from broker.jetstream.config.consumer import ConsumerConfig
from broker.jetstream.config.metadata import told
from broker.jetstream.config.words import DeliverPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.stream import Stream

DOCUMENT: Final = "consumer/"
"""Behind it stand the id of the stream and the consumer's name."""


class Consumer:
    """A consumer at work."""

    def __init__(self, stream: Stream, name: str, config: ConsumerConfig, created: int) -> None:
        self.stream = stream
        self.name = name
        self.config = config
        self.created = created
        """Nanoseconds since 1970."""
        self.is_closed = False
        self.start = self._beginning()
        """The first sequence that it looks at."""

    @classmethod
    def load(cls, stream: Stream) -> Iterator[Consumer]:
        """The consumers of a stream that the store has."""
        for document in stream.account.store.documents(f"{DOCUMENT}{stream.id}/").values():
            kept = decode(document, _Kept, strict=False)
            yield cls(stream, kept.name, kept.config, kept.created)

    # Life

    def open(self) -> None:
        """Begins to deliver."""

    def save(self) -> None:
        """Has its configuration kept, unless it is gone with the server anyway."""
        if self._is_kept:
            document = {"name": self.name, "created": self.created, "config": plain(self.config)}
            self.stream.account.store.put(self._key, dumps(document))

    def update(self, config: ConsumerConfig) -> None:
        """Works by another configuration, which has been checked, from now on."""
        self.config = config
        self.save()

    def unpin(self, group: str) -> None:
        """Takes its pinned client from a priority group."""

    def close(self, *, deleted: bool) -> None:
        """Delivers nothing more; ``deleted`` lets go of all that is kept of it."""
        self.is_closed = True
        if deleted and self._is_kept:
            self.stream.account.store.delete(self._key)

    @property
    def _key(self) -> str:
        return f"{DOCUMENT}{self.stream.id}/{self.name}"

    @property
    def _is_kept(self) -> bool:
        return not (self.config.mem_storage or self.config.direct or self.stream.is_memory)

    # What its stream tells it

    def matches(self, subject: str) -> bool:
        """Whether it delivers what is published on a subject."""
        filters = self.config.filters
        return not filters or any(matches(pattern, subject) for pattern in filters)

    def wake(self) -> None:
        """The stream has new messages, which are on disk."""

    def messages_gone(self) -> None:
        """Messages were removed from the stream by somebody, or by time."""

    def purged(self, subject: str) -> None:
        """Messages of a subject, of all where it is empty, were removed from the stream."""

    def stream_changed(self, old: StreamConfig) -> None:
        """The stream is configured anew; ``old`` is how it was before."""

    # Answers

    def info(self, *, as_stored: bool = False) -> Plain:
        """What answers tell of it; ``as_stored`` leaves the server's own level and release out."""
        config = plain(self.config)
        if not as_stored:
            config["metadata"] = told(self.config.metadata)
        delivered = {"consumer_seq": 0, "stream_seq": max(self.start - 1, 0)}
        info: Plain = {
            "stream_name": self.stream.name,
            "name": self.name,
            "created": shown_time(self.created),
            "config": config,
            "delivered": delivered,
            "ack_floor": dict(delivered),
            "num_ack_pending": 0,
            "num_redelivered": 0,
            "num_waiting": 0,
            "num_pending": self.stream.log.remaining(self._filter(), self.start),
        }
        remaining = self.pause_remaining
        if remaining:
            info["paused"] = True
            info["pause_remaining"] = remaining
        info["ts"] = shown_time(now())
        return info

    @property
    def pause_remaining(self) -> int:
        """Nanoseconds for which it stays paused; 0 where it is not."""
        until = self.config.pause_until
        return 0 if until is None else max(until - now(), 0)

    def _filter(self) -> Filter:
        filters = self.config.filters
        return Filter([wire(subject) for subject in filters] if filters else None)

    def _beginning(self) -> int:
        log, policy = self.stream.log, self.config.deliver_policy
        if policy is DeliverPolicy.NEW:
            return log.last + 1
        if policy is DeliverPolicy.BY_START_SEQUENCE:
            return min(max(self.config.opt_start_seq, log.first), log.last + 1)
        if policy is DeliverPolicy.BY_START_TIME:
            return log.at_time(self.config.opt_start_time or 0)
        if policy is DeliverPolicy.LAST:
            return log.previous(self._filter(), log.last) or log.last + 1
        return max(log.first, 1)


class _Kept(msgspec.Struct, kw_only=True):
    """The document of a consumer."""

    name: str = ""
    created: Int64 = 0
    config: ConsumerConfig = msgspec.field(default_factory=ConsumerConfig)
