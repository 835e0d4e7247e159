"""Judges a ledger offline, with the public key of the server alone.

What is proved: each line that is covered by a seal is as the server wrote it, in its order, from the first segment that
is kept to the seal that the head names at least. Lines after the last seal are counted, not proved: they are what the
server had not sealed yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.audit.entry import (
    BEGINNING,
    HEAD,
    OPENED,
    REKEYED,
    SEALED,
    LineError,
    check_signature,
    decode,
    line_hash,
    segment_name,
    segment_number,
)

_UNSEALED_SEGMENT: Final = "a segment begins although the one before it was not sealed"


@dataclass(slots=True)
class Verdict:
    """What verification found. ``problem`` is empty for a ledger that is as its server wrote it."""

    problem: str = ""
    lines: int = 0
    """Lines that were read."""
    sealed: int = 0
    """The number of the last line that a seal covers."""
    unsealed: int = 0
    """Lines after the last seal."""
    first: int = 0
    """The number of the first line that is kept."""
    segments: int = 0
    keys: list[str] = field(default_factory=list)
    """The keys that sealed, in their order."""
    ignored: list[str] = field(default_factory=list)
    """Segments that the server had let go of, and that are there nevertheless."""

    @property
    def intact(self) -> bool:
        """Whether nothing was edited, moved, removed or added."""
        return not self.problem


class _FoundError(Exception):
    """What is wrong, and where."""


def verify_ledger(directory: Path, public: str = "") -> Verdict:
    """Judge the ledger in a directory. Raises OSError where it cannot be read.

    ``public`` is the server's public key. Without it the ledger's own word is taken for it, which proves only that the
    parts of it fit together. Where the server changed its key, it is the first of them, or any later one.
    """
    verdict = Verdict()
    try:
        _Verification(directory, public, verdict).run()
    except _FoundError as found:
        verdict.problem = str(found)
    return verdict


class _Verification:
    def __init__(self, directory: Path, public: str, verdict: Verdict) -> None:
        self._directory = directory
        self._wanted = public
        self._verdict = verdict
        self._key = ""
        self._sequence = 0
        self._hash = BEGINNING
        self._sealed_hashes: dict[int, tuple[str, int]] = {}

    def run(self) -> None:
        head, head_line = self._head()
        first_segment, first_sequence = _number(head, "first_segment", HEAD), _number(head, "first_seq", HEAD)
        self._sequence, self._hash = first_sequence - 1, str(head.get("first_prev"))
        if (first_segment == 1) != (self._hash == BEGINNING) or (first_segment == 1) != (first_sequence == 1):
            raise _FoundError(f"{HEAD}: its first segment does not begin where it says")
        last_segment = _number(head, "segment", HEAD)
        numbers = self._segments(first_segment, last_segment)
        self._verdict.first = first_sequence
        for number in numbers:
            self._segment(number, is_last=number == numbers[-1])
        self._verdict.segments = len(numbers)
        sealed, key = _number(head, "seq", HEAD), str(head.get("key"))
        place = self._sealed_hashes.get(sealed)
        if place is None or place[0] != head.get("prev"):
            raise _FoundError(
                f"the end is missing: {HEAD} vouches for {sealed} lines, the last seal is {self._verdict.sealed}"
            )
        if place[1] != last_segment:
            raise _FoundError(f"line {sealed} is in segment {place[1]}, and not in {last_segment} as {HEAD} says")
        if key not in self._verdict.keys and key != self._key:
            raise _FoundError(f"{HEAD} is signed by {key}, which never sealed this ledger")
        if self._wanted and self._wanted not in self._verdict.keys:
            raise _FoundError(f"no line is sealed by {self._wanted}: the keys are {', '.join(self._verdict.keys)}")
        check_line(head_line, key, HEAD)

    def _head(self) -> tuple[dict[str, object], bytes]:
        try:
            line = (self._directory / HEAD).read_bytes()
        except FileNotFoundError:
            raise _FoundError(f"{HEAD} is missing: nothing tells how far the ledger went") from None
        if not line.endswith(b"\n") or line.count(b"\n") != 1:
            raise _FoundError(f"{HEAD} is not one line")
        members = _members(line[:-1], HEAD)
        if members["event"] != "head":
            raise _FoundError(f"{HEAD} is no head")
        check_line(line[:-1], str(members.get("key")), HEAD)
        return members, line[:-1]

    def _segments(self, first: int, last: int) -> list[int]:
        found = sorted(n for name in os.listdir(self._directory) if (n := segment_number(name)) is not None)
        self._verdict.ignored = [segment_name(number) for number in found if number < first]
        numbers = [number for number in found if number >= first]
        if not numbers or numbers != list(range(first, numbers[-1] + 1)) or numbers[-1] < last:
            missing = sorted(set(range(first, max([last, *numbers]) + 1)) - set(numbers))
            raise _FoundError(f"segments are missing: {', '.join(map(segment_name, missing))}")
        return numbers

    def _segment(self, number: int, *, is_last: bool) -> None:
        name = segment_name(number)
        if self._verdict.unsealed:
            raise _FoundError(f"{name}: {_UNSEALED_SEGMENT}")
        content = (self._directory / name).read_bytes()
        lines = content.split(b"\n")
        rest = lines.pop()
        if rest and not is_last:
            raise _FoundError(f"{name}: its last line has no end")
        if not lines and not is_last:
            raise _FoundError(f"{name} is empty")
        for place, line in enumerate(lines, 1):
            self._line(f"{name} line {place}", line, is_first=place == 1, number=number)

    def _line(self, where: str, line: bytes, *, is_first: bool, number: int) -> None:
        members = _members(line, where)
        event = members["event"]
        if members["prev"] != self._hash:
            raise _FoundError(f"{where} does not follow the line before it")
        if members["seq"] != self._sequence + 1:
            raise _FoundError(f"{where} has number {members['seq']}, and should have {self._sequence + 1}")
        if is_first != (event == OPENED) or (is_first and members.get("segment") != number):
            raise _FoundError(f"{where}: a segment begins with its opening, and has no other")
        self._sequence += 1
        self._hash = line_hash(line)
        verdict = self._verdict
        verdict.lines += 1
        verdict.unsealed += 1
        if event in (SEALED, REKEYED):
            self._seal(where, line, members)
            self._sealed_hashes[self._sequence] = (self._hash, number)
            verdict.sealed, verdict.unsealed = self._sequence, 0

    def _seal(self, where: str, line: bytes, members: dict[str, object]) -> None:
        key = str(members.get("key"))
        if self._key and key != self._key:
            raise _FoundError(f"{where} is sealed by {key}, and should be by {self._key}")
        check_line(line, key, where)
        if key not in self._verdict.keys:
            self._verdict.keys.append(key)
        self._key = str(members.get("next")) if members["event"] == REKEYED else key


def check_line(line: bytes, public: str, where: str) -> None:
    """Raises the finding for a line that is not signed by the key."""
    try:
        check_signature(line, public)
    except LineError as error:
        raise _FoundError(f"{where}: {error}") from None


def entries(directory: Path) -> Iterator[dict[str, object]]:
    """The lines of a ledger in their order, whether they are proved or not. Raises LineError and OSError."""
    for number in sorted(n for name in os.listdir(directory) if (n := segment_number(name)) is not None):
        with (directory / segment_name(number)).open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    yield decode(line[:-1])


def _members(line: bytes, where: str) -> dict[str, object]:
    try:
        return decode(line)
    except LineError as error:
        raise _FoundError(f"{where}: {error}") from None


def _number(members: dict[str, object], name: str, where: str) -> int:
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _FoundError(f"{where} has no number in {name}")
    return value
