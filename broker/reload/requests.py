"""Requests to reload, as signals bring them: one reload at a time, and one more for all that came meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Requests:
    """Runs an asynchronous reload for every request that no later one covers."""

    def __init__(self, reload: Callable[[], Awaitable[object]]) -> None:
        self._reload = reload
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Asks for a reload of what the file says from now on; to be called in the loop."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            await self._reload()

    def cancel(self) -> None:
        """Drops what was asked for. A reload under way ends before it changes anything, or has changed all."""
        self._asked = False
        if self._task is not None:
            self._task.cancel()
