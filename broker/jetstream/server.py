"""JetStream of one server: which accounts have it, and what all of them share."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from accounts.imports import ServiceImport
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.subject import overlaps
from auth.settings import SettingsError
from broker.control.internal import Internal
from broker.jetstream.account import AccountJetStream
from broker.jetstream.api.router import PREFIX, Router
from broker.jetstream.custody import Custodian
from broker.jetstream.errors import JetStreamError
from broker.jetstream.keys import Keys
from broker.jetstream.settings import Settings, account_name, directory_name, directory_of
from broker.jetstream.store.account import AccountStore
from broker.jetstream.store.files import lock
from broker.jetstream.store.tables import Checked, StoreError
from broker.jetstream.view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from accounts.account import Account
    from broker.config.options import JetStreamOptions
    from broker.control.control import Control
    from broker.control.tenant import Tenant
    from broker.jetstream.store.sealing import Sealed

LOGGER: Final = logging.getLogger("natskeep.jetstream")

_OF_A_DOMAIN: Final = {
    "INFO": f"{PREFIX}.INFO",
    **{f"{part}.>": f"{PREFIX}.{part}.>" for part in ("STREAM", "CONSUMER", "DIRECT", "META", "SERVER", "ACCOUNT")},
    "$KV.>": "$KV.>",
    "$OBJ.>": "$OBJ.>",
}
"""What stands behind the prefix of a domain, and what is meant by it."""

_MODESTY: Final = 10
"""How nice the thread is that tidies up."""

_WRITERS: Final = 16
"""Accounts whose commits are written at the same time; each has one, so that others wait for no more of it."""

_TABLES: Final = 2
"""Accounts whose tables are brought up to their commits at the same time."""


def _be_modest() -> None:
    """Lets everything else go first: what this thread does may take long."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _MODESTY)


class _Part:
    """JetStream in one live account: who answers, and the streams where it has any."""

    def __init__(self, tenant: Tenant, internal: Internal, router: Router) -> None:
        self.tenant = tenant
        self.router = router
        self._internal = internal

    def end(self) -> AccountStore | None:
        """Answers nothing more; returns what is left to be closed."""
        streams = self.router.account
        self.router.close()
        if streams is not None:
            streams.close()
        self._internal.close()
        return None if streams is None else streams.store


