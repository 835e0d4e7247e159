"""Where consumers stand, as nats-server keeps it (`o.dat`), and beside it what only natskeep knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from broker.jetstream.codec.times import NANOSECONDS
from broker.jetstream.consumer.delivery import FAR
from broker.jetstream.consumer.standing import Standing
from broker.jetstream.snapshot.problems import ArchiveError

if TYPE_CHECKING:
    from broker.jetstream.config.consumer import ConsumerConfig
    from broker.jetstream.consumer.consumer import Consumer

_MAGIC: Final = b"\x16\x02"
_LARGEST: Final = (1 << 63) - 2
_LONGEST_NUMBER: Final = 10

_Sequence = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
_Time = Annotated[int, msgspec.Meta(ge=-FAR, le=FAR)]


class Own(msgspec.Struct, kw_only=True):
    """What `o.dat` has no place for: the next sequence, those that come before it, and exact times of deliveries."""

    position: _Sequence = 0
    selected: list[_Sequence] = []
    times: dict[_Sequence, tuple[_Time, _Time]] = {}
    """By sequence, when it was delivered and when it is due again."""


def written(consumer: Consumer, last: int) -> tuple[bytes, bytes]:
    """What `o.dat` holds of a consumer, and the document beside it, in an archive whose last sequence is ``last``."""
    standing = consumer.delivery.standing()
    number, floor = consumer.delivery.floor()
    floor = min(floor, last)
    delivered = min(max(standing.sequence, consumer.start - 1, 0), last)
    given = [one for one in standing.given if floor < one[0] <= last and one[1] > number]
    again = [one for one in given if one[4] > 1]
    made = bytearray(_MAGIC)
    for value in (number, floor, standing.number, delivered, len(given)):
        made += unsigned(value)
    if given:
        seconds = round(time.time())
        made += signed(seconds)
        for one in given:
            made += unsigned(one[0] - floor) + unsigned(one[1] - number) + signed(seconds - one[2] // NANOSECONDS)
    made += unsigned(len(again))
    for one in again:
        made += unsigned(one[0] - floor) + unsigned(one[4] - 1)
    times = {one[0]: (one[2], one[3]) for one in given}
    own = Own(position=min(standing.position, last + 1), selected=standing.selected, times=times)
    return bytes(made), msgspec.json.encode(own)


def read(state: bytes, own: bytes, config: ConsumerConfig) -> Standing:
    """Where a consumer stands. ``own`` may be empty. Raises ArchiveError."""
    try:
        beside = msgspec.json.decode(own, type=Own) if own else Own()
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"where it stands cannot be read: {error}") from None
    if not state:
        return Standing(position=beside.position or 1)
    if not state.startswith(_MAGIC):
        raise ArchiveError("where it stands is in a form that is not known")
    numbers = Numbers(state, len(_MAGIC))
    number, floor, delivered_number, delivered, count = (numbers.unsigned() for _ in range(5))
    waits = config.backoff or [config.ack_wait or 0]
    pending: list[tuple[int, int, int]] = []
    seconds = numbers.signed() if count else 0
    for _ in range(count):
        sequence, given = floor + numbers.unsigned(), number + numbers.unsigned()
        pending.append((sequence, given, (seconds - numbers.signed()) * NANOSECONDS))
    again = {floor + numbers.unsigned(): numbers.unsigned() for _ in range(numbers.unsigned())}
    if max((floor, delivered, number, delivered_number, *(max(one) for one in pending))) > _LARGEST:
        raise ArchiveError("where it stands has numbers that no stream has")
    standing = Standing(
        number=delivered_number, sequence=delivered, position=beside.position or delivered + 1,
        floor_number=number, floor_sequence=floor, selected=beside.selected,
    )  # fmt: skip
    for sequence, given, moment in sorted(pending):
        deliveries = min(again.get(sequence, 0), 1 << 30) + 1
        wait = waits[min(deliveries, len(waits)) - 1]
        delivered_at, due = beside.times.get(sequence, (moment, moment + wait))
        standing.given.append((sequence, given, _near(delivered_at), _near(due), deliveries))
    return standing


def _near(moment: int) -> int:
    return max(min(moment, FAR), -FAR)


def unsigned(value: int) -> bytes:
    """A number as a varint."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def signed(value: int) -> bytes:
    """A number that may be negative as a varint."""
    return unsigned(value * 2 if value >= 0 else -value * 2 - 1)


class Numbers:
    """Varints, one behind the other. Raises ArchiveError where there is none."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self._at = at

    def unsigned(self) -> int:
        """The next."""
        value = 0
        for index in range(_LONGEST_NUMBER):
            if self._at >= len(self._content):
                break
            byte = self._content[self._at]
            self._at += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value
        raise ArchiveError("a number is cut off")

    def signed(self) -> int:
        """The next, which may be negative."""
        value = self.unsigned()
        return value >> 1 if value & 1 == 0 else -(value >> 1) - 1
