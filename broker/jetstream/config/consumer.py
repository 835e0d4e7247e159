"""The configuration of a consumer. Fields have the names that they have in JSON, where ADRs explain them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from broker.jetstream.codec import Duration, Int, Time, Uint64
from broker.jetstream.config.words import AckPolicy, DeliverPolicy, PriorityPolicy, ReplayPolicy


class ConsumerConfig(msgspec.Struct, kw_only=True):
    """How a consumer is configured. Durations are in nanoseconds, -1 is unlimited.

    Fields begin with what an absent one means in JSON; `broker.jetstream.config.consumer_check` puts the defaults.
    """

    ALWAYS: ClassVar[frozenset[str]] = frozenset({"deliver_policy", "ack_policy", "replay_policy", "num_replicas"})

    durable_name: str = ""
    name: str = ""
    description: str = ""
    deliver_policy: DeliverPolicy = DeliverPolicy.ALL
    opt_start_seq: Uint64 = 0
    opt_start_time: Time | None = None
    ack_policy: AckPolicy = AckPolicy.NONE
    ack_wait: Duration = 0
    max_deliver: Int = 0
    backoff: list[Duration] = msgspec.field(default_factory=list)
    filter_subject: str = ""
    filter_subjects: list[str] = msgspec.field(default_factory=list)
    replay_policy: ReplayPolicy = ReplayPolicy.INSTANT
    rate_limit_bps: Uint64 = 0
    """Bits in a second."""
    sample_freq: str = ""
    max_waiting: Int = 0
    max_ack_pending: Int = 0
    flow_control: bool = False
    headers_only: bool = False
    max_batch: Int = 0
    max_expires: Duration = 0
    max_bytes: Int = 0
    deliver_subject: str = ""
    deliver_group: str = ""
    idle_heartbeat: Duration = 0
    inactive_threshold: Duration = 0
    num_replicas: Int = 0
    mem_storage: bool = False
    direct: bool = False
    sourcing: bool = False
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    pause_until: Time | None = None
    priority_groups: list[str] = msgspec.field(default_factory=list)
    priority_policy: PriorityPolicy = PriorityPolicy.NONE
    priority_timeout: Duration = 0

    def copy(self) -> ConsumerConfig:
        """One that can be changed without changing this one."""
        return msgspec.structs.replace(self, metadata=dict(self.metadata))

    @property
    def filters(self) -> list[str]:
        """The subjects that it delivers; none for all."""
        return [self.filter_subject] if self.filter_subject else self.filter_subjects

    @property
    def is_push(self) -> bool:
        """Whether it delivers by itself, rather than when it is asked."""
        return bool(self.deliver_subject)
