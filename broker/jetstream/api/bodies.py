"""What requests say, as JSON. Fields have the names that they have there."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from broker.jetstream.codec import ZERO_TIME, Int, Time, Uint64
from broker.jetstream.config.consumer import ConsumerConfig
from broker.jetstream.config.stream import StreamConfig
from broker.jetstream.config.words import Action

_PAGED = {"offset": "ApiPagedRequest"}


class StreamRequest(StreamConfig, kw_only=True):
    """A stream to be made or changed."""

    GO_NAME: ClassVar[str] = "StreamConfigRequest"
    EMBEDDED: ClassVar[dict[str, str]] = dict.fromkeys(StreamConfig.__struct_fields__, "StreamConfig")

    pedantic: bool = False

    def config(self) -> StreamConfig:
        """The configuration alone."""
        return StreamConfig(**{name: getattr(self, name) for name in StreamConfig.__struct_fields__})


class NamesRequest(msgspec.Struct, kw_only=True):
    """Which streams to list."""

    GO_NAME: ClassVar[str] = "JSApiStreamNamesRequest"
    EMBEDDED: ClassVar[dict[str, str]] = _PAGED

    offset: Int = 0
    subject: str = ""


class ListRequest(NamesRequest, kw_only=True):
    """Which streams to tell all of."""

    GO_NAME: ClassVar[str] = "JSApiStreamListRequest"


class InfoRequest(msgspec.Struct, kw_only=True):
    """What to tell of a stream."""

    GO_NAME: ClassVar[str] = "JSApiStreamInfoRequest"
    EMBEDDED: ClassVar[dict[str, str]] = _PAGED

    offset: Int = 0
    deleted_details: bool = False
    subjects_filter: str = ""


class PurgeRequest(msgspec.Struct, kw_only=True):
    """Which messages of a stream to let go."""

    GO_NAME: ClassVar[str] = "JSApiStreamPurgeRequest"

    seq: Uint64 = 0
    filter: str = ""
    keep: Uint64 = 0


class MessageDeleteRequest(msgspec.Struct, kw_only=True):
    """Which message to let go."""

    GO_NAME: ClassVar[str] = "JSApiMsgDeleteRequest"

    seq: Uint64 = 0
    no_erase: bool = False


class MessageGetRequest(msgspec.Struct, kw_only=True):
    """Which message is wanted, or which ones of a direct request."""

    GO_NAME: ClassVar[str] = "JSApiMsgGetRequest"

    seq: Uint64 = 0
    last_by_subj: str = ""
    next_by_subj: str = ""
    batch: Int = 0
    max_bytes: Int = 0
    start_time: Time | None = None
    multi_last: list[str] = msgspec.field(default_factory=list)
    up_to_seq: Uint64 = 0
    up_to_time: Time | None = None
    no_hdr: bool = False


class SnapshotRequest(msgspec.Struct, kw_only=True):
    """Where to send a stream, and how."""

    GO_NAME: ClassVar[str] = "JSApiStreamSnapshotRequest"

    deliver_subject: str = ""
    no_consumers: bool = False
    chunk_size: Int = 0
    window_size: Int = 0
    jsck: bool = False
    """Asks for checksums to be looked at, which is always done."""


class RestoreLost(msgspec.Struct, kw_only=True):
    """What a stream of nats-server had lost."""

    GO_NAME: ClassVar[str] = "LostStreamData"

    msgs: list[Uint64] = msgspec.field(default_factory=list)
    bytes: Uint64 = 0


class RestoreState(msgspec.Struct, kw_only=True):
    """What the archive of a stream is said to hold; the archive itself says it again."""

    GO_NAME: ClassVar[str] = "StreamState"

    messages: Uint64 = 0
    bytes: Uint64 = 0
    first_seq: Uint64 = 0
    first_ts: Time = ZERO_TIME
    last_seq: Uint64 = 0
    last_ts: Time = ZERO_TIME
    num_subjects: Int = 0
    subjects: dict[str, Uint64] = msgspec.field(default_factory=dict)
    num_deleted: Int = 0
    deleted: list[Uint64] = msgspec.field(default_factory=list)
    lost: RestoreLost | None = None
    consumer_count: Int = 0


class RestoreRequest(msgspec.Struct, kw_only=True):
    """What the stream of an archive is to be like."""

    GO_NAME: ClassVar[str] = "JSApiStreamRestoreRequest"

    config: StreamConfig = msgspec.field(default_factory=StreamConfig)
    state: RestoreState = msgspec.field(default_factory=RestoreState)


class ConsumerRequest(msgspec.Struct, kw_only=True):
    """A consumer to be made or changed."""

    GO_NAME: ClassVar[str] = "CreateConsumerRequest"

    stream_name: str = ""
    config: ConsumerConfig = msgspec.field(default_factory=ConsumerConfig)
    action: Action = Action.CREATE_OR_UPDATE
    pedantic: bool = False


class ConsumersRequest(msgspec.Struct, kw_only=True):
    """Which consumers to list."""

    GO_NAME: ClassVar[str] = "JSApiConsumersRequest"
    EMBEDDED: ClassVar[dict[str, str]] = _PAGED

    offset: Int = 0


class PauseRequest(msgspec.Struct, kw_only=True):
    """Until when a consumer is to pause; the zero time resumes it."""

    GO_NAME: ClassVar[str] = "JSApiConsumerPauseRequest"

    pause_until: Time = ZERO_TIME


class UnpinRequest(msgspec.Struct, kw_only=True):
    """Which priority group is to lose its pinned client."""

    GO_NAME: ClassVar[str] = "JSApiConsumerUnpinRequest"

    group: str = ""
