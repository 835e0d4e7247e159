"""Changes a directory of JWTs while the server runs: one change after another, each on the disk before it is in force.

Files are written and removed in a thread, so that a slow disk holds up nobody. In the turn of the loop in which that
is done, the index, the accounts at work and their sessions follow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

from auth.envelope import JwtError, open_unverified
from auth.resolver import StoreError
from auth.resolver.directory import Filed, Survey, UnreadableError
from broker.control.live import account_changed, record_change
from broker.control.review import forget_accounts
from broker.log.text import printable

if TYPE_CHECKING:
    from accounts.account import Account
    from auth.resolver.directory import DirectoryResolver
    from broker.control.control import Control
    from broker.session.session import Session

LOGGER: Final = logging.getLogger("natskeep.resolver")

SLICE: Final = 64
"""Files that are read in one go."""

LONGEST_SWEEP: Final = 60.0
"""Seconds between two looks for JWTs whose time is over; half of the ``ttl`` where that is less."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Keeper:
    """The one who changes the files of a directory."""

    def __init__(self, control: Control, resolver: DirectoryResolver, flush: Callable[[], None]) -> None:
        """``flush`` writes out what a change left for clients."""
        self._control = control
        self.resolver = resolver
        self._flush = flush
        self._thread = ThreadPoolExecutor(1, "natskeep-files")
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.known = asyncio.Event()
        """Whether every file has been read once, so that the digest of the directory is known."""

    def start(self) -> None:
        """Begins to read the files that nobody has asked for, and to look for those whose time is over."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read_all()), loop.create_task(self._sweep_on())]

    async def close(self) -> None:
        """Ends; a change that has begun is finished."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._turn:
            self._thread.shutdown(wait=True)

    async def _aside(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Works in the thread; whoever calls has its turn, and ends it only when the work is done."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    # Changes

    async def keep(self, name: str, token: str, by: Session | None = None) -> None:
        """Puts a verified JWT in place of the one that an account has. Raises StoreError.

        The one before then holds, unless it was only left unsure whether the new one outlives a power cut. ``by`` is
        the client that pushed it.
        """
        async with self._turn:
            await self._keep(name, token, by, "claims")

    async def _keep(self, name: str, token: str, by: Session | None, cause: str) -> None:
        resolver = self.resolver
        if resolver.holds(name, token):
            return
        before = await self._recorded(name)
        dropped = resolver.surplus(name)
        await self._aside(self._replace, name, token, dropped)
        if dropped is not None:
            resolver.let_go(dropped, entirely=False)
        resolver.adopt(name, token)
        self._apply(name)
        if self._control.trail.recorder is not None:
            record_change(self._control, name, before, self._usable(name, token), by=by, cause=cause)
        # It is in force already; whoever pushed it is answered when it outlives a power cut too.
        await self._aside(resolver.settle)

    async def _recorded(self, name: str) -> Account | None:
        """An account as it is, for the ledger where there is one; nothing is loaded into memory for that."""
        if self._control.trail.recorder is None:
            return None
        try:
            filed = await self._aside(self.resolver.file, name)
        except (UnreadableError, StoreError):
            return None
        return None if filed is None else self._usable(name, filed.token)

    def _usable(self, name: str, token: str) -> Account | None:
        trust = self._control.authenticator.trust
        return None if trust is None else trust.usable(token, name)

    def _replace(self, name: str, token: str, dropped: str | None) -> None:
        if dropped is not None:
            self.resolver.remove(dropped)
        self.resolver.write(name, token)

    async def merge(self, name: str, token: str) -> bool:
        """Takes a verified JWT unless the one that is there was issued later, or is the same; says whether it did.

        Raises StoreError.
        """
        async with self._turn:
            if not await self._is_newer(name, token):
                return False
            await self._keep(name, token, None, "resolver")
            return True

    async def _is_newer(self, name: str, token: str) -> bool:
        """Whether a JWT may take the place of the one in the file, and of the one in force, whose file may be gone."""
        filed = None
        if name in self.resolver.index:
            with suppress(UnreadableError):
                filed = await self._aside(self.resolver.file, name)
        held = self.resolver.held(name)
        known = {one for one in (held, None if filed is None else filed.token) if one is not None}
        return all(_succeeds(token, before) for before in known)

    async def delete(self, names: Iterable[str], *, softly: bool, by: Session | None = None) -> list[str]:
        """Takes accounts away, with all who are connected to them; returns why some could not be, each in a line."""
        failures = []
        async with self._turn:
            for name in names:
                before = await self._recorded(name)
                try:
                    await self._aside(partial(self.resolver.remove, name, softly=softly))
                except StoreError as error:
                    failures.append(str(error))
                    continue
                self.resolver.let_go(name, entirely=True)
                self._apply(name)
                record_change(self._control, name, before, None, by=by, cause="deleted")
            forget_accounts(self._control)
            self._flush()
            try:
                await self._aside(self.resolver.settle)
            except StoreError as error:
                failures.append(str(error))
        return failures

    def _apply(self, name: str) -> None:
        """Holds everybody to what an account says now, where anybody depends on it."""
        if self._control.is_live(name):
            account_changed(self._control, name)
            self._flush()

    # What is listed

    async def contents(self) -> AsyncIterator[tuple[str, bytes]]:
        """Every JWT that has not expired, with its account, as the file has it."""
        index = self.resolver.index
        names = [name for name in index if index.is_current(name)]
        for start in range(0, len(names), SLICE):
            for name, filed in (await self._files(names[start : start + SLICE])).items():
                if filed is not None and name in index:
                    yield name, filed.content

    async def _files(self, names: list[str]) -> dict[str, Filed | None]:
        async with self._turn:
            return await self._read(names)

    async def _read(self, names: list[str]) -> dict[str, Filed | None]:
        """What the files hold; what cannot be read is logged, and counts as not there from then on."""
        found = await self._aside(self._read_files, names)
        for name, filed in found.items():
            self.resolver.take_in(name, filed)
        return found

    def _read_files(self, names: list[str]) -> dict[str, Filed | None]:
        found: dict[str, Filed | None] = {}
        for name in names:
            try:
                found[name] = self.resolver.file(name)
            except (UnreadableError, StoreError) as error:
                LOGGER.error("%s; its account is refused", printable(str(error)))
                found[name] = None
        return found

    # Time

    async def _read_all(self) -> None:
        self.known.clear()
        while unread := self.resolver.index.unread():
            await self._files(unread[:SLICE])
        self.known.set()

    async def _sweep_on(self) -> None:
        await self.known.wait()
        while True:
            await self.sweep()
            ttl = self.resolver.index.ttl
            await asyncio.sleep(min(ttl / 2, LONGEST_SWEEP) if ttl else LONGEST_SWEEP)

    async def sweep(self) -> None:
        """Removes the files of JWTs whose time is over. Accounts in use go on with what is held in memory."""
        async with self._turn:
            for name in self.resolver.index.ended():
                try:
                    await self._aside(self.resolver.remove, name)
                except StoreError as error:
                    LOGGER.error("the expired JWT stays: %s", printable(str(error)))
                    continue
                LOGGER.debug("Account %s: the time of its JWT is over, its file is removed", name)
                self.resolver.let_go(name, entirely=False)

    # Files that somebody else changed

    async def apply(self, survey: Survey) -> set[str]:
        """Goes on with what a look at the directory found; returns the accounts that changed by it."""
        async with self._turn:
            changed = self.resolver.apply(survey)
        loop = asyncio.get_running_loop()
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(loop.create_task(self._read_all()))
        return changed


def _succeeds(token: str, before: str) -> bool:
    """Whether a JWT is another one than the one before, and was not issued earlier; any does where that is none."""
    try:
        earlier, later = open_unverified(before), open_unverified(token)
    except JwtError:
        return True
    same = bool(later.get("jti")) and earlier.get("jti") == later.get("jti")
    return not same and _issued_at(earlier) <= _issued_at(later)


def _issued_at(claims: dict[str, object]) -> int:
    moment = claims.get("iat")
    return moment if isinstance(moment, int) else 0
