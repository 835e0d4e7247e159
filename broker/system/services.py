"""What can be asked of a server through its system account, each by the builder that HTTP monitoring uses.

Users of the system account may ask about everything. Others reach what the system account exports to them: each account
its own connections and statistics, since the account's name is part of the subject that is answered here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from accounts.system import EVERYBODY
from auth.gojson import dumps
from broker.monitor.absent import gatewayz, ipqueuesz, leafz, routez
from broker.monitor.connections import DEFAULT_LIMIT, Connz, connz
from broker.monitor.health import Health, healthz
from broker.monitor.jetstream import account_jsz, jsz
from broker.monitor.query import Query
from broker.monitor.runtime import Memory, Variables, variables
from broker.monitor.snapshot import varz
from broker.monitor.statistics import AccountStatz, account_stat, accstatz
from broker.monitor.subscriptions import Subsz, subsz
from broker.monitor.tenants import AccountDetail, account_detail, accountz
from broker.system import absent
from broker.system.actions import Actions
from broker.system.claims import Claims
from broker.system.desk import Desk, SilentError
from broker.system.envelope import Voice
from broker.system.events import ServerStatistics, Stamp, account_connections
from broker.system.requests import (
    AccountzRequest,
    ConnectionsRequest,
    ConnzRequest,
    CountRequest,
    Filters,
    HealthzRequest,
    JszRequest,
    ProfilezRequest,
    RequestError,
    StatzRequest,
    SubszRequest,
    read,
)
from broker.system.statistics import statsz
from broker.system.subjects import account_in
from broker.system.subscribers import asking_account, count
from broker.system.users import user_info

if TYPE_CHECKING:
    from broker.control.custody import Custody
    from broker.control.internal import Internal, Received
    from broker.monitor.watched import Watched
    from broker.resolver.keeper import Keeper

    Handler = Callable[[Received], None]


NO_QUERY: Final = Query({})
"""Pages about parts that are not there are the same whatever is asked."""


class Identity(msgspec.Struct):
    """Which server it is."""

    name: str
    host: str
    id: str


class Expvarz(msgspec.Struct):
    """What HTTP shows under /debug/vars, in the other order in which the reference answers."""

    memstats: Memory
    cmdline: list[str]

    @classmethod
    def of(cls, found: Variables) -> Expvarz:
        """The same as an answer."""
        return cls(found.memstats, found.cmdline)


class Services:
    """The answers of one server.

    ``broadcast`` tells its statistics to everybody who listens, now; ``reload`` reads the configuration again and
    returns why it could not, nothing where it could; ``keeper`` changes the directory of account JWTs, if there is one;
    ``custody`` has the keys of what accounts keep on disk, where they keep anything.
    """

    def __init__(
        self,
        watched: Watched,
        internal: Internal,
        voice: Voice,
        *,
        broadcast: Callable[[], None],
        reload: Callable[[], Awaitable[str]],
        keeper: Keeper | None,
        custody: Callable[[], Custody | None],
    ) -> None:
        self._watched = watched
        self._control = watched.service.control
        self._desk = desk = Desk(watched, internal, voice)
        self._voice = voice
        self._broadcast = broadcast
        self._actions = Actions(desk, reload, custody)
        self._claims = Claims(self._control, desk, keeper)
        self._handlers = self.handlers()

    def handlers(self) -> dict[str, Handler]:
        """What answers each of `subjects.services`."""
        return {
            **{f"SERVER.{name}": handler for name, handler in self._of_servers().items()},
            **{f"ACCOUNT.{name}": handler for name, handler in self._of_accounts().items()},
            "ACCOUNT.PING.STATZ": self._desk.serve(StatzRequest, self._all_statz),
            "USER.INFO": self._user,
            "SUBSCRIBERS": self._subscribers,
            "SUBSCRIPTION COUNT": self._subscription_count,
            "SERVER.RELOAD": self._actions.reload,
            "SERVER.KICK": self._actions.kick,
            "SERVER.LDM": self._actions.send_away,
            "SERVER.ROTATE": self._actions.rotate,
            "SERVER.SHRED": self._actions.shred,
            **self._claims.handlers(),
        }

    def take(self, name: str, received: Received) -> None:
        """Answers a request to the service of that name, at once or when it is the account's turn."""
        self._desk.take(self._handlers[name], received)

    def close(self) -> None:
        """Forgets what is not answered yet."""
        self._desk.close()
        self._actions.close()
        self._claims.close()

    def _of_servers(self) -> dict[str, Handler]:
        """What is asked of one server or of all."""
        watched, serve = self._watched, self._desk.serve
        return {
            "IDZ": self._idz,
            "STATSZ": self._statsz,
            "VARZ": serve(Filters, lambda request, _: varz(watched)),
            "SUBSZ": serve(SubszRequest, lambda request, _: subsz(watched, request.options())),
            "CONNZ": serve(ConnzRequest, lambda request, _: connz(watched, request.options())),
            "ROUTEZ": serve(Filters, lambda request, _: routez(watched, NO_QUERY)),
            "GATEWAYZ": serve(Filters, lambda request, _: gatewayz(watched, NO_QUERY)),
            "LEAFZ": serve(Filters, lambda request, _: leafz(watched, NO_QUERY)),
            "ACCOUNTZ": serve(AccountzRequest, lambda request, _: accountz(watched, request.account)),
            "JSZ": serve(JszRequest, lambda request, _: jsz(watched, request.options())),
            "HEALTHZ": serve(HealthzRequest, self._health),
            "PROFILEZ": serve(ProfilezRequest, lambda request, _: absent.profilez(request)),
            "EXPVARZ": serve(Filters, lambda request, _: Expvarz.of(variables())),
            "IPQUEUESZ": serve(Filters, lambda request, _: ipqueuesz(watched, NO_QUERY)),
            "RAFTZ": serve(Filters, lambda request, _: {}),
        }

    def _of_accounts(self) -> dict[str, Handler]:
        """What is asked about the account that the subject names."""
        watched, serve = self._watched, self._desk.serve
        return {
            "SUBSZ": serve(SubszRequest, self._subscriptions),
            "CONNZ": serve(ConnzRequest, self._connections),
            "LEAFZ": serve(Filters, lambda request, _: leafz(watched, NO_QUERY)),
            "JSZ": serve(JszRequest, self._account_jsz),
            "INFO": serve(Filters, self._account),
            "STATZ": serve(StatzRequest, self._statz),
            "CONNS": self._connection_count,
        }

    # Of this server

    def _idz(self, received: Received) -> None:
        info = self._control.server_info
        if received.reply:
            self._desk.say(received.reply, dumps(Identity(info.server_name, info.host, info.server_id)))

    def _statsz(self, received: Received) -> None:
        """The server's statistics, which go to everybody where no answer is wanted."""
        if not received.reply:
            self._broadcast()
        elif self._desk.understood(Filters, received) is not None:
            body = dumps(ServerStatistics(server=self._voice.sender(), statsz=statsz(self._watched)))
            self._desk.say(received.reply, body)

    def _health(self, request: HealthzRequest, _: Received) -> Health:
        status, health = healthz(
            request.options(),
            is_serving=self._watched.is_serving(),
            audit_problem=self._watched.audit_problem(),
            certificates=self._watched.certificates,
            jetstream=self._watched.jetstream(),
        )
        health.status_code = status
        return health

    # Of accounts

    def _subscriptions(self, request: SubszRequest, asked: Received) -> Subsz:
        return subsz(self._watched, request.options(account_in(asked.subject)))

    def _account(self, request: Filters, asked: Received) -> AccountDetail:
        return account_detail(self._watched, account_in(asked.subject))

    def _connections(self, request: ConnzRequest, asked: Received) -> Connz:
        options = request.options(account_in(asked.subject))
        if self._is_tenant(asked):
            options = replace(options, limit=min(options.limit, DEFAULT_LIMIT))
        return connz(self._watched, options)

    def _is_tenant(self, asked: Received) -> bool:
        """Whether somebody asks who does not belong to the system account."""
        return self._desk.account_of(asked) not in {None, self._watched.system_account}

    def _account_jsz(self, request: JszRequest, asked: Received) -> object:
        return account_jsz(self._watched, account_in(asked.subject), request.shown)

    def _statz(self, request: StatzRequest, asked: Received) -> AccountStatz:
        account = account_in(asked.subject)
        if account == EVERYBODY:
            # The subject for all accounts has a handler of its own.
            raise SilentError
        return self._heard(accstatz(self._watched, [account], with_unused=request.include_unused), request)

    def _all_statz(self, request: StatzRequest, asked: Received) -> AccountStatz:
        if self._desk.account_of(asked) == EVERYBODY:
            # An account of this very name asks for itself, and not for all others.
            raise SilentError
        found = accstatz(self._watched, request.accounts, with_unused=request.include_unused)
        return self._heard(found, request)

    def _heard(self, found: AccountStatz, request: StatzRequest) -> AccountStatz:
        if not found.account_statz and not request.include_unused:
            raise SilentError
        return found

    def _connection_count(self, received: Received) -> None:
        """How many connections an account has, in the form of the event that tells it; nothing where it has none."""
        account = account_in(received.subject)
        try:
            request = read(ConnectionsRequest, received.payload)
        except RequestError:
            return
        tenant = self._control.tenants.get(account)
        if received.reply and request.acc in {"", account} and tenant is not None and tenant.sessions:
            event = account_connections(account_stat(tenant.account, tenant), self._voice.sender(), Stamp())
            self._desk.say(received.reply, dumps(event))

    def _user(self, received: Received) -> None:
        """Who asks; whatever the request says."""
        session = received.session
        if received.reply and session is not None and session.principal is not None:
            self._desk.answer(received, user_info(session, session.principal, time.time()), plain=True)

    # Of subjects

    def _subscribers(self, received: Received) -> None:
        """The number of subscriptions that a subject has in the account of whoever asks."""
        words = received.payload.decode("utf-8", "surrogateescape").split()
        name = asking_account(received, self._watched.system_account)
        tenant = self._control.tenants.get(name)
        if received.reply:
            number = 0 if tenant is None or not words else count(tenant, words[0], words[1] if len(words) > 1 else None)
            self._desk.say(received.reply, str(number).encode())

    def _subscription_count(self, received: Received) -> None:
        """The same for an account that the request names, as servers ask each other."""
        try:
            request = read(CountRequest, received.payload)
        except RequestError:
            return
        tenant = self._control.tenants.get(request.acc)
        if received.reply and tenant is not None and tenant.sessions:
            self._desk.say(received.reply, str(count(tenant, request.subject, request.queue)).encode())
