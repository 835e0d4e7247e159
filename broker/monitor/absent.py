"""The pages about parts that this server does not have, as a single server without them answers.

Parameters are read as strictly as where the part is there, so that a script learns of a slip at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broker.monitor.connections import read_subscriptions
from broker.wire.values import moment

if TYPE_CHECKING:
    from broker.monitor.query import Query
    from broker.monitor.watched import Watched

NO_RAFT: Final = "No Raft nodes registered"


class Routez(msgspec.Struct, kw_only=True):
    """The routes to other members of a cluster."""

    server_id: str
    server_name: str
    now: str
    num_routes: int = 0
    routes: list[dict[str, Any]] = msgspec.field(default_factory=list)


class Gatewayz(msgspec.Struct, kw_only=True):
    """The gateways to other clusters."""

    server_id: str
    now: str
    outbound_gateways: dict[str, Any] = msgspec.field(default_factory=dict)
    inbound_gateways: dict[str, Any] = msgspec.field(default_factory=dict)


class Leafz(msgspec.Struct, kw_only=True):
    """The leafnodes."""

    server_id: str
    now: str
    leafnodes: int = 0
    leafs: list[dict[str, Any]] = msgspec.field(default_factory=list)


class Requests(msgspec.Struct):
    """Requests to JetStream."""

    level: int = 0
    total: int = 0
    errors: int = 0


class Storage(msgspec.Struct):
    """Bytes that JetStream may use."""

    max_memory: int = 0
    max_storage: int = 0


class Jsz(msgspec.Struct, kw_only=True):
    """JetStream, which is off."""

    memory: int = 0
    storage: int = 0
    reserved_memory: int = 0
    reserved_storage: int = 0
    accounts: int = 0
    ha_assets: int = 0
    api: Requests = msgspec.field(default_factory=Requests)
    server_id: str
    now: str
    disabled: bool = True
    config: Storage = msgspec.field(default_factory=Storage)
    streams: int = 0
    consumers: int = 0
    messages: int = 0
    bytes: int = 0
    total: int = 0


def routez(watched: Watched, query: Query) -> Routez:
    """No routes. Raises QueryError."""
    read_subscriptions(query)
    identity = watched.identity
    return Routez(server_id=identity.server_id, server_name=identity.server_name, now=moment(time.time()))


def gatewayz(watched: Watched, query: Query) -> Gatewayz:
    """No gateways. Raises QueryError."""
    read_subscriptions(query)
    query.boolean("accs")
    return Gatewayz(server_id=watched.identity.server_id, now=moment(time.time()))


def leafz(watched: Watched, query: Query) -> Leafz:
    """No leafnodes. Raises QueryError."""
    query.boolean("subs")
    return Leafz(server_id=watched.identity.server_id, now=moment(time.time()))


def jsz(watched: Watched) -> Jsz:
    """JetStream is off."""
    return Jsz(server_id=watched.identity.server_id, now=moment(time.time()))


def ipqueuesz(_: Watched, query: Query) -> dict[str, Any]:
    """No queues between threads, since one thread does it all. Raises QueryError."""
    query.boolean("all")
    return {}
