"""The server as a whole in numbers, from its own point of view."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from broker.monitor.jetstream import summary
from broker.monitor.snapshot import PeerCounts, traffic
from broker.monitor.statistics import Moved
from broker.monitor.watched import resident_bytes
from broker.monitor.wording import number
from broker.wire.values import moment

if TYPE_CHECKING:
    from broker.monitor.watched import Watched


class Statsz(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``sent`` is what went out, ``received`` what came in."""

    start: str
    mem: int
    cores: int
    cpu: int | float
    connections: int
    total_connections: int
    active_accounts: int
    subscriptions: int
    sent: Moved
    sent_to_clients: Moved
    received: Moved
    received_from_clients: Moved
    slow_consumers: int
    slow_consumer_stats: PeerCounts | None = None
    stale_connections: int = 0
    stale_connection_stats: PeerCounts | None = None
    stalled_clients: int = 0
    active_servers: int = 0
    jetstream: Any = msgspec.field(default_factory=dict)
    gomaxprocs: int = 0


def statsz(watched: Watched) -> Statsz:
    """The server as it is now."""
    service = watched.service
    tenants = service.control.tenants.values()
    in_messages, in_bytes, out_messages, out_bytes = traffic(watched)
    sent, received = Moved(out_messages, out_bytes), Moved(in_messages, in_bytes)
    return Statsz(
        start=moment(watched.started_at),
        mem=resident_bytes(),
        cores=os.cpu_count() or 1,
        cpu=number(watched.usage.percent),
        connections=len(service.connections),
        total_connections=service.total_connections,
        active_accounts=sum(bool(tenant.sessions) for tenant in tenants),
        subscriptions=sum(tenant.subscriptions for tenant in tenants),
        sent=sent,
        sent_to_clients=sent,
        received=received,
        received_from_clients=received,
        slow_consumers=service.slow_consumers,
        slow_consumer_stats=PeerCounts(clients=service.slow_consumers) if service.slow_consumers else None,
        stale_connections=service.stale_connections,
        stale_connection_stats=PeerCounts(clients=service.stale_connections) if service.stale_connections else None,
        stalled_clients=service.stalls,
        active_servers=1,
        jetstream=summary(watched, with_directory=False),
        gomaxprocs=1,
    )
