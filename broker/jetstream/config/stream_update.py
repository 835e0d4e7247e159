"""What may change in a stream that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.jetstream.config.stream_check import check_discard_new, check_stream, invalid
from broker.jetstream.config.words import Discard, Retention
from broker.jetstream.errors import ApiError

if TYPE_CHECKING:
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.config.surroundings import Surroundings


def check_update(
    old: StreamConfig, wanted: StreamConfig, surroundings: Surroundings, *, pedantic: bool = False
) -> StreamConfig:
    """What a stream becomes that is configured as ``old``, with all defaults. Raises JetStreamError."""
    config = check_stream(wanted, surroundings, pedantic=pedantic)
    if config.name != old.name:
        raise invalid("stream configuration name must match original")
    if config.num_replicas > 1:
        raise ApiError.STREAM_REPLICAS_NOT_SUPPORTED.error()
    if config.storage is not old.storage:
        raise invalid("stream configuration update can not change storage type")
    if config.retention is not old.retention and Retention.WORK_QUEUE in (config.retention, old.retention):
        raise invalid("stream configuration update can not change retention policy to/from workqueue")
    if old.sealed and not config.sealed:
        raise invalid("stream configuration update can not unseal a sealed stream")
    if old.deny_delete and not config.deny_delete:
        raise invalid("stream configuration update can not cancel deny message deletes")
    if old.deny_purge and not config.deny_purge:
        raise invalid("stream configuration update can not cancel deny purge")
    if config.mirror is not None and config.mirror != old.mirror:
        raise ApiError.STREAM_MIRROR_NOT_UPDATABLE.error()
    if config.discard_new_per_subject:
        check_discard_new(config)
    if old.allow_msg_ttl and not config.allow_msg_ttl:
        raise invalid("message TTL status can not be disabled")
    if config.allow_msg_counter != old.allow_msg_counter:
        raise invalid("stream configuration update can not change message counter setting")
    if old.allow_msg_schedules and not config.allow_msg_schedules:
        raise invalid("message schedules can not be disabled")
    if config.persist_mode is not old.persist_mode:
        raise invalid("stream configuration update can not change persist mode")
    if config.sealed:
        config.max_age = 0
        config.discard = Discard.NEW
        config.deny_delete = config.deny_purge = True
        config.allow_rollup_hdrs = False
    return config
