"""Checks the messages of a batch one after the other, before any of them is stored (ADR-50).

Each is checked as if those before it were there; what would need their sequences is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.control.tenant import wire
from broker.jetstream.config.words import Discard
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import counters, expectations, headers, rollup, room, schedules
from broker.jetstream.publish.lifetimes import TTL, lifetime
from broker.jetstream.publish.ready import Ready
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.jetstream.publish.counters import Sum
    from broker.jetstream.publish.duplicates import Duplicates
    from broker.jetstream.stream import Stream

COMMIT: Final = b"Nats-Batch-Commit"


class DuplicateMessageError(JetStreamError):
    """A message was published before; ``sequence`` is where it is, 0 where it is in the same batch."""

    def __init__(self, sequence: int) -> None:
        kind = ApiError.ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE
        super().__init__(kind, kind.text)
        self.sequence = sequence


class Staged:
    """The messages of one batch that nothing stands against so far."""

    def __init__(self, stream: Stream, duplicates: Duplicates, moment: int) -> None:
        self._stream = stream
        self._duplicates = duplicates
        self._moment = moment
        self.ready: list[Ready] = []
        """As they are to be stored, in order."""
        self.size = 0
        """The bytes that they count."""
        self._ids: set[bytes] = set()
        self._sums: dict[bytes, Sum] = {}
        self._count: dict[bytes, int] = {}
        self._expected: dict[bytes, int] = {}
        self._schedules: dict[bytes, bool] = {}

    def add(self, subject: bytes, header: bytes | None, payload: bytes) -> None:
        """Checks the next message. Raises JetStreamError."""
        stream, config = self._stream, self._stream.config
        log = stream.log
        room.check_storable(stream, self._size_of(subject, header, payload))
        room.check_header(header)
        lines = headers.own_lines(header)
        amount = counters.wanted(lines, payload, config)
        expectations.check_stream(lines, stream.name)
        if lines.get(TTL) and not config.allow_msg_ttl:
            raise ApiError.MESSAGE_TTL_DISABLED.error()
        lifetime(lines)
        self._check_id(lines.get(headers.MESSAGE_ID, b""))
        if headers.STREAM_SOURCE in lines:
            raise ApiError.MESSAGE_SOURCE_HDR_NOT_ALLOWED.error()
        if config.allow_msg_counter:
            if amount is None or header is None:
                raise ApiError.MESSAGE_INCR_MISSING.error()
            if subject not in self._sums:
                self._sums[subject] = counters.present(log, subject)
            header, payload = counters.counted(self._sums[subject], subject, header, payload, lines, amount=amount)
            room.check_size(config, header, payload)
        self._check_sequences(lines, subject)
        is_schedule = schedules.check(lines, shown(subject), config, self._is_schedule)
        if is_schedule and header:
            header = schedules.marked(header, lines)
        replaces = rollup.wanted(lines, config)
        if replaces == rollup.OF_SUBJECT and subject in self._count:
            raise ApiError.STREAM_ROLLUP_FAILED.error(err="batch rollup sub invalid")
        if replaces == rollup.OF_STREAM and self._count:
            raise ApiError.STREAM_ROLLUP_FAILED.error(err="batch rollup all invalid")
        self._schedules[subject] = is_schedule
        self._count[subject] = self._count.get(subject, 0) + 1
        self.size += self._size_of(subject, header, payload)
        self._check_discard_new(lines, subject)
        self.ready.append(Ready(subject, header, payload, lines, replaces, stream.ingest.is_kept(subject)))

    def _size_of(self, subject: bytes, header: bytes | None, payload: bytes) -> int:
        return self._stream.log.size_of(len(subject), -1 if header is None else len(header), len(payload))

    def _is_schedule(self, subject: str) -> bool | None:
        staged = self._schedules.get(wire(subject))
        return self._stream.ingest.is_schedule(subject) if staged is None else staged

    def _check_id(self, message_id: bytes) -> None:
        if not message_id:
            return
        known = self._duplicates.find(message_id, self._moment)
        if known or message_id in self._ids:
            raise DuplicateMessageError(known)
        self._ids.add(message_id)

    def _check_sequences(self, lines: dict[bytes, bytes], subject: bytes) -> None:
        """Checks what is expected of the stream before the batch."""
        log = self._stream.log
        expected = lines.get(headers.EXPECTED_LAST_SEQUENCE)
        if expected:
            last = log.last + len(self.ready)
            if expectations.number(expected) != last:
                raise ApiError.STREAM_WRONG_LAST_SEQUENCE.error(seq=last)
            if self.ready:
                raise ApiError.STREAM_WRONG_LAST_SEQUENCE_CONSTANT.error()
        expected = lines.get(headers.EXPECTED_LAST_SUBJECT_SEQUENCE)
        other = lines.get(headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT)
        if expected:
            of = other or subject
            if of in self._count:
                raise ApiError.STREAM_WRONG_LAST_SEQUENCE_CONSTANT.error()
            last = self._expected.setdefault(of, expectations.last_of(log, of))
            if expectations.number(expected) != last:
                raise ApiError.STREAM_WRONG_LAST_SEQUENCE.error(seq=last)
        elif other:
            raise ApiError.STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID.error()

    def _check_discard_new(self, lines: dict[bytes, bytes], subject: bytes) -> None:
        """Checks that there is room for all so far, where nothing is dropped for it."""
        config, log = self._stream.config, self._stream.log
        if config.discard is not Discard.NEW:
            return
        if 0 < config.max_msgs < log.messages + len(self.ready) + 1:
            raise room.full("maximum messages exceeded")
        if 0 < config.max_bytes < log.bytes + self.size:
            raise room.full("maximum bytes exceeded")
        if config.discard_new_per_subject and config.max_msgs_per_subject > 0 and headers.ROLLUP not in lines:
            found = log.find(subject)
            if (0 if found is None else found[0]) + self._count[subject] > config.max_msgs_per_subject:
                raise room.full("maximum messages per subject exceeded")
