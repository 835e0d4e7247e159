"""``jetstream`` in an account: its share of what the server keeps."""

from __future__ import annotations

from typing import Any, Final

from accounts.limits import JetStreamLimits
from broker.config.jetstream_block import switch
from broker.config.tree import Entry, Table
from broker.config.values import NOWHERE, Keys, Problems, fail, keys, read_block


def jetstream(entry: Entry, problems: Problems) -> JetStreamLimits | None:
    """What the account's streams may take; None where it has none. Raises ConfigError."""
    content = entry.value.content
    if isinstance(content, bool):
        return JetStreamLimits() if content else None
    if isinstance(content, str):
        return JetStreamLimits() if switch(entry, content) else None
    if not isinstance(content, Table):
        raise fail(entry, f"Expected map, bool or string to define JetStream, got {entry.value.kind}")
    fields: dict[str, Any] = read_block(content, KEYS, problems)
    fields.pop(NOWHERE, None)
    return JetStreamLimits(**fields)


def _number(entry: Entry, _: Problems) -> int:
    if isinstance(entry.value.content, bool) or not isinstance(entry.value.content, int):
        raise fail(entry, f'Expected a parseable size for "{entry.key}", got {entry.value.kind}')
    return entry.value.content


def _boolean(entry: Entry, _: Problems) -> bool:
    if not isinstance(entry.value.content, bool):
        raise fail(entry, f'Expected a parseable bool for "{entry.key}", got {entry.value.kind}')
    return entry.value.content


def _cluster_traffic(entry: Entry, _: Problems) -> None:
    if entry.value.content not in ("system", "owner"):
        content = entry.value.content
        shown = content if isinstance(content, str) else entry.value.kind
        raise fail(entry, f"Expected 'system' or 'owner' string value for \"{entry.key}\", got {shown}")


KEYS: Final[Keys] = {
    **keys(
        *("max_memory", "max_mem", "mem", "memory"),
        field="memory",
        read=_number,
        kind="bytes",
        default="-1",
        doc="What its streams in memory may take; -1 is unlimited, 0 is none.",
    ),
    **keys(
        *("max_store", "max_file", "max_disk", "store", "disk"),
        field="disk",
        read=_number,
        kind="bytes",
        default="-1",
        doc="What its streams on disk may take; -1 is unlimited, 0 is none.",
    ),
    **keys(
        "max_streams", "streams", field="streams", read=_number, kind="number", default="-1", doc="Streams, if above 0."
    ),
    **keys(
        *("max_consumers", "consumers"),
        field="consumers",
        read=_number,
        kind="number",
        default="-1",
        doc="Consumers of one stream, if above 0.",
    ),
    **keys(
        *("max_bytes_required", "max_stream_bytes", "max_bytes"),
        field="max_bytes_required",
        read=_boolean,
        kind="boolean",
        default="`false`",
        doc="Each stream must name its size.",
    ),
    **keys(
        *("mem_max_stream_bytes", "memory_max_stream_bytes"),
        field="memory_max_stream_bytes",
        read=_number,
        kind="bytes",
        default="-1",
        doc="Largest stream in memory, if above 0.",
    ),
    **keys(
        *("disk_max_stream_bytes", "store_max_stream_bytes"),
        field="disk_max_stream_bytes",
        read=_number,
        kind="bytes",
        default="-1",
        doc="Largest one on disk, if above 0.",
    ),
    **keys(
        "max_ack_pending",
        field="max_ack_pending",
        read=_number,
        kind="number",
        default="-1",
        doc="Unacknowledged messages of a consumer, if above 0.",
    ),
    **keys(
        "cluster_traffic",
        read=_cluster_traffic,
        kind="`system` or `owner`",
        default="`system`",
        doc="The account whose connections carry the replicas' traffic. Without effect.",
    ),
}
