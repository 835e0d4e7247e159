"""Makes and changes consumers, where their stream and their account permit it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from accounts.subject import overlaps
from broker.jetstream.codec import ZERO_TIME, now, shown_time
from broker.jetstream.config import metadata
from broker.jetstream.config.consumer_check import check_consumer, check_name_length
from broker.jetstream.config.consumer_update import check_update
from broker.jetstream.config.durations import SECOND
from broker.jetstream.config.words import AckPolicy, Action, DeliverPolicy, Retention
from broker.jetstream.consumer.consumer import Consumer
from broker.jetstream.errors import ApiError

if TYPE_CHECKING:
    from broker.jetstream.config.consumer import ConsumerConfig
    from broker.jetstream.consumer.standing import Standing
    from broker.jetstream.stream import Stream

EPHEMERAL_THRESHOLD: Final = 5 * SECOND
"""How long an ephemeral consumer stays without interest, where it does not say."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAME_LENGTH: Final = 8


def add(stream: Stream, wanted: ConsumerConfig, action: Action, *, pedantic: bool = False) -> Consumer:
    """The consumer that a request wants, made or changed to be so. Raises JetStreamError."""
    account = stream.account
    config, most = _checked(stream, wanted, pedantic=pedantic)
    name = config.durable_name or config.name
    existing = stream.consumers.get(name)
    if existing is not None:
        _change(stream, existing, config, action)
        return existing
    if action is Action.UPDATE:
        raise ApiError.CONSUMER_DOES_NOT_EXIST.error()
    _check_new(stream, config, name, most)
    name = name or _new_name(stream)
    consumer = stream.consumers[name] = Consumer(stream, name, config, now())
    consumer.save()
    consumer.delivery.save()
    account.store.after(partial(_open_next, consumer))
    if not config.direct:
        account.advisories.consumer("CREATED", "create", stream.name, name)
    return consumer


def restore(stream: Stream, name: str, wanted: ConsumerConfig, kept: Standing, created: int) -> None:
    """Makes a consumer of an archive, that goes on where it stood; its stream opens it. Raises JetStreamError."""
    config, most = _checked(stream, wanted)
    if (config.durable_name or config.name) not in ("", name) or config.direct:
        raise ApiError.CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT.error()
    config.name = name
    check_name_length(name)
    _check_new(stream, config, name, most)
    consumer = stream.consumers[name] = Consumer(stream, name, config, created, kept)
    consumer.save()
    consumer.delivery.save()


def _checked(stream: Stream, wanted: ConsumerConfig, *, pedantic: bool = False) -> tuple[ConsumerConfig, int]:
    """A configuration with all defaults, and how many consumers there may be."""
    found = stream.account.limits_for(wanted.num_replicas or stream.config.num_replicas)
    if found is None:
        raise ApiError.NO_LIMITS.error()
    limits = found[1]
    config = check_consumer(wanted, stream.config, stream.account.server_limits, limits, pedantic=pedantic)
    return config, limits.consumers


def _check_new(stream: Stream, config: ConsumerConfig, name: str, most: int) -> None:
    """Checks that there may be one more such consumer."""
    _check_count(stream, most)
    if stream.config.retention is Retention.WORK_QUEUE and not (config.direct or config.sourcing):
        _check_work_queue(stream, config, name)
    check_name_length(config.durable_name)
    _put_threshold(config)


def _open_next(consumer: Consumer, _: Exception | None) -> None:
    """Who made a consumer hears of that before it hears of messages."""
    consumer.stream.account.clock.call_later(0.0, consumer.open)


def pause(consumer: Consumer, until: int | None) -> None:
    """Makes a consumer pause until a time in nanoseconds since 1970, or go on."""
    config = consumer.config.copy()
    config.pause_until = until
    metadata.stamp(config)
    was = consumer.config.pause_until
    consumer.update(config)
    if until != was:
        tell_of_pause(consumer)


def tell_of_pause(consumer: Consumer) -> None:
    """Lets the account hear that a consumer pauses, or goes on."""
    stream, until = consumer.stream, consumer.config.pause_until
    facts = {
        "stream": stream.name,
        "consumer": consumer.name,
        "paused": consumer.pause_remaining > 0,
        "pause_until": shown_time(ZERO_TIME if until is None else until),
    }
    stream.account.advisories.tell(f"CONSUMER.PAUSE.{stream.name}.{consumer.name}", "consumer_pause", facts)


def _change(stream: Stream, existing: Consumer, config: ConsumerConfig, action: Action) -> None:
    old = existing.config
    if action is Action.CREATE and not _same(config, old):
        raise ApiError.CONSUMER_ALREADY_EXISTS.error()
    if stream.config.retention is Retention.WORK_QUEUE and not _is_unique(stream, config.filters, existing.name):
        raise ApiError.CONSUMER_WQ_CONSUMER_NOT_UNIQUE.error()
    _put_threshold(config)
    if config != old:
        check_update(old, config, stream.account.internal.has_interest)
        existing.update(config)


def _same(one: ConsumerConfig, other: ConsumerConfig) -> bool:
    return metadata.alike(one.metadata, other.metadata) and one == msgspec.structs.replace(
        other, metadata=one.metadata
    )


def _counted(stream: Stream) -> list[Consumer]:
    """The consumers that limits count: those that somebody made."""
    return [one for one in stream.consumers.values() if not (one.config.direct or one.config.sourcing)]


def _check_count(stream: Stream, ceiling: int) -> None:
    most = stream.config.max_consumers
    if most <= 0 or 0 < ceiling < most:
        most = ceiling
    if 0 < most <= len(_counted(stream)):
        raise ApiError.MAXIMUM_CONSUMERS_LIMIT.error()


def _check_work_queue(stream: Stream, config: ConsumerConfig, name: str) -> None:
    if config.ack_policy not in (AckPolicy.EXPLICIT, AckPolicy.FLOW_CONTROL):
        raise ApiError.CONSUMER_WQ_REQUIRES_EXPLICIT_ACK.error()
    if config.deliver_policy is not DeliverPolicy.ALL:
        raise ApiError.CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL.error()
    if _counted(stream):
        if not config.filters:
            raise ApiError.CONSUMER_WQ_MULTIPLE_UNFILTERED.error()
        if not _is_unique(stream, config.filters, name):
            raise ApiError.CONSUMER_WQ_CONSUMER_NOT_UNIQUE.error()


def _is_unique(stream: Stream, filters: list[str], name: str) -> bool:
    """Whether no other consumer delivers anything of what these filters let through."""
    for other in _counted(stream):
        if other.name != name and filters:
            theirs = other.config.filters
            if not theirs or any(overlaps(one, another) for one in filters for another in theirs):
                return False
    return True


def _put_threshold(config: ConsumerConfig) -> None:
    """Who has no durable name goes when nobody wants it any more."""
    if not config.durable_name and not config.inactive_threshold:
        config.inactive_threshold = EPHEMERAL_THRESHOLD


def _new_name(stream: Stream) -> str:
    while True:
        name = "".join(_DIGITS[byte % len(_DIGITS)] for byte in os.urandom(_NAME_LENGTH))
        if name not in stream.consumers:
            return name
