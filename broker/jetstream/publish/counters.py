"""Streams that add up: each message is an amount, and what is stored is the sum of its subject (ADR-49)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from broker.jetstream.errors import ApiError
from broker.jetstream.publish import headers
from broker.session.session import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.core.log import Log
    from broker.jetstream.config.stream import StreamConfig

INCREMENT: Final = b"Nats-Incr"
SOURCES: Final = b"Nats-Counter-Sources"

LONGEST: Final = 4000
"""Digits of an amount or a sum. Longer ones take time that grows with the square of them."""

_LIMIT: Final = 10**LONGEST
_NUMBER: Final = re.compile(rb"[+-]?[0-9]{1,%d}" % LONGEST)
_EXCLUDED: Final = (
    headers.ROLLUP,
    headers.EXPECTED_STREAM,
    headers.EXPECTED_LAST_MESSAGE_ID,
    headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
    headers.EXPECTED_LAST_SEQUENCE,
    headers.EXPECTED_LAST_SUBJECT_SEQUENCE,
)

Sources = dict[str, dict[str, str]]
"""What came of each source: by stream, and the subject that it had there."""


class _Body(msgspec.Struct):
    """What is stored."""

    val: str = ""


class Sum(msgspec.Struct):
    """What a subject has come to."""

    value: int = 0
    sources: Sources = msgspec.field(default_factory=dict)


def wanted(
    lines: Mapping[bytes, bytes], payload: bytes, config: StreamConfig, *, is_sourced: bool = False
) -> int | None:
    """By how much a message counts; None where it does not say. Raises JetStreamError."""
    text = lines.get(INCREMENT)
    if not text:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise ApiError.MESSAGE_INCR_INVALID.error()
    if not is_sourced:
        if not config.allow_msg_counter:
            raise ApiError.MESSAGE_INCR_DISABLED.error()
        if payload:
            raise ApiError.MESSAGE_INCR_PAYLOAD.error()
        if any(lines.get(name) for name in _EXCLUDED):
            raise ApiError.MESSAGE_INCR_INVALID.error()
    return int(text)


def present(log: Log, subject: bytes) -> Sum:
    """What a subject has come to by now. Raises JetStreamError."""
    found = log.find(subject)
    entry = None if found is None else log.get(found[2])
    if entry is None:
        return Sum()
    sources = headers.own_lines(entry.header).get(SOURCES)
    try:
        return Sum(value_of(entry.payload), msgspec.json.decode(sources, type=Sources) if sources else {})
    except msgspec.DecodeError:
        raise ApiError.MESSAGE_COUNTER_BROKEN.error() from None


def value_of(payload: bytes) -> int:
    """The number that is stored in a message. Raises JetStreamError."""
    try:
        return _number(msgspec.json.decode(payload, type=_Body).val)
    except msgspec.DecodeError:
        raise ApiError.MESSAGE_COUNTER_BROKEN.error() from None


def counted(
    total: Sum, subject: bytes, header: bytes, payload: bytes, lines: Mapping[bytes, bytes], *, amount: int
) -> tuple[bytes, bytes]:
    """Adds a message to what its subject has come to; the header and payload to store. Raises JetStreamError.

    A message of a source brings a sum: what it adds is how much that has grown since it came last.
    """
    source = lines.get(headers.STREAM_SOURCE)
    if source:
        fields = shown(source).split(" ")
        own = total.sources.setdefault(fields[0], {})
        name = fields[4] if len(fields) > 4 else shown(subject)
        value = value_of(payload)
        amount = value - _number(own.get(name, ""))
        own[name] = str(value)
        header = headers.with_value(header, INCREMENT, b"%d" % amount)
    total.value += amount
    if abs(total.value) >= _LIMIT:
        raise ApiError.MESSAGE_COUNTER_BROKEN.error()
    if total.sources:
        known = {stream: dict(sorted(subjects.items())) for stream, subjects in sorted(total.sources.items())}
        header = headers.with_value(header, SOURCES, msgspec.json.encode(known))
    return header, b'{"val":"%d"}' % total.value


def _number(text: str) -> int:
    """A number as it is stored; what is none counts as nothing, as it does in nats-server."""
    return int(text) if _NUMBER.fullmatch(text.encode()) else 0
