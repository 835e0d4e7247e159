"""What a publisher may expect of a stream: nothing is stored where it is not so (``Nats-Expected-…``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.subject import is_literal
from broker.core.log import Filter
from broker.jetstream.errors import ApiError
from broker.jetstream.publish import headers
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.core.log import Log

_NO_NUMBER: Final = -1
"""What is no number is expected as one that no stream has."""


def number(text: bytes) -> int:
    """A sequence as it stands in a header."""
    return int(text) if text.isdigit() and len(text) < 20 else _NO_NUMBER


def last_of(log: Log, subject: bytes) -> int:
    """The last sequence of a subject, or of all subjects that a pattern matches; 0 for none."""
    if is_literal(shown(subject)):
        found = log.find(subject)
        return 0 if found is None else found[2]
    return log.previous(Filter([subject]), log.last)


def check_stream(lines: dict[bytes, bytes], name: str) -> None:
    """Checks which stream the message is meant for. Raises JetStreamError."""
    expected = lines.get(headers.EXPECTED_STREAM)
    if expected and expected != name.encode():
        raise ApiError.STREAM_NOT_MATCH.error()


def check_sequences(lines: dict[bytes, bytes], log: Log, subject: bytes) -> None:
    """Checks the last sequence of a subject, and of the stream. Raises JetStreamError."""
    expected = lines.get(headers.EXPECTED_LAST_SUBJECT_SEQUENCE)
    other = lines.get(headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT)
    if expected:
        last = last_of(log, other or subject)
        if number(expected) != last:
            raise ApiError.STREAM_WRONG_LAST_SEQUENCE.error(seq=last)
    elif other:
        raise ApiError.STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID.error()
    expected = lines.get(headers.EXPECTED_LAST_SEQUENCE)
    if expected and number(expected) != log.last:
        raise ApiError.STREAM_WRONG_LAST_SEQUENCE.error(seq=log.last)


def check_message_id(lines: dict[bytes, bytes], last: bytes) -> None:
    """Checks the id of the message before. Raises JetStreamError."""
    expected = lines.get(headers.EXPECTED_LAST_MESSAGE_ID)
    if expected and expected != last:
        raise ApiError.STREAM_WRONG_LAST_MSG_ID.error(id=last.decode("utf-8", "replace"))
