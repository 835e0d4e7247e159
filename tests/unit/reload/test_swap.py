"""Work on many sessions in turns: the loop is let in between, and what is called off is done all the same."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import cast

import pytest

from broker.net.service import Service
from broker.reload.swap import TURN_SECONDS, in_turns


class Flushes:
    """A service of which only the flushes are of interest."""

    def __init__(self) -> None:
        self.count = 0

    def flush_dirty(self) -> None:
        self.count += 1


def taking(done: list[int], number: int) -> None:
    """Something that takes a third of a turn."""
    end = time.perf_counter() + TURN_SECONDS / 3
    while time.perf_counter() < end:
        pass
    done.append(number)


async def test_the_loop_has_its_turn_in_between() -> None:
    done: list[int] = []
    seen: list[int] = []
    flushes = Flushes()

    async def other() -> None:
        while len(done) < 30:
            seen.append(len(done))
            await asyncio.sleep(0)

    await asyncio.gather(
        in_turns(cast("Service", flushes), range(30), lambda number: taking(done, number)), other()
    )
    assert done == list(range(30))
    assert len(set(seen)) >= 8
    assert max(after - before for before, after in pairwise(seen)) <= 4
    assert flushes.count >= 8


async def test_what_is_called_off_is_done_at_once() -> None:
    done: list[int] = []
    begun = asyncio.Event()

    def work(number: int) -> None:
        taking(done, number)
        begun.set()

    task = asyncio.create_task(in_turns(cast("Service", Flushes()), range(30), work))
    await begun.wait()
    assert len(done) < 30
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == list(range(30))


async def test_what_fails_keeps_nobody_else_from_being_looked_at() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise KeyError(number)
        done.append(number)

    with pytest.raises(KeyError):
        await in_turns(cast("Service", Flushes()), range(10), work)
    assert done == [0, 1, 2, 4, 5, 6, 7, 8, 9]
