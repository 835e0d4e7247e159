"""The part of /metrics about streams: each account with its use beside its limits, its streams, its consumers.

Who makes streams and consumers is a tenant, and each of them is a label: how much is shown is chosen by whoever asks
(``/metrics?jetstream=accounts``), and is bounded for each account, with what was left out in a sample of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from broker.monitor.prometheus import head, labels_of, line
from broker.monitor.query import QueryError
from broker.wire.values import readable

if TYPE_CHECKING:
    from broker.jetstream.use import AccountUse, ConsumerUse, StreamUse
    from broker.monitor.jetstream import Streams
    from broker.monitor.query import Query

MOST_STREAMS: Final = 1000
"""Streams of an account that have samples."""
MOST_CONSUMERS: Final = 1000
"""Consumers of an account that have samples."""
SLICE: Final = 100
"""Streams or consumers after which others have a turn."""

Shown = TypeVar("Shown")


class Depth(IntEnum):
    """How much is shown; each shows all that those before it do."""

    NONE = 0
    ACCOUNTS = 1
    STREAMS = 2
    CONSUMERS = 3
    """Those that stay: names of others are made up by clients, and never come again."""
    ALL = 4

    @classmethod
    def read(cls, query: Query) -> Depth:
        """From the parameters of a request: streams and the consumers that stay unless something else is asked for.

        Raises QueryError.
        """
        asked = query.text("jetstream") or cls.CONSUMERS.name.lower()
        found = {depth.name.lower(): depth for depth in cls}.get(asked)
        if found is None:
            raise QueryError(f"jetstream is one of {', '.join(depth.name.lower() for depth in cls)}")
        return found


@dataclass(frozen=True, slots=True)
class Family(Generic[Shown]):
    """One metric: its name without the prefix, what it says, and its value, None where there is none."""

    name: str
    help: str
    value: Callable[[Shown], int | None]
    kind: Literal["counter", "gauge"] = "gauge"


_ACCOUNTS: Final[tuple[Family[AccountUse], ...]] = (
    Family("account_memory_bytes", "Bytes of its streams in memory.", lambda one: one.memory),
    Family("account_memory_bytes_limit", "Bytes that these may have.", lambda one: one.memory_limit),
    Family("account_memory_reserved_bytes", "Bytes that these say they may need.", lambda one: one.memory_reserved),
    Family("account_storage_bytes", "Bytes of its streams on disk.", lambda one: one.storage),
    Family("account_storage_bytes_limit", "Bytes that these may have.", lambda one: one.storage_limit),
    Family("account_storage_reserved_bytes", "Bytes that these say they may need.", lambda one: one.storage_reserved),
    Family("account_streams", "Streams that there are.", lambda one: one.streams),
    Family("account_streams_limit", "Streams that there may be.", lambda one: one.streams_limit),
    Family("account_consumers", "Consumers of all its streams.", lambda one: one.consumers),
    Family("account_consumers_limit", "Consumers that each stream may have.", lambda one: one.consumers_limit),
    Family("account_messages", "Messages of all its streams.", lambda one: one.messages),
    Family("account_api_requests_total", "Requests that were answered.", lambda one: one.requests, "counter"),
    Family("account_api_errors_total", "Those of them that were refused.", lambda one: one.refused, "counter"),
    Family("account_api_pending", "Requests that wait for the disk.", lambda one: one.under_way),
)

_STREAMS: Final[tuple[Family[StreamUse], ...]] = (
    Family("stream_messages", "Messages that it holds.", lambda one: one.messages),
    Family("stream_messages_limit", "Messages that it may hold.", lambda one: one.messages_limit),
    Family("stream_bytes", "Bytes of these.", lambda one: one.bytes),
    Family("stream_bytes_limit", "Bytes that they may have.", lambda one: one.bytes_limit),
    Family("stream_first_seq", "The sequence of its first message.", lambda one: one.first),
    Family("stream_last_seq", "The sequence of its last message.", lambda one: one.last),
    Family("stream_subject_count", "Subjects that have messages.", lambda one: one.used_subjects),
    Family("stream_consumer_count", "Consumers that there are.", lambda one: one.consumers),
)

_CONSUMERS: Final[tuple[Family[ConsumerUse], ...]] = (
    Family("consumer_num_pending", "Messages that were not delivered yet.", lambda one: one.pending),
    Family("consumer_num_ack_pending", "Messages that wait to be acknowledged.", lambda one: one.ack_pending),
    Family("consumer_ack_pending_limit", "Messages that may wait so.", lambda one: one.ack_pending_limit),
    Family("consumer_num_redelivered", "Those of them that came more than once.", lambda one: one.redelivered),
    Family("consumer_num_waiting", "Requests that wait for messages.", lambda one: one.waiting),
    Family("consumer_delivered_stream_seq", "The sequence up to which it delivered.", lambda one: one.delivered),
    Family("consumer_ack_floor_stream_seq", "The sequence up to which all is acknowledged.", lambda one: one.floor),
)


def jetstream_metrics(streams: Streams, names: list[str], depth: Depth) -> Iterator[bytes]:
    """The samples in pieces, between which others may have a turn. ``names`` are the accounts to show."""
    if depth is Depth.NONE:
        return
    accounts = []
    for name in names:
        use = streams.use(name)
        if use is not None:
            accounts.append(({"account": readable(name)}, use))
    yield from _families(_ACCOUNTS, accounts)
    if depth is Depth.ACCOUNTS:
        return
    found: list[tuple[dict[str, str], StreamUse]] = []
    kept: list[tuple[dict[str, str], ConsumerUse]] = []
    left: list[tuple[dict[str, str], int]] = []
    for name in names:
        labels, present = {"account": readable(name)}, streams.stream_names(name)
        durable_only, room, consumers_left = depth < Depth.ALL, MOST_CONSUMERS, 0
        for place, stream in enumerate(present):
            within = {**labels, "stream": readable(stream)}
            if place < MOST_STREAMS and (use_of_stream := streams.stream(name, stream)) is not None:
                found.append((within, use_of_stream))
            if depth >= Depth.CONSUMERS:
                consumers = streams.consumer_names(name, stream, durable_only=durable_only)
                for number, consumer in enumerate(consumers[:room]):
                    if (use_of_consumer := streams.consumer(name, stream, consumer)) is not None:
                        kept.append(({**within, "consumer": readable(consumer)}, use_of_consumer))
                    if number % SLICE == SLICE - 1:
                        yield b""
                consumers_left += max(len(consumers) - room, 0)
                room -= min(len(consumers), room)
            if place % SLICE == SLICE - 1:
                yield b""
        left += [({**labels, "kind": "stream"}, max(len(present) - MOST_STREAMS, 0))]
        left += [({**labels, "kind": "consumer"}, consumers_left)]
        yield b""
    yield from _families(_STREAMS, found)
    yield from _families(_CONSUMERS, kept)
    name = "jetstream_left_out"
    yield head(name, "gauge", "What has no samples, because the account has so many.")
    yield "".join(line(name, labels_of(labels), count) for labels, count in left if count).encode("utf-8", "replace")


def _families(families: tuple[Family[Shown], ...], shown: list[tuple[dict[str, str], Shown]]) -> Iterator[bytes]:
    labelled = [(labels_of(labels), one) for labels, one in shown]
    if not labelled:
        return
    for family in families:
        name = f"jetstream_{family.name}"
        yield head(name, family.kind, family.help)
        for start in range(0, len(labelled), SLICE):
            part = labelled[start : start + SLICE]
            lines = [line(name, labels, value) for labels, one in part if (value := family.value(one)) is not None]
            yield "".join(lines).encode("utf-8", "replace")
