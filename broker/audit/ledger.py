"""Writes a ledger: appends, seals, begins new segments, and lets go of old ones.

All methods block on the disk; the recorder calls them in a thread of their own. After an OSError nothing is lost that
was in the ledger: what a failed append left of a line is cut off.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth.nkey import KeyKind, KeyPair, NKeyError
from broker.audit.entry import (
    BEGINNING,
    HEAD,
    LOST,
    OPENED,
    RECOVERED,
    REKEYED,
    RETIRED,
    SEALED,
    LineError,
    check_signature,
    decode,
    encode,
    line_hash,
    segment_name,
    segment_number,
    signed,
)

LOCK_FILE: Final = "ledger.lock"
"""Who holds the lock on it writes the ledger beside it. It stays behind and means nothing when nobody does."""

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700


class LedgerError(Exception):
    """A ledger that cannot be continued; the text names the place and what to do."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (Unix time), what, and its members in the order in which they are written."""

    time: float
    name: str
    members: dict[str, object]


def load_key(path: Path) -> KeyPair:
    """The server key of a seed file, which is made where it is missing. Raises LedgerError and OSError."""
    if not path.exists():
        path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        key = KeyPair.generate(KeyKind.SERVER)
        with suppress(FileExistsError), open(os.open(path, _CREATE | os.O_EXCL, _FILE_MODE), "wb") as stream:
            stream.write(key.seed.encode("ascii"))
            stream.flush()
            os.fsync(stream.fileno())
    try:
        key = KeyPair.from_seed(path.read_text("ascii").strip())
    except (NKeyError, UnicodeDecodeError):
        raise LedgerError(f"{path} does not hold the seed of a server nkey") from None
    if key.kind is not KeyKind.SERVER:
        raise LedgerError(f"{path} holds the seed of another kind of key: a server nkey begins with SN")
    return key


