"""What accounts, streams and consumers take, beside what they may: for metrics and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts.limits import EVERY_TIER, JetStreamLimits
from broker.jetstream.config.words import Storage
from broker.jetstream.consumer.pushing import Pushing

if TYPE_CHECKING:
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.stream import Stream

_ONE_REPLICA = "R1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUse:
    """One account. Sizes are in bytes; a limit of None is none."""

    memory: int
    memory_limit: int | None
    memory_reserved: int
    storage: int
    storage_limit: int | None
    storage_reserved: int
    streams: int
    streams_limit: int | None
    consumers: int
    consumers_limit: int | None
    """Of each stream."""
    messages: int
    requests: int
    refused: int
    under_way: int
    """Requests that wait for the disk."""

    @classmethod
    def of(cls, account: AccountJetStream) -> AccountUse:
        """An account as it is now."""
        limits = account.limits.get(EVERY_TIER) or account.limits.get(_ONE_REPLICA) or JetStreamLimits(0, 0)
        streams = account.streams.values()
        return cls(
            memory=account.used(Storage.MEMORY),
            memory_limit=limits.memory if limits.memory >= 0 else None,
            memory_reserved=account.reserved(Storage.MEMORY),
            storage=account.used(Storage.FILE),
            storage_limit=limits.disk if limits.disk >= 0 else None,
            storage_reserved=account.reserved(Storage.FILE),
            streams=len(streams),
            streams_limit=_positive(limits.streams),
            consumers=sum(stream.visible_consumers for stream in streams),
            consumers_limit=_positive(limits.consumers),
            messages=sum(stream.log.messages for stream in streams),
            requests=account.requests,
            refused=account.refused,
            under_way=account.under_way,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamUse:
    """One stream. Sizes are in bytes, times in nanoseconds since 1970; a limit of None is none."""

    name: str
    description: str
    subjects: tuple[str, ...]
    storage: str
    retention: str
    messages: int
    messages_limit: int | None
    bytes: int
    bytes_limit: int | None
    max_age: int
    first: int
    last: int
    last_time: int
    deleted: int
    used_subjects: int
    consumers: int
    metadata: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, stream: Stream) -> StreamUse:
        """A stream as it is now."""
        config, log = stream.config, stream.log
        return cls(
            name=stream.name,
            description=config.description,
            subjects=tuple(config.subjects),
            storage=config.storage.value,
            retention=config.retention.value,
            messages=log.messages,
            messages_limit=_positive(config.max_msgs),
            bytes=log.bytes,
            bytes_limit=_positive(config.max_bytes),
            max_age=config.max_age,
            first=log.first,
            last=log.last,
            last_time=log.last_time,
            deleted=log.deleted,
            used_subjects=log.subjects,
            consumers=stream.visible_consumers,
            metadata=_own(config.metadata),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerUse:
    """One consumer. A limit of None is none."""

    stream: str
    name: str
    description: str
    filters: tuple[str, ...]
    is_durable: bool
    is_pushed: bool
    is_paused: bool
    pending: int
    """Messages that were not delivered yet."""
    ack_pending: int
    ack_pending_limit: int | None
    redelivered: int
    waiting: int
    delivered: int
    floor: int
    metadata: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, consumer: Consumer) -> ConsumerUse:
        """A consumer as it is now."""
        config, delivery = consumer.config, consumer.delivery
        feed = delivery.feed
        return cls(
            stream=consumer.stream.name,
            name=consumer.name,
            description=config.description,
            filters=tuple(config.filters),
            is_durable=bool(config.durable_name),
            is_pushed=isinstance(delivery, Pushing),
            is_paused=bool(consumer.pause_remaining),
            pending=feed.cursor.ahead,
            ack_pending=feed.outstanding,
            ack_pending_limit=_positive(config.max_ack_pending),
            redelivered=feed.redelivered(),
            waiting=delivery.waiting,
            delivered=max(feed.last, consumer.start - 1, 0),
            floor=delivery.floor()[1],
            metadata=_own(config.metadata),
        )


def _positive(limit: int) -> int | None:
    return limit if limit > 0 else None


def _own(metadata: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What was noted by whoever made it, not by the server."""
    return tuple((key, value) for key, value in sorted(metadata.items()) if not key.startswith("_nats."))
