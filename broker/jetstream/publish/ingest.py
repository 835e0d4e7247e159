"""What is published on a stream's subjects: taken in batches, judged where something asks for it, stored, answered.

Most messages are stored without a step of Python (`broker.core.intake`); those that come here one by one have headers
that want something, or a stream that looks at each. Answers wait until what they speak of is on disk.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from accounts.limits import UNLIMITED
from broker.control.tenant import wire
from broker.core.intake import Intake
from broker.core.plan import Subscription
from broker.jetstream.access import Access
from broker.jetstream.codec import dumps, now
from broker.jetstream.config.names import transform
from broker.jetstream.config.words import Retention
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import atomic, counters, expectations, fast, headers, rollup, room, schedules
from broker.jetstream.publish.duplicates import Duplicates
from broker.jetstream.publish.lifetimes import TTL, Lifetimes, lifetime
from broker.jetstream.publish.ready import Ready
from broker.jetstream.publish.republish import Republisher, last_of
from broker.session.session import Session, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accounts.transform import SubjectTransform
    from broker.core.log import Log
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.store.tables import StoreError
    from broker.jetstream.stream import Stream

_BEHIND: Final = b"}"
_BEHIND_DUPLICATE: Final = b',"duplicate": true}'


class Ingest:
    """The way of messages into one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._account = stream.account
        self._log: Log = stream.log
        self.duplicates = Duplicates()
        self._transform: SubjectTransform | None = None
        self._before = stream.account.ack_begin(stream.name).encode()
        self._subscriptions: dict[str, Subscription] = {}
        intake = self._intake = Intake(stream.account.hub)
        intake.owner = self
        intake.log = stream.log
        intake.bind(stream.account.tenant.announcements)
        intake.speak(self._before, _BEHIND)
        self.lifetimes = Lifetimes()
        self._atomic = atomic.Atomic(stream)
        self._fast = fast.Fast(stream)
        self._schedules = schedules.Schedules(stream)
        self._republisher: Republisher | None = None

    def adopt(self, config: StreamConfig) -> None:
        """Works by a configuration from now on."""
        self.duplicates.window = config.duplicate_window
        change = config.subject_transform
        self._transform = None if change is None else transform(change.src, change.dest)
        self._republisher = None if config.republish is None else Republisher(self._stream, config.republish)
        self._intake.silent = config.no_ack
        self._intake.largest = config.max_msg_size
        looks_at_each = (
            config.sealed
            or self._transform is not None
            or room.may_refuse(config)
            or config.retention is Retention.INTEREST
            or config.republish is not None
            or config.mirror is not None
            or config.allow_msg_counter
        )
        self._intake.plain = not looks_at_each
        if not config.allow_atomic:
            self._atomic.close()
        if not config.allow_batched:
            self._fast.close()

    def listen(self, subjects: Iterable[str]) -> None:
        """Takes what is published on these subjects, and on no others any more."""
        tenant = self._account.tenant
        wanted = set(subjects)
        for subject in [subject for subject in self._subscriptions if subject not in wanted]:
            tenant.unlisten(self._subscriptions.pop(subject))
        for subject in wanted:
            if subject not in self._subscriptions:
                made = self._subscriptions[subject] = Subscription(self._intake, wire(subject), None, b"1")
                tenant.listen(made)

    def close(self, *, deleted: bool) -> None:
        """Takes nothing more; ``deleted`` lets go of what is kept beside the messages."""
        self.listen(())
        self._intake.close()
        self._atomic.close()
        self._fast.close()
        self._schedules.close(deleted=deleted)

    def recall(self, lifetimes: Lifetimes | None = None) -> None:
        """Remembers what messages ask for, and the ids of those that are still within the window: after a restart, or
        of an archive, which knows the ``lifetimes`` already."""
        log = self._log
        if self._stream.config.allow_msg_schedules:
            self._schedules.recall()
        if self._stream.config.allow_msg_ttl:
            if lifetimes is None:
                self.lifetimes.recall(log)
            else:
                self.lifetimes = lifetimes
        if self.duplicates.window and log.messages:
            at = log.headed(log.at_time(now() - self.duplicates.window))
            while at:
                entry = log.get(at)
                if entry is not None:
                    message_id = headers.own_lines(entry.header).get(headers.MESSAGE_ID, b"")
                    self.duplicates.remember(message_id, at, entry.time)
                at = log.headed(at + 1)

    # Messages come

    def taken(self) -> None:
        """Messages wait; the core calls this once at the end of a turn."""
        if self._stream.is_closed:
            return
        intake, last = self._intake, self._log.last
        while True:
            moment = now()
            intake.allowance = self._account.allowance_of(self._stream.config)
            message = intake.drain(moment)
            if message is None:
                break
            subject, reply, header, payload, sender = message
            self._judge(atomic.Message(subject, header, payload), reply, sender, moment)
        if self._log.last != last:
            self._stream.grew()
        if self._stream.answers_at_once:
            intake.give(intake.answers)
        elif intake.answers:
            self._account.store.after(partial(self._settled, intake.answers))

    def _settled(self, until: int, problem: StoreError | None) -> None:
        """What was taken is on disk; or it never will be, and its publishers are told."""
        if problem is None:
            self._intake.give(until)
        else:
            error = ApiError.STREAM_STORE_FAILED.error(err=problem.told)
            self._intake.refuse(until, self.refusal(error))

    def refusal(self, error: JetStreamError) -> bytes:
        """The answer to a message that is not stored."""
        return dumps({"error": error.plain(), "stream": self._stream.name, "seq": 0})

    def _judge(self, message: atomic.Message, reply: bytes | None, sender: object, moment: int) -> None:
        """Stores a message where nothing stands against it, and says so when that is on disk."""
        is_silent = self._stream.config.no_ack
        subject, header, payload = message
        try:
            if header is not None and isinstance(sender, Session):
                self._check_access(sender, subject, header)
            if reply is not None and reply.endswith(fast.SUFFIX):
                # Where nothing is acknowledged either, a publisher of a fast batch has to know how far it has come.
                for answer in self._fast.take(message, reply, moment):
                    self._intake.owe_text(reply, answer)
                return
            reply = None if is_silent else reply
            if header is not None and atomic.IDENTIFIER in header and headers.own_lines(header).get(atomic.IDENTIFIER):
                answer = self._atomic.take(message, moment)
                if reply is not None:
                    self._intake.owe_text(reply, answer)
                return
            sequence, behind = self._store(subject, header, payload, moment)
        except JetStreamError as error:
            if reply is not None and not is_silent:
                self._intake.owe_text(reply, self.refusal(error))
            return
        if reply is not None and behind != _BEHIND:
            self._intake.owe_text(reply, b"%b%d%b" % (self._before, sequence, behind))
        elif reply is not None:
            self._intake.owe(reply, sequence)

    def _check_access(self, sender: Session, subject: bytes, header: bytes) -> None:
        """Checks that whoever published it may reach what headers name besides its subject. Raises JetStreamError."""
        if sender.principal is not None and sender.principal.policy.is_open:
            return
        lines = headers.own_lines(header)
        access = Access(self._account, sender, shown(subject))
        for name in (schedules.TARGET, schedules.SCHEDULER):
            if lines.get(name):
                access.replace(self._stream, shown(lines[name]))
        if lines.get(schedules.SOURCE):
            access.read(self._stream, [shown(lines[schedules.SOURCE])])
        if lines.get(headers.ROLLUP, b"").lower() == rollup.OF_STREAM:
            access.remove(self._stream)

    def take_over(self, subject: bytes, header: bytes | None, payload: bytes) -> None:
        """Stores a message of a source by the rules of the stream, unless it is here. Raises JetStreamError."""
        self._store(subject, header, payload, now(), is_sourced=True)

    def mirror(self, sequence: int, subject: bytes, header: bytes | None, payload: bytes, moment: int) -> None:
        """Stores a message as another stream has it; one that is below what is here is passed over."""
        if sequence > self._log.last:
            self._log.append_at(sequence, subject, header, payload, moment)
            lines = headers.own_lines(header)
            self.duplicates.remember(lines.get(headers.MESSAGE_ID, b""), sequence, moment)
            if self._stream.config.allow_msg_ttl and TTL in lines:
                self.lifetimes.note(sequence, lifetime(lines), moment)

    def _store(
        self, subject: bytes, header: bytes | None, payload: bytes, moment: int, *, is_sourced: bool = False
    ) -> tuple[int, bytes]:
        """The sequence of a message, and what an answer says behind it. Raises JetStreamError."""
        stream, log = self._stream, self._log
        config = stream.config
        subject = self.transformed(subject)
        room.check_storable(stream, self._size_of(subject, header, payload))
        if config.sealed:
            raise ApiError.STREAM_SEALED.error()
        if header is not None and headers.REQUEST_INFO in header:
            header = headers.without(header, headers.REQUEST_INFO)
        lines = headers.own_lines(header)
        replaces, amount, behind = None, None, _BEHIND
        if lines:
            amount = counters.wanted(lines, payload, config, is_sourced=is_sourced)
            expectations.check_stream(lines, stream.name)
            if TTL in lines and not config.allow_msg_ttl and not is_sourced:
                raise ApiError.MESSAGE_TTL_DISABLED.error()
            expectations.check_sequences(lines, log, subject)
            if not is_sourced and schedules.check(lines, shown(subject), config, self.is_schedule) and header:
                header = schedules.marked(header, lines)
            message_id = lines.get(headers.MESSAGE_ID, b"")
            if headers.STREAM_SOURCE in lines and not is_sourced:
                raise ApiError.MESSAGE_SOURCE_HDR_NOT_ALLOWED.error()
            known = self.duplicates.find(message_id, moment) if message_id and config.mirror is None else 0
            if known:
                return known, _BEHIND_DUPLICATE
            expectations.check_message_id(lines, self.duplicates.last_of(log.last))
            replaces = rollup.wanted(lines, config, is_sourced=is_sourced)
        if config.allow_msg_counter:
            if amount is None or header is None:
                raise ApiError.MESSAGE_INCR_MISSING.error()
            total = counters.present(log, subject)
            header, payload = counters.counted(total, subject, header, payload, lines, amount=amount)
            behind = b',"val":"%d"}' % total.value
        room.check_size(config, header, payload)
        self._account.check_server_room(stream)
        ready = Ready(subject, header, payload, lines, replaces, self.is_kept(subject))
        if ready.is_kept:
            self._account.check_usage(stream, self._size_of(subject, header, payload))
            lifetime(lines)
            room.check_discard_new(config, log, subject, lines, self._size_of(subject, header, payload))
        return self.append(ready, moment), behind

    def append(self, ready: Ready, moment: int) -> int:
        """Stores a message that nothing stands against; its sequence."""
        stream, log = self._stream, self._log
        subject, header, payload, lines, replaces, is_kept = ready
        moment = max(moment, log.last_time)
        if not is_kept:
            log.skip(log.last + 1)
        else:
            before = last_of(stream, subject) if self._republisher is not None else 0
            log.append(subject, header, payload, moment)
            if stream.config.allow_msg_ttl and TTL in lines:
                self.lifetimes.note(log.last, lifetime(lines), moment)
            if stream.config.allow_msg_schedules and schedules.PATTERN in lines:
                self._schedules.note(subject, log.last, lines, moment)
            if self._republisher is not None:
                self._republisher.stored(log.last, before, subject, header, payload)
        sequence = log.last
        self.duplicates.remember(lines.get(headers.MESSAGE_ID, b""), sequence, moment)
        if replaces is not None:
            rollup.replace(log, replaces, subject, sequence)
        scheduler = lines.get(schedules.SCHEDULER)
        if scheduler and lines.get(schedules.NEXT) == schedules.PURGE and rollup.is_allowed(stream.config):
            rollup.replace(log, rollup.OF_SUBJECT, scheduler, log.last + 1)
            self._schedules.purged(scheduler)
        return sequence

    def is_schedule(self, subject: str) -> bool | None:
        """See `schedules.IsSchedule`."""
        entry = self._stream.last_entry(subject)
        return None if entry is None else bool(headers.own_lines(entry.header).get(schedules.PATTERN))

    def transformed(self, subject: bytes) -> bytes:
        """The subject under which a message is stored."""
        if self._transform is None:
            return subject
        changed = self._transform.apply(shown(subject), self._account.choose)
        return subject if changed is None else wire(changed)

    def _size_of(self, subject: bytes, header: bytes | None, payload: bytes) -> int:
        """The bytes that a message counts."""
        return self._log.size_of(len(subject), -1 if header is None else len(header), len(payload))

    def is_kept(self, subject: bytes) -> bool:
        """Whether somebody waits for a subject, where the stream keeps only what somebody waits for."""
        return self._stream.config.retention is not Retention.INTEREST or self._stream.wants(shown(subject))


def allowance_of(ceilings: Iterable[tuple[int, int]]) -> int:
    """Bytes that may be stored without a question; each of ``ceilings`` is a limit, -1 for none, and what is used."""
    left = [limit - used for limit, used in ceilings if limit != UNLIMITED]
    return max(min(left, default=_PLENTY), 0)


_PLENTY: Final = 1 << 62