class Ledger:
    """The ledger in one directory, open for writing by one server."""

    def __init__(
        self,
        directory: Path,
        key: KeyPair,
        *,
        maximum_bytes: int = 64 << 20,
        keep: int = 0,
        previous: KeyPair | None = None,
    ) -> None:
        """``maximum_bytes`` of one segment; ``keep`` is the number of segments that are kept, 0 for all of them.

        ``previous`` is the key that sealed what is there, where the key has changed.
        """
        self.directory = directory
        self._key = key
        self._previous = previous
        self._maximum = maximum_bytes
        self._keep = keep
        self._descriptor = -1
        self._lock = -1
        self._size = 0
        self._segment = 1
        self._sequence = 0
        self._hash = BEGINNING
        self._unsealed = 0
        self._torn = False
        """Whether a part of a line may stand behind the last whole one."""
        self._first = (1, 1, BEGINNING)
        """The first segment that is kept, the number of its first line, and the hash that it names."""

    @property
    def unsealed(self) -> int:
        """Lines after the last seal."""
        return self._unsealed

    def open(self) -> None:
        """Continues what is there, or begins. Raises LedgerError and OSError; the directory is free again then."""
        self.directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self._lock_directory()
        try:
            self._open()
        except BaseException:
            self._let_go()
            raise

    def _lock_directory(self) -> None:
        """Makes sure that nobody else writes here. The kernel ends the lock with the process, however that ends."""
        descriptor = os.open(self.directory / LOCK_FILE, _CREATE, _FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            raise LedgerError(
                f"another server writes the audit ledger in {self.directory}: "
                "end that server first, or name another directory in audit.dir"
            ) from None
        self._lock = descriptor

    def _open(self) -> None:
        found = sorted(number for name in os.listdir(self.directory) if (number := segment_number(name)) is not None)
        head = self._read_head()
        if head is not None:
            self._first = (_number(head, "first_segment"), _number(head, "first_seq"), str(head.get("first_prev")))
        for number in [number for number in found if number < self._first[0]]:
            # A server ended between letting go of a segment and removing it.
            (self.directory / segment_name(number)).unlink()
            found.remove(number)
        if not found:
            if head is not None:
                raise LedgerError(
                    f"{self.directory} has a {HEAD} and no segments: look where they went, or name another directory"
                )
            self._begin(1)
            return
        if found != list(range(self._first[0], found[-1] + 1)):
            raise LedgerError(f"{self.directory} lacks segments of the ledger: verify it, then name another directory")
        self._check_end(head, found[-1])
        self._segment = found[-1]
        rest = self._continue_after_last_line()
        sealer = str(head["key"]) if head is not None else self._key.public
        if sealer != self._key.public:
            self._take_over(sealer)
        if rest:
            self._append([Event(time.time(), RECOVERED, {"bytes": rest})])

    def _check_end(self, head: dict[str, object] | None, last: int) -> None:
        """Refuses a ledger that does not go as far as its head says: to go on would hide what was taken off its end.

        Without a head there is no more than the first seal, which a crash may have kept from being vouched for.
        """
        segment = 1 if head is None else _number(head, "segment")
        lines = [] if segment > last else (self.directory / segment_name(segment)).read_bytes().split(b"\n")[:-1]
        if head is not None:
            is_whole = any(line_hash(line) == head["prev"] for line in lines)
        else:
            seals = [place for place, line in enumerate(lines, 1) if _is_seal(line)]
            is_whole = last == 1 and seals in ([], [len(lines)])
        if not is_whole:
            vouched = f"{HEAD} is missing" if head is None else f"{HEAD} vouches for more lines than there are"
            raise LedgerError(f"{self.directory}: {vouched}. Verify the ledger, then name another directory")

    def _continue_after_last_line(self) -> int:
        """Reads the last segment to its end; returns how many bytes of an unfinished line were cut off."""
        path = self.directory / segment_name(self._segment)
        self._descriptor = os.open(path, _CREATE, _FILE_MODE)
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        try:
            members = [decode(line) for line in lines]
        except LineError as error:
            raise LedgerError(f"{path} cannot be continued: {error}. Verify it, then name another directory") from None
        if whole < len(content):
            os.ftruncate(self._descriptor, whole)
        os.lseek(self._descriptor, whole, os.SEEK_SET)
        self._size = whole
        if lines:
            self._sequence = _number(members[-1], "seq")
            self._hash = line_hash(lines[-1])
            seals = [place for place, one in enumerate(members) if one["event"] in (SEALED, REKEYED)]
            self._unsealed = len(lines) - (seals[-1] + 1 if seals else 0)
        elif self._segment > 1:
            self._begin_after_empty()
        return len(content) - whole

    def _begin_after_empty(self) -> None:
        """A crash came between the making of a segment and its first line: goes on behind the one before."""
        os.close(self._descriptor)
        self._descriptor = -1
        (self.directory / segment_name(self._segment)).unlink()
        self._segment -= 1
        self._continue_after_last_line()

    def _take_over(self, sealer: str) -> None:
        """Lets the earlier key name the new one."""
        if self._previous is None or self._previous.public != sealer:
            raise LedgerError(
                f"the ledger in {self.directory} was sealed by {sealer}, not by {self._key.public}: "
                "name the earlier key file in audit.previous_key, or another directory"
            )
        line = encode(self._sequence + 1, self._hash, time.time(), REKEYED, {"key": sealer, "next": self._key.public})
        self._write([signed(line, self._previous)])
        self._unsealed = 0
        os.fsync(self._descriptor)
        self._write_head()

    def _begin(self, number: int) -> None:
        path = self.directory / segment_name(number)
        before = self._descriptor, self._size, self._segment
        descriptor = os.open(path, _CREATE | os.O_EXCL, _FILE_MODE)
        self._descriptor, self._size, self._segment = descriptor, 0, number
        try:
            self._append([Event(time.time(), OPENED, {"segment": number, "key": self._key.public})])
        except OSError:
            # Nothing may stand in a segment before its opening, so the one before goes on.
            self._descriptor, self._size, self._segment = before
            self._torn = False
            os.close(descriptor)
            path.unlink()
            raise
        if before[0] >= 0:
            os.close(before[0])
        self._sync_directory()

    # Writing

    def append(self, events: Sequence[Event], *, lost: int = 0) -> None:
        """Adds events; ``lost`` is how many before them could not be written. Raises OSError: then none was added."""
        if lost:
            events = [Event(time.time(), LOST, {"count": lost}), *events]
        if events:
            self._append(events)

    def _append(self, events: Iterable[Event]) -> None:
        sequence, previous = self._sequence, self._hash
        lines = []
        for event in events:
            sequence += 1
            line = encode(sequence, previous, event.time, event.name, event.members)
            previous = line_hash(line)
            lines.append(line)
        self._write(lines)
        self._unsealed += len(lines)

    def _write(self, lines: list[bytes]) -> None:
        """Adds whole lines, or none of them."""
        if self._torn:
            self._cut_off()
        data = memoryview(b"".join(line + b"\n" for line in lines))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            self._torn = True
            self._cut_off()
            raise
        self._size += len(data)
        self._sequence += len(lines)
        self._hash = line_hash(lines[-1])

    def _cut_off(self) -> None:
        """Removes what stands behind the last whole line. Raises OSError; the next write tries again."""
        os.ftruncate(self._descriptor, self._size)
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        self._torn = False

    def seal(self) -> None:
        """Vouches for everything so far, on the disk; begins a new segment where this one is large. Raises OSError."""
        if not self._unsealed:
            return
        line = encode(self._sequence + 1, self._hash, time.time(), SEALED, {"key": self._key.public})
        self._write([signed(line, self._key)])
        os.fsync(self._descriptor)
        self._write_head()
        self._unsealed = 0
        if self._size >= self._maximum:
            self._begin(self._segment + 1)
            self._retire()

    def _retire(self) -> None:
        """Lets go of the oldest segments beyond those that are kept."""
        first = self._segment - self._keep + 1
        if not self._keep or first <= self._first[0]:
            return
        oldest = (self.directory / segment_name(first)).read_bytes().split(b"\n", 1)[0]
        members = decode(oldest)
        gone = range(self._first[0], first)
        until = _number(members, "seq") - 1
        self._append([Event(time.time(), RETIRED, {"segments": [gone[0], gone[-1]], "until": until})])
        self._first = (first, _number(members, "seq"), str(members["prev"]))
        self.seal()
        for number in gone:
            (self.directory / segment_name(number)).unlink(missing_ok=True)
        self._sync_directory()

    def close(self) -> None:
        """Seals and ends. Raises OSError."""
        try:
            if self._descriptor >= 0:
                self.seal()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """The lock goes last: whoever gets it finds all that was written."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    # The head

    def _write_head(self) -> None:
        segment, sequence, previous = self._first
        members: dict[str, object] = {
            "segment": self._segment,
            "first_segment": segment,
            "first_seq": sequence,
            "first_prev": previous,
            "key": self._key.public,
        }
        line = signed(encode(self._sequence, self._hash, time.time(), "head", members), self._key)
        temporary = self.directory / f".{HEAD}.tmp"
        with open(os.open(temporary, _CREATE | os.O_TRUNC, _FILE_MODE), "wb") as stream:
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.directory / HEAD)
        self._sync_directory()

    def _read_head(self) -> dict[str, object] | None:
        path = self.directory / HEAD
        try:
            line = path.read_bytes().rstrip(b"\n")
            head = decode(line)
            check_signature(line, str(head.get("key")))
        except FileNotFoundError:
            return None
        except LineError as error:
            raise LedgerError(
                f"{path} cannot be used: {error}. Verify the ledger, then name another directory"
            ) from None
        return head

    def _sync_directory(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_seal(line: bytes) -> bool:
    try:
        return decode(line)["event"] in (SEALED, REKEYED)
    except LineError:
        return False


def _number(members: dict[str, object], name: str) -> int:
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise LedgerError(f"the ledger has a line without a number in {name}: verify it, then name another directory")
    return value
