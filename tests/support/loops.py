"""Runs an asynchronous test in each event loop that a server may run in."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def in_every_loop(scenario: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine function, once for each loop."""

    @functools.wraps(scenario)
    def test(*, loop: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(scenario(**arguments))

    # pytest reads off the signature which fixtures a test wants.
    wanted = inspect.signature(scenario)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    test.__dict__["__signature__"] = wanted.replace(parameters=[*wanted.parameters.values(), loop])
    del test.__dict__["__wrapped__"]
    made: Callable[..., None] = pytest.mark.parametrize("loop", LOOPS)(test)
    return made
