"""A message that takes the place of all before it, of its subject or of the stream (``Nats-Rollup``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.subject import is_literal
from auth.gojson import quote
from broker.core.log import Filter
from broker.jetstream.errors import ApiError
from broker.jetstream.publish import headers
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.core.log import Log
    from broker.jetstream.config.stream import StreamConfig

OF_SUBJECT: Final = b"sub"
OF_STREAM: Final = b"all"
_ANY_NUMBER: Final = 1 << 62


def is_allowed(config: StreamConfig) -> bool:
    """Whether messages of the stream may take the place of others."""
    return config.allow_rollup_hdrs and not config.deny_purge


def wanted(lines: dict[bytes, bytes], config: StreamConfig, *, is_sourced: bool = False) -> bytes | None:
    """What the message takes the place of; None for nothing. Raises JetStreamError.

    A message of a source is stored with its header, even where it takes the place of nothing here.
    """
    rollup = lines.get(headers.ROLLUP)
    if not rollup:
        return None
    if not is_allowed(config):
        if is_sourced:
            return None
        raise ApiError.STREAM_ROLLUP_FAILED.error(err="rollup not permitted")
    kind = rollup.lower()
    if kind not in (OF_SUBJECT, OF_STREAM):
        raise ApiError.STREAM_ROLLUP_FAILED.error(err=f"rollup value invalid: {quote(kind.decode('utf-8', 'replace'))}")
    return kind


def replace(log: Log, kind: bytes, subject: bytes, sequence: int) -> None:
    """Lets everything go that the message with ``sequence`` takes the place of."""
    if kind == OF_STREAM:
        log.truncate_before(sequence)
        return
    if not is_literal(shown(subject)):
        # Who publishes on what is a pattern means all that it matches.
        log.sweep(Filter([subject]), 0, sequence - 1, _ANY_NUMBER, _ANY_NUMBER, [])
        return
    found = log.find(subject)
    while found is not None and found[1] < sequence:
        log.remove(found[1])
        found = log.find(subject)
