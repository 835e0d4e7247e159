"""Unit tests write to files that nobody needs after a power failure, and so do not wait for the disk.

Tests of what happens when writing out fails put something of their own in place of these functions, and those that run
a program of its own have it write out as ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Leaves what is written to the system."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        patch.setattr(os, "fdatasync", lambda file: None)
        yield
