"""Runs the cases of the selected tests side by side, so that each test waits for its own case only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

WORKERS = 4
"""Cases at a time: they mostly wait for a server's start, for answers or for the clock."""

Key = TypeVar("Key")
Result = TypeVar("Result")


def selected_parameters(session: pytest.Session, test: str) -> list[dict[str, Any]]:
    """The parameters of each selected item of the test function named ``test``, in the order of their run."""
    return [
        item.callspec.params
        for item in session.items
        if isinstance(item, pytest.Function) and item.originalname == test
    ]


@contextmanager
def side_by_side(jobs: Mapping[Key, Callable[[], Result]]) -> Iterator[Mapping[Key, Future[Result]]]:
    """Starts every job, in the given order; those not yet begun are dropped when the tests end early."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        yield {key: pool.submit(job) for key, job in jobs.items()}
    finally:
        pool.shutdown(cancel_futures=True)
