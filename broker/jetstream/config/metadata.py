"""What the server itself writes into metadata: the API level that something needs, and its own (ADR-44)."""

from __future__ import annotations

from typing import Final

from broker.jetstream.config.consumer import ConsumerConfig
from broker.jetstream.config.stream import StreamConfig
from broker.jetstream.config.words import AckPolicy, PersistMode, PriorityPolicy
from broker.wire.info import API_LEVEL, PROVIDED_RELEASE

REQUIRED_LEVEL: Final = "_nats.req.level"
LEVEL: Final = "_nats.level"
VERSION: Final = "_nats.ver"

MAXIMUM_LENGTH: Final = 128 * 1024
"""Characters of all names and values together."""


def stamp(config: StreamConfig | ConsumerConfig) -> None:
    """Writes down which API level the configuration needs; what is told only in answers is not kept."""
    kept = {name: value for name, value in config.metadata.items() if name not in (LEVEL, VERSION)}
    required = stream_level(config) if isinstance(config, StreamConfig) else consumer_level(config)
    config.metadata = {**kept, REQUIRED_LEVEL: str(required)}


def stream_level(config: StreamConfig) -> int:
    """The API level that a stream needs."""
    if config.allow_batched:
        return 4
    newer = config.allow_msg_counter or config.allow_atomic or config.allow_msg_schedules
    if newer or config.persist_mode is PersistMode.ASYNC:
        return 2
    return 1 if config.allow_msg_ttl or config.subject_delete_marker_ttl > 0 else 0


def consumer_level(config: ConsumerConfig) -> int:
    """The API level that a consumer needs."""
    if config.ack_policy is AckPolicy.FLOW_CONTROL:
        return 4
    prioritized = config.priority_policy is not PriorityPolicy.NONE
    if prioritized or config.priority_timeout or config.priority_groups or config.pause_until:
        return 1
    return 0


def told(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata as answers tell it: with the server's own level and release."""
    return dict(sorted({**metadata, LEVEL: str(API_LEVEL), VERSION: PROVIDED_RELEASE}.items()))


def alike(metadata: dict[str, str], other: dict[str, str]) -> bool:
    """Whether two say the same, apart from what the server writes."""
    own = (REQUIRED_LEVEL, LEVEL, VERSION)
    return {name: value for name, value in metadata.items() if name not in own} == {
        name: value for name, value in other.items() if name not in own
    }


def length(metadata: dict[str, str]) -> int:
    """Bytes of all names and values together."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
