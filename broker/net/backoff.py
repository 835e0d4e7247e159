"""What is remembered of addresses: how often their clients failed, and how many handshakes they have begun.

Both are bounded in number, so that whoever has many addresses cannot fill the memory: the address forgotten first is
the one that nothing was heard of for longest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

REMEMBERED: Final = 16384
"""Addresses that are remembered at one time."""

MINUTE: Final = 60.0
FIRST_BACKOFF: Final = 1.0
"""Seconds for which an address is turned away the first time."""

FORGIVEN: Final = 10
"""An address begins anew once it has been quiet for so many times the longest back-off."""

BURST: Final = 5
"""Seconds' worth of handshakes that may begin at once."""

ValueT = TypeVar("ValueT")


class Remembered(Generic[ValueT]):
    """Values by address, those that were set last."""

    def __init__(self, maximum: int = REMEMBERED) -> None:
        self._maximum = maximum
        self._values: dict[str, ValueT] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, address: str) -> ValueT | None:
        """What is known of an address."""
        return self._values.get(address)

    def set(self, address: str, value: ValueT) -> None:
        """Keeps a value, and lets go of the oldest where there are too many."""
        self._values.pop(address, None)
        self._values[address] = value
        if len(self._values) > self._maximum:
            del self._values[next(iter(self._values))]

    def values(self) -> list[ValueT]:
        """All of them, the oldest first."""
        return list(self._values.values())


@dataclass(slots=True)
class Conduct:
    """How the clients of an address behaved. All times are monotonic seconds."""

    level: float = 0.0
    """Failures that are held against it; they are forgiven as time goes by."""
    at: float = 0.0
    """When that was counted."""
    offences: int = 0
    """How often it was turned away already."""
    until: float = 0.0
    """When it may come again."""


@dataclass(slots=True)
class Backoff:
    """Turns addresses away whose clients fail again and again, each time for twice as long."""

    _known: Remembered[Conduct] = field(default_factory=Remembered)

    def failed(self, address: str, now: float, *, allowance: float, longest: float) -> float:
        """Counts a failure. Returns for how many seconds the address is turned away from now on, 0 where it is not.

        ``allowance`` are the failures in a minute that are let pass, above 0; ``longest`` is the longest time to be
        turned away, in seconds.
        """
        conduct = self._known.get(address) or Conduct(at=now)
        if now < conduct.until:
            # Who was let in before it was turned away fails late.
            return 0.0
        if conduct.offences and now - max(conduct.at, conduct.until) > FORGIVEN * longest:
            conduct.offences = 0
        conduct.level = max(conduct.level - (now - conduct.at) * allowance / MINUTE, 0.0) + 1.0
        conduct.at = now
        self._known.set(address, conduct)
        if conduct.level <= allowance:
            return 0.0
        # The next time takes half as many failures, and lasts twice as long.
        conduct.level = allowance / 2
        seconds: float = min(FIRST_BACKOFF * 2.0 ** min(conduct.offences, 30), longest)
        conduct.offences += 1
        conduct.until = now + seconds
        return seconds

    def turns_away(self, address: str, now: float) -> bool:
        """Whether nobody of the address is let in now."""
        conduct = self._known.get(address)
        return conduct is not None and now < conduct.until

    def count(self, now: float) -> int:
        """How many addresses are turned away now."""
        return sum(now < conduct.until for conduct in self._known.values())


@dataclass(slots=True)
class Handshakes:
    """How many handshakes each address may begin: so many a second, and those of a few seconds at once."""

    _known: Remembered[tuple[float, float]] = field(default_factory=Remembered)
    """How many each may still begin, and when that was so."""

    def admits(self, address: str, limit: int, now: float) -> bool:
        """Whether one more may begin. ``limit`` is above 0; ``now`` is in monotonic seconds."""
        most = float(limit * BURST)
        left, at = self._known.get(address) or (most, now)
        left = min(left + (now - at) * limit, most)
        admitted = left >= 1.0
        self._known.set(address, (left - 1.0 if admitted else left, now))
        return admitted
