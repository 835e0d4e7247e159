"""What ``nsk tool stream|consumer|kv|object`` return, and ``--json`` prints."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from tools.nsk.render import payload_text, printable
from tools.nsk.streams.api import Document, Stored
from tools.nsk.streams.keyvalue import PREFIX as VALUES
from tools.nsk.streams.keyvalue import Entry
from tools.nsk.streams.objects import PREFIX as OBJECTS

Config = Annotated[dict[str, Any], "the configuration as the server has it, in the names of the API"]
Time = Annotated[str, "in RFC 3339"]
Text = Annotated[str, "with backslash escapes for what is no UTF-8"]
Raw = Annotated[str, "in base64"]
BucketName = Annotated[str, "the bucket's name"]
StreamName = Annotated[str, "the stream's name"]
_SUBJECTS = "how many messages each subject has, where that was asked for"


@dataclass(frozen=True, slots=True)
class StreamResult:
    """A stream, and what it holds."""

    name: StreamName
    created: Time
    config: Config
    messages: Annotated[int, "how many it holds"]
    bytes: Annotated[int, "what they take"]
    first_sequence: Annotated[int, "of the first message that is there"]
    last_sequence: Annotated[int, "of the last message that there was"]
    deleted: Annotated[int, "how many between these are gone"]
    consumers: Annotated[int, "how many there are"]
    subjects: Annotated[int, "how many subjects have messages"]
    by_subject: Annotated[dict[str, int], _SUBJECTS]
    document: Annotated[dict[str, Any], "all that the server says of it, in the names of the API"]


@dataclass(frozen=True, slots=True)
class StreamList:
    """The streams of an account."""

    streams: Annotated[list[StreamResult], "sorted by name"]


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed."""

    name: Annotated[str, "its name"]
    removed: Annotated[bool, "whether it is gone; not where the person said no"]


@dataclass(frozen=True, slots=True)
class Purged:
    """A stream whose messages were removed."""

    name: StreamName
    purged: Annotated[int, "how many messages are gone"]


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a stream."""

    subject: Annotated[str, "where it was published"]
    sequence: Annotated[int, "its place in the stream"]
    time: Time
    headers: Annotated[dict[str, str], "its headers"]
    text: Text
    data: Raw


@dataclass(frozen=True, slots=True)
class StoredMessages:
    """Messages of a stream."""

    messages: Annotated[list[StoredMessage], "in their order"]


@dataclass(frozen=True, slots=True)
class Backup:
    """A stream that was written to a directory, or made of one."""

    stream: StreamName
    directory: Annotated[str, "where the backup lies"]
    bytes: Annotated[int, "the size of the archive"]
    sha256: Annotated[str, "the digest of the archive, in hexadecimal"]
    messages: Annotated[int, "how many messages the stream has"]
    first_sequence: Annotated[int, "of its first message"]
    last_sequence: Annotated[int, "of its last message"]


@dataclass(frozen=True, slots=True)
class ConsumerResult:
    """A consumer, and where it stands."""

    stream: StreamName
    name: Annotated[str, "the consumer's name"]
    created: Time
    config: Config
    pending: Annotated[int, "messages that were not delivered yet"]
    ack_pending: Annotated[int, "messages that were delivered and not acknowledged yet"]
    redelivered: Annotated[int, "those of them that were delivered more than once"]
    waiting: Annotated[int, "requests that wait for messages"]
    delivered: Annotated[int, "the stream's sequence up to which messages were delivered"]
    ack_floor: Annotated[int, "the stream's sequence up to which all are acknowledged"]
    paused: Annotated[bool, "whether delivery is paused"]
    document: Annotated[dict[str, Any], "all that the server says of it, in the names of the API"]


@dataclass(frozen=True, slots=True)
class ConsumerList:
    """The consumers of a stream."""

    stream: StreamName
    consumers: Annotated[list[ConsumerResult], "sorted by name"]


@dataclass(frozen=True, slots=True)
class Paused:
    """A consumer that was paused or resumed."""

    stream: StreamName
    name: Annotated[str, "the consumer's name"]
    paused: Annotated[bool, "whether delivery is paused now"]
    until: Annotated[str | None, "until when, in RFC 3339"]


@dataclass(frozen=True, slots=True)
class TakenMessages:
    """Messages that a consumer handed out."""

    messages: Annotated[list[StoredMessage], "in the order in which they came"]
    answered: Annotated[str, "what the server was told of each: ack, nak, term or nothing"]


@dataclass(frozen=True, slots=True)
class BucketResult:
    """A bucket of values."""

    bucket: BucketName
    config: Config
    values: Annotated[int, "values it holds, with those of its history and marks of what was deleted"]
    bytes: Annotated[int, "what they take"]


@dataclass(frozen=True, slots=True)
class EntryResult:
    """What a key had at a revision."""

    key: Annotated[str, "the key"]
    revision: Annotated[int, "its place in the bucket"]
    operation: Annotated[str, "PUT, or DEL and PURGE where the key was deleted"]
    time: Time
    text: Text
    data: Raw


@dataclass(frozen=True, slots=True)
class Entries:
    """What keys of a bucket had or have."""

    bucket: BucketName
    entries: Annotated[list[EntryResult], "in the order in which they were written"]


@dataclass(frozen=True, slots=True)
class KeysOrBuckets:
    """The keys of a bucket, or the buckets of an account where none was named."""

    bucket: Annotated[str | None, "the bucket whose keys these are, else null"]
    keys: Annotated[list[str], "sorted; empty where no bucket was named"]
    buckets: Annotated[list[BucketResult], "sorted by name; empty where one was named"]


@dataclass(frozen=True, slots=True)
class Written:
    """A key that was written."""

    bucket: BucketName
    key: Annotated[str, "the key"]
    revision: Annotated[int, "its revision now"]


@dataclass(frozen=True, slots=True)
class ObjectBucketResult:
    """An object store."""

    bucket: BucketName
    config: Config
    sealed: Annotated[bool, "whether nothing can be changed any more"]
    bytes: Annotated[int, "what its objects take, with what is known of them"]


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """An object, and what is known of it."""

    bucket: BucketName
    name: Annotated[str, "its name"]
    description: Annotated[str, "what it is, in words"]
    bytes: Annotated[int, "its size"]
    chunks: Annotated[int, "in how many messages it is kept"]
    digest: Annotated[str, "SHA-256= and the digest in base64 for URLs"]
    modified: Annotated[str, "when it was put, in RFC 3339"]
    headers: Annotated[dict[str, Any], "its headers"]
    metadata: Annotated[dict[str, Any], "what was noted with it"]


@dataclass(frozen=True, slots=True)
class ObjectsOrBuckets:
    """The objects of a store, or the stores of an account where none was named."""

    bucket: Annotated[str | None, "the store whose objects these are, else null"]
    objects: Annotated[list[ObjectResult], "sorted by name; empty where no store was named"]
    buckets: Annotated[list[ObjectBucketResult], "sorted by name; empty where one was named"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object store, or one object of it where that was named."""

    store: Annotated[ObjectBucketResult | None, "the store, else null"]
    object: Annotated[ObjectResult | None, "the object, else null"]


