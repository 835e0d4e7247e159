"""Messages that say when others are to be published (ADR-51): ``Nats-Schedule`` and its relatives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from accounts.subject import is_literal, overlaps
from broker.jetstream.codec import now, shown_time
from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.errors import ApiError, JetStreamError
from broker.jetstream.publish import headers, rollup
from broker.jetstream.publish.cron import Due, due
from broker.jetstream.publish.lifetimes import TTL, lifetime
from broker.session.session import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.control.clock import Timer
    from broker.core.log import Entry
    from broker.jetstream.config.stream import StreamConfig
    from broker.jetstream.stream import Stream

PATTERN: Final = b"Nats-Schedule"
ZONE: Final = b"Nats-Schedule-Time-Zone"
TARGET: Final = b"Nats-Schedule-Target"
SOURCE: Final = b"Nats-Schedule-Source"
LIFETIME: Final = b"Nats-Schedule-TTL"
ROLLUP: Final = b"Nats-Schedule-Rollup"
NEXT: Final = b"Nats-Schedule-Next"
SCHEDULER: Final = b"Nats-Scheduler"
PURGE: Final = b"purge"

DOCUMENT: Final = "schedule/"
"""Behind it stand the id of the stream and the sequence of a schedule that was due; the document is when it is next."""

RETRY: Final = 10 * NANOSECONDS
"""After so long a message that could not be stored is tried again."""

_OWN: Final = (b"Nats-Schedule", b"Nats-Expected-", headers.MESSAGE_ID + b":", TTL + b":", headers.ROLLUP + b":")
"""What lines begin with that are about the schedule, or would keep from being stored what it produces."""

IsSchedule = Callable[[str], bool | None]
"""Whether the last message of a subject is a schedule; None where there is none."""


def zone_of(lines: Mapping[bytes, bytes]) -> tzinfo | None:
    """The time zone that a schedule names. Raises JetStreamError."""
    name = lines.get(ZONE)
    if name is None:
        return None
    try:
        return ZoneInfo(name.decode())
    except (ValueError, KeyError, OSError):
        raise ApiError.MESSAGE_SCHEDULES_TIME_ZONE_INVALID.error() from None


def due_of(lines: Mapping[bytes, bytes], since: int) -> Due | None:
    """When a message is due, after a moment; None where it is no schedule. Raises JetStreamError."""
    zone, pattern = zone_of(lines), lines.get(PATTERN)
    if not pattern:
        return None
    try:
        return due(pattern.decode(), zone, since)
    except (ValueError, OverflowError):
        raise ApiError.MESSAGE_SCHEDULES_PATTERN_INVALID.error() from None


def check(lines: Mapping[bytes, bytes], subject: str, config: StreamConfig, is_schedule: IsSchedule) -> bool:
    """Checks what a message says of schedules; whether it is one. Raises JetStreamError."""
    try:
        found = due_of(lines, now())
    except JetStreamError:
        if not config.allow_msg_schedules:
            raise ApiError.MESSAGE_SCHEDULES_DISABLED.error() from None
        raise
    if found is not None:
        _check_schedule(lines, subject, config)
    following, scheduler = lines.get(NEXT), shown(lines.get(SCHEDULER, b""))
    if not following and not scheduler:
        return found is not None
    is_other = bool(scheduler) and scheduler != subject and is_literal(scheduler)
    if following != PURGE or not is_other:
        raise ApiError.MESSAGE_SCHEDULES_SCHEDULER_INVALID.error()
    if not config.allow_msg_schedules:
        raise ApiError.MESSAGE_SCHEDULES_DISABLED.error()
    if is_schedule(scheduler) is False:
        raise ApiError.MESSAGE_SCHEDULES_SCHEDULER_INVALID.error()
    return found is not None


def _check_schedule(lines: Mapping[bytes, bytes], subject: str, config: StreamConfig) -> None:
    """Checks what a schedule is to do."""
    if not config.allow_msg_schedules:
        raise ApiError.MESSAGE_SCHEDULES_DISABLED.error()
    try:
        lifetime({TTL: lines.get(LIFETIME, b"")})
    except JetStreamError:
        raise ApiError.MESSAGE_SCHEDULES_TTL_INVALID.error() from None
    if lines.get(ROLLUP) not in (None, b"", rollup.OF_SUBJECT):
        raise ApiError.MESSAGE_SCHEDULES_ROLLUP_INVALID.error()
    if lines.get(LIFETIME) and not config.allow_msg_ttl:
        raise ApiError.MESSAGE_TTL_DISABLED.error()
    target, source = shown(lines.get(TARGET, b"")), shown(lines.get(SOURCE, b""))
    if not is_literal(target) or target == subject:
        raise ApiError.MESSAGE_SCHEDULES_TARGET_INVALID.error()
    if source and (source in (target, subject) or not is_literal(source)):
        raise ApiError.MESSAGE_SCHEDULES_SOURCE_INVALID.error()
    if not any(overlaps(own, target) for own in config.subjects):
        raise ApiError.MESSAGE_SCHEDULES_TARGET_INVALID.error()
    if source and not any(overlaps(own, source) for own in config.subjects):
        raise ApiError.MESSAGE_SCHEDULES_SOURCE_INVALID.error()
    if lines.get(headers.ROLLUP, b"").lower() not in (b"", rollup.OF_SUBJECT):
        raise ApiError.MESSAGE_SCHEDULES_ROLLUP_INVALID.error()


def marked(header: bytes, lines: dict[bytes, bytes]) -> bytes:
    """The header of a schedule, which takes the place of the one that its subject had before."""
    if lines.get(headers.ROLLUP):
        return header
    lines[headers.ROLLUP] = rollup.OF_SUBJECT
    return headers.with_lines(header, [(headers.ROLLUP, rollup.OF_SUBJECT)])


class Schedules:
    """The schedules of one stream, and when each of them is due."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._due: dict[bytes, tuple[int, int]] = {}
        """By subject: when, and the sequence of the schedule."""
        self._order: list[tuple[int, bytes]] = []
        self._crowded = 64
        """So many in order are looked through for those that are over."""
        self._kept: set[int] = set()
        """Sequences that have a document."""
        self._timer: Timer | None = None

    def close(self, *, deleted: bool) -> None:
        """Nothing is due any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deleted:
            for sequence in list(self._kept):
                self._put(sequence, 0)

    def note(self, subject: bytes, sequence: int, lines: Mapping[bytes, bytes], moment: int) -> None:
        """A message was stored that is a schedule, or perhaps one."""
        try:
            found = due_of(lines, moment)
        except JetStreamError:
            return
        if found is not None:
            self._drop(subject)
            self._plan(subject, sequence, found.moment)
            self._wait()

    def recall(self) -> None:
        """Looks through all messages, as after a restart."""
        log, start = self._stream.log, f"{DOCUMENT}{self._stream.id}/"
        kept = {}
        if not self._stream.is_memory:
            documents = self._stream.account.store.documents(start)
            kept = {int(key.removeprefix(start)): int(value) for key, value in documents.items()}
        self._kept = set(kept)
        at = log.headed(0)
        while at:
            entry = log.get(at)
            if entry is not None and entry.header and PATTERN in entry.header:
                try:
                    found = due_of(headers.own_lines(entry.header), entry.time)
                except JetStreamError:
                    found = None
                if found is not None:
                    self._drop(entry.subject)
                    self._plan(entry.subject, at, kept.get(at, found.moment))
            at = log.headed(at + 1)
        for sequence in self._kept - {sequence for _, sequence in self._due.values()}:
            self._put(sequence, 0)
        self._wait()

    def _plan(self, subject: bytes, sequence: int, moment: int) -> None:
        self._due[subject] = (moment, sequence)
        heappush(self._order, (moment, subject))
        if len(self._order) > self._crowded:
            for other, (_, of) in list(self._due.items()):
                if not self._stream.log.has(of):
                    self._drop(other)
            self._order = [(when, other) for other, (when, _) in self._due.items()]
            heapify(self._order)
            self._crowded = 2 * len(self._order) + 64

    def _drop(self, subject: bytes) -> None:
        found = self._due.pop(subject, None)
        if found is not None and found[1] in self._kept:
            self._put(found[1], 0)

    def _put(self, sequence: int, moment: int) -> None:
        """Keeps when a schedule is due next; 0 forgets it."""
        if self._stream.is_memory:
            return
        key = f"{DOCUMENT}{self._stream.id}/{sequence}"
        if moment:
            self._kept.add(sequence)
            self._stream.account.store.put(key, b"%d" % moment)
        else:
            self._kept.discard(sequence)
            self._stream.account.store.delete(key)

    def _wait(self) -> None:
        """Comes back when the next one is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._order and self._due.get(self._order[0][1], (0, 0))[0] != self._order[0][0]:
            heappop(self._order)
        if self._order:
            left = (self._order[0][0] - now()) / NANOSECONDS
            self._timer = self._stream.account.clock.call_later(max(left, 0.0), self._fire)

    def _fire(self) -> None:
        """Publishes what is due, in the order of the schedules' sequences."""
        self._timer = None
        ready, present = [], now()
        while self._order and self._order[0][0] <= present:
            moment, subject = heappop(self._order)
            planned, sequence = self._due.get(subject, (0, 0))
            if planned == moment:
                ready.append((sequence, subject, moment))
        last = self._stream.log.last
        for sequence, subject, moment in sorted(ready):
            if self._due.get(subject) == (moment, sequence):
                self._publish(subject, sequence, moment)
        if self._stream.log.last != last:
            self._stream.grew()
        self._wait()

    def _publish(self, subject: bytes, sequence: int, moment: int) -> None:
        """Stores what one schedule produces, and plans when it does so next."""
        entry = self._schedule(subject, sequence)
        lines = {} if entry is None else headers.own_lines(entry.header)
        try:
            zone, found = zone_of(lines), due_of(lines, moment)
        except JetStreamError:
            # A day that comes once in many years may be too far away this time.
            found = None
        if entry is None or found is None or TARGET not in lines:
            self._drop(subject)
            return
        following = _shown(found.moment, zone) if found.repeats else PURGE
        source = self._stream.last_entry(shown(lines[SOURCE])) if lines.get(SOURCE) else None
        content = entry if source is None else source
        header = _produced(content.header, subject, following, lines)
        try:
            self._stream.ingest.take_over(lines[TARGET], header, content.payload)
        except JetStreamError:
            if not found.repeats:
                self._plan(subject, sequence, now() + RETRY)
                return
        if not found.repeats:
            self._drop(subject)
        elif subject in self._due:
            self._plan(subject, sequence, found.moment)
            self._put(sequence, found.moment)

    def _schedule(self, subject: bytes, sequence: int) -> Entry | None:
        """The message of a schedule, if it is there, and no other stands in its place."""
        log = self._stream.log
        last = log.find(subject)
        if last is not None and last[2] != sequence:
            other = log.get(last[2])
            if other is not None and SCHEDULER not in headers.own_lines(other.header):
                return None
        return log.get(sequence)

    def purged(self, subject: bytes) -> None:
        """A schedule is over."""
        self._drop(subject)


def _produced(header: bytes | None, subject: bytes, following: bytes, lines: Mapping[bytes, bytes]) -> bytes:
    """The header of what a schedule produces."""
    for own in _OWN:
        if header is not None:
            header = headers.without_prefix(header, own)
    added = [(SCHEDULER, subject), (NEXT, following)]
    if lines.get(LIFETIME):
        added.append((TTL, lines[LIFETIME]))
    if lines.get(ROLLUP):
        added.append((headers.ROLLUP, lines[ROLLUP]))
    return headers.with_lines(header, added)


def _shown(moment: int, zone: tzinfo | None) -> bytes:
    """A moment as RFC 3339, as clocks of the zone show it."""
    if zone is None:
        return shown_time(moment).encode()
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment // NANOSECONDS)).astimezone(zone)
    text = local.isoformat(timespec="seconds")
    return (f"{text[:-6]}Z" if not local.utcoffset() else text).encode()
