"""Finds accounts that nobody has used yet, each once for all who wait for it.

Whatever comes from an account server or from the system account is verified like everything else that decides: it must
be the JWT of the very account, signed by a trusted operator, free of blocking findings and within its time. What is not
is refused, with the reason in the log, and the one who asked for the account is refused with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from auth.cache import BoundedCache
from auth.errors import AuthError
from auth.nkey import KeyKind, is_public_key
from auth.resolver import StoreError
from broker.control.live import account_changed
from broker.log.text import printable

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.control.control import Control

LOGGER: Final = logging.getLogger("natskeep.resolver")

PATIENCE: Final = 1.0
"""Seconds after which an account that was not found, or had expired, is looked for again; a search that takes longer is
worth a warning."""

MOST_AT_ONCE: Final = 64
"""Accounts that are asked for at one time; the others wait, within the time that a search may take."""

MOST_WAITING: Final = 4096
"""Accounts that may be looked for or wait; whoever needs one more is refused."""

REMEMBERED: Final = 16384
"""Searches that are remembered."""


class FetchError(Exception):
    """An account was not found; the text says why, and holds no password."""


class Source(Protocol):
    """Where JWTs of accounts come from."""

    async def fetch(self, name: str) -> str:
        """The JWT of an account, not verified. Raises FetchError."""

    async def close(self) -> None:
        """Lets go of what it holds open."""


class Fetcher:
    """The searches of one server. ``timeout`` is how many seconds one may take."""

    def __init__(
        self,
        control: Control,
        source: Source,
        keep: Callable[[str, str], Awaitable[object]],
        timeout: Callable[[], float],
    ) -> None:
        """``keep`` stores the JWT of an account, and applies it where the account is in use. May raise StoreError."""
        self._control = control
        self._source = source
        self._keep = keep
        self._timeout = timeout
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tried: BoundedCache[str, float] = BoundedCache(REMEMBERED)
        self._leaving: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._closed = False

    def wants(self, name: str) -> bool:
        """See `broker.control.supply.Supply`."""
        if name in self._running:
            return True
        tried = self._tried.find(name)
        if tried is not None and time.monotonic() - tried < PATIENCE:
            return False
        return not self._closed and len(self._running) < MOST_WAITING and is_public_key(name, KeyKind.ACCOUNT)

    def fetch(self, name: str) -> asyncio.Future[None]:
        """See `broker.control.supply.Supply`."""
        return asyncio.shield(self._task(name))

    def want(self, names: Iterable[str]) -> None:
        """See `broker.control.supply.Supply`."""
        for name in names:
            if self.wants(name):
                self._task(name)

    def _task(self, name: str) -> asyncio.Task[None]:
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.get_running_loop().create_task(self._fetch(name))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return task

    def turn_to(self, source: Source) -> None:
        """Asks another source from now on; the one before is let go of when the searches that have begun are over."""
        before, self._source = self._source, source
        task = asyncio.get_running_loop().create_task(self._leave(before, list(self._running.values())))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, source: Source, searches: list[asyncio.Task[None]]) -> None:
        try:
            await asyncio.gather(*map(asyncio.shield, searches), return_exceptions=True)
        finally:
            await source.close()

    async def close(self) -> None:
        """Calls off every search."""
        self._closed = True
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._leaving, return_exceptions=True)
        await self._source.close()

    async def _fetch(self, name: str) -> None:
        started = time.monotonic()
        try:
            # An account and those that it imports from, together, take no longer than one search.
            async with asyncio.timeout(self._timeout()):
                try:
                    account = await self._find(name)
                finally:
                    self._tried.keep(name, time.monotonic())
                    spent = time.monotonic() - started
                    level = logging.WARNING if spent > PATIENCE else logging.DEBUG
                    LOGGER.log(level, "Account [%s] fetch took %.3fs", name, spent)
                await self._find_exporters(account)
        except TimeoutError:
            LOGGER.warning("Account fetch failed: %s: fetching jwt timed out", name)
        except (FetchError, AuthError, StoreError) as error:
            trust = self._control.authenticator.trust
            # A system account that nobody has brought yet is no failure.
            level = logging.DEBUG if trust is not None and trust.is_bootstrapped(name) else logging.WARNING
            LOGGER.log(level, "Account fetch failed: %s: %s", name, printable(str(error)))

    async def _find(self, name: str) -> Account:
        """Brings a JWT that is in force. Raises FetchError, AuthError, StoreError and TimeoutError."""
        trust = self._control.authenticator.trust
        if trust is None:
            raise FetchError("the server trusts no operator")
        # A file may hold a newer one than memory does.
        trust.resolver.forget(name)
        if not trust.is_wanting(name, time.time()):
            if self._control.is_live(name):
                account_changed(self._control, name)
                self._control.after_call()
            return trust.account(name)
        async with self._room:
            token = await self._source.fetch(name)
        account = trust.check_update(token, name, time.time())
        await self._keep(name, token)
        return account

    async def _find_exporters(self, account: Account) -> None:
        """An account comes with those that it imports from, so that its first request reaches them."""
        trust = self._control.authenticator.trust
        now = time.time()
        names = {one.account for one in account.imports}
        wanting = [one for one in sorted(names) if trust is not None and trust.is_wanting(one, now) and self.wants(one)]
        # What they import themselves is looked for as well; whom the circle leads back to is not waited for.
        waiting = [self.fetch(one) for one in wanting if one not in self._running]
        if waiting:
            await asyncio.gather(*waiting)
