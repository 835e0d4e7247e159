"""An event loop whose time only a test moves, over real sockets: for clocks and deadlines without waiting."""

from __future__ import annotations

import heapq
import select
from collections.abc import Callable
from itertools import count
from typing import Any

EPOCH = 1_700_000_000.0
"""Unix time at which the wall clock begins."""


class FakeTimer:
    """What `call_later` returns."""

    def __init__(self, when: float, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.when = when
        self.callback = callback
        self.arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        # As in asyncio: what is cancelled holds on to nothing.
        del self.callback, self.arguments

    def cancelled(self) -> bool:
        return self.is_cancelled


class FakeWork:
    """What `run_in_executor` returns: work that a test finishes, with the result that it chooses."""

    def __init__(self) -> None:
        self.outcome: object = None
        self.is_cancelled = False
        self._callbacks: list[Callable[[Any], object]] = []

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._callbacks.append(callback)

    def finish(self, outcome: object) -> None:
        """Ends the work with a value, or with an exception that it raised."""
        self.outcome = outcome
        for callback in self._callbacks:
            callback(self)

    def cancel(self) -> None:
        self.is_cancelled = True
        for callback in self._callbacks:
            callback(self)

    def cancelled(self) -> bool:
        return self.is_cancelled

    def exception(self) -> BaseException | None:
        return self.outcome if isinstance(self.outcome, BaseException) else None

    def result(self) -> object:
        return self.outcome


class FakeClock:
    """Stands in for the time module. The wall clock can be set, as a real one can."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset = EPOCH - self.now

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self.wall_offset


class FakeLoop:
    """Timers, readers and writers; everything runs inside the calls of the test."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.readers: dict[int, Callable[[], object]] = {}
        self.writers: dict[int, Callable[[], object]] = {}
        self.aside: list[FakeWork] = []
        """Work that was given to threads."""

        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.clock.now

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> FakeTimer:
        timer = FakeTimer(self.clock.now + delay, callback, arguments)
        heapq.heappush(self._timers, (timer.when, next(self._numbers), timer))
        return timer

    def run_in_executor(self, executor: object, function: Callable[..., object], *arguments: Any) -> FakeWork:
        self.aside.append(FakeWork())
        return self.aside[-1]

    def add_reader(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.readers[descriptor] = callback

    def remove_reader(self, descriptor: int) -> bool:
        return self.readers.pop(descriptor, None) is not None

    def add_writer(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.writers[descriptor] = callback

    def remove_writer(self, descriptor: int) -> bool:
        return self.writers.pop(descriptor, None) is not None

    @property
    def timers(self) -> list[FakeTimer]:
        """Those that are still to come."""
        return [timer for _, _, timer in sorted(self._timers, key=lambda entry: entry[:2]) if not timer.is_cancelled]

    def advance(self, seconds: float) -> None:
        """Lets time pass; whatever falls due is called at its own moment."""
        end = self.clock.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                self.clock.now = max(self.clock.now, when)
                timer.callback(*timer.arguments)
        self.clock.now = end

    def turn(self) -> bool:
        """Calls back for every socket that is ready now; False when none was."""
        poll = select.poll()
        for descriptor in {*self.readers, *self.writers}:
            wanted = (select.POLLIN if descriptor in self.readers else 0) | (
                select.POLLOUT if descriptor in self.writers else 0
            )
            poll.register(descriptor, wanted)
        ready = poll.poll(0)
        for descriptor, events in ready:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and descriptor in self.readers:
                self.readers[descriptor]()
            if events & (select.POLLOUT | select.POLLHUP | select.POLLERR) and descriptor in self.writers:
                self.writers[descriptor]()
        return bool(ready)

    def settle(self) -> None:
        """Turns until no socket is ready and no timer is due."""
        while self.turn() or (self.timers and self.timers[0].when <= self.clock.now):
            self.advance(0)
