"""Work beside the loop: what it raises, and that what is left of it is freed alone."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from broker.reload.aside import aside, release


@dataclass
class Part:
    """Something that tells when it is freed, and how many others are freed inside of that."""

    inner: tuple[Part, ...] = ()
    freed: list[int] = field(default_factory=list)

    def __del__(self) -> None:
        before = len(self.freed)
        self.inner = ()
        self.freed.append(len(self.freed) - before)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is freed is freed because nothing refers to it, not because a search for cycles came."""
    gc.disable()
    yield
    gc.enable()


async def test_the_result_and_the_interval_of_before() -> None:
    interval = sys.getswitchinterval()
    assert await aside(threading.current_thread) is not threading.main_thread()
    assert sys.getswitchinterval() == interval


@pytest.mark.usefixtures("uncollected")
async def test_what_fails_leaves_nothing_behind() -> None:
    gone: list[weakref.ref[Part]] = []

    def inner() -> None:
        part = Part()
        gone.append(weakref.ref(part))
        raise KeyError("no such key")

    def outer() -> None:
        part = Part()
        gone.append(weakref.ref(part))
        try:
            inner()
        except KeyError as error:
            raise ValueError("said otherwise") from error

    with pytest.raises(ValueError, match="said otherwise"):
        await aside(outer)
    assert [part() for part in gone] == [None, None]


def test_parts_are_freed_from_the_outside_to_the_inside() -> None:
    freed: list[int] = []
    leaves = tuple(Part((), freed) for _ in range(50))
    kept = leaves[7]
    branches = tuple(Part(leaves[start : start + 10], freed) for start in range(0, 50, 10))
    parts: list[object] = [{"root": [Part(branches, freed)]}]
    del leaves, branches
    release(parts)
    assert parts == []
    assert freed == [0] * 55
    assert kept.inner == ()


def test_what_others_hold_stays_whole() -> None:
    shared = [Part(), {"a": Part()}]
    release([shared, (shared, "text", 1)])
    assert len(shared) == 2
