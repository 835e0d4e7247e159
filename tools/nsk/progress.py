"""Progress bars: on stderr, and only where a terminal shows them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def progress(count: int, label: str, *, least: int) -> Iterator[Callable[[int], None] | None]:
    """What is to be called with the number of things done, or None: without a terminal, or for fewer than ``least``."""
    if count < least or not sys.stderr.isatty():
        yield None
        return
    # Imported when there is something to show, since it takes long.
    console: Any = import_module("rich.console").Console(stderr=True)
    bar: Any = import_module("rich.progress").Progress(console=console, transient=True)
    with bar:
        task = bar.add_task(label, total=count)
        yield lambda done: bar.update(task, completed=done)
