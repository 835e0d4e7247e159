"""Prebuilt frames: what a publisher sends and what a subscriber then receives, in rings of equally long frames.

Nothing is built per message while the clock runs. A publisher sends whole slices of `Ring.published`; a subscriber
counts bytes, or compares them with the same slice of `Ring.delivered`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.bench.errors import BenchError

EPOCH_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
EPOCH_WIDTH = 3
EPOCH_MARK = "@" * EPOCH_WIDTH
SID = 1


def publish_frame(subject: str, payload: bytes, reply: str = "") -> bytes:
    """The PUB frame of one message."""
    words = f"PUB {subject} {reply} {len(payload)}" if reply else f"PUB {subject} {len(payload)}"
    return words.encode() + b"\r\n" + payload + b"\r\n"


def deliver_frame(subject: str, payload: bytes, reply: str = "", sid: int = SID) -> bytes:
    """The MSG frame by which a server hands the message to subscription `sid`."""
    words = f"MSG {subject} {sid} {reply} {len(payload)}" if reply else f"MSG {subject} {sid} {len(payload)}"
    return words.encode() + b"\r\n" + payload + b"\r\n"


@dataclass(slots=True, repr=False)
class Side:
    """One direction of a ring: frames of `size` bytes each, one after the other in `data`.

    Where the subjects carry an epoch (see `unique_subjects`), `renew` makes every subject of the ring a new one; a
    side without epoch stays as it is.
    """

    data: bytearray
    size: int
    epoch_offsets: tuple[int, ...] = ()
    epoch: int = 0

    @classmethod
    def join(cls, frames: Sequence[bytes]) -> Side:
        """Put frames together.

        Raises:
            BenchError: they differ in length, or in the place of the epoch.
        """
        sizes = {len(frame) for frame in frames}
        if len(sizes) != 1:
            raise BenchError(f"the frames of a ring must be equally long, not {sorted(sizes)}")
        offsets = _marks(frames[0])
        if any(_marks(frame) != offsets for frame in frames):
            raise BenchError("the epoch must stand at the same place in every frame of a ring")
        side = cls(bytearray(b"".join(frames)), sizes.pop(), offsets)
        side._stamp()
        return side

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.data) // self.size

    def fresh(self) -> Side:
        """A copy in its first epoch."""
        side = Side(bytearray(self.data), self.size, self.epoch_offsets)
        side._stamp()
        return side

    def renew(self) -> None:
        """Go to the next epoch; call it each time the whole ring has been used."""
        self.epoch += 1
        self._stamp()

    def _stamp(self) -> None:
        # Slice assignment with a stride writes one digit into all frames at once.
        if self.epoch_offsets:
            for place, digit in enumerate(epoch_text(self.epoch)):
                for offset in self.epoch_offsets:
                    self.data[offset + place :: self.size] = bytes((digit,)) * self.count


@dataclass(frozen=True, slots=True, repr=False)
class Ring:
    """Frames that a publisher sends over and over, and the same frames as each subscriber receives them.

    Where the server draws lots for a message's subject, ``alternatives`` hold the frames of the other outcomes.
    """

    published: Side
    delivered: Side
    alternatives: tuple[Side, ...] = ()

    def accepts(self, received: bytes) -> bool:
        """Whether these bytes are the first frames of the ring as a subscriber may receive them."""
        size = self.delivered.size
        return len(received) % size == 0 and all(
            any(received[at : at + size] == side.data[at : at + size] for side in (self.delivered, *self.alternatives))
            for at in range(0, len(received), size)
        )

    @property
    def growth(self) -> float:
        """Delivered bytes for each published byte, for one subscriber."""
        return self.delivered.size / self.published.size

    def renew(self) -> None:
        """Go to the next epoch on both sides."""
        self.published.renew()
        self.delivered.renew()


class Walk:
    """A walk along one side of a ring, frame by frame and round and round, with a new epoch for each round."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._view = memoryview(side.data)
        self._position = 0
        self._partial = b""

    def take(self, count: int) -> Iterator[memoryview]:
        """The next `count` frames as few large slices; each must be used before the next one is asked for."""
        left = count * self._side.size
        while left:
            size = min(left, len(self._view) - self._position)
            yield self._view[self._position : self._position + size]
            self.advance(size)
            left -= size

    def advance(self, size: int) -> None:
        """Go on by `size` bytes, which must not reach beyond the end of the ring."""
        self._position += size
        if self._position == len(self._view):
            self._position = 0
            self._side.renew()

    def rest(self, limit: int) -> memoryview:
        """The bytes from here to the end of the ring, at most `limit`."""
        return self._view[self._position : self._position + limit]

    def check(self, data: bytes) -> int:
        """Compare received bytes with the frames that must come next; returns how many frames they complete.

        Raises:
            BenchError: something else was received.
        """
        received = self._partial + data
        count = len(received) // self._side.size
        place = 0
        for expected in self.take(count):
            if received[place : place + len(expected)] != expected:
                raise BenchError("other frames were received than were published")
            place += len(expected)
        self._partial = received[place:]
        return count


def epoch_text(epoch: int) -> bytes:
    """The epoch as three base-36 digits, the most significant one first.

    Raises:
        BenchError: the epoch is not in 0 … 46,655.
    """
    if not 0 <= epoch < len(EPOCH_DIGITS) ** EPOCH_WIDTH:
        raise BenchError(f"epoch {epoch} is out of range: every subject that the generator can name has been used")
    digits = bytearray()
    for _ in range(EPOCH_WIDTH):
        epoch, digit = divmod(epoch, len(EPOCH_DIGITS))
        digits.append(EPOCH_DIGITS[digit])
    return bytes(reversed(digits))


def ring_of(
    subjects: Sequence[str], payload_size: int, target_bytes: int = 256 * 1024, *, arriving: Sequence[str] = ()
) -> Ring:
    """A ring over `subjects` in turn, repeated until the published side holds at least `target_bytes`.

    Where the server renames what it delivers, `arriving` holds the subjects that every message may arrive on.
    """
    payload = b"x" * payload_size
    once = sum(len(publish_frame(subject, payload)) for subject in subjects)
    times = -(-target_bytes // once)
    count = times * len(subjects)
    outcomes = [Side.join([deliver_frame(subject, payload)] * count) for subject in arriving] or [
        Side.join([deliver_frame(subject, payload) for subject in subjects] * times)
    ]
    return Ring(
        Side.join([publish_frame(subject, payload) for subject in subjects] * times), outcomes[0], tuple(outcomes[1:])
    )


def unique_subjects(prefix: str, count: int) -> list[str]:
    """`count` subjects below `prefix` whose last token holds the epoch and a number, so that no two are ever equal."""
    width = len(str(count - 1))
    return [f"{prefix}.{EPOCH_MARK}{number:0{width}d}" for number in range(count)]


def _marks(frame: bytes) -> tuple[int, ...]:
    mark = EPOCH_MARK.encode()
    places: list[int] = []
    start = frame.find(mark)
    while start >= 0:
        places.append(start)
        start = frame.find(mark, start + len(mark))
    return tuple(places)
