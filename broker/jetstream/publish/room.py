"""Whether there is room for a message: in itself, in its stream, in its account, on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.jetstream.config.stream import UNLIMITED
from broker.jetstream.config.words import Discard
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import headers

if TYPE_CHECKING:
    from broker.core.log import Log
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.stream import Stream

LARGEST_HEADER: Final = (1 << 16) - 1
LARGEST_STORED: Final = (1 << 30) - 1
"""Bytes that a message may count in a store of files."""


def check_storable(stream: Stream, size: int) -> None:
    """Checks that a message is not more than the stream's store takes at all. Raises JetStreamError."""
    if not stream.is_memory and size > LARGEST_STORED:
        raise ApiError.STREAM_STORE_FAILED.error(err="message to large")


def check_header(header: bytes | None) -> None:
    """Checks how large a header is. Raises JetStreamError."""
    if header is not None and len(header) > LARGEST_HEADER:
        raise ApiError.STREAM_HEADER_EXCEEDS_MAXIMUM.error()


def check_size(config: StreamConfig, header: bytes | None, payload: bytes) -> None:
    """Checks how large a message is. Raises JetStreamError."""
    header_size = 0 if header is None else len(header)
    if config.max_msg_size != UNLIMITED and header_size + len(payload) > config.max_msg_size:
        raise ApiError.STREAM_MESSAGE_EXCEEDS_MAXIMUM.error()
    check_header(header)


def may_refuse(config: StreamConfig) -> bool:
    """Whether a stream may refuse a message for those that it has. A bucket that only replaces never does."""
    is_bounded = config.max_msgs > 0 or config.max_bytes > 0
    return config.discard is Discard.NEW and (is_bounded or config.discard_new_per_subject)


def check_discard_new(config: StreamConfig, log: Log, subject: bytes, lines: dict[bytes, bytes], size: int) -> None:
    """Checks a stream that refuses what it has no room for; ``size`` is what the message counts.

    Raises JetStreamError.
    """
    if not may_refuse(config):
        return
    found = log.find(subject) if config.max_msgs_per_subject > 0 else None
    replaces = found is not None and found[0] >= config.max_msgs_per_subject
    if replaces and config.discard_new_per_subject and headers.ROLLUP not in lines:
        raise full("maximum messages per subject exceeded")
    if 0 < config.max_msgs <= log.messages and not replaces:
        raise full("maximum messages exceeded")
    if 0 < config.max_bytes < log.bytes + size:
        if replaces and found is not None:
            oldest = log.get(found[1])
            if oldest is not None:
                header = -1 if oldest.header is None else len(oldest.header)
                if log.size_of(len(oldest.subject), header, len(oldest.payload)) >= size:
                    return
        raise full("maximum bytes exceeded")


def full(text: str) -> JetStreamError:
    """What a stream says that refuses what it has no room for."""
    return ApiError.STREAM_STORE_FAILED.error(err=text)
