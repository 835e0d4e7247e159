"""/accstatz: what each account holds and has moved."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from broker.control.tenant import Tenant
from broker.wire.values import moment, readable

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.monitor.watched import Watched


class Moved(msgspec.Struct):
    """Messages and their bytes."""

    msgs: int = 0
    bytes: int = 0


class MovedByPeer(Moved):
    """All of them, and those that went through each kind of other server, of which there are none."""

    gateways: Moved = msgspec.field(default_factory=Moved)
    routes: Moved = msgspec.field(default_factory=Moved)
    leafs: Moved = msgspec.field(default_factory=Moved)


class AccountStat(msgspec.Struct, kw_only=True):
    """One account at work."""

    acc: str
    name: str
    conns: int
    leafnodes: int = 0
    total_conns: int
    """Clients and leafnodes together, now."""
    num_subscriptions: int
    sent: MovedByPeer
    """To its clients."""
    received: MovedByPeer
    """From its clients."""
    slow_consumers: int


class AccountStatz(msgspec.Struct):
    """All accounts that were asked for, by name."""

    server_id: str
    now: str
    account_statz: list[AccountStat]


def accstatz(watched: Watched, names: Iterable[str] = (), *, with_unused: bool = False) -> AccountStatz:
    """The accounts of these names, or all: those that have connections, and the others where they are asked for."""
    tenants, known = watched.service.control.tenants, watched.account_names
    wanted = list(names)
    found = []
    for name in [name for name in wanted if name in known] if wanted else known:
        tenant, account = tenants.get(name), watched.account(name)
        if account is not None and (with_unused or (tenant is not None and tenant.sessions)):
            found.append(account_stat(account, tenant))
    return AccountStatz(watched.identity.server_id, moment(time.time()), found)


def account_stat(account: Account, tenant: Tenant | None) -> AccountStat:
    """One account; without a tenant it is one that nobody was ever connected to."""
    here = Tenant(account) if tenant is None else tenant
    traffic = here.traffic
    return AccountStat(
        acc=readable(account.name),
        name=readable(account.label),
        conns=len(here.sessions),
        total_conns=len(here.sessions),
        num_subscriptions=here.subscriptions,
        sent=MovedByPeer(traffic.out_messages, traffic.out_bytes),
        received=MovedByPeer(traffic.in_messages, traffic.in_bytes),
        slow_consumers=here.slow_consumers,
    )
