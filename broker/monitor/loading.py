"""Loads parts that not every server needs, and none needs to start, without holding up the loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """A thread for one piece of work; nobody waits for its end."""
    executor = ThreadPoolExecutor(1, "natskeep-load")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)


async def load(name: str) -> ModuleType:
    """The module of that name, imported in a thread where it is not there yet."""
    if name not in sys.modules:
        with _thread() as thread:
            await asyncio.get_running_loop().run_in_executor(thread, import_module, name)
    return import_module(name)
