"""Of many events alike, which are recorded one by one and which are only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.control.clock import Timer

WINDOW: Final = 60.0
"""Seconds after which what was only counted is said."""

NAMED: Final = 20
"""Keys that are named then with a number of their own, those with most; the others share one."""

KNOWN: Final = 1024
"""Keys that are told apart in one window."""


@dataclass(slots=True)
class Tally:
    """Counts events by a key, such as the address that they came from.

    In each window the first few of a key, and the first so many of all keys, are recorded one by one. ``say`` is told
    of the others when the window ends: a key and how many there were, with an empty key for those of several.
    """

    say: Callable[[str, int], None]
    each: int
    """How many of one key are recorded one by one."""
    together: int
    """How many of all keys are."""
    is_open: bool = False
    """Whether a window has begun; `end` has to be called when it is over."""
    timer: Timer | None = None
    """What will call that, for whoever sets it."""
    _recorded: Counter[str] = field(default_factory=Counter)
    _left: int = 0
    """How many may still be recorded one by one."""
    _counted: Counter[str] = field(default_factory=Counter)

    def admits(self, key: str) -> bool:
        """Whether one more is to be recorded by itself; it is only counted else."""
        if not self.is_open:
            self.is_open, self._left = True, self.together
        if self._left and self._recorded[key] < self.each:
            self._recorded[key] += 1
            self._left -= 1
            return True
        if key not in self._counted and len(self._counted) >= KNOWN:
            key = ""
        self._counted[key] += 1
        return False

    def end(self) -> None:
        """The window is over. Another has begun where something was counted, since more is likely to come."""
        counted, self._counted = self._counted, Counter()
        self._recorded.clear()
        self.is_open, self._left = bool(counted), self.together
        others = counted.pop("", 0)
        for place, (key, count) in enumerate(counted.most_common()):
            if place < NAMED:
                self.say(key, count)
            else:
                others += count
        if others:
            self.say("", others)
