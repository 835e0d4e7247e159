"""Work in a thread of its own beside the loop that delivers, without long stops of the loop.

Threads of Python take turns. What can stop the loop all the same is one step of the interpreter that takes long, and
the longest of them is to free a large configuration; so that is done bit by bit here.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from traceback import clear_frames, walk_tb
from typing import Final, TypeVar

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that prepares hands the interpreter back to the loop that delivers."""

_OWN_REFERENCES: Final = 2
"""References to an object that nobody else has: a name, and the argument of the function that counts."""

ResultT = TypeVar("ResultT")


async def aside(work: Callable[[], ResultT]) -> ResultT:
    """Runs work in a thread of its own, which gives way to the loop in short intervals.

    Raises what the work raises, without what its frames held.
    """
    executor = ThreadPoolExecutor(1, "natskeep-reload")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(min(interval, SWITCH_INTERVAL))
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, _tidily, work)
    finally:
        sys.setswitchinterval(interval)
        executor.shutdown(wait=False, cancel_futures=True)


def _tidily(work: Callable[[], ResultT]) -> ResultT:
    try:
        return work()
    except BaseException as error:
        release(_held_by(error))
        raise


def _held_by(error: BaseException) -> list[object]:
    """What the frames that an error went through referred to, and what led to it; the frames are emptied."""
    held: list[object] = []
    seen: BaseException | None = error
    while seen is not None:
        for frame, _ in walk_tb(seen.__traceback__):
            held += gc.get_referents(frame)
        clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    return held


def release(parts: list[object]) -> None:
    """Empties a list of objects, and frees each of those that nothing else refers to, from the outside to the inside.

    The last reference to a configuration of many users would take all its objects with it in one step of the
    interpreter.
    """
    while parts:
        part = parts.pop()
        if gc.is_tracked(part) and sys.getrefcount(part) <= _OWN_REFERENCES:
            parts += gc.get_referents(part)
        del part
