"""One server from start to stop: builds the parts in order, and takes them down without leaving anything behind."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final, Self

from auth.evidence import ConnectionType
from auth.resolver import StoreError
from auth.settings import SettingsError
from broker.checked import Checked, check
from broker.collection import uncollected
from broker.config.errors import ConfigError
from broker.config.options import ANY_ADDRESS, Options, ResolverKind
from broker.control.control import Control
from broker.control.live import update_account
from broker.core.outbox import Hub
from broker.identity import VERSION, Identity
from broker.monitor.http import Monitor
from broker.monitor.watched import Watched
from broker.net.certificates import CLIENT
from broker.net.inspection import Inspection
from broker.net.listener import Listener, open_socket
from broker.net.service import Service
from broker.net.staples import Staples
from broker.reload.aside import aside, release
from broker.reload.plan import ReloadError, ReloadPlan
from broker.reload.prepare import Prepared, prepare
from broker.reload.recorded import account_changes, record
from broker.reload.renewal import Renewal
from broker.reload.swap import Infos, judge, refresh, survey, swap
from broker.system.account import SystemAccount
from broker.wire.errors import CloseReason
from broker.wire.info import PROVIDED_RELEASE, ServerInfo
from tls.policy import TLSSettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import ModuleType, TracebackType

    from accounts.account import Account
    from accounts.explain import Explanation
    from auth.authenticate import Authenticator
    from broker.audit.recorder import Recorder
    from broker.control.custody import Custody
    from broker.jetstream.server import JetStream
    from broker.net.certificates import Told
    from broker.net.unix import UnixListener, UnixSocket
    from broker.resolver.supply import AccountSupply
    from tls.engine import ServerContext
    from tls.served import Served

LOGGER: Final = logging.getLogger("natskeep.app")

DISCOURAGED_PAYLOAD: Final = 8 * 1024 * 1024
"""Bytes of a message above which a warning is logged."""

LONGEST_CLOSE_INTERVAL: Final = 1.0
"""Seconds between two clients that a lame duck closes, at most."""


def joined(host: str, port: int) -> str:
    """An address as one text; the colons of an IPv6 host stand in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _open_unix(options: Options, replaced: UnixSocket | None = None) -> UnixSocket:
    """The Unix socket of the options, where nobody can find it. Raises ListenError."""
    # Most servers go without.
    opened: UnixSocket = import_module("broker.net.unix").UnixSocket.open(options.unix, replaced)
    return opened


def _explaining() -> ModuleType:
    """What a start does without, and so does not wait for."""
    return import_module("broker.control.explaining")


def _read_and_prepare(
    old: Options, source: Options | Callable[[], Options], earlier: Authenticator, serving: Mapping[str, Served]
) -> Prepared:
    return prepare(old, source if isinstance(source, Options) else source(), earlier, serving)


async def _nothing_to_read() -> None:
    raise ReloadError("can only reload config when a file is provided using -c or --config")


