"""Requests of tenants: one a turn, and in turn for each account."""

from __future__ import annotations

from functools import partial

from broker.system.turns import MOST_WAITING, Turns
from tests.support.brokers import StillClock


class Hall:
    """Turns, and who was called."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.turns = Turns(self.clock)
        self.called: list[str] = []

    def put(self, *accounts: str) -> None:
        for account in accounts:
            self.turns.put(account, partial(self.called.append, account))

    def turn(self) -> None:
        """One turn of the loop."""
        (call,) = self.clock.waiting
        self.clock.calls.remove(call)
        call.callback()


def test_nothing_is_called_at_once() -> None:
    hall = Hall()
    hall.put("A")
    assert hall.called == []
    hall.turn()
    assert hall.called == ["A"]
    assert hall.clock.waiting == []


def test_one_account_does_not_hold_up_another() -> None:
    hall = Hall()
    hall.put("A", "A", "A", "B", "C")
    for _ in range(5):
        hall.turn()
    assert hall.called == ["A", "B", "C", "A", "A"]


def test_what_is_too_much_is_dropped_for_that_account_only() -> None:
    hall = Hall()
    hall.put(*["A"] * (MOST_WAITING + 5), "B")
    while hall.clock.waiting:
        hall.turn()
    assert (hall.called.count("A"), hall.called.count("B")) == (MOST_WAITING, 1)


def test_who_asks_while_called_waits_for_another_turn() -> None:
    hall = Hall()
    hall.turns.put("A", lambda: hall.put("B"))
    hall.turn()
    assert hall.called == []
    hall.turn()
    assert hall.called == ["B"]


def test_nothing_is_called_after_the_end() -> None:
    hall = Hall()
    hall.put("A")
    hall.turns.close()
    assert hall.clock.waiting == []
