"""Handshakes and missed deadlines of a crowd: a few milliseconds of them a turn, and nobody is forgotten or kept."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from broker.net import turns
from broker.net.turns import TURN_SECONDS, Turns
from tests.support.fake_loop import FakeClock, FakeLoop

STEP = 0.0011
A_TURN = math.ceil(TURN_SECONDS / STEP)


class Stranger:
    """A connection whose step takes a little more than a millisecond."""

    def __init__(self, name: int, hall: Hall) -> None:
        self.name = name
        self.hall = hall

    def __enter__(self) -> None:
        return

    def __exit__(self, *error: object) -> bool:
        return True

    def step(self) -> None:
        self.hall.done.append(self.name)
        self.hall.spent += STEP
        if self.name < 0:
            raise RuntimeError


class Hall:
    """Turns in a loop whose time a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, newest_first: bool) -> None:
        self.spent = 0.0
        monkeypatch.setattr(turns.time, "perf_counter", lambda: self.spent)
        self.loop = FakeLoop(FakeClock())
        self.turns = Turns(cast(Any, self.loop), newest_first=newest_first)
        self.done: list[int] = []

    def come(self, name: int) -> Stranger:
        stranger = Stranger(name, self)
        self.turns.take(cast(Any, stranger), Stranger.step)
        return stranger

    def turn(self) -> None:
        """One turn of the loop."""
        (timer,) = self.loop.timers
        callback = timer.callback
        timer.cancel()
        callback()


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_turn_is_bounded_and_everybody_has_his(monkeypatch: pytest.MonkeyPatch, newest_first: bool) -> None:
    hall = Hall(monkeypatch, newest_first=newest_first)
    for name in range(3 * A_TURN + 1):
        hall.come(name)
    assert hall.done == list(range(A_TURN))
    counts = []
    while hall.loop.timers:
        hall.turn()
        counts.append(len(hall.done))
    late = list(range(A_TURN, 3 * A_TURN + 1))
    assert hall.done[A_TURN:] == (late[::-1] if newest_first else late)
    assert counts[:3] == [2 * A_TURN, 3 * A_TURN, 3 * A_TURN + 1]
    assert len(hall.turns) == 0


def test_who_comes_later_is_served_at_once_where_the_newest_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(monkeypatch, newest_first=True)
    for name in range(100):
        hall.come(name)
    hall.come(1000)
    hall.turn()
    assert hall.done[A_TURN] == 1000


def test_who_has_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(monkeypatch, newest_first=False)
    strangers = [hall.come(name) for name in range(A_TURN + 3)]
    hall.turns.forget(cast(Any, strangers[A_TURN + 1]))
    hall.turns.forget(cast(Any, strangers[0]))
    hall.loop.settle()
    assert hall.done == [*range(A_TURN + 1), A_TURN + 2]


def test_a_step_that_fails_ends_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(monkeypatch, newest_first=False)
    for name in (-1, -2, 3):
        hall.come(name)
    hall.loop.settle()
    assert hall.done == [-1, -2, 3]
    assert not hall.loop.timers
