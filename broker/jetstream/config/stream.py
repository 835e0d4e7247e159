"""The configuration of a stream. Fields have the names that they have in JSON, where ADRs explain them."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from broker.jetstream.codec import Duration, Int, Int32, Int64, Time, Uint64
from broker.jetstream.config.words import Compression, Discard, PersistMode, Retention, Storage

UNLIMITED: Final = -1


class Placement(msgspec.Struct, kw_only=True):
    """Where in a cluster a stream lives."""

    cluster: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    preferred: str = ""


class Transform(msgspec.Struct, kw_only=True):
    """Rewrites subjects."""

    GO_NAME: ClassVar[str] = "SubjectTransformConfig"
    ALWAYS: ClassVar[frozenset[str]] = frozenset({"src", "dest"})

    src: str = ""
    dest: str = ""


class Republish(msgspec.Struct, kw_only=True):
    """Publishes what is stored once more, on another subject."""

    GO_NAME: ClassVar[str] = "RePublish"
    ALWAYS: ClassVar[frozenset[str]] = frozenset({"dest"})

    src: str = ""
    dest: str = ""
    headers_only: bool = False


class External(msgspec.Struct, kw_only=True):
    """A stream of another account or domain: the prefixes of its API and of what it delivers."""

    GO_NAME: ClassVar[str] = "ExternalStream"
    ALWAYS: ClassVar[frozenset[str]] = frozenset({"api", "deliver"})

    api: str = ""
    deliver: str = ""


class SourceConsumer(msgspec.Struct, kw_only=True):
    """A durable consumer that somebody has made for a mirror or a source."""

    GO_NAME: ClassVar[str] = "StreamConsumerSource"

    name: str = ""
    deliver_subject: str = ""


class StreamSource(msgspec.Struct, kw_only=True):
    """A stream that another one takes its messages from."""

    ALWAYS: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str = ""
    opt_start_seq: Uint64 = 0
    opt_start_time: Time | None = None
    filter_subject: str = ""
    subject_transforms: list[Transform] = msgspec.field(default_factory=list)
    external: External | None = None
    consumer: SourceConsumer | None = None


class ConsumerLimits(msgspec.Struct, kw_only=True):
    """What holds for consumers that say nothing else."""

    GO_NAME: ClassVar[str] = "StreamConsumerLimits"

    inactive_threshold: Duration = 0
    max_ack_pending: Int = 0


class StreamConfig(msgspec.Struct, kw_only=True):
    """How a stream is configured. Durations are in nanoseconds, sizes in bytes, -1 is unlimited.

    Fields begin with what an absent one means in JSON; `broker.jetstream.config.stream_check` puts the defaults.
    """

    ALWAYS: ClassVar[frozenset[str]] = frozenset(
        {
            *("name", "retention", "max_consumers", "max_msgs", "max_bytes", "max_age", "max_msgs_per_subject"),
            *("discard", "storage", "num_replicas", "compression", "allow_direct", "mirror_direct", "sealed"),
            *("deny_delete", "deny_purge", "allow_rollup_hdrs", "consumer_limits", "allow_msg_ttl"),
        }
    )

    name: str = ""
    description: str = ""
    subjects: list[str] = msgspec.field(default_factory=list)
    retention: Retention = Retention.LIMITS
    max_consumers: Int = 0
    max_msgs: Int64 = 0
    max_bytes: Int64 = 0
    max_age: Duration = 0
    max_msgs_per_subject: Int64 = 0
    max_msg_size: Int32 = 0
    discard: Discard = Discard.OLD
    storage: Storage = Storage.FILE
    num_replicas: Int = 0
    no_ack: bool = False
    duplicate_window: Duration = 0
    placement: Placement | None = None
    mirror: StreamSource | None = None
    sources: list[StreamSource] = msgspec.field(default_factory=list)
    compression: Compression = Compression.NONE
    first_seq: Uint64 = 0
    subject_transform: Transform | None = None
    republish: Republish | None = None
    allow_direct: bool = False
    mirror_direct: bool = False
    discard_new_per_subject: bool = False
    sealed: bool = False
    deny_delete: bool = False
    deny_purge: bool = False
    allow_rollup_hdrs: bool = False
    consumer_limits: ConsumerLimits = msgspec.field(default_factory=ConsumerLimits)
    allow_msg_ttl: bool = False
    subject_delete_marker_ttl: Duration = 0
    allow_msg_counter: bool = False
    allow_atomic: bool = False
    allow_msg_schedules: bool = False
    persist_mode: PersistMode = PersistMode.DEFAULT
    allow_batched: bool = False
    metadata: dict[str, str] = msgspec.field(default_factory=dict)

    def copy(self) -> StreamConfig:
        """One that can be changed without changing this one."""
        return msgspec.structs.replace(self, subjects=list(self.subjects), metadata=dict(self.metadata))
