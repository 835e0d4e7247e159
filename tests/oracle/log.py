"""A plain model of a stream's messages, and of the tables that a store keeps of them, for property tests of the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.core.log import GAPS, INDEX, RECORDS, Log
from tests.oracle.sublist import pattern_matches as matches


@dataclass
class PlainLog:
    """What a log must say, by looking through a dictionary."""

    file: bool = True
    last: int = 0
    floor: int = 1
    last_time: int = 0
    held: dict[int, tuple[int, bytes, bytes | None, bytes]] = field(default_factory=dict)
    maximum_messages: int = -1
    maximum_per_subject: int = -1

    @property
    def first(self) -> int:
        if self.held:
            return min(self.held)
        return self.last + 1 if self.last or self.floor > 1 else 0

    def size(self, entry: tuple[int, bytes, bytes | None, bytes]) -> int:
        _, subject, header, payload = entry
        if self.file:
            return 30 + len(subject) + (4 + len(header) if header else 0) + len(payload)
        return 16 + len(subject) + len(header or b"") + len(payload)

    @property
    def bytes(self) -> int:
        return sum(map(self.size, self.held.values()))

    def append(self, subject: bytes, header: bytes | None, payload: bytes, time: int) -> int:
        self.last += 1
        self.held[self.last] = (time, subject, header, payload)
        self.last_time = time
        if self.maximum_per_subject > 0:
            own = [number for number, entry in sorted(self.held.items()) if entry[1] == subject]
            for number in own[: max(0, len(own) - self.maximum_per_subject)]:
                del self.held[number]
        while self.maximum_messages > 0 and len(self.held) > self.maximum_messages:
            del self.held[min(self.held)]
        return self.last

    def skip(self, to: int) -> None:
        self.last = max(self.last, to)

    def remove(self, sequence: int) -> bool:
        return self.held.pop(sequence, None) is not None

    def truncate_before(self, sequence: int) -> int:
        gone = [number for number in self.held if number < sequence]
        for number in gone:
            del self.held[number]
        self.last = max(self.last, sequence - 1)
        return len(gone)

    def matching(self, patterns: list[bytes] | None) -> list[int]:
        return [
            number
            for number, entry in sorted(self.held.items())
            if patterns is None or any(matches(pattern, entry[1]) for pattern in patterns)
        ]

    def next(self, patterns: list[bytes] | None, start: int) -> int:
        return next((number for number in self.matching(patterns) if number >= start), 0)

    def previous(self, patterns: list[bytes] | None, start: int) -> int:
        return next((number for number in reversed(self.matching(patterns)) if number <= start), 0)

    def find(self, subject: bytes) -> tuple[int, int, int] | None:
        own = [number for number, entry in sorted(self.held.items()) if entry[1] == subject]
        return (len(own), own[0], own[-1]) if own else None


@dataclass
class PlainTables:
    """What a store writes down, and how a log is loaded from it."""

    rows: dict[tuple[str, int], bytes] = field(default_factory=dict)
    state: tuple[int, int, int] = (0, 0, 0)

    def take(self, log: Log, *, erase: bool = False) -> None:
        for table, sequence, value in log.take_changes(erase):
            if value is None:
                self.rows.pop((table, sequence), None)
            else:
                self.rows[table, sequence] = value
        self.state = (log.first, log.last, log.last_time)
        log.durable = log.last

    def load(self) -> Log:
        log = Log()
        log.loader = self.read
        log.restore(*self.state)
        begins = True
        block = 0
        for sequence in sorted(number for table, number in self.rows if table == RECORDS):
            index = self.rows.get((INDEX, sequence))
            if index is not None:
                log.load_index(sequence, index, self.rows.get((GAPS, sequence)))
                begins = True
                continue
            if begins:
                block = sequence
            log.load_piece(sequence, self.rows[RECORDS, sequence], self.rows.get((GAPS, block)), begins)
            begins = False
        log.restored()
        return log

    def read(self, _: int, pieces: tuple[int, ...]) -> list[bytes]:
        return [self.rows[RECORDS, sequence] for sequence in pieces]