class JetStream:
    """All streams of a server. `open` brings back what the store has, `close` ends it."""

    def __init__(
        self, control: Control, options: JetStreamOptions, server: str, settled: Callable[[], None]
    ) -> None:
        """``settled`` writes out what was said outside a turn of the loop."""
        self.settings = Settings(options, control.trail, server, max_payload=control.options.max_payload)
        self.keys = Keys(control.trail, options, control.identity.keys)
        """What is on disk is sealed by these."""
        self.custodian = Custodian(self, self.keys, control.trail)
        """Who changes and destroys them."""
        self.view = View(self.settings)
        """What monitoring shows."""
        self._control = control
        self._settled = settled
        self._directory = directory_of(options)
        self._executor = ThreadPoolExecutor(_WRITERS, "natskeep-jetstream")
        # A commit never waits behind tables, which take a large part of a journal at once.
        self._tables = ThreadPoolExecutor(_TABLES, "natskeep-jetstream-tables")
        self._background = ThreadPoolExecutor(1, "natskeep-jetstream-tidy", _be_modest)
        self._parts: dict[str, _Part] = {}
        self._is_open = self._is_starting = False
        self._lock = -1
        self._barred: set[str] = set()
        """Accounts that may have no streams for the time being."""
        self._closing: dict[str, asyncio.Task[None]] = {}
        """By account: what is still being written of streams that are ended."""
        self._asking: dict[str, asyncio.Task[None]] = {}
        """By account: the question for its key."""
        self._codecs: dict[str, Checked | Sealed] = {}
        """By account: how its values stand on disk, where that was asked for already."""

    def open(self) -> None:
        """Begins with the accounts that are known, and takes on those that come to be used.

        Raises SettingsError where an account cannot have what it was promised, or its streams cannot be read.
        """
        self._is_open = True
        self._control.wiring.own_mappings = self._domain_mappings
        self._control.wiring.compiled = self._adapt
        self._control.wiring.forgotten = self._forget
        try:
            self._lock = lock(self._directory)
            self.keys.open()
        except StoreError as error:
            raise SettingsError(f"JetStream: {error}") from None
        self._is_starting = True
        if self.keys.asks:
            self._ask_for_all()
        self._enter()
        self._control.wiring.changed(tuple(self._control.tenants))
        self._is_starting = False

    async def check(self, options: JetStreamOptions) -> None:
        """Looks whether a reload could go on with other options. Raises SettingsError."""
        await asyncio.to_thread(self.keys.check, options)

    async def reload(self, options: JetStreamOptions) -> None:
        """Keeps to other options, as far as they may change."""
        self.settings.adopt(options)
        self.settings.max_payload = self._control.options.max_payload
        await self.keys.adopt(options)
        self._enter()

    def _enter(self) -> None:
        """Makes all accounts live that have streams, or may have some."""
        for name in sorted(self._names()):
            account = self._control.account(name)
            if account is not None and account.jetstream:
                self._control.wiring.enter(account)

    def _ask_for_all(self) -> None:
        """Asks for all keys that are needed at the start, some at a time. Raises SettingsError."""
        accounts = [account for name in sorted(self._names()) if (account := self._control.account(name)) is not None]
        names = [account.name for account in accounts if account.jetstream and not account.is_system]
        try:
            self._codecs = dict(zip(names, self._executor.map(self._codec, names), strict=True))
        except StoreError as error:
            raise SettingsError(f"JetStream: {error}") from None

    def _codec(self, name: str) -> Checked | Sealed:
        return self.keys.codec(self._directory / directory_name(name), name)

    async def _ask(self, account: Account) -> None:
        """Asks for the key of an account that has come to be used. Nobody answers until it is there."""
        try:
            self._codecs[account.name] = await asyncio.to_thread(self._codec, account.name)
        except StoreError as error:
            LOGGER.error("JetStream of account %s: %s", account.label, error)
            return
        finally:
            del self._asking[account.name]
        tenant = self._control.tenants.get(account.name)
        if tenant is not None and self._is_open:
            self._adapt(tenant)
            self._settled()

    def _names(self) -> set[str]:
        """The accounts that are known at the start, or have something on disk."""
        kept = {account_name(path.name) for path in self._directory.glob("*/")} if self._directory.exists() else set()
        return kept | self._control.authenticator.account_names | set(self._control.options.resolver_preload)

    def end_requests(self) -> None:
        """Tells clients that wait for messages that none will come: the server ends."""
        for account in self.settings.accounts.values():
            account.end_requests()

    async def close(self) -> None:
        """Ends all streams; what they hold is kept."""
        self._is_open = False
        wiring = self._control.wiring
        wiring.compiled = wiring.forgotten = lambda tenant: None
        wiring.own_mappings = lambda account: ()
        if self.settings.domain:
            wiring.changed(tuple(self._control.tenants))
        for part in list(self._parts.values()):
            self._forget(part.tenant)
        while waited := [*self._closing.values(), *self._asking.values()]:
            await asyncio.wait(waited)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._executor.shutdown()
        self._tables.shutdown()
        self._background.shutdown()

    def account(self, name: str) -> AccountJetStream | None:
        """The streams of an account; None where it has no JetStream."""
        return self.settings.accounts.get(name)

    @asynccontextmanager
    async def without(self, name: str) -> AsyncIterator[None]:
        """An account has no streams meanwhile, and nobody has its files open. What it has afterwards, it has anew."""
        self._barred.add(name)
        try:
            if name in self._parts:
                self._forget(self._parts[name].tenant)
            while waited := [task[name] for task in (self._closing, self._asking) if name in task]:
                await asyncio.wait(waited)
            self._codecs.pop(name, None)
            yield
        finally:
            self._barred.discard(name)
            tenant = self._control.tenants.get(name)
            if tenant is not None and self._is_open:
                self._adapt(tenant)
                self._settled()

    def _domain_mappings(self, account: Account) -> tuple[SubjectMapping, ...]:
        """How requests that name the server's domain become those that any server takes (ADR-8, leafnodes)."""
        if not self.settings.domain or account.is_system:
            return ()
        prefix = f"$JS.{self.settings.domain}.API."
        return tuple(
            SubjectMapping(prefix + behind, (WeightedDestination(meant),), "jetstream domain")
            for behind, meant in _OF_A_DOMAIN.items()
        )

    def _adapt(self, tenant: Tenant) -> None:
        """An account is there, or is another than before: gives it JetStream, or takes it away."""
        account, part = tenant.account, self._parts.get(tenant.account.name)
        if part is not None and part.tenant is not tenant:
            self._forget(part.tenant)
            part = None
        if self._must_ask(account):
            self._asking[account.name] = asyncio.get_running_loop().create_task(self._ask(account))
        waits = any(account.name in names for names in (self._closing, self._asking, self._barred))
        if waits and account.jetstream:
            # Nobody answers until what it had is on disk, so that nobody is told that it is not there.
            if part is not None:
                self._forget(tenant)
            return
        if part is not None and part.router.account is not None and account.jetstream:
            part.router.account.limits = account.jetstream
            return
        if part is not None:
            if not account.jetstream and part.router.account is None:
                return
            self._forget(tenant)
        if account.jetstream or not _is_answered_elsewhere(account):
            self._parts[account.name] = self._made(tenant)

    def _must_ask(self, account: Account) -> bool:
        """Whether the key of an account is needed, and must be asked for."""
        name = account.name
        is_live = name in self._parts and self._parts[name].router.account is not None
        is_known = is_live or any(
            name in names for names in (self._codecs, self._asking, self._closing, self._barred)
        )
        return self.keys.asks and bool(account.jetstream) and not account.is_system and not is_known

    def _made(self, tenant: Tenant) -> _Part:
        account = tenant.account
        internal = Internal(tenant, self._control.hub, echo=True)
        streams = None
        if account.jetstream and not account.is_system:
            try:
                self.settings.check_promises(account.jetstream)
                streams = self._streams(internal)
            except (StoreError, JetStreamError) as error:
                problem = f"JetStream of account {account.label}: {error}"
                if self._is_starting:
                    internal.close()
                    raise SettingsError(problem) from None
                LOGGER.error("%s", problem)
        return _Part(tenant, internal, Router(internal, self.settings, streams))

    def _streams(self, internal: Internal) -> AccountJetStream:
        name = internal.tenant.account.name
        directory = self._directory / directory_name(name)
        codec = self._codecs.pop(name, None) or self._codec(name)
        loop = asyncio.get_running_loop()
        store = AccountStore(
            directory, loop, self._executor, self._settled, codec, tables=self._tables, background=self._background
        )
        if not isinstance(codec, Checked):
            store.tidying.turned = partial(self.keys.settle, directory.name, name, codec)
        streams = AccountJetStream(self.settings, store, internal, self._control.hub, self._control.clock)
        streams.load()
        return streams

    def _forget(self, tenant: Tenant) -> None:
        part = self._parts.pop(tenant.account.name, None)
        store = None if part is None else part.end()
        if store is not None:
            name = tenant.account.name
            task = self._closing[name] = asyncio.get_running_loop().create_task(store.close())
            task.add_done_callback(lambda _: self._closed(name))

    def _closed(self, name: str) -> None:
        """All of an account is on disk; it may have been given JetStream again meanwhile."""
        del self._closing[name]
        tenant = self._control.tenants.get(name)
        if tenant is not None and self._is_open:
            self._adapt(tenant)


def _is_answered_elsewhere(account: Account) -> bool:
    """Whether requests of the account go to another one, whose streams it may use."""
    return any(
        isinstance(one, ServiceImport) and overlaps(one.local_subject, f"{PREFIX}.>") for one in account.imports
    )