def stream_result(info: Document) -> StreamResult:
    """The result for what the server says of a stream."""
    state = info["state"]
    return StreamResult(
        info["config"]["name"],
        info["created"],
        info["config"],
        state["messages"],
        state["bytes"],
        state["first_seq"],
        state["last_seq"],
        state.get("num_deleted", 0),
        state.get("consumer_count", 0),
        state.get("num_subjects", 0),
        dict(state.get("subjects") or {}),
        info,
    )


def consumer_result(info: Document) -> ConsumerResult:
    """The result for what the server says of a consumer."""
    return ConsumerResult(
        info["stream_name"],
        info["name"],
        info["created"],
        info["config"],
        info.get("num_pending", 0),
        info.get("num_ack_pending", 0),
        info.get("num_redelivered", 0),
        info.get("num_waiting", 0),
        (info.get("delivered") or {}).get("stream_seq", 0),
        (info.get("ack_floor") or {}).get("stream_seq", 0),
        bool(info.get("paused")),
        info,
    )


def message_result(message: Stored) -> StoredMessage:
    """The result for a message."""
    headers = {printable(name): printable(value) for name, value in message.headers.items()}
    text, data = payload_text(message.payload), _base64(message.payload)
    return StoredMessage(message.subject, message.sequence, message.time, headers, text, data)


def entry_result(entry: Entry) -> EntryResult:
    """The result for what a key had."""
    return EntryResult(
        entry.key, entry.revision, entry.operation, entry.time, payload_text(entry.value), _base64(entry.value)
    )


def bucket_result(info: Document) -> BucketResult:
    """The result for the stream of a bucket of values."""
    config, state = info["config"], info["state"]
    return BucketResult(config["name"].removeprefix(VALUES), config, state["messages"], state["bytes"])


def object_bucket_result(info: Document) -> ObjectBucketResult:
    """The result for the stream of an object store."""
    config = info["config"]
    name = config["name"].removeprefix(OBJECTS)
    return ObjectBucketResult(name, config, bool(config.get("sealed")), info["state"]["bytes"])


def object_result(bucket: str, note: Mapping[str, Any]) -> ObjectResult:
    """The result for what is known of an object."""
    return ObjectResult(
        bucket,
        str(note["name"]),
        str(note.get("description") or ""),
        int(note.get("size") or 0),
        int(note.get("chunks") or 0),
        str(note.get("digest") or ""),
        str(note.get("mtime") or ""),
        dict(note.get("headers") or {}),
        dict(note.get("metadata") or {}),
    )


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()
