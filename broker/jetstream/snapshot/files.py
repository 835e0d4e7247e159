"""The files of an archive, as nats-server 2.10 to 2.14 names them, and what is in them beside messages.

    meta.inf  meta.sum              the stream's configuration and its hash
    msgs/1.blk …                    messages
    msgs/index.db                   bounds of the stream
    obs/NAME/meta.inf  meta.sum     a consumer's configuration and its hash
    obs/NAME/o.dat                  where it stands
    obs/NAME/natskeep.json          the same, as far as `o.dat` cannot say it; written by natskeep alone
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.jetstream.codec import ZERO_TIME, JsonError, Time, decode, dumps, now, plain, shown_time
from broker.jetstream.config.consumer import ConsumerConfig
from broker.jetstream.config.stream import StreamConfig
from broker.jetstream.snapshot import places
from broker.jetstream.snapshot.problems import ArchiveError
from broker.jetstream.snapshot.records import checksum

if TYPE_CHECKING:
    from broker.jetstream.consumer.consumer import Consumer
    from broker.jetstream.consumer.standing import Standing
    from broker.jetstream.stream import Stream

META: Final = "meta.inf"
SUM: Final = "meta.sum"
PLACE: Final = "o.dat"
OWN: Final = "natskeep.json"
INDEX: Final = "msgs/index.db"

_BLOCK: Final = re.compile(r"msgs/([0-9]{1,10})\.blk")
_OF_CONSUMER: Final = re.compile(r"obs/([^/]+)/(meta\.inf|meta\.sum|o\.dat|natskeep\.json)")
_INDEX_MAGIC: Final = 11
_INDEX_VERSIONS: Final = range(1, 16)
_HASH: Final = 8


class StreamMeta(StreamConfig, kw_only=True):
    """`meta.inf` of a stream: its configuration, and when it was made."""

    Created: Time = ZERO_TIME


class ConsumerMeta(ConsumerConfig, kw_only=True):
    """`meta.inf` of a consumer."""

    Created: Time = ZERO_TIME
    Name: str = ""


def block_name(number: int) -> str:
    """The name of a block of messages; they are counted from 1."""
    return f"msgs/{number}.blk"


def block_number(name: str) -> int | None:
    """The number of a block of messages; None for what is none."""
    found = _BLOCK.fullmatch(name)
    return None if found is None else int(found[1])


def of_consumer(name: str) -> tuple[str, str] | None:
    """The consumer that a file is of, and what it holds; None for what is of none."""
    found = _OF_CONSUMER.fullmatch(name)
    return None if found is None else (found[1], found[2])


def is_safe(name: str) -> bool:
    """Whether a name leads nowhere else. Nothing is written under it; it is not taken all the same."""
    return not name.startswith("/") and "\\" not in name and ".." not in name.split("/") and name.isprintable()


def of_stream(stream: Stream) -> dict[str, bytes]:
    """The files of a stream, but for its messages."""
    meta = dumps({"Created": shown_time(stream.created), **plain(stream.config)})
    return {META: meta, SUM: checksum(stream.name, meta).hex().encode()}


def with_consumer(consumer: Consumer, last: int) -> dict[str, bytes]:
    """The files of a consumer, in an archive whose last sequence is ``last``."""
    name = consumer.name
    meta = dumps({"Created": shown_time(consumer.created), "Name": name, **plain(consumer.config)})
    place, own = places.written(consumer, last)
    kept = {META: meta, SUM: checksum(f"{consumer.stream.name}/{name}", meta).hex().encode(), PLACE: place, OWN: own}
    return {f"obs/{name}/{file}": content for file, content in kept.items()}


def stream_meta(content: bytes) -> StreamMeta:
    """A stream's configuration. Raises ArchiveError."""
    try:
        return decode(content, StreamMeta, strict=False)
    except JsonError as error:
        raise ArchiveError(f"{META} cannot be read: {error}") from None


def consumer_of(stream: str, name: str, kept: dict[str, bytes]) -> tuple[ConsumerConfig, Standing, int]:
    """A consumer's configuration, where it stands, and when it was made, out of its files. Raises ArchiveError."""
    for file in (META, SUM):
        if file not in kept:
            raise ArchiveError(f'error restoring consumer ["{name}"]: {file} is missing')
    if kept[SUM] != checksum(f"{stream}/{name}", kept[META]).hex().encode():
        raise ArchiveError(f'error restoring consumer ["{name}"]: its checksum does not fit')
    try:
        meta = decode(kept[META], ConsumerMeta, strict=False)
        config = ConsumerConfig(**{field: getattr(meta, field) for field in ConsumerConfig.__struct_fields__})
        standing = places.read(kept.get(PLACE, b""), kept.get(OWN, b""), config)
    except (JsonError, ArchiveError) as error:
        raise ArchiveError(f'error restoring consumer ["{name}"]: {error}') from None
    return config, standing, moment(meta.Created)


def moment(created: int) -> int:
    """When something was made; now, where it does not say."""
    return created if created not in (0, ZERO_TIME) else now()


def bounds(stream: str, index: bytes) -> tuple[int, int, int]:
    """First and last sequence, and the last one's time, as `index.db` has them; zeroes where its form is not known.

    Raises ArchiveError.
    """
    content = index[:-_HASH]
    if len(index) < 2 + _HASH or content[0] != _INDEX_MAGIC or content[1] not in _INDEX_VERSIONS:
        return 0, 0, 0
    if checksum(stream, content) != index[-_HASH:]:
        raise ArchiveError("index.db is damaged: its checksum does not fit")
    numbers = places.Numbers(content, 2)
    for _ in ("messages", "bytes"):
        numbers.unsigned()
    first, _, last, time = numbers.unsigned(), numbers.signed(), numbers.unsigned(), numbers.signed()
    return first, last, time


