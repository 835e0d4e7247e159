"""What an account has on disk: its streams' messages and small documents, committed together in groups.

Everything that changes in memory in one turn of the loop is one commit, or part of one. While a commit is being
written, what changes goes into the next. Who wants to say that something is done says it from `after`.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.core.log import Log
from broker.jetstream.store.environment import Environment, MapFullError
from broker.jetstream.store.tables import (
    DOCUMENTS,
    IDENTIFIER,
    STATES,
    Change,
    Checked,
    Drop,
    Row,
    StoreError,
    pack_state,
    row_key,
)
from broker.jetstream.store.tidying import Tidying

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Collection
    from concurrent.futures import Executor
    from pathlib import Path

    from broker.jetstream.store.tables import Codec

LOGGER: Final = logging.getLogger("natskeep.jetstream")

RETRY: Final = 0.25
"""Seconds after a commit failed before the next: a disk is not less full for being tried at once."""

KEPT_IN_MEMORY: Final = 8 << 20
"""Bytes of records that one stream keeps in memory after they are on disk."""

KEPT_IN_ALL: Final = 64 << 20
"""Bytes of records that all streams of an account keep in memory."""

LOOKS: Final = 16
"""Commits after which that is looked at."""


class AccountStore:
    """All that an account keeps. Runs in the loop's thread; only the writing itself runs in one of the executor's.

    `settled` is called after callbacks ran outside a turn of the loop, so that what they sent is written out.
    """

    def __init__(
        self,
        directory: Path,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        settled: Callable[[], None],
        codec: Codec | None = None,
        *,
        tables: Executor | None = None,
        background: Executor | None = None,
    ) -> None:
        """``executor`` writes commits, which somebody waits for, and ``tables`` brings the tables up to them.

        ``background`` runs what may wait for everything else.
        """
        self.directory = directory
        self._loop = loop
        self._executor = executor
        self._tables = tables or executor
        self._settled = settled
        self._codec = codec or Checked()
        self._environment: Environment | None = None
        self._logs: dict[str, Log] = {}
        self._changed: dict[str, bool] = {}
        """Logs with changes, and whether what was removed is to be overwritten."""
        self._changes: list[Change] = []
        self._waiting: list[Callable[[StoreError | None], None]] = []
        self._writing: asyncio.Future[None] | None = None
        self._scheduled = False
        self._closed = False
        self._passing: asyncio.Future[None] | None = None
        """The tables are taking what the journal says."""
        self._is_held = False
        """The tables may take nothing, since somebody else works on them."""
        self.tidying = Tidying(self, self._codec, loop, background or executor)
        self.reloaded: Callable[[StoreError], None] = lambda error: None
        """Is called after a commit failed, when all logs are again what is on disk. Who is called ends what stood on
        something else, calls `forget`, and begins anew."""
        self.failure: StoreError | None = None
        """Why the last commit failed; None after one that did not."""
        self.commits = 0

    # Streams

    @property
    def environment(self) -> Environment:
        """The environment; opened, and made where there is none, by the first who needs it. Raises StoreError."""
        if self._environment is None:
            environment = self._environment = Environment(self.directory, self._codec)
            self.tidying.begin(environment)
        return self._environment

    def create(self, *, memory: bool, first: int = 1) -> tuple[str, Log]:
        """A new stream's identifier and log. Raises StoreError."""
        identifier = secrets.token_hex(IDENTIFIER)
        log = Log(first, file=not memory)
        if not memory:
            self._attach(identifier, log)
            self.changed(identifier)
        return identifier, log

    def load(self, identifier: str) -> Log:
        """The log of a stream that is on disk; empty where nothing was ever written. Raises StoreError."""
        log = Log()
        self._attach(identifier, log)
        self.environment.load(bytes.fromhex(identifier), log)
        return log

    def _attach(self, identifier: str, log: Log) -> None:
        environment = self.environment
        stream = bytes.fromhex(identifier)
        log.loader = lambda _, pieces: environment.records(stream, pieces)
        self._logs[identifier] = log

    def drop(self, identifier: str) -> None:
        """Deletes all messages of a stream; nobody may use its log any more."""
        log = self._logs.pop(identifier, None)
        if log is not None:
            self._changed.pop(identifier, None)
            self._changes.append(Drop(bytes.fromhex(identifier)))
            self.environment.packs -= {bytes.fromhex(identifier)}
            self._want()

    def drop_others(self, identifiers: Collection[str]) -> None:
        """Deletes the messages on disk of all streams but these: what is left of archives that did not come as a whole.

        Raises StoreError.
        """
        if self._environment is None and not (self.directory / "data.mdb").exists():
            return
        for key, _ in list(self.environment.rows(STATES, b"")):
            if key.hex() not in identifiers and key.hex() not in self._logs:
                self._changes.append(Drop(key))
                self._want()

    def pack(self, identifier: str, *, wanted: bool) -> None:
        """Says whether the messages of a stream are to be compressed from now on. Raises StoreError."""
        if identifier in self._logs:
            stream = {bytes.fromhex(identifier)}
            packs = self.environment.packs
            self.environment.packs = packs | stream if wanted else packs - stream

    def changed(self, identifier: str, *, erase: bool = False) -> None:
        """Says that a stream's log changed. With `erase`, what was removed is overwritten in the file."""
        if identifier in self._logs:
            self._changed[identifier] = self._changed.get(identifier, False) or erase
            self._want()

    # Documents

    def put(self, key: str, document: bytes) -> None:
        """Keeps a small document under a key."""
        self._changes.append(Row(DOCUMENTS, key.encode(), document))
        self._want()

    def delete(self, key: str) -> None:
        """Deletes a document, if there is one."""
        self._changes.append(Row(DOCUMENTS, key.encode(), None))
        self._want()

    def documents(self, prefix: str) -> dict[str, bytes]:
        """The documents on disk whose keys begin so, by their keys; what is asked for goes up to a slash at least.

        Raises StoreError.
        """
        if self._environment is None and not (self.directory / "data.mdb").exists():
            return {}
        return {name.decode(): value for name, value in self.environment.documents(prefix.encode()).items()}

    # Committing

    def forget(self) -> None:
        """Leaves undone what was changed since the last commit, apart from logs."""
        self._changes, self._changed = [], {}

    def after(self, callback: Callable[[StoreError | None], None]) -> None:
        """Calls back when all that was changed before is on disk, with None; or with why it never will be."""
        self._waiting.append(callback)
        self._want()

    def when_quiet(self, callback: Callable[[], None]) -> None:
        """Calls back when nothing waits to be brought to disk of what was changed before: at once, where nothing does.

        Who then tells what is in memory tells nothing that a failure could undo.
        """
        if self._writing is None and not (self._changes or self._changed):
            callback()
        else:
            self.after(lambda _: callback())

    def _want(self) -> None:
        if not self._scheduled and self._writing is None and not self._closed:
            self._scheduled = True
            if self.failure is not None and (self._changes or self._changed):
                self._loop.call_later(RETRY, self._begin)
            else:
                self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._writing is not None or self._closed:
            return
        changes, marks, waiting = self._gather()
        if not changes:
            self._call(waiting, None)
            return
        try:
            environment = self.environment
        except StoreError as error:
            self._failed(error, waiting)
            return
        self._write(environment, changes, marks, waiting)

    def _gather(self) -> tuple[list[Change], list[tuple[Log, int]], list[Callable[[StoreError | None], None]]]:
        changes, self._changes = self._changes, []
        waiting, self._waiting = self._waiting, []
        marks = []
        for identifier, erase in self._changed.items():
            log = self._logs[identifier]
            stream = bytes.fromhex(identifier)
            changes.extend(
                Row(table, row_key(stream, sequence), value) for table, sequence, value in log.take_changes(erase)
            )
            changes.append(Row(STATES, stream, pack_state(log.first, log.last, log.last_time)))
            marks.append((log, log.last))
        self._changed = {}
        return changes, marks, waiting

    def _write(
        self,
        environment: Environment,
        changes: list[Change],
        marks: list[tuple[Log, int]],
        waiting: list[Callable[[StoreError | None], None]],
    ) -> None:
        writing = self._loop.run_in_executor(self._executor, environment.write, changes)
        self._writing = writing

        def written(future: asyncio.Future[None]) -> None:
            self._writing = None
            error = None if future.cancelled() else future.exception()
            if future.cancelled():
                error = StoreError("the server stopped")
            if error is not None:
                failure = error if isinstance(error, StoreError) else StoreError(f"cannot write: {error!r}")
                self._failed(failure, waiting)
            else:
                self._succeeded(marks, waiting)
                self._pass_on(environment)
                self.tidying.look()
            self._go_on(error)

        writing.add_done_callback(written)

    def _go_on(self, error: BaseException | None) -> None:
        """Takes what has come while something was written."""
        if self._changes or self._changed or self._waiting:
            if error is None:
                self._begin()
            else:
                self._want()

    def _succeeded(
        self, marks: list[tuple[Log, int]], waiting: list[Callable[[StoreError | None], None]]
    ) -> None:
        self.commits += 1
        if self.failure is not None:
            LOGGER.info("%s can be written again", self.directory)
            self.failure = None
        for log, last in marks:
            log.durable = last
            log.shed(KEPT_IN_MEMORY)
        if self.commits % LOOKS == 0:
            self._shed({log for log, _ in marks})
        self._call(waiting, None)

    def _shed(self, active: set[Log]) -> None:
        """Lets go of records of streams that are not written to, when all together keep too many."""
        held = sum(log.held for log in self._logs.values())
        for log in self._logs.values():
            if held <= KEPT_IN_ALL:
                return
            if log not in active:
                held -= log.held
                log.shed(0)
                held += log.held

    def _pass_on(self, environment: Environment) -> None:
        """Has the tables take what the journal says, beside the commits that go on."""
        if self._passing is not None or self._is_held or self._closed or not environment.lags:
            return
        passing = self._passing = self._loop.run_in_executor(self._tables, environment.pass_on)

        def passed(future: asyncio.Future[None]) -> None:
            self._passing = None
            error = None if future.cancelled() else future.exception()
            if isinstance(error, MapFullError):
                environment.widen()
                self._pass_on(environment)
            elif error is not None:
                # Nothing is lost: the journal says it, and the next commit tries again.
                LOGGER.error("%s", error)

        passing.add_done_callback(passed)

    def _failed(self, error: StoreError, waiting: list[Callable[[StoreError | None], None]]) -> None:
        """Nothing of a commit was written: memory goes back to what is on disk, with all that came meanwhile."""
        if self.failure is None:
            LOGGER.error("%s", error)
        self.failure = error
        later, self._waiting = self._waiting, []
        self.forget()
        for identifier, log in self._logs.items():
            log.reset()
            try:
                self.environment.load(bytes.fromhex(identifier), log)
            except StoreError as damage:
                LOGGER.error("%s", damage)
        self.reloaded(error)
        self._call(waiting + later, error)

    def _call(self, waiting: list[Callable[[StoreError | None], None]], error: StoreError | None) -> None:
        for callback in waiting:
            try:
                callback(error)
            except Exception:
                LOGGER.exception("Internal error after a commit")
        if waiting:
            self._settled()

    # The end

    async def turn_over(self) -> None:
        """Has the tables take all that is committed so far. Raises StoreError."""
        environment, is_done = self.environment, False
        while not is_done and not self._closed:
            await self.passed()
            while self._writing is not None:
                await self._ended(self._writing)
            turning = self._loop.run_in_executor(self._executor, environment.turn_over)
            # Nothing is committed meanwhile.
            self._writing = self._loop.create_future()
            try:
                is_done = await turning
            finally:
                over, self._writing = self._writing, None
                over.set_result(None)
                self._pass_on(environment)
                self._go_on(None)
        await self.passed()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Environment]:
        """The tables take nothing meanwhile, and commits stay in journal and memory."""
        environment = self.environment
        while self._passing is not None:
            await self.passed()
        self._is_held = True
        try:
            yield environment
        finally:
            self._is_held = False
            self._pass_on(environment)

    async def passed(self) -> None:
        """Waits until the tables have taken what they are taking."""
        if self._passing is not None:
            await self._ended(self._passing)

    async def _ended(self, future: asyncio.Future[None]) -> None:
        """Waits for the end of something, after all others who were told of it before."""
        done = self._loop.create_future()
        future.add_done_callback(partial(_end, done))
        await done

    async def close(self) -> None:
        """Commits what is left and closes the files. What is asked for later is not done."""
        await self.tidying.close()
        while self._writing is not None or self._changes or self._changed or self._waiting:
            done = self._loop.create_future()
            self.after(partial(_end, done))
            if self._writing is None:
                self._begin()
            await done
        self._closed = True
        await self.passed()
        if self._environment is not None:
            await self._loop.run_in_executor(self._executor, self._environment.close)
            self._environment = None


def _end(done: asyncio.Future[None], _: object) -> None:
    if not done.done():
        done.set_result(None)
