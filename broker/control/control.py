"""Binds sessions to accounts: the one implementation of what sessions ask of the broker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from accounts.account import SYSTEM_ACCOUNT, Account
from accounts.limits import UNLIMITED
from accounts.system import ORIGIN, hidden_links, with_hidden_exports
from auth.challenge import new_nonce
from auth.errors import AuthError, AuthFailure
from auth.evidence import ConnectionType, Evidence, LocalPeer
from auth.gojson import dumps
from broker.control import audit
from broker.control.clock import Clock, LoopClock
from broker.control.equipment import equip
from broker.control.internal import Internal
from broker.control.introduction import asker
from broker.control.latency import LatencyMeter, Metric
from broker.control.observer import Observer
from broker.control.subscribe import RefusedError, remove, remove_all, subscribe, subscription_ceiling, unsubscribe
from broker.control.tenant import Tenant
from broker.control.tracing import Trace, Tracing
from broker.control.wiring import Wiring
from broker.core.outbox import Hub
from broker.identity import Identity
from broker.log.text import quoted
from broker.session import journal
from broker.session.backend import LimitError
from broker.session.session import Session, shown
from broker.wire.errors import CloseReason, ErrorText, too_many_tokens
from broker.wire.info import Binding, ServerInfo, render_info

if TYPE_CHECKING:
    import asyncio

    from accounts.exchange import ServiceLink
    from auth.authenticate import Authenticator
    from auth.callout import Delegation
    from auth.principal import Principal
    from broker.config.options import Options
    from broker.control.delegation import Desk
    from broker.control.supply import Supply
    from broker.core.exchange import Crossing
    from broker.core.plan import Subscription
    from broker.wire.connect import ConnectOptions

LOGGER: Final = logging.getLogger("natskeep.control")

NOBODY: Final = LocalPeer(uid=-1, gid=-1, pid=0)
"""A process that the system does not tell."""


class Control:
    """The accounts at work and the decisions on behalf of their sessions."""

    def __init__(
        self,
        options: Options,
        authenticator: Authenticator,
        hub: Hub,
        info: ServerInfo,
        clock: Clock | None = None,
        *,
        identity: Identity | None = None,
    ) -> None:
        self.options = options
        self.authenticator = authenticator
        self.hub = hub
        self.server_info = self.websocket_info = self.unix_info = info
        """What INFO says of the server, and what it says to clients of the WebSocket port."""
        self.tenants: dict[str, Tenant] = {}
        self._system: tuple[Account, Account] | None = None
        """The system account as it is declared, and with its hidden exports."""
        self.is_lame_duck = False
        self.pinned_account_fails = 0
        """Logins to accounts that are not among the only ones served."""
        self.trail = audit.Trail(hub)
        self.after_call: Callable[[], None] = lambda: None
        """Called behind each call of the clock, for what it left to be written."""
        self.clock = clock or LoopClock(self._called)
        self.wiring = Wiring(self.tenants, self.account, self.clock, self._hidden)
        self.wiring.meter = self._meter
        self.observer = Observer()
        self._tracing = Tracing(self)
        self._metrics: list[tuple[str, str, Metric]] = []
        """Metrics that wait for the end of the turn: account, subject and metric."""
        self._internals: dict[str, Internal] = {}
        self.supply: Supply | None = None
        """Finds accounts that are not known yet; None where all there are have been configured."""
        self.identity = identity or Identity()
        """Keys that requests to auth callouts are signed and encrypted with."""
        self._desk: Desk | None = None
        if authenticator.is_delegating:
            # Its code takes some tens of milliseconds to load, which no login should wait for.
            self._desk = self.desk

    @property
    def desk(self) -> Desk:
        """Where logins are decided by somebody else. Most servers need none, and do not wait for its code."""
        if self._desk is None:
            self._desk = import_module("broker.control.delegation").Desk(self)
        return self._desk

    def _called(self) -> None:
        self.after_call()

    def must_authenticate(self, session: Session) -> bool:
        """Whether the client must send CONNECT with credentials."""
        return self.authenticator.requires(session.arrival.connection_type)

    def new_nonce(self) -> str:
        """A challenge for one connection; empty where nobody signs one."""
        return new_nonce() if self.authenticator.nonce_required else ""

    # Who

    def is_slow(self, session: Session, connect: ConnectOptions) -> bool:
        """Whether verifying takes so long that it must not hold up the loop: a bcrypt comparison does."""
        if self.authenticator.trust is not None:
            return bool(self._wanted(session, connect))
        return self.authenticator.is_slow(self.evidence(session, connect))

    def _wanted(self, session: Session, connect: ConnectOptions) -> str:
        """The account that has to be found before it can be judged who a client is; empty where there is none."""
        if self.supply is None:
            return ""
        name = self.authenticator.wanted_account(self.evidence(session, connect), time.time())
        return name if name and self.supply.wants(name) else ""

    def search(self, session: Session, connect: ConnectOptions) -> asyncio.Future[None] | None:
        """Looks for the account of a client; None where nothing is to be looked for."""
        name = self._wanted(session, connect)
        return self.supply.fetch(name) if name and self.supply is not None else None

    def is_live(self, name: str) -> bool:
        """Whether somebody is, or was, in an account, or something in such an account depends on it."""
        return name in self.tenants or self.wiring.looked_at(name)

    def authenticate(self, session: Session, connect: ConnectOptions) -> Principal | Delegation:
        """Verifies CONNECT, or says whom to ask. Raises AuthError."""
        try:
            return self.judge(session, connect)
        except AuthError as error:
            self.failed(session, error)
            raise

    def judge(self, session: Session, connect: ConnectOptions) -> Principal | Delegation:
        """The same in a thread, where `is_slow` says so; what it raises is for `failed` to record, in the loop's."""
        return self.authenticator.judge(self.evidence(session, connect), time.time())

    def failed(self, session: Session, error: AuthError) -> None:
        """Records a login that was refused."""
        if error.failure is AuthFailure.ACCOUNT_NOT_PINNED:
            self.pinned_account_fails += 1
        self.trail.login_failed(session, error)

    def evidence(self, session: Session, connect: ConnectOptions) -> Evidence:
        """What a client shows for itself."""
        return Evidence(
            nonce=session.nonce,
            unverified_jwt=connect.unverified_jwt or None,
            unverified_nkey=connect.unverified_nkey or None,
            unverified_signature=connect.unverified_signature or None,
            unverified_user=connect.unverified_user or None,
            unverified_password=connect.unverified_password or None,
            unverified_token=connect.unverified_token or None,
            unverified_proxy_signature=connect.unverified_proxy_signature or None,
            remote_ip=session.remote_ip,
            connection_type=session.arrival.connection_type,
            certificate=session.certificate,
            peer=self._mapped_peer(session),
        )

    def _mapped_peer(self, session: Session) -> LocalPeer | None:
        """Whose process a client is, where that decides who it is. One that is not known is nobody."""
        arrival = session.arrival
        if not arrival.socket_path or not self.options.unix.verify_and_map:
            return None
        return arrival.peer or NOBODY

    def principal_without_connect(self, session: Session) -> Principal | None:
        """Who a client is that sends other verbs before CONNECT: None when it must authenticate."""
        return self.authenticator.no_auth_principal(session.arrival.connection_type)

    # Where

    def tenant(self, principal: Principal) -> Tenant:
        """The live account of a principal."""
        account = principal.account
        if account.name == self.system_account:
            account = self._exporting(account)
        tenant = self.wiring.enter(account)
        if tenant.account is not account:
            is_new = tenant.account != account
            tenant.account = account
            if is_new:
                self.wiring.changed((account.name,))
        return tenant

    def account(self, name: str) -> Account | None:
        """The account of that name as it is now; None where there is none that can be used."""
        account, system = self.authenticator.account(name), self.system_account
        if account is None and name == system == SYSTEM_ACCOUNT:
            account = Account(SYSTEM_ACCOUNT, is_system=True, origin=ORIGIN)
        if account is not None and name == system:
            return self._exporting(account)
        return account

    def _exporting(self, account: Account) -> Account:
        """The system account with its hidden exports, the same one as long as it declares the same."""
        if self._system is None or self._system[0] != account:
            self._system = (account, with_hidden_exports(account))
        return self._system[1]

    def _hidden(self, account: Account) -> tuple[ServiceLink, ...]:
        system = self.system_account
        return hidden_links(account, system) if system else ()

    @property
    def system_account(self) -> str:
        """The name of the account that is told of the server, empty when there is none."""
        if self.options.no_system_account:
            return ""
        authenticator = self.authenticator
        return authenticator.system_account or ("" if authenticator.trust is not None else SYSTEM_ACCOUNT)

    def internal(self, name: str) -> Internal:
        """The broker inside the account of that name. Raises KeyError where there is no such account."""
        found = self._internals.get(name)
        tenant = self.wiring.tenant(name)
        if tenant is None:
            raise KeyError(name)
        if found is None or found.tenant is not tenant:
            found = self._internals[name] = Internal(tenant, self.hub)
        return found

    def close(self) -> None:
        """Ends what the broker itself listens to, and all ways between accounts. Nobody may be connected any more."""
        if self._desk is not None:
            self._desk.close()
        for internal in self._internals.values():
            internal.close()
        self._internals.clear()
        self.wiring.close()
        self.trail.close()

    async def ended(self) -> None:
        """Returns once nothing of it is at work any more, after `close`."""
        if self._desk is not None:
            await self._desk.ended()

    def _meter(self, link: ServiceLink) -> LatencyMeter | None:
        """Measures the requests of a service import where its export says so; a server without system account never."""
        if link.export.latency is None or not self.system_account:
            return None
        return LatencyMeter(
            link.export.latency,
            partial(self._measured, link.imported.account),
            share=link.imported.share,
            server=self.server_info.server_name,
        )

    def _measured(self, account: str, subject: str, metric: Metric) -> None:
        if not self._metrics:
            self.clock.call_later(0.0, self._publish_metrics)
        self._metrics.append((account, subject, metric))

    def _publish_metrics(self) -> None:
        metrics, self._metrics = self._metrics, []
        for account, subject, metric in metrics:
            if self.wiring.tenant(account) is not None:
                internal = self.internal(account)
                if internal.has_interest(subject):
                    internal.publish(subject, dumps(metric))

    def bind(self, session: Session, principal: Principal) -> None:
        """Binds the session to its account. Raises LimitError when the account takes no further connection."""
        account = principal.account
        if self.trail.is_unrecorded():
            self.report(session, "turned away: the audit ledger cannot be written")
            raise LimitError(ErrorText.AUTHORIZATION_VIOLATION.value, CloseReason.AUTHENTICATION_FAILURE)
        tenant = self.tenant(principal)
        ceiling = account.limits.connections
        if ceiling != UNLIMITED and len(tenant.sessions) >= max(ceiling, 0):
            raise LimitError(
                ErrorText.ACCOUNT_CONNECTIONS_EXCEEDED.value, CloseReason.MAXIMUM_ACCOUNT_CONNECTIONS
            )
        session.principal = principal
        if subscription_ceiling(session, self.options.max_subscriptions) == 0:
            # A ceiling that nothing fits, as an absent number in a JWT is one, ends the connection at once.
            raise LimitError(ErrorText.SUBSCRIPTIONS_EXCEEDED.value, CloseReason.MAXIMUM_SUBSCRIPTIONS)
        session.client.bind(tenant.acquire(principal.policy))
        equip(tenant, session, principal, self.options.max_payload)
        session.tenant = tenant
        tenant.enter(session)
        if self.supply is not None:
            self.supply.want(self.wiring.absent(account.name))
        self.trail.authenticated(session, break_glass=self.authenticator.is_break_glass(principal))
        self.observer.bound(session, account)

    def unbind(self, session: Session) -> None:
        """Takes the session and its subscriptions out of its account, where it is in one."""
        if self._desk is not None:
            self._desk.forget(session)
        tenant, account = session.tenant, None
        if isinstance(tenant, Tenant) and session.principal is not None:
            account = tenant.account
            self.trail.forget(session)
            remove_all(tenant, session)
            tenant.leave(session)
            tenant.release(session.principal.policy)
            session.client.bind(None)
            session.tenant = None
            self.observer.unbound(session, account)
        if session.close_reason is not None:
            self.observer.ended(session, account, session.close_reason)

    # What

    def subscribe(self, session: Session, subject: bytes, queue: bytes | None, sid: bytes) -> str | None:
        """Subscribes, or returns the error text that the client is told."""
        tenant = session.tenant
        if not isinstance(tenant, Tenant):
            return ErrorText.AUTHORIZATION_VIOLATION.value
        try:
            made = subscribe(
                tenant, session, subject, queue, sid,
                server_maximum=self.options.max_subscriptions,
                token_maximum=self.options.max_subscription_tokens,
            )
            if made is not None:
                self.wiring.subscribed(tenant, made)
        except RefusedError as refused:
            decision = refused.decision
            if decision is not None or refused.text == too_many_tokens(shown(subject)):
                where = f", SID {shown(sid)}" if queue is None else f", Queue: {quoted(queue)}, SID {shown(sid)}"
                self.trail.refused(session, "Subscription", shown(subject), lambda: decision, where=where)
            elif refused.text != ErrorText.INVALID_SUBJECT.value:
                self.report(session, refused.text)
            return refused.text
        return None

    def unsubscribe(self, session: Session, sid: bytes, maximum: int) -> None:
        """Ends a subscription: at once when maximum is 0, else after so many deliveries in all."""
        if isinstance(session.tenant, Tenant):
            unsubscribe(session.tenant, session, sid, maximum)

    def finish(self, subscriptions: Iterable[Subscription]) -> None:
        """Removes subscriptions that have had their last message."""
        for subscription in subscriptions:
            owner = subscription.client.owner
            if isinstance(owner, Session) and isinstance(owner.tenant, Tenant):
                remove(owner.tenant, owner, subscription)

    def publish_refused(self, session: Session, subject: str) -> None:
        """Keeps a trail of a message that policy refused."""
        principal = session.principal
        if principal is not None:
            self.trail.refused(session, "Publish", subject, lambda: principal.policy.decide_publish(subject))

    def reply_refused(self, session: Session, reply: str) -> None:
        """Keeps a trail of a message whose reply subject policy refused."""
        principal = session.principal
        if principal is not None:
            self.trail.refused(session, "Reply", reply, lambda: principal.policy.decide_reply(reply))

    def begin_trace(self, session: Session, subject: bytes, header: bytes, size: int) -> Trace | None:
        """The trace of a message that is about to be published, None for one that is not traced."""
        return self._tracing.begin(session, subject, header, size)

    def report(self, session: Session, text: str, level: int = logging.ERROR) -> None:
        """Logs what happened on the connection."""
        journal.write(LOGGER, level, session, "%s", text)

    def request_info(self, session: Session, gate: Crossing, first: Crossing | None, last: Crossing | None) -> bytes:
        """The header line that tells the account behind a gate who asks."""
        before = tuple(one for one in (first, last) if one is not None)
        return asker(session, gate, before, self.server_info.server_name, self.system_account).header_line()

    # INFO

    def info(self, session: Session, *, lame_duck: bool = False) -> bytes:
        """The INFO line for the session as it stands; `lame_duck` asks it to move on although the server stays."""
        principal = session.principal if isinstance(session.tenant, Tenant) else None
        is_websocket = session.arrival.connection_type is ConnectionType.WEBSOCKET
        server_info = self.websocket_info if is_websocket else self.server_info
        if session.arrival.socket_path:
            server_info = self.unix_info
        if principal is None:
            return render_info(
                server_info,
                client_id=session.cid,
                client_ip=session.remote_ip,
                nonce=session.nonce,
                lame_duck=lame_duck or self.is_lame_duck,
                hide_auth_required=self.authenticator.has_no_auth_user and not is_websocket,
            )
        return render_info(
            server_info,
            client_id=session.cid,
            client_ip=session.remote_ip,
            nonce=session.nonce,
            max_payload=session.lane.maximum_payload,
            binding=Binding(principal.account.name, principal.account.is_system),
            lame_duck=lame_duck or self.is_lame_duck,
        )
