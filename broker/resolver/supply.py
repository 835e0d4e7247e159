"""The account resolver of a running server: made from its options, opened before it listens, closed behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import import_module
from typing import TYPE_CHECKING, Final

from auth.errors import AuthError
from auth.resolver import StoreError
from auth.resolver.directory import DirectoryResolver
from auth.settings import SettingsError
from broker.config.options import DEFAULT_CACHE_LIMIT, ResolverKind, ResolverOptions
from broker.control.live import account_changed
from broker.log.text import printable
from broker.resolver.fetcher import Fetcher, FetchError
from broker.resolver.keeper import Keeper
from broker.resolver.peers import PeerSource
from broker.system.subjects import CLAIMS_PACK, inbox
from tls.context import client_context

if TYPE_CHECKING:
    from auth.resolver.directory import Survey
    from auth.trust import TrustedOperators
    from broker.config.options import Options
    from broker.control.internal import Internal, Received
    from broker.net.service import Service
    from broker.resolver.fetcher import Source

LOGGER: Final = logging.getLogger("natskeep.resolver")

MOST_MERGES: Final = 65536
"""JWTs from other servers that wait to be compared with those that are here; what comes beyond is for the next time."""


def limit_index(resolver: DirectoryResolver, options: ResolverOptions) -> None:
    """Has a directory keep what the options say from now on."""
    index = resolver.index
    index.limit, index.ttl = options.limit or (DEFAULT_CACHE_LIMIT if index.evicts else 0), options.ttl


class AccountSupply:
    """Everything that brings accounts to one server in operator mode, unless all of them are in its configuration."""

    def __init__(self, service: Service, trust: TrustedOperators) -> None:
        self._service = service
        self._control = service.control
        self._resolver = trust.resolver
        self._server = service.control.server_info.server_id
        self.keeper: Keeper | None = None
        """Changes the directory; None where there is none."""
        self._fetcher: Fetcher | None = None
        self._internal: Internal | None = None
        self._reconciling: asyncio.Task[None] | None = None
        self._merges: set[asyncio.Task[None]] = set()

    @property
    def _options(self) -> ResolverOptions:
        return self._service.options.resolver or ResolverOptions()

    # Beginning and end

    async def open(self) -> None:
        """Reads which accounts there are, or asks whether the account server answers.

        Raises SettingsError where a server must not start; nothing is left behind then.
        """
        try:
            await self._open()
            system = self._control.system_account
            if system and self._control.account(system) is None:
                raise SettingsError(f"the account resolver does not know the system account {system}")
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        resolver, options = self._resolver, self._options
        if isinstance(resolver, DirectoryResolver):
            try:
                resolver.open()
            except StoreError as error:
                raise SettingsError(f"the account resolver cannot use its directory: {error}") from None
            self.keeper = Keeper(self._control, resolver, self._service.flush_dirty)
            await self.preload(self._service.options)
            some = "all" if options.kind is ResolverKind.FULL else "some"
            LOGGER.info("Managing %s jwt in exclusive directory %s", some, printable(str(resolver.path)))
        else:
            await self._try(self._url_source())

    async def _try(self, source: Source) -> None:
        """Asks an account server for nothing, which it must answer, and for the system account."""
        try:
            async with asyncio.timeout(self._options.timeout):
                await source.fetch("")
            await self._fetch_system_account(source)
        except FetchError as error:
            raise SettingsError(str(error)) from None
        except TimeoutError:
            raise SettingsError("the account server does not answer in time") from None
        finally:
            await source.close()

    async def _fetch_system_account(self, source: Source) -> None:
        name, trust = self._control.system_account, self._control.authenticator.trust
        if not name or trust is None:
            return
        try:
            async with asyncio.timeout(self._options.timeout):
                token = await source.fetch(name)
            trust.check_update(token, name, time.time())
        except (FetchError, AuthError, TimeoutError) as error:
            LOGGER.warning("Account fetch failed: %s: %s", name, printable(str(error) or "timed out"))
        else:
            self._resolver.store(name, token)

    def _url_source(self) -> Source:
        tls = self._service.options.resolver_tls
        # Most servers need no HTTP client.
        module = import_module("broker.resolver.url")
        source: Source = module.UrlSource(self._options.url, None if tls is None else client_context(tls))
        return source

    def _warn_of_insecurity(self) -> None:
        tls = self._service.options.resolver_tls
        if tls is not None and tls.insecure:
            LOGGER.warning(
                "TLS certificate chain and hostname of account servers will not be verified. DO NOT USE IN PRODUCTION!"
            )

    def start(self) -> None:
        """Begins to look for accounts, and to compare what is here with what others have."""
        control, system = self._control, self._control.system_account
        if self.keeper is None:
            self._warn_of_insecurity()
            self._fetcher = Fetcher(control, self._url_source(), self._hold, lambda: self._options.timeout)
        else:
            internal = self._internal = control.internal(system)
            source = PeerSource(internal, self._server, self._service.flush_dirty)
            self._fetcher = Fetcher(control, source, self.keeper.merge, lambda: self._options.timeout)
            self.keeper.start()
            if self._options.kind is ResolverKind.FULL:
                internal.subscribe(inbox(self._server, "pack"), self._merge)
                self._reconciling = asyncio.get_running_loop().create_task(self._reconcile())
        control.supply = self._fetcher
        control.wiring.missing = self._fetcher.want
        account = control.account(system) if system else None
        if account is not None and account.origin == "bootstrap":
            LOGGER.info("Using bootstrapping system account")
            self._fetcher.want((system,))

    async def close(self) -> None:
        """Ends every search and every change; a change that has begun is finished."""
        self._control.supply = None
        self._control.wiring.missing = lambda names: None
        tasks = [*self._merges, *([] if self._reconciling is None else [self._reconciling])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._fetcher is not None:
            await self._fetcher.close()
        if self.keeper is not None:
            await self.keeper.close()

    async def _hold(self, name: str, token: str) -> None:
        """Keeps a JWT of an account server, which is as good as newer than the one before."""
        self._resolver.store(name, token)
        if self._control.is_live(name):
            account_changed(self._control, name)
            self._service.flush_dirty()

    # What the configuration brings

    async def preload(self, options: Options) -> None:
        """Takes the JWTs of the configuration into the directory; those that cannot be used are logged and left out."""
        trust = self._control.authenticator.trust
        if self.keeper is None or trust is None:
            return
        for name, token in options.resolver_preload.items():
            try:
                trust.verify_account(token, name)
                await self.keeper.merge(name, token)
            except (AuthError, StoreError) as error:
                LOGGER.error("preload account error for %s: %s", printable(name), printable(str(error)))

    async def take(self, survey: Survey | None) -> None:
        """Goes on with what a look at the directory found, right before another configuration takes its place."""
        if self.keeper is not None and survey is not None:
            await self.keeper.apply(survey)

    async def reloaded(self) -> None:
        """Goes on as the options of now say."""
        if isinstance(self._resolver, DirectoryResolver):
            limit_index(self._resolver, self._options)
            await self.preload(self._service.options)
        elif self._fetcher is not None:
            self._warn_of_insecurity()
            self._fetcher.turn_to(self._url_source())

    # Other servers

    async def _reconcile(self) -> None:
        keeper, internal = self.keeper, self._internal
        assert keeper is not None
        assert internal is not None
        await keeper.known.wait()
        while True:
            await asyncio.sleep(self._options.interval)
            digest = keeper.resolver.index.digest
            LOGGER.debug("Checking store state: %s", digest.hex())
            internal.publish(CLAIMS_PACK, digest, reply=inbox(self._server, "pack"))
            self._service.flush_dirty()

    def _merge(self, received: Received) -> None:
        """Somebody answers with what it has; an empty message is its last."""
        if not received.payload:
            return
        if len(self._merges) < MOST_MERGES:
            task = asyncio.get_running_loop().create_task(self._merge_all(received.payload))
            self._merges.add(task)
            task.add_done_callback(self._merges.discard)

    async def _merge_all(self, payload: bytes) -> None:
        trust, keeper = self._control.authenticator.trust, self.keeper
        assert trust is not None
        assert keeper is not None
        for line in payload.decode("ascii", "replace").split("\n"):
            name, bar, token = line.partition("|")
            if not bar:
                continue
            try:
                trust.check_update(token, name, time.time())
                if await keeper.merge(name, token):
                    LOGGER.debug("Account %s: took a newer JWT from another server", name)
            except (AuthError, StoreError) as error:
                LOGGER.error("Merging resulted in error: %s", printable(str(error)))

