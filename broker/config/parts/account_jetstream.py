"""``jetstream`` in an account: its share."""

from __future__ import annotations

from typing import Final

from broker.config.parts.jetstream import switch
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, fail, keys, read_block


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the account asks for JetStream."""
    content = entry.value.content
    if isinstance(content, bool):
        return content
    if isinstance(content, str):
        return switch(entry, content)
    if not isinstance(content, Table):
        raise fail(entry, f"Expected map, bool or string to define JetStream, got {entry.value.kind}")
    read_block(content, KEYS, problems)
    return True


def _number(entry: Entry, _: Problems) -> None:
    if isinstance(entry.value.content, bool) or not isinstance(entry.value.content, int):
        raise fail(entry, f'Expected a parseable size for "{entry.key}", got {entry.value.kind}')


def _boolean(entry: Entry, _: Problems) -> None:
    if not isinstance(entry.value.content, bool):
        raise fail(entry, f'Expected a parseable bool for "{entry.key}", got {entry.value.kind}')


def _cluster_traffic(entry: Entry, _: Problems) -> None:
    if entry.value.content not in ("system", "owner"):
        content = entry.value.content
        shown = content if isinstance(content, str) else entry.value.kind
        raise fail(entry, f"Expected 'system' or 'owner' string value for \"{entry.key}\", got {shown}")


KEYS: Final[Keys] = {
    **keys("max_memory", "max_mem", "mem", "memory", read=_number, kind="bytes", default="-1", doc="Memory."),
    **keys("max_store", "max_file", "max_disk", "store", "disk", read=_number, kind="bytes", default="-1", doc="Disk."),
    **keys("max_streams", "streams", read=_number, kind="number", default="-1", doc="Streams."),
    **keys("max_consumers", "consumers", read=_number, kind="number", default="-1", doc="Consumers."),
    **keys(
        *("max_bytes_required", "max_stream_bytes", "max_bytes"),
        read=_boolean,
        kind="boolean",
        default="`false`",
        doc="Each stream must name its size.",
    ),
    **keys(
        *("mem_max_stream_bytes", "memory_max_stream_bytes"),
        read=_number,
        kind="bytes",
        default="-1",
        doc="Largest stream in memory.",
    ),
    **keys(
        *("disk_max_stream_bytes", "store_max_stream_bytes"),
        read=_number,
        kind="bytes",
        default="-1",
        doc="Largest one on disk.",
    ),
    **keys("max_ack_pending", read=_number, kind="number", default="-1", doc="Unacknowledged messages of a consumer."),
    **keys(
        "cluster_traffic",
        read=_cluster_traffic,
        kind="`system` or `owner`",
        default="`system`",
        doc="The account whose connections carry the replicas' traffic.",
    ),
}
