"""What is done to an account's files beside serving: unused space is given back, and values are sealed anew.

Commits go on all the time. Only when the tables themselves are worked on, what is committed waits in journal and
memory; so each such step is short, or given up when too much waits.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from broker.jetstream.store.environment import COMPACT_FROM, JOURNAL_BYTES, MapFullError
from broker.jetstream.store.tables import TABLES, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from broker.jetstream.store.account import AccountStore
    from broker.jetstream.store.environment import Environment
    from broker.jetstream.store.tables import Codec

LOGGER: Final = logging.getLogger("natskeep.jetstream")

INTERVAL: Final = 1.0
"""Seconds between two looks for space that can be given back."""

RETRY: Final = 60.0
"""Seconds until something is tried again that could not be done, or was given up."""

MOST_WAITING: Final = 8 * JOURNAL_BYTES
"""Bytes of commits that may wait for a copy of the tables."""


async def _nothing() -> None:
    """Nobody waits for the end of a change of keys."""


class GivenUpError(Exception):
    """A copy took so long that too much was waiting."""


class Tidying:
    """Beside serving, one thing at a time. Runs in the loop's thread; ``executor`` does what takes long."""

    def __init__(
        self, store: AccountStore, codec: Codec, loop: asyncio.AbstractEventLoop, executor: Executor
    ) -> None:
        self._store = store
        self._codec = codec
        self._loop = loop
        self._executor = executor
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.turned: Callable[[], Awaitable[None]] = _nothing
        """Is awaited when all values are sealed as they would be now. Raises StoreError."""

    def begin(self, environment: Environment) -> None:
        """The files are open: does what was left to do."""
        if environment.wasteful:
            environment.removed = COMPACT_FROM
        self._wait(INTERVAL)

    def look(self) -> None:
        """Does in a while what has become necessary."""
        if self._timer is None and self._task is None and self._is_wanted:
            self._wait(INTERVAL)

    def turn(self) -> None:
        """Seals at once anew what is not sealed as it would be now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._run()

    @property
    def _is_wanted(self) -> bool:
        return self._codec.is_turning or self._store.environment.removed >= COMPACT_FROM

    def _wait(self, seconds: float) -> None:
        if not self._is_closed:
            self._timer = self._loop.call_later(seconds, self._run)

    def _run(self) -> None:
        self._timer = None
        if not self._is_closed and self._is_wanted:
            self._task = self._loop.create_task(self._tidy())

    async def _tidy(self) -> None:
        pause = INTERVAL
        try:
            if self._codec.is_turning:
                await self._turn()
            else:
                await self.compact()
        except StoreError as error:
            LOGGER.error("%s", error)
            pause = RETRY
        except GivenUpError:
            pause = RETRY
        except Exception:
            LOGGER.exception("Internal error while an account's files were tidied")
            pause = RETRY
        finally:
            self._task = None
        if not self._is_closed and self._is_wanted:
            self._wait(pause)

    # Space

    async def compact(self) -> bool:
        """Gives unused space back to the system, where it pays; returns whether it did.

        Raises StoreError and GivenUpError.
        """
        environment = self._store.environment
        environment.removed = 0
        await self._store.turn_over()
        if not environment.wasteful:
            return False
        before = environment.size
        try:
            await self._copy()
        except (GivenUpError, StoreError):
            environment.removed = COMPACT_FROM
            raise
        freed = before - environment.size
        LOGGER.info("%s: gave back %d MiB of %d MiB", environment.directory, freed >> 20, before >> 20)
        return True

    async def _copy(self) -> None:
        def is_enough() -> bool:
            return self._is_closed or environment.backlog > MOST_WAITING

        async with self._store.held() as environment:
            apart = await self._loop.run_in_executor(self._executor, environment.copy, is_enough)
            if apart is None:
                raise GivenUpError
            # Reading and the change of files both happen in this thread, so nobody reads meanwhile.
            environment.take_over(apart)
        await self._loop.run_in_executor(self._executor, environment.clear_away)

    # Keys

    async def _turn(self) -> None:
        # What the journal has is sealed as it was, and no other values come.
        await self._store.turn_over()
        for table in TABLES:
            following: bytes | None = b""
            while following is not None:
                if self._is_closed:
                    return
                following = await self._renew(table, following)
        if self._codec.has_plain:
            # Pages that are not used any more still hold what stood there.
            await self._copy()
        await self.turned()

    async def _renew(self, table: str, start: bytes) -> bytes | None:
        async with self._store.held() as environment:
            try:
                return await self._loop.run_in_executor(self._executor, environment.renew, table, start)
            except MapFullError:
                environment.widen()
                return start

    async def close(self) -> None:
        """Ends what is going on as soon as it can, and begins nothing more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._task)
