"""Python's search for cycles, kept away from work that makes many objects which live long."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(*, lasting: bool = False) -> Iterator[None]:
    """Puts off the search for cycles while a configuration is loaded: there are many new objects, and few cycles.

    ``lasting`` keeps all objects of now out of every later search as well; the next one would look at all of them at
    once, and stop every thread meanwhile.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if lasting:
            gc.freeze()
        if is_on:
            gc.enable()
