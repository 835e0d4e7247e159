"""Makes a stream of the archive that a client sends (`$JS.API.STREAM.RESTORE`).

What comes is written into a log of its own that nobody sees. Only when all of it was read, and everything in it may be,
does the log become a stream, in one commit. Until then there are only rows that belong to no stream; they go when the
archive ends early, is damaged or asks for too much, and after a crash when the account is opened again.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from accounts.subject import is_literal
from broker.core.log import RecordError
from broker.jetstream.codec import Plain, dumps, now, shown_time
from broker.jetstream.config.names import is_asset_name
from broker.jetstream.consumer.delivery import FAR
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import headers, schedules
from broker.jetstream.publish.lifetimes import TTL, Lifetimes, lifetime
from broker.jetstream.snapshot import files, tar
from broker.jetstream.snapshot.frames import Source, blocks
from broker.jetstream.snapshot.problems import ArchiveError, Step
from broker.jetstream.snapshot.records import LAST, TOMBSTONE, Record, block_hash, checksum, unpacked
from broker.jetstream.store.tables import StoreError
from broker.session.session import shown
from broker.wire.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.control.clock import Timer
    from broker.control.internal import Received
    from broker.core.log import Log
    from broker.jetstream.access import Access
    from broker.jetstream.account import AccountJetStream
    from broker.jetstream.config.consumer import ConsumerConfig
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.consumer.standing import Standing
    from broker.jetstream.stream import Stream
    from broker.session.client_info import ClientInfo

LOGGER: Final = logging.getLogger("natskeep.jetstream")

IDLE_SECONDS: Final = 5.0
"""How long a client may pause between chunks."""
MOST_WAITING: Final = 64 << 20
"""Bytes of chunks that wait to be read. A client that awaits the answers to its chunks sends far less."""
_MOST_HELD: Final = 16 << 20
"""Bytes in memory from which on chunks are answered when what came is on disk, rather than when it is read."""
_LARGEST_FILE: Final = 72 << 20
"""Bytes of a file in an archive: the largest message, and a block before it."""
_MOST_DOCUMENTS: Final = 16 << 20
"""Bytes of all files but those of messages."""
_TURN: Final = 0.003
"""Seconds of reading after which others have their turn."""

Restored = tuple[str, "ConsumerConfig", "Standing", int]
"""A consumer of an archive: its name, its configuration, where it stands, and when it was made."""


class Restore:
    """One archive on its way in. ``config`` is what its stream is to be like; it has been checked."""

    def __init__(
        self, account: AccountJetStream, config: StreamConfig, access: Access, client: ClientInfo | None
    ) -> None:
        self.account = account
        self.config = config
        self.access = access
        """What the client may reach: what is in the archive is held against it."""
        self.subject = f"$JS.SNAPSHOT.RESTORE.{config.name}.{new_id()}"
        """Where the client sends the archive."""
        self.identifier = ""
        self.log: Log | None = None
        """The messages that came; None until there is one."""
        self.created = 0
        """When the stream was made first, in nanoseconds since 1970; 0 until the archive has said it."""
        self.lifetimes = Lifetimes()
        self.consumers: list[Restored] = []
        self._client = client
        self._files: dict[str, dict[str, bytes]] = {}
        """Those of consumers, by their names; those of the stream under none."""
        self._permitted: set[bytes] = set()
        """Subjects that may be stored."""
        self._documents = 0
        self._allowance = 0
        self._problem: Exception | None = None
        self._is_whole = False
        self._source = Source()
        self._work = self._read()
        self._total = 0
        self._replies: list[str] = []
        """To be answered when what came is read."""
        self._is_ended = False
        """Whether the client has sent all; the last of the replies is for the result then."""
        self._is_closed = False
        self._refusal = b""
        """What is said of each chunk when it has failed."""
        self._started = now()
        self._timer: Timer | None = None
        self._idle: Timer | None = None
        self._chunks = account.internal.subscribe(self.subject, self._chunk)
        account.restores.add(self)

    def begin(self) -> None:
        """Waits for the client, and tells that it may come."""
        LOGGER.info("Starting restore for stream '%s'", self._label)
        facts = {"stream": self.config.name, "client": self._client}
        self.account.advisories.tell(f"STREAM.RESTORE_CREATE.{self.config.name}", "restore_create", facts)
        self._watch()

    @property
    def _label(self) -> str:
        return f"{self.account.name} > {self.config.name}"

    # What the client sends

    def _watch(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self.account.clock.call_later(IDLE_SECONDS, self._stalled)

    def _stalled(self) -> None:
        self._idle = None
        LOGGER.warning("Restore for stream '%s' is stalled", self._label)
        self.abort()

    def _chunk(self, received: Received) -> None:
        if self._is_closed or self._is_ended:
            # It was on its way when something was found to be wrong.
            if received.reply and self._refusal:
                self.account.internal.publish(received.reply, self._refusal)
            elif received.reply and self._problem is not None:
                self._replies.append(received.reply)
            return
        self._watch()
        if not received.reply:
            self._fail(ArchiveError(f"restore for stream '{self._label}' requires reply subject for each chunk"))
        else:
            self._replies.append(received.reply)
            self._total += len(received.payload)
            if not received.payload:
                self._is_ended = True
                self._source.end()
            elif not self._is_whole:
                self._source.feed(received.payload)
            if len(self._source) > MOST_WAITING:
                self._fail(ArchiveError("chunks were sent without waiting for the answers to those before"))
        if self._timer is None:
            self._go_on()

    # In turns

    def _go_on(self) -> None:
        self._timer = None
        if self._is_closed:
            return
        if self._problem is None and not self._is_whole and not self._advance():
            self._watch()
            self._timer = self.account.clock.call_later(0.0, self._go_on)
        elif self._problem is not None or self._is_ended:
            self._finish()
        else:
            self._acknowledge()

    def _advance(self) -> bool:
        """Reads for a while; returns whether there is nothing more to be read now."""
        until = time.perf_counter() + _TURN
        self._allowance = self.account.allowance_of(self.config)
        try:
            for step in self._work:
                if step is Step.STARVED:
                    return True
                if time.perf_counter() > until:
                    return False
            self._is_whole = True
        except (ArchiveError, JetStreamError, RecordError, StoreError) as error:
            self._fail(error)
        finally:
            if self.log is not None and self.log.file:
                self.account.store.changed(self.identifier)
                self.account.store.after(self._kept)
        return True

    def _kept(self, problem: StoreError | None) -> None:
        """What came is on disk, or could not be written."""
        if problem is not None and self._problem is None and not self._is_closed:
            self._fail(problem)
            if self._timer is None:
                self._go_on()

    def _acknowledge(self) -> None:
        """Answers for the chunks that were read."""
        replies, self._replies = self._replies, []
        if self.log is not None and self.log.file and self.log.held > _MOST_HELD:
            self.account.store.after(partial(self._answer, replies))
        else:
            self._answer(replies)

    def _answer(self, replies: list[str], problem: StoreError | None = None) -> None:
        if self._is_closed or problem is not None:
            return
        for reply in replies:
            self.account.internal.publish(reply, b"")
        self._watch()

    # What is in the archive

    def _read(self) -> Iterator[Step]:
        """Reads the archive, and stands still after each message. Raises what is wrong with it."""
        for found in tar.files(blocks(self._source), self._check):
            if isinstance(found, Step):
                yield found
                continue
            name, content = found
            number, consumer = files.block_number(name), files.of_consumer(name)
            if number is not None:
                yield from self._take_block(number, content)
            elif name == files.META:
                self._take_meta(content)
            elif consumer is not None:
                self._files.setdefault(consumer[0], {})[consumer[1]] = content
            elif name in (files.INDEX, files.SUM):
                self._files.setdefault("", {})[name] = content
            yield Step.PAUSE
        self._complete()

    def _check(self, name: str, size: int) -> None:
        """Sees what a file claims, before any of it is taken."""
        consumer = files.of_consumer(name)
        if not files.is_safe(name) or (consumer is not None and not is_asset_name(consumer[0])):
            raise ArchiveError(f"unexpected content (account={self.account.name})")
        if size > _LARGEST_FILE:
            raise ArchiveError(f"a file of {size} bytes is larger than any may be")
        if files.block_number(name) is not None:
            if size > self._allowance:
                raise self.account.exceeded(self.config)
        elif name.partition("/")[0] != "msgs":
            self._documents += size
            if self._documents > _MOST_DOCUMENTS:
                raise ArchiveError("there is more beside messages than there may be")

    def _take_meta(self, content: bytes) -> None:
        meta = files.stream_meta(content)
        if meta.name != self.config.name:
            raise ArchiveError("stream names do not match")
        self._files.setdefault("", {})[files.META] = content
        self.created = files.moment(meta.Created)

    def _take_block(self, number: int, content: bytes) -> Iterator[Step]:
        if not self.created:
            raise ArchiveError(f"{files.META} has to stand before messages")
        for record in unpacked(content, block_hash(self.config.name, number)):
            if record.sequence > LAST:
                raise ArchiveError(f"message sequence {record.sequence} is higher than any may be")
            self._store(record)
            yield Step.PAUSE

    def _begin_log(self, first: int) -> Log:
        """The log; its first sequence is that of the first record."""
        if self.log is None:
            self.identifier, self.log = self.account.create_log(self.config, max(first, 1))
        return self.log

    def _store(self, record: Record) -> None:
        sequence = record.sequence
        if record.marks or not sequence:
            log = self._begin_log(sequence + 1)
            if record.marks & TOMBSTONE:
                log.remove(sequence)
            log.skip(sequence, record.time)
            return
        log = self._begin_log(sequence)
        if sequence <= log.last:
            # What was written again, or stands behind what says that it is gone, counts no more.
            return
        self._check_message(record)
        self._check_access(record)
        size = log.size_of(len(record.subject), len(record.header) or -1, len(record.payload))
        if size > self._allowance:
            raise self.account.exceeded(self.config)
        self._allowance -= size
        ends = _lifetime(record)
        if 0 < ends <= now() - record.time:
            log.skip(sequence, record.time)
        else:
            log.append_at(sequence, record.subject, record.header or None, record.payload, record.time)
            self.lifetimes.note(sequence, ends, record.time)

    def _check_access(self, record: Record) -> None:
        """Checks that the client may have it stored under its subject, and what a schedule will do for it."""
        if record.subject not in self._permitted:
            self.access.store_one(shown(record.subject))
            self._permitted.add(record.subject)
        if schedules.PATTERN in record.header:
            # Whether or not the stream works by schedules: that may change.
            lines = headers.own_lines(record.header)
            if lines.get(schedules.TARGET):
                self.access.store_one(shown(lines[schedules.TARGET]))
            if lines.get(schedules.SOURCE):
                self.access.read_later(shown(lines[schedules.SOURCE]))

    def _check_message(self, record: Record) -> None:
        size = len(record.header) + len(record.payload)
        problem = ""
        if size > self.account.settings.max_payload:
            problem = "exceeds maximum payload size"
        elif 0 <= self.config.max_msg_size < size:
            problem = "exceeds maximum message size"
        elif not is_literal(shown(record.subject)):
            problem = "has no valid subject"
        elif record.header and not (record.header.startswith(b"NATS/1.0") and record.header.endswith(b"\r\n\r\n")):
            problem = "has no valid header"
        if problem:
            raise ArchiveError(f"message sequence {record.sequence} {problem}")

    def _complete(self) -> None:
        """All files are there: puts the bounds, and reads what is there of consumers."""
        of_stream = self._files.pop("", {})
        if files.META not in of_stream:
            raise ArchiveError(f"there is no {files.META}")
        name = self.config.name
        if of_stream.get(files.SUM) != checksum(name, of_stream[files.META]).hex().encode():
            raise ArchiveError(f"{files.META} is damaged: its checksum does not fit")
        first, last, last_time = files.bounds(name, of_stream.get(files.INDEX, b""))
        if max(first, last) > LAST or not -FAR <= last_time <= FAR:
            raise ArchiveError("index.db has numbers that no stream has")
        log = self._begin_log(max(first, self.config.first_seq))
        log.skip(last, last_time)
        if first > log.first:
            log.truncate_before(min(first, log.last + 1))
        for consumer, kept in sorted(self._files.items()):
            self.consumers.append((consumer, *files.consumer_of(name, consumer, kept)))

    # The end

    def _fail(self, error: Exception) -> None:
        """Nothing comes of it."""
        if self._problem is None:
            self._problem = error
            self._source = Source()
            self.drop()

    def drop(self) -> None:
        """Lets go of all that came."""
        if self.log is not None:
            self.log.usage = None
            self.account.store.drop(self.identifier)
            self.log = None

    def _finish(self) -> None:
        """All was read, or something is wrong with it: tells what came of it."""
        stream = None
        if self._problem is None:
            try:
                stream = self.account.adopt(self)
            except (JetStreamError, StoreError) as error:
                self._problem = error
        self._close()
        self.account.store.after(partial(self._tell, stream))

    def _tell(self, stream: Stream | None, unwritten: StoreError | None) -> None:
        """The client learns what came of it, when that is on disk."""
        name = self.config.name
        facts: Plain = {"stream": name, "start": shown_time(self._started), "end": shown_time(now())}
        facts |= {"bytes": self._total, "client": self._client}
        self.account.advisories.tell(f"STREAM.RESTORE_COMPLETE.{name}", "restore_complete", facts)
        problem = self._problem or unwritten
        if unwritten is not None and stream is not None:
            self.account.store.drop(self.identifier)
        answer: Plain = {"type": "io.nats.jetstream.api.v1.stream_create_response"}
        if stream is None or problem is not None:
            error = problem if isinstance(problem, JetStreamError) else ApiError.STREAM_RESTORE.error(err=problem)
            answer["error"] = error.plain()
            self._refusal = dumps(answer)
            LOGGER.warning("Restore failed for stream '%s': %s", self._label, error)
        else:
            told = stream.info()
            told.pop("domain", None)
            answer |= told
            LOGGER.info("Completed restore for stream '%s'", self._label)
        for reply in self._replies[:-1] if stream is not None else ():
            self.account.internal.publish(reply, b"")
        for reply in self._replies if stream is None else self._replies[-1:]:
            self.account.internal.publish(reply, dumps(answer))

    def abort(self) -> None:
        """Ends it without a word; nothing is left of it."""
        if not self._is_closed:
            self._fail(ArchiveError("the archive was not sent to its end"))
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        for timer in (self._timer, self._idle):
            if timer is not None:
                timer.cancel()
        self.account.restores.discard(self)
        self.account.clock.call_later(0.0, partial(self.account.internal.unsubscribe, self._chunks))


def _lifetime(record: Record) -> int:
    if TTL not in record.header:
        return 0
    try:
        return lifetime(headers.own_lines(record.header))
    except JetStreamError as error:
        raise ArchiveError(f"failed to parse message TTL: {error}") from None
