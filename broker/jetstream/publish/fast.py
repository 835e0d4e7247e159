"""Fast batches (ADR-50): a publisher is told now and then how far it has come, and when it may send more.

What a message is in its batch stands in its reply subject: ``PREFIX.ID.FLOW.ok|fail.SEQUENCE.OPERATION.$FI``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from auth.gojson import quote
from broker.config.options import JetStreamCeilings
from broker.jetstream.codec import dumps
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import expectations, headers, room
from broker.jetstream.publish.staged import DuplicateMessageError, Staged
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.jetstream.publish.atomic import Message
    from broker.jetstream.stream import Stream

SUFFIX: Final = b".$FI"
LONGEST_IDENTIFIER: Final = 64
"""Characters."""
MOST_PER_STREAM: Final = 1000
"""Batches at a time, where the configuration says nothing else."""
MOST_IN_ALL: Final = 50_000
USUAL_FLOW: Final = 10
LARGEST_FLOW: Final = (1 << 16) - 1
SHARED_FLOW: Final = 500
"""Messages between two answers, of all batches of a stream together."""

_TOKENS: Final = 6
_TOO_LARGE: Final = (1 << 64) - 1
_UNSAID: Final = JetStreamCeilings()


class Operation(IntEnum):
    """What a message does."""

    START = 0
    APPEND = 1
    COMMIT = 2
    END = 3
    """Commits without being stored."""
    PING = 4
    """Asks how far the batch has come."""


class Control(NamedTuple):
    """What a message is in its batch."""

    identifier: bytes
    flow: int
    """Messages between two answers that the publisher takes at most."""
    may_gap: bool
    """Whether the batch goes on where messages are missing."""
    sequence: int
    operation: Operation


def control_of(reply: bytes) -> Control:
    """What a reply subject says that ends with `SUFFIX`. Raises ValueError."""
    tokens = reply.removesuffix(SUFFIX).rsplit(b".", _TOKENS - 1)
    if len(tokens) < _TOKENS:
        raise ValueError("too few tokens")
    _, identifier, flow, gaps, sequence, operation = tokens
    number, kind = _number(sequence), Operation(_number(operation))
    if gaps not in (b"ok", b"fail"):
        raise ValueError("neither ok nor fail")
    if not 0 < number < _TOO_LARGE:
        raise ValueError("no sequence")
    begins = number == 1
    if (kind is Operation.START and not begins) or (kind in (Operation.APPEND, Operation.END) and begins):
        raise ValueError("a batch begins with its first message")
    wanted = int(flow) if flow.isdigit() and len(flow) < 19 else 0
    return Control(identifier, min(wanted, LARGEST_FLOW) or USUAL_FLOW, gaps == b"ok", number, kind)


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ValueError("no number")
    return int(text)


class _Batch:
    """How far one batch has come."""

    def __init__(self, control: Control) -> None:
        self.may_gap = control.may_gap
        self.most = control.flow
        self.flow = control.flow
        """Messages between two answers."""
        self.last = 0
        """The last sequence of the batch."""
        self.told = 0
        """The sequence of the batch that was answered last."""
        self.stored = 0
        """The sequence in the stream."""
        self.timer: Timer | None = None


class Fast:
    """The fast batches of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._batches: dict[bytes, _Batch] = {}

    def close(self) -> None:
        """Forgets all of them."""
        for identifier in list(self._batches):
            self._forget(identifier)

    def take(self, message: Message, reply: bytes, moment: int) -> list[bytes]:
        """Takes a message of a batch; the answers to it. Raises JetStreamError where there is no such batch."""
        control = self._checked(message, reply)
        batch = self._batches.get(control.identifier) or self._begin(control)
        if headers.asks_too_much(message.header):
            self._forget(control.identifier)
            raise ApiError.REQUIRED_API_LEVEL.error()
        self._wait(control.identifier, batch)
        if control.operation is Operation.PING:
            return self._ping(batch, control)
        expected, answers = batch.last + 1, []
        if control.sequence > expected:
            answers.append(_gap(expected, control.sequence))
        if control.sequence != expected and not (batch.may_gap and control.sequence > expected):
            return [*answers, self._committed(batch, control)]
        if control.operation is Operation.END:
            batch.last = control.sequence - 1
            return [*answers, self._committed(batch, control)]
        batch.last = control.sequence
        is_commit = control.operation is Operation.COMMIT
        if control.sequence == 1 and not is_commit and not self._stream.config.no_ack:
            answers.append(_flow(0, batch.flow))
        try:
            batch.stored = self._store(message, moment)
        except JetStreamError as error:
            return answers + self._refused(batch, control, error)
        return answers + ([self._committed(batch, control)] if is_commit else self._progress(batch))

    def _checked(self, message: Message, reply: bytes) -> Control:
        """What a message is in its batch, where the stream takes it. Raises JetStreamError."""
        stream, config = self._stream, self._stream.config
        subject, header, payload = message
        if config.sealed:
            raise ApiError.STREAM_SEALED.error()
        stream.account.check_server_room(stream)
        size = stream.log.size_of(len(subject), -1 if header is None else len(header), len(payload))
        stream.account.check_usage(stream, size)
        room.check_size(config, header, payload)
        if not config.allow_batched:
            raise ApiError.BATCH_PUBLISH_DISABLED.error()
        try:
            control = control_of(reply)
        except ValueError:
            raise ApiError.BATCH_PUBLISH_INVALID_PATTERN.error() from None
        if len(control.identifier) > LONGEST_IDENTIFIER:
            raise ApiError.BATCH_PUBLISH_INVALID_BATCH_ID.error()
        return control

    def _begin(self, control: Control) -> _Batch:
        """A batch of which nothing was known. Raises JetStreamError."""
        if control.sequence != 1:
            raise ApiError.BATCH_PUBLISH_UNKNOWN_BATCH_ID.error()
        limits, settings = self._stream.account.server_limits, self._stream.account.settings
        most, in_all = limits.batch_inflight_per_stream, limits.batch_inflight_total
        # The keys hold for both kinds of batches, which have different bounds where the keys say nothing.
        most = MOST_PER_STREAM if most == _UNSAID.batch_inflight_per_stream else most
        in_all = MOST_IN_ALL if in_all == _UNSAID.batch_inflight_total else in_all
        if len(self._batches) >= most or settings.fast_batches >= in_all:
            raise ApiError.BATCH_PUBLISH_TOO_MANY_INFLIGHT.error()
        settings.fast_batches += 1
        batch = self._batches[control.identifier] = _Batch(control)
        batch.flow = 1 if len(self._batches) > 1 else min(SHARED_FLOW, batch.most)
        return batch

    def _wait(self, identifier: bytes, batch: _Batch) -> None:
        """Gives up when nothing more comes for too long."""
        if batch.timer is not None:
            batch.timer.cancel()
        account = self._stream.account
        seconds = account.server_limits.batch_timeout / NANOSECONDS
        batch.timer = account.clock.call_later(seconds, lambda: self._forget(identifier))

    def _forget(self, identifier: bytes) -> None:
        batch = self._batches.pop(identifier)
        self._stream.account.settings.fast_batches -= 1
        if batch.timer is not None:
            batch.timer.cancel()

    def _store(self, message: Message, moment: int) -> int:
        """Stores a message; its sequence. Raises JetStreamError."""
        stream, ingest = self._stream, self._stream.ingest
        subject, header, payload = message
        for name in (headers.REQUIRED_API_LEVEL, headers.REQUEST_INFO):
            if header is not None:
                header = headers.without(header, name)
        staged = Staged(stream, ingest.duplicates, moment)
        staged.add(ingest.transformed(subject), header, payload)
        expectations.check_message_id(headers.own_lines(header), ingest.duplicates.last_of(stream.log.last))
        stream.account.check_usage(stream, staged.size)
        return ingest.append(staged.ready[0], moment)

    def _refused(self, batch: _Batch, control: Control, error: JetStreamError) -> list[bytes]:
        """The answers to a message that something stands against."""
        is_commit = control.operation is Operation.COMMIT
        answers: list[bytes] = []
        if isinstance(error, DuplicateMessageError):
            answers = self._progress(batch)
            if not is_commit:
                return answers
        if not control.may_gap and batch.last == 1:
            self._forget(control.identifier)
            if isinstance(error, DuplicateMessageError) and error.sequence:
                return [*answers, self._acknowledgement(error.sequence, control, 1, ',"duplicate": true')]
            return [*answers, self._stream.ingest.refusal(error)]
        if not isinstance(error, DuplicateMessageError):
            answers.append(dumps({"type": "err", "seq": control.sequence, "error": error.plain()}))
            if control.may_gap and not is_commit:
                return answers
            batch.last -= 1
        return [*answers, self._committed(batch, control)]

    def _ping(self, batch: _Batch, control: Control) -> list[bytes]:
        """How far a batch has come."""
        answers: list[bytes] = []
        if control.sequence > batch.last:
            answers.append(_gap(batch.last + 1, control.sequence + 1))
            if not batch.may_gap:
                return [*answers, self._committed(batch, control)]
            batch.last = control.sequence
            answers += self._progress(batch)
            if len(answers) > 1:
                return answers
        return [*answers, _flow(batch.told, batch.flow)]

    def _progress(self, batch: _Batch) -> list[bytes]:
        """What the publisher is told after so many messages, if it is time; its flow grows and shrinks."""
        steps = (batch.last - batch.told) // batch.flow
        if steps < 1:
            return []
        batch.told += steps * batch.flow
        most = min(max(SHARED_FLOW // len(self._batches), 1), batch.most)
        if batch.flow < most:
            batch.flow = min(batch.flow * 2, most)
        elif batch.flow > most:
            batch.flow = max(batch.flow // 2, most)
        return [_flow(batch.told, batch.flow)]

    def _committed(self, batch: _Batch, control: Control) -> bytes:
        """Ends a batch; what it has come to."""
        self._forget(control.identifier)
        return self._acknowledgement(batch.stored, control, batch.last)

    def _acknowledgement(self, sequence: int, control: Control, count: int, more: str = "") -> bytes:
        begin = self._stream.account.ack_begin(self._stream.name)
        return f'{begin}{sequence}{more},"batch":{quote(shown(control.identifier))},"count":{count}}}'.encode()


def _flow(sequence: int, messages: int) -> bytes:
    return b'{"type":"ack","seq":%d,"msgs":%d}' % (sequence, messages)


def _gap(expected: int, sequence: int) -> bytes:
    return b'{"type":"gap","last_seq":%d,"seq":%d}' % (expected, sequence)