class Server:
    """A broker inside the running event loop.

    `async with Server(Options(port=-1)) as server:` listens on a free port, `server.url` tells where, and leaving the
    block ends every connection, task and socket. Raises auth.settings.SettingsError for options that contradict
    themselves, tls.context.TLSError for unusable certificates, and broker.net.listener.ListenError for a taken port.

    ``checked`` are the options where they have been checked already; the start then builds nothing a second time.
    ``owns_process`` says that the process has nothing else to do, and keeps what it began with out of Python's search
    for cycles.
    """

    def __init__(
        self, options: Options | None = None, *, checked: Checked | None = None, owns_process: bool = False
    ) -> None:
        self.options = options or (Options() if checked is None else checked.options)
        self._checked = checked
        self._owns_process = owns_process
        self.identity = Identity(name=self.options.server_name)
        self.started_at = time.time()
        self._service: Service | None = None
        self._listener: Listener | None = None
        self._websocket: Listener | None = None
        self._unix: UnixListener | None = None
        self._monitor: Monitor | None = None
        self._lame_duck: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._system: SystemAccount | None = None
        self._recorder: Recorder | None = None
        self._supply: AccountSupply | None = None
        self._jetstream: JetStream | None = None
        self._renewal: Renewal | None = None
        self._ending: asyncio.Task[None] | None = None
        """The stop that nobody asked for."""
        self.reload_again: Callable[[], Awaitable[object]] = _nothing_to_read
        """Reads the configuration again where it came from, for requests in the system account. Raises ReloadError."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # Beginning

    async def start(self) -> None:
        """Builds everything that can fail before it listens; after an error nothing is left behind."""
        options, checked = self.options, self._checked
        self._checked = None
        loop = asyncio.get_running_loop()
        if checked is None or checked.options is not options:
            checked = check(options)
        authenticator = checked.authenticator
        if options.audit.directory:
            self._recorder, keys = import_module("broker.audit.opening").recorder(options.audit)
            self.identity = Identity(keys=keys, name=options.server_name)
        self._announce_start(plain_secrets=checked.has_plain_secrets)
        listening = websocket = unix = None
        supply: AccountSupply | None = None
        staples, inspection = Staples(), Inspection(loop)
        try:
            # Whoever connects meanwhile would wait for a responder.
            stock = await staples.prepare(checked.served, options)
            await inspection.open(options)
            listening = open_socket(options.host, options.port)
            if options.websocket.port:
                websocket = open_socket(options.websocket.host, options.websocket.port, "websocket.port")
            if options.unix.path:
                unix = _open_unix(options)
                unix.place()
            hub = Hub()
            info = self._server_info(options, authenticator, int(listening.getsockname()[1]))
            control = Control(options, authenticator, hub, info, identity=self.identity)
            service = Service(loop, options, control, checked.served, staples=staples, inspection=inspection)
            service.control.trail.recorder = self._recorder
            supply = await self._open_supply(service)
            self._open_jetstream(service)
            watched = self._watch(service)
            monitor = None
            if options.monitor.port or options.monitor.https_port:
                monitor = Monitor(watched)
                await monitor.start()
        except BaseException:
            for opened in (listening, websocket, unix):
                if opened is not None:
                    opened.close()
            if supply is not None:
                await supply.close()
            await self._close_jetstream()
            await inspection.close()
            await staples.close()
            self._close_ledger()
            raise
        self._service = service
        self._monitor = monitor
        self._listener = Listener(service, listening)
        if websocket is not None:
            # Most servers do without, and what they do not use they do not load.
            module = import_module("broker.net.websocket")
            self._websocket = Listener(service, websocket, module.WebSocketConnection, module.SPARE)
            watched.websocket_port = self._websocket.port
            service.control.websocket_info = self._websocket_info(options, authenticator, info)
            self._websocket.start()
        service.control.unix_info = self._unix_info(options, info)
        if unix is not None:
            self._unix = import_module("broker.net.unix").UnixListener(service, unix)
            self._unix.start()
        self._listener.start()
        if service.control.system_account:
            internal = service.control.internal(service.control.system_account)
            keeper = None if supply is None else supply.keeper
            self._system = SystemAccount(watched, internal, self._reload_when_asked, keeper, self._custody)
            self._system.open()
        if supply is not None:
            supply.start()
            self._supply = supply
        staples.on_problem = self._must_not_go_on
        staples.put(stock)
        self._renewal = Renewal(service, self._tell_of_certificate)
        self._renewal.start()
        if self._recorder is not None:
            self._recorder.on_change = lambda problem: self._tell_of_ledger(loop, problem)
            service.control.trail.server("started", name=self.identity.server_name, version=VERSION)
        self._announce_ready()

    def _tell_of_ledger(self, loop: asyncio.AbstractEventLoop, problem: str) -> None:
        """Out of the ledger's thread, which may outlive the loop."""
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._audit_changed, problem)

    def _audit_changed(self, problem: str) -> None:
        """Lets the system account know that the ledger cannot be written, or can be again."""
        if self._system is not None:
            self._system.audit(problem)
            self.service.flush_dirty()

    def _must_not_go_on(self, why: str) -> None:
        """Ends the server: what it shows of itself is not to be trusted any more."""
        LOGGER.critical("%s", why)
        if self._ending is None and self._service is not None:
            self._service.control.trail.server("certificate_revoked", problem=why)
            self._ending = asyncio.get_running_loop().create_task(self.stop())

    def _tell_of_certificate(self, told: Told) -> None:
        if self._system is not None:
            self._system.certificate(told)

    def _close_ledger(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()

    async def _open_supply(self, service: Service) -> AccountSupply | None:
        """What finds accounts that the configuration does not hold; None where it holds all there are."""
        trust, resolver = service.control.authenticator.trust, self.options.resolver
        if trust is None or resolver is None or resolver.kind is ResolverKind.MEMORY:
            return None
        # Most servers go without.
        module = import_module("broker.resolver.supply")
        supply: AccountSupply = module.AccountSupply(service, trust)
        await supply.open()
        return supply

    def _open_jetstream(self, service: Service) -> None:
        """The server's streams, with what they held before; none for a server without. Raises SettingsError."""
        options = self.options.jetstream
        if options is not None:
            # Most servers go without.
            module = import_module("broker.jetstream.server")
            jetstream: JetStream = module.JetStream(
                service.control, options, self.identity.server_name, service.flush_dirty
            )
            self._jetstream = jetstream
            jetstream.open()

    def _custody(self) -> Custody | None:
        return None if self._jetstream is None else self._jetstream.custodian

    def _server_info(self, options: Options, authenticator: Authenticator, port: int) -> ServerInfo:
        host = options.host
        if options.client_advertise:
            host, _, advertised = options.client_advertise.rpartition(":")
            if host and advertised.isdigit():
                port = int(advertised)
            else:
                host = options.client_advertise
        tls = options.tls
        return ServerInfo(
            server_id=self.identity.server_id,
            server_name=self.identity.server_name,
            host=host,
            port=port,
            headers=not options.no_header_support,
            auth_required=authenticator.required,
            tls_required=tls is not None and not options.allow_non_tls,
            tls_verify=tls is not None and (tls.verify or tls.verify_and_map),
            tls_available=tls is not None and options.allow_non_tls,
            max_payload=options.max_payload,
            runtime=f"python{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
            xkey=self.identity.curve.public,
            jetstream=options.jetstream is not None,
            domain="" if options.jetstream is None else options.jetstream.domain,
        )

    def _websocket_info(self, options: Options, authenticator: Authenticator, info: ServerInfo) -> ServerInfo:
        """What INFO says to clients of the WebSocket port."""
        websocket = options.websocket
        if self._websocket is None:
            return info
        tls = websocket.tls
        return replace(
            info,
            host=websocket.host,
            port=self._websocket.port,
            auth_required=authenticator.requires(ConnectionType.WEBSOCKET),
            tls_required=tls is not None,
            tls_available=tls is not None,
            tls_verify=tls is not None and (tls.verify or tls.verify_and_map),
        )

    def _unix_info(self, options: Options, info: ServerInfo) -> ServerInfo:
        """What INFO says to clients of the Unix socket."""
        tls = options.tls if options.unix.tls else None
        return replace(
            info,
            tls_required=tls is not None,
            tls_available=False,
            tls_verify=tls is not None and (tls.verify or tls.verify_and_map),
        )

    def _watch(self, service: Service) -> Watched:
        return Watched(
            identity=self.identity,
            started_at=self.started_at,
            service=service,
            is_serving=lambda: self.is_ready and not service.control.is_lame_duck,
            jetstream=lambda: None if self._jetstream is None else self._jetstream.view,
            audit_problem=lambda: self._recorder.problem if self._recorder is not None else "",
            http_host=self.options.monitor.host or self.options.host,
        )
    def _announce_start(self, *, plain_secrets: bool) -> None:
        options = self.options
        LOGGER.info("Starting nats-server")
        LOGGER.info("  Version:  %s (natskeep %s)", PROVIDED_RELEASE, VERSION)
        LOGGER.info("  Git:      [not set]")
        LOGGER.info("  Name:     %s", self.identity.server_name)
        LOGGER.info("  ID:       %s", self.identity.server_id)
        if plain_secrets:
            LOGGER.warning("Plaintext passwords detected, use nkeys or bcrypt")
        if any(tls is not None and tls.insecure for tls in (options.tls, options.websocket.tls)):
            LOGGER.warning("'insecure' does nothing in the TLS of a listener: clients show certificates where 'verify' "
                           "asks for them")
        if options.config_file:
            LOGGER.info("Using configuration file: %s (%s)", options.config_file, options.config_digest)
        if options.max_payload > DISCOURAGED_PAYLOAD:
            LOGGER.warning("Maximum payloads over %.2f MB are generally discouraged and could lead to poor performance",
                           DISCOURAGED_PAYLOAD / (1024 * 1024))

    def _announce_ready(self) -> None:
        options = self.options
        if self._monitor is not None:
            scheme = "https" if options.monitor.https_port else "http"
            LOGGER.info("Starting %s monitor on %s", scheme, joined(self._monitor.host, self._monitor.port))
        if self._websocket is not None:
            scheme = "ws" if options.websocket.tls is None else "wss"
            address = joined(options.websocket.host, self._websocket.port)
            LOGGER.info("Listening for websocket clients on %s://%s", scheme, address)
            if options.websocket.tls is None:
                LOGGER.warning("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!")
        if self._unix is not None:
            LOGGER.info("Listening for client connections on unix:%s", options.unix.path)
        LOGGER.info("Listening for client connections on %s", joined(options.host, self.port))
        if options.tls is not None:
            LOGGER.info("TLS required for client connections" if not options.allow_non_tls
                        else "TLS available for client connections")
        LOGGER.info("Server is ready")

    # Another configuration

    async def reload(
        self, source: Options | Callable[[], Options], adopt: Callable[[Options, Options], None] | None = None
    ) -> ReloadPlan:
        """Puts another configuration in place, or changes nothing; either way the log tells.

        ``source`` are the options, or what reads them, in a thread. ``adopt`` is called with the old and the new ones
        right before they are swapped, for what the process around the server has to change; it may refuse by OSError.
        Sessions whose user, permissions, account or certificate no longer stand are closed or trimmed; all others go on
        with every message and byte. One reload runs at a time.

        Raises ReloadError.
        """
        async with self._reloading:
            try:
                if self._service is None or self._stopped.is_set():
                    raise ReloadError("the server is not running")
                return await self._reload(self._service, source, adopt)
            except (ConfigError, SettingsError, TLSSettingsError, StoreError, OSError) as error:
                refused = ReloadError("; ".join(str(error).splitlines()))
                await self._reload_failed(refused)
                raise refused from error
            except ReloadError as error:
                await self._reload_failed(error)
                raise

    async def _reload_failed(self, error: ReloadError) -> None:
        LOGGER.error("Failed to reload server configuration: %s", error)
        if self._service is not None:
            self._service.control.trail.reloaded((), problem=str(error))
        if self._renewal is not None:
            await self._renewal.examine()

    async def _reload_when_asked(self) -> str:
        """Reloads for a request in the system account; returns why it could not."""
        try:
            await self.reload_again()
        except ReloadError as error:
            return str(error)
        return ""

    async def _reload(
        self,
        service: Service,
        source: Options | Callable[[], Options],
        adopt: Callable[[Options, Options], None] | None,
    ) -> ReloadPlan:
        old, earlier = self.options, service.control.authenticator
        with uncollected(lasting=self._owns_process):
            serving = service.certificates.all_served()
            prepared = await aside(partial(_read_and_prepare, old, source, earlier, serving))
        stock = await service.staples.prepare(prepared.served, prepared.options)
        await service.inspection.open(prepared.options)
        new = prepared.options
        if new.jetstream is not None and self._jetstream is not None:
            await self._jetstream.check(new.jetstream)
        found = await survey(service, prepared)
        trail = service.control.trail
        changed = [] if trail.recorder is None else await aside(partial(account_changes, prepared, old))
        if self._supply is not None:
            await self._supply.take(prepared.directory)
        info = self._server_info(new, prepared.authenticator, self.port)
        websocket_info = self._websocket_info(new, prepared.authenticator, info)
        infos = Infos(info, websocket_info, self._unix_info(new, info))
        unix = self._other_unix(old, new)
        try:
            if adopt is not None:
                adopt(old, new)
            if unix is not None:
                unix.place(None if self._unix is None else self._unix.unix)
        except BaseException:
            if unix is not None:
                unix.discard(None if self._unix is None else self._unix.unix)
            raise
        self.options = new
        serving = service.certificates.all_served()
        effects = swap(service, prepared, infos, found)
        self._move_unix(service, unix)
        service.reloaded_at = time.time()
        service.staples.put(stock)
        if self._supply is not None:
            await self._supply.reloaded()
        await self._reload_jetstream(service, new)
        await judge(service, prepared, old, found, effects)
        if effects.unpinned:
            LOGGER.info("Disconnect %d clients due to pinned certs reload", effects.unpinned)
        if effects.surplus:
            LOGGER.info("Closed %d connections to fall within max_connections", effects.surplus)
        for change in prepared.plan.changes:
            LOGGER.info("%s", change.line)
        if self._renewal is not None:
            self._renewal.reloaded(serving)
        await refresh(service, prepared, effects)
        record(trail, prepared, old, changed)
        LOGGER.info("Reloaded server configuration%s", f" ({new.config_digest})" if new.config_digest else "")
        plan = prepared.plan
        left: list[object] = [prepared, earlier, effects, found, old]
        # What of the old configuration nobody uses any more is freed beside the loop, so nothing here may refer to it.
        del prepared, earlier, effects, found, old
        await aside(partial(release, left))
        return plan

    def _other_unix(self, old: Options, new: Options) -> UnixSocket | None:
        """The Unix socket to come, where there is to be another one. Raises ListenError."""
        before, after = old.unix, new.unix
        if not after.path or (before.path, before.mode, before.group) == (after.path, after.mode, after.group):
            return None
        return _open_unix(new, None if self._unix is None else self._unix.unix)

    def _move_unix(self, service: Service, unix: UnixSocket | None) -> None:
        """Lets a Unix socket take the place of the one that there was, or none; nobody who waits there is lost."""
        if unix is None and self.options.unix.path:
            return
        before, self._unix = self._unix, None
        if unix is not None:
            self._unix = import_module("broker.net.unix").UnixListener(service, unix)
            self._unix.start()
        if before is not None:
            before.give_way()

    async def _reload_jetstream(self, service: Service, new: Options) -> None:
        """Switches streams on or off, or lets them keep to what is said now."""
        if new.jetstream is not None and self._jetstream is not None:
            await self._jetstream.reload(new.jetstream)
        elif new.jetstream is not None:
            try:
                self._open_jetstream(service)
            except SettingsError as error:
                LOGGER.warning("Can't start JetStream: %s", error)
                await self._close_jetstream()
        else:
            await self._close_jetstream()

    async def _close_jetstream(self) -> None:
        jetstream, self._jetstream = self._jetstream, None
        if jetstream is not None:
            await jetstream.close()

    def update_account(self, token: str) -> Account:
        """Puts another JWT of an account in place, at once and for everybody who is connected; returns the account.

        Sessions whose user or signing key no longer stands are closed, those that may do less are trimmed, and imports
        and exports hold as the claims say now. The next reload takes the configuration's own JWTs again.

        Raises auth.errors.AuthError for a token that no trusted operator signed, or that has blocking findings; then
        nothing has changed.
        """
        account = update_account(self.service.control, token)
        self.service.flush_dirty()
        return account

    def explain_publish(self, client: int, subject: str) -> Explanation:
        """Whether a connected client may publish to a subject, why, and who would receive that.

        ``client`` is its number, as in INFO and monitoring. Raises KeyError where nobody has it, and ValueError for
        what is no subject and for a client that is in no account yet.
        """
        service = self.service
        explain = _explaining().may_publish
        explanation: Explanation = explain(service.control, service.connections[client].session, subject)
        return explanation

    def explain_subscribe(self, client: int, subject: str, queue: str | None = None) -> Explanation:
        """Whether a connected client may subscribe to a subject, why, and whose messages it would hear.

        Raises as `explain_publish` does.
        """
        service = self.service
        explain = _explaining().may_subscribe
        explanation: Explanation = explain(service.control, service.connections[client].session, subject, queue)
        return explanation

    # Facts

    @property
    def service(self) -> Service:
        """What its connections share. Raises RuntimeError before the start."""
        if self._service is None:
            raise RuntimeError("the server has not been started")
        return self._service

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        if self._listener is None:
            raise RuntimeError("the server has not been started")
        return self._listener.port

    @property
    def monitor_port(self) -> int:
        """The port of HTTP monitoring; 0 when it is off."""
        return 0 if self._monitor is None else self._monitor.port

    @property
    def url(self) -> str:
        """Where a client on this machine connects."""
        host = self.options.host
        if host in {ANY_ADDRESS, "::", ""}:
            host = "127.0.0.1"
        scheme = "tls" if self.options.tls is not None and not self.options.allow_non_tls else "nats"
        return f"{scheme}://{joined(host, self.port)}"

    @property
    def websocket_port(self) -> int:
        """The port of clients over WebSocket; 0 when it is off."""
        return 0 if self._websocket is None else self._websocket.port

    @property
    def websocket_url(self) -> str:
        """Where a client on this machine connects by WebSocket. Raises RuntimeError where that is off."""
        if self._websocket is None:
            raise RuntimeError("the server has no WebSocket port")
        websocket = self.options.websocket
        host = "127.0.0.1" if websocket.host in {ANY_ADDRESS, "::", ""} else websocket.host
        return f"{'ws' if websocket.tls is None else 'wss'}://{joined(host, self._websocket.port)}"

    @property
    def tls_context(self) -> ServerContext | None:
        """What new connections are secured with."""
        return self.service.certificates.context(CLIENT)

    @property
    def is_ready(self) -> bool:
        """Whether new clients are accepted."""
        return self._listener is not None and self._listener.accepting

    # End

    async def wait(self) -> None:
        """Returns once the server has stopped."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """Ends every connection and frees every socket. May be called twice."""
        if self._lame_duck is not None and self._lame_duck is not asyncio.current_task():
            self._lame_duck.cancel()
            await asyncio.gather(self._lame_duck, return_exceptions=True)
        self._close_listeners()
        if self._renewal is not None:
            self._renewal.stop()
            self._renewal = None
        service = self._service
        if service is not None:
            if self._system is not None:
                self._system.close()
                self._system = None
            if self._jetstream is not None:
                self._jetstream.end_requests()
            service.flush_dirty()
            if self._supply is not None:
                supply, self._supply = self._supply, None
                await supply.close()
            for connection in list(service.connections.values()):
                connection.session.close(CloseReason.SERVER_SHUTDOWN)
            await service.all_ended()
            await self._close_jetstream()
            await service.staples.close()
            await service.inspection.close()
            service.control.close()
            await service.control.ended()
            service.shut_verifier()
        if self._monitor is not None:
            await self._monitor.stop()
            self._monitor = None
        if service is not None and self._recorder is not None:
            service.control.trail.server("stopped")
            service.control.trail.recorder = None
            await asyncio.to_thread(self._close_ledger)
        if service is not None and not self._stopped.is_set():
            LOGGER.info("Server Exiting..")
        self._stopped.set()

    def _close_listeners(self) -> None:
        for listener in (self._listener, self._websocket, self._unix):
            if listener is not None:
                listener.close()

    def begin_lame_duck(self) -> None:
        """Accepts nothing more, tells clients to move on, and closes them one by one; then stops."""
        if self._lame_duck is None and self._service is not None:
            self._lame_duck = asyncio.get_running_loop().create_task(self._leave_slowly(self._service))

    async def _leave_slowly(self, service: Service) -> None:
        LOGGER.info("Entering lame duck mode, stop accepting new clients")
        service.control.trail.server("lame_duck")
        self._close_listeners()
        service.control.is_lame_duck = True
        for connection in list(service.connections.values()):
            connection.session.lame_duck()
        if self._system is not None:
            self._system.lame_duck()
        service.flush_dirty()
        if service.connections:
            await self._wait_or_empty(service, self.options.lame_duck_grace_period)
            LOGGER.info("Closing existing clients")
        left = max(self.options.lame_duck_duration - self.options.lame_duck_grace_period, 0.0)
        for connection in list(service.connections.values()):
            interval = min(left / max(len(service.connections), 1), LONGEST_CLOSE_INTERVAL)
            connection.session.close(CloseReason.SERVER_SHUTDOWN)
            await self._wait_or_empty(service, interval)
        LOGGER.info("Initiating Shutdown...")
        await self.stop()

    async def _wait_or_empty(self, service: Service, seconds: float) -> None:
        """Waits, but not for clients that are gone."""
        try:
            async with asyncio.timeout(seconds):
                await service.all_ended()
        except TimeoutError:
            return
