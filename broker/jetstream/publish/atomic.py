"""Batches that are stored whole or not at all (ADR-50), as ``Nats-Batch-Id`` and its relatives say.

Their messages wait in memory until the one that commits them; then all are checked, and stored in one turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from auth.gojson import quote
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import expectations, headers, room
from broker.jetstream.publish.staged import COMMIT, Staged
from broker.session.session import shown

if TYPE_CHECKING:
    from broker.control.clock import Timer
    from broker.jetstream.stream import Stream

IDENTIFIER: Final = b"Nats-Batch-Id"
SEQUENCE: Final = b"Nats-Batch-Sequence"
LONGEST_IDENTIFIER: Final = 64
"""Characters."""
STAGED_AT_MOST: Final = 256 << 20
"""Bytes of all batches of a server that wait for their commit."""

_END: Final = b"eob"
"""Commits without being stored."""


class Message(NamedTuple):
    """What was published."""

    subject: bytes
    header: bytes | None
    payload: bytes


class _Batch:
    """The messages of one batch so far."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.size = 0
        self.timer: Timer | None = None


class Atomic:
    """The batches of one stream that are not committed yet."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._batches: dict[bytes, _Batch] = {}

    def close(self) -> None:
        """Forgets all of them."""
        for identifier in list(self._batches):
            self._forget(identifier)

    def take(self, message: Message, moment: int) -> bytes:
        """Takes a message of a batch; the answer to it. Raises JetStreamError, and then the batch may be over."""
        stream, config = self._stream, self._stream.config
        lines = headers.own_lines(message.header)
        identifier = lines[IDENTIFIER]
        if config.sealed:
            raise ApiError.STREAM_SEALED.error()
        size = stream.log.size_of(len(message.subject), len(message.header or b""), len(message.payload))
        stream.account.check_server_room(stream)
        stream.account.check_usage(stream, size)
        room.check_size(config, message.header, message.payload)
        if not config.allow_atomic:
            raise ApiError.ATOMIC_PUBLISH_DISABLED.error()
        if len(identifier) > LONGEST_IDENTIFIER:
            raise ApiError.ATOMIC_PUBLISH_INVALID_BATCH_ID.error()
        sequence = expectations.number(lines.get(SEQUENCE, b""))
        if sequence < 0:
            raise ApiError.ATOMIC_PUBLISH_MISSING_SEQ.error()
        commit = lines.get(COMMIT)
        count = sequence - (commit == _END)
        most = stream.account.server_limits.batch_messages
        batch = self._batches.get(identifier) or self._begin(identifier, sequence, count > most)
        if commit not in (None, b"1", _END):
            self._forget(identifier)
            raise ApiError.ATOMIC_PUBLISH_INVALID_BATCH_COMMIT.error()
        if headers.asks_too_much(message.header):
            raise self._abandoned(identifier, "unsupported", ApiError.REQUIRED_API_LEVEL.error())
        if sequence != len(batch.messages) + 1 or count == 0:
            raise self._abandoned(identifier, "incomplete", ApiError.ATOMIC_PUBLISH_INCOMPLETE_BATCH.error())
        if count > most:
            raise self._abandoned(identifier, "large", ApiError.ATOMIC_PUBLISH_TOO_LARGE_BATCH.error(size=most))
        if stream.account.settings.staged + size > STAGED_AT_MOST:
            raise self._abandoned(identifier, "large", ApiError.INSUFFICIENT_RESOURCES.error())
        if commit != _END:
            self._keep(batch, message, size)
        if commit is None:
            self._wait(identifier, batch)
            return b""
        self._forget(identifier)
        last = self._store(batch.messages, is_ended=commit == _END, moment=moment)
        begin = stream.account.ack_begin(stream.name)
        return f'{begin}{last},"batch":{quote(shown(identifier))},"count":{count}}}'.encode()

    def _begin(self, identifier: bytes, sequence: int, is_too_large: bool) -> _Batch:
        """A batch of which nothing was known. Raises JetStreamError."""
        limits, settings = self._stream.account.server_limits, self._stream.account.settings
        if sequence != 1:
            if is_too_large:
                raise ApiError.ATOMIC_PUBLISH_TOO_LARGE_BATCH.error(size=limits.batch_messages)
            raise ApiError.ATOMIC_PUBLISH_INCOMPLETE_BATCH.error()
        is_full = len(self._batches) >= limits.batch_inflight_per_stream
        if is_full or settings.batches >= limits.batch_inflight_total:
            raise ApiError.ATOMIC_PUBLISH_TOO_MANY_INFLIGHT.error()
        settings.batches += 1
        batch = self._batches[identifier] = _Batch()
        return batch

    def _keep(self, batch: _Batch, message: Message, size: int) -> None:
        subject, header, payload = message
        for name in (headers.REQUIRED_API_LEVEL, headers.REQUEST_INFO):
            if header is not None:
                header = headers.without(header, name)
        batch.messages.append(Message(subject, header, payload))
        batch.size += size
        self._stream.account.settings.staged += size

    def _wait(self, identifier: bytes, batch: _Batch) -> None:
        """Gives up when nothing more comes for too long."""
        if batch.timer is not None:
            batch.timer.cancel()
        account = self._stream.account
        seconds = account.server_limits.batch_timeout / NANOSECONDS
        batch.timer = account.clock.call_later(seconds, lambda: self._tell(identifier, "timeout"))

    def _forget(self, identifier: bytes) -> None:
        batch, settings = self._batches.pop(identifier), self._stream.account.settings
        settings.batches -= 1
        settings.staged -= batch.size
        if batch.timer is not None:
            batch.timer.cancel()

    def _tell(self, identifier: bytes, reason: str) -> None:
        """Forgets a batch, and says so."""
        self._forget(identifier)
        stream = self._stream
        facts = {"stream": stream.name, "batch": shown(identifier), "reason": reason}
        stream.account.advisories.tell(f"STREAM.BATCH_ABANDONED.{stream.name}", "stream_batch_abandoned", facts)

    def _abandoned(self, identifier: bytes, reason: str, error: JetStreamError) -> JetStreamError:
        self._tell(identifier, reason)
        return error

    def _store(self, messages: list[Message], *, is_ended: bool, moment: int) -> int:
        """Stores all messages of a batch, or none; the sequence of the last. Raises JetStreamError."""
        stream, ingest = self._stream, self._stream.ingest
        staged = Staged(stream, ingest.duplicates, moment)
        for subject, header, payload in messages:
            lines = headers.own_lines(header)
            if lines.get(headers.EXPECTED_LAST_MESSAGE_ID):
                name = headers.EXPECTED_LAST_MESSAGE_ID.decode()
                raise ApiError.ATOMIC_PUBLISH_UNSUPPORTED_HEADER_BATCH.error(header=name)
            staged.add(ingest.transformed(subject), header, payload)
        stream.account.check_usage(stream, staged.size)
        if is_ended:
            last = staged.ready[-1]
            staged.ready[-1] = last._replace(header=headers.with_lines(last.header, [(COMMIT, b"1")]))
        for ready in staged.ready:
            ingest.append(ready, moment)
        return stream.log.last
