"""The log of a stream does as its plain twin, in memory and read back from what it wrote."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broker.core.log import Cursor, Filter, Log, Picture, Usage
from tests.oracle.log import PlainLog, PlainTables

SUBJECTS = st.sampled_from([b"a", b"a.b", b"a.c", b"a.b.c", b"z", b"\xc3\xa4.b"])
PATTERNS = st.sampled_from([None, [b"a"], [b"a.*"], [b"a.>", b"z"], [b"nobody"], [b"*"]])
HEADERS = st.sampled_from([None, b"", b"NATS/1.0\r\nA: b\r\n\r\n"])
# The larger payloads fill a block after a few messages.
PAYLOADS = st.one_of(st.binary(max_size=20), st.sampled_from([b"x" * 9000, b"y" * 40_000, b"z" * 70_000]))


class Machine(RuleBasedStateMachine):
    """One log, its twin, and the tables it writes."""

    @initialize(file=st.booleans(), messages=st.sampled_from([-1, -1, 7]), each=st.sampled_from([-1, -1, 1, 3]))
    def begin(self, file: bool, messages: int, each: int) -> None:
        self.file = file
        self.plain = PlainLog(file, maximum_messages=messages, maximum_per_subject=each)
        self.log = Log(file=file)
        self.limit()
        self.tables = PlainTables()
        self.log.loader = self.tables.read
        self.clock = 0
        self.pictures: list[tuple[Picture, list[tuple[int, bytes]]]] = []
        self.follow(None, 1)

    def limit(self) -> None:
        self.of_all = Usage()
        self.usage = Usage(self.of_all)
        self.log.usage = self.usage
        self.log.maximum_held = 100_000
        other = Log()
        other.append(b"a", None, b"x" * (1000 - 31), 1)
        other.usage = self.of_all
        self.log.maximum_messages = self.plain.maximum_messages
        self.log.maximum_per_subject = self.plain.maximum_per_subject

    def follow(self, patterns: list[bytes] | None, position: int) -> None:
        self.patterns = patterns
        self.cursor = Cursor(self.log, Filter(patterns), position)
        self.position = max(1, position)

    @rule(subject=SUBJECTS, header=HEADERS, payload=PAYLOADS, times=st.sampled_from([1, 1, 3]))
    def append(self, subject: bytes, header: bytes | None, payload: bytes, times: int) -> None:
        for _ in range(times):
            self.clock += 5
            assert self.log.append(subject, header, payload, self.clock) == self.plain.append(
                subject, header, payload, self.clock
            )

    @rule(by=st.sampled_from([1, 3, 5000]))
    def skip(self, by: int) -> None:
        self.log.skip(self.log.last + by)
        self.plain.skip(self.plain.last + by)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.plain.held))) if self.plain.held else 3
        assert self.log.remove(sequence) == self.plain.remove(sequence)

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from([*sorted(self.plain.held), self.plain.last + 1]))
        assert self.log.truncate_before(sequence) == self.plain.truncate_before(sequence)

    @rule(
        patterns=PATTERNS,
        span=st.tuples(st.integers(1, 40), st.integers(0, 40)),
        slices=st.tuples(st.sampled_from([1, 3, 10_000]), st.sampled_from([1, 2, 1000])),
        keeper=st.tuples(PATTERNS, st.integers(0, 60), st.booleans()),
    )
    def sweep(
        self,
        patterns: list[bytes] | None,
        span: tuple[int, int],
        slices: tuple[int, int],
        keeper: tuple[list[bytes] | None, int, bool],
    ) -> None:
        (at, length), (places, most), (keeps, above, among) = span, slices, keeper
        plain, stop = self.plain, at + length
        members = set(sorted(plain.held)[::3]) if among else set()
        kept = {number for number in plain.matching(keeps) if number >= above or number in members}
        gone = [number for number in plain.matching(patterns) if at <= number <= stop and number not in kept]
        keepers = [(Filter(keeps), above, members)]
        left = most
        while at and left:
            removed, following = self.log.sweep(Filter(patterns), at, stop, places, left, keepers)
            assert removed <= min(left, places)
            assert following == 0 or following > at
            left -= removed
            at = following
        for number in gone[:most]:
            plain.remove(number)

    @rule(age=st.integers(0, 30))
    def expire(self, age: int) -> None:
        # Times rise with sequences here, so the front holds the oldest.
        gone = [number for number, entry in self.plain.held.items() if entry[0] < self.clock - age]
        assert self.log.expire(self.clock - age, 2) == min(len(gone), 2)
        assert self.log.expire(self.clock - age) == max(len(gone) - 2, 0)
        for number in gone:
            self.plain.remove(number)

    @rule(erase=st.booleans())
    def write(self, erase: bool) -> None:
        if self.file:
            self.tables.take(self.log, erase=erase)
            self.log.shed(0)
            assert not self.log.dirty
            # What only a picture still shows may never have been written.
            assert self.pictures or not any(block.here for block in self.log.blocks[:-1])

    @rule(erase=st.booleans())
    def read_back(self, erase: bool) -> None:
        if self.file:
            self.tables.take(self.log, erase=erase)
            self.log = self.tables.load()
            self.pictures = []
            self.limit()
            self.follow(self.patterns, self.position)

    @rule(patterns=PATTERNS, start=st.integers(0, 40))
    def turn(self, patterns: list[bytes] | None, start: int) -> None:
        self.cursor.close()
        self.follow(patterns, start)

    @rule()
    def advance(self) -> None:
        wanted = [number for number in self.plain.matching(self.patterns) if number >= self.position]
        wanted = [number for number in wanted if number <= self.log.durable]
        assert self.cursor.next() == (wanted[0] if wanted else 0)
        self.position = wanted[0] + 1 if wanted else max(self.position, self.log.durable + 1, self.log.first)
        assert self.cursor.at >= self.position if not wanted else self.cursor.at == self.position
        self.position = self.cursor.at

    @rule()
    def picture(self) -> None:
        shown = [(number, entry[3]) for number, entry in sorted(self.plain.held.items())]
        self.pictures.append((self.log.picture(), shown))

    @rule(most=st.sampled_from([1, 300, 100_000]), data=st.data())
    def look_at_picture(self, most: int, data: st.DataObject) -> None:
        if self.pictures:
            picture, left = data.draw(st.sampled_from(self.pictures))
            seen = [(entry.sequence, entry.payload) for entry in picture.take(most)]
            assert seen == left[: len(seen)]
            assert bool(seen) == bool(left)
            del left[: len(seen)]

    @rule(data=st.data())
    def put_picture_away(self, data: st.DataObject) -> None:
        if self.pictures:
            self.pictures.pop(data.draw(st.integers(0, len(self.pictures) - 1)))[0].close()

    @invariant()
    def same(self) -> None:
        log, plain = self.log, self.plain
        assert (log.messages, log.last, log.bytes) == (len(plain.held), plain.last, plain.bytes)
        if plain.held:
            assert log.first == plain.first
            assert log.first_time == plain.held[plain.first][0]
        assert log.last_time == plain.last_time
        assert (self.usage.bytes, self.of_all.bytes) == (plain.bytes, plain.bytes + 1000)
        assert log.deleted == (plain.last - plain.first + 1 - len(plain.held) if plain.held else 0)
        assert log.subjects == len({entry[1] for entry in plain.held.values()})
        assert self.cursor.ahead == sum(number >= self.position for number in plain.matching(self.patterns))

    @rule(patterns=PATTERNS, start=st.integers(0, 60), subject=SUBJECTS)
    def ask(self, patterns: list[bytes] | None, start: int, subject: bytes) -> None:
        log, plain, wanted = self.log, self.plain, Filter(patterns)
        matching = plain.matching(patterns)
        assert log.next(wanted, start) == plain.next(patterns, start)
        assert log.previous(wanted, start) == plain.previous(patterns, start)
        assert log.remaining(wanted, start) == sum(number >= start for number in matching)
        assert log.find(subject) == plain.find(subject)
        assert log.lasts(wanted) == sorted(one[3] for one in log.seen(wanted))
        counts: dict[bytes, int] = {}
        number, begins = 0, True
        while number or begins:
            part, number = log.counts_of(wanted, number, 2)
            counts |= part
            begins = False
        assert counts == log.counts(wanted)
        assert sorted(log.seen(wanted)) == sorted(
            (one, *found)
            for one in {plain.held[number][1] for number in matching}
            if (found := plain.find(one)) is not None
        )
        assert sum(log.counts(wanted).values()) == len(matching)
        headed = [number for number, entry in sorted(plain.held.items()) if entry[2] is not None and number >= start]
        assert log.headed(start) == (headed[0] if headed else 0)
        for number in {*list(plain.held)[:3], start}:
            entry = log.get(number)
            told = None if entry is None else (entry.time, entry.subject, entry.header, entry.payload)
            assert told == plain.held.get(number)
        covered = [number for low, high in log.gaps() if high - low < 10_000 for number in range(low, high + 1)]
        assert not set(covered) & set(plain.held)
        assert sum(high - low + 1 for low, high in log.gaps()) == log.deleted


TestLog = Machine.TestCase
TestLog.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
