"""/varz: the server as a whole. Fields, their order and their names are those of nats-server 2.14.5."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from auth.claims import OperatorClaims
from auth.creds import parse_decorated_jwt
from broker.config.options import WriteTimeout
from broker.monitor.jetstream import summary
from broker.monitor.watched import resident_bytes
from broker.monitor.wording import number, uptime
from broker.net.inspection import wants_answers
from broker.wire.info import PROTOCOL, PROVIDED_RELEASE
from broker.wire.values import moment, nanoseconds

if TYPE_CHECKING:
    from broker.config.options import Options
    from broker.monitor.watched import Watched
    from broker.net.service import Service

FEATURES: Final = ("js_ack_fc_v2", "js_raft_delete_range")
"""The feature flags that nats-server 2.14.5 knows; all are off by default."""


class PeerCounts(msgspec.Struct, kw_only=True):
    """One number for each kind of peer."""

    clients: int = 0
    routes: int = 0
    gateways: int = 0
    leafs: int = 0


class WebSocketPort(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The settings of the WebSocket port; what holds nothing is left out."""

    host: str = ""
    port: int = 0
    advertise: str = ""
    no_auth_user: str = ""
    jwt_cookie: str = ""
    handshake_timeout: int = 0
    auth_timeout: int | float = 0
    no_tls: bool = False
    tls_map: bool = False
    tls_pinned_certs: list[str] = msgspec.field(default_factory=list)
    same_origin: bool = False
    allowed_origins: list[str] = msgspec.field(default_factory=list)
    compression: bool = False
    tls_ocsp_peer_verify: bool = False
    tls_cert_not_after: str = ""


class PeerCache(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The OCSP answers about clients that are kept."""

    cache_type: str
    cache_hits: int = 0
    cache_misses: int = 0
    cached_responses: int = 0
    cached_revoked_responses: int = 0
    cached_good_responses: int = 0
    cached_unknown_responses: int = 0


class DiskWaits(msgspec.Struct, kw_only=True):
    """Waits for the disk, of which a server without streams has none."""

    waiters: int = 0
    waits: int = 0
    wait_time: int = 0
    max_wait_time: int = 0


class Own(msgspec.Struct, kw_only=True):
    """What only natskeep says."""

    version: str


class Varz(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The server's identity, settings and counters. Fields with a default are left out where they hold it."""

    server_id: str
    server_name: str
    version: str
    proto: int
    git_commit: str = ""
    go: str
    host: str
    port: int
    auth_required: bool = False
    tls_required: bool = False
    tls_verify: bool = False
    tls_ocsp_peer_verify: bool = False
    max_connections: int
    max_subscriptions: int = 0
    ping_interval: int
    ping_max: int
    http_host: str
    http_port: int
    http_base_path: str
    https_port: int
    auth_timeout: int | float
    max_control_line: int
    max_payload: int
    max_pending: int
    cluster: dict[str, Any]
    gateway: dict[str, Any]
    leaf: dict[str, Any]
    mqtt: dict[str, Any]
    websocket: WebSocketPort
    jetstream: Any
    tls_timeout: int | float
    write_deadline: int
    write_timeout: str = ""
    start: str
    now: str
    uptime: str
    mem: int
    cores: int
    gomaxprocs: int
    cpu: int | float
    connections: int
    total_connections: int
    routes: int
    remotes: int
    leafnodes: int
    in_msgs: int
    in_bytes: int
    in_client_msgs: int
    in_client_bytes: int
    out_msgs: int
    out_bytes: int
    out_client_msgs: int
    out_client_bytes: int
    slow_consumers: int
    stale_connections: int
    stalled_clients: int
    subscriptions: int
    http_req_stats: dict[str, int]
    config_load_time: str
    config_digest: str
    tags: list[str] = msgspec.field(default_factory=list)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    feature_flags: dict[str, bool]
    trusted_operators_jwt: list[str] = msgspec.field(default_factory=list)
    trusted_operators_claim: list[OperatorClaims] = msgspec.field(default_factory=list)
    system_account: str = ""
    pinned_account_fails: int = 0
    ocsp_peer_cache: PeerCache | None = None
    slow_consumer_stats: PeerCounts
    stale_connection_stats: PeerCounts
    disk_io_wait_stats: DiskWaits
    tls_cert_not_after: str = ""
    natskeep: Own


def varz(watched: Watched) -> Varz:
    """The server as it is now."""
    options, service = watched.options, watched.service
    info = service.control.server_info
    now = time.time()
    in_messages, in_bytes, out_messages, out_bytes = traffic(watched)
    operators = [parse_decorated_jwt(operator.token) for operator in options.operators]
    return Varz(
        server_id=info.server_id,
        server_name=info.server_name,
        version=PROVIDED_RELEASE,
        proto=PROTOCOL,
        git_commit=info.git_commit,
        go=info.runtime,
        host=info.host,
        port=info.port,
        auth_required=info.auth_required,
        tls_required=info.tls_required,
        tls_verify=info.tls_verify,
        tls_ocsp_peer_verify=info.tls_required and options.tls is not None and options.tls.ocsp_peer.verify,
        max_connections=options.max_connections,
        max_subscriptions=max(options.max_subscriptions, 0),
        ping_interval=nanoseconds(options.ping_interval),
        ping_max=options.ping_max,
        http_host=watched.http_host,
        http_port=watched.http_port,
        http_base_path=shown_base_path(options),
        https_port=watched.https_port,
        auth_timeout=number(options.authorization_timeout),
        max_control_line=options.max_control_line,
        max_payload=options.max_payload,
        max_pending=options.max_pending,
        cluster={},
        gateway={},
        leaf={},
        mqtt={},
        websocket=_websocket(watched),
        jetstream=summary(watched),
        tls_timeout=number(2.0 if options.tls is None else options.tls.timeout),
        write_deadline=nanoseconds(options.write_deadline),
        write_timeout="" if options.write_timeout is WriteTimeout.DEFAULT else options.write_timeout.value,
        start=moment(watched.started_at),
        now=moment(now),
        uptime=uptime(now - watched.started_at),
        mem=resident_bytes(),
        cores=os.cpu_count() or 1,
        gomaxprocs=1,
        cpu=number(watched.usage.percent),
        connections=len(service.connections),
        total_connections=service.total_connections,
        routes=0,
        remotes=0,
        leafnodes=0,
        in_msgs=in_messages,
        in_bytes=in_bytes,
        in_client_msgs=in_messages,
        in_client_bytes=in_bytes,
        out_msgs=out_messages,
        out_bytes=out_bytes,
        out_client_msgs=out_messages,
        out_client_bytes=out_bytes,
        slow_consumers=service.slow_consumers,
        stale_connections=service.stale_connections,
        stalled_clients=service.stalls,
        subscriptions=sum(tenant.subscriptions for tenant in service.control.tenants.values()),
        http_req_stats=watched.requests,
        config_load_time=moment(watched.configured_at),
        config_digest=options.config_digest,
        tags=list(options.server_tags),
        metadata=dict(options.server_metadata),
        feature_flags=feature_flags(options),
        trusted_operators_jwt=operators,
        trusted_operators_claim=[_operator(token) for token in operators],
        system_account=watched.system_account,
        pinned_account_fails=service.control.pinned_account_fails,
        ocsp_peer_cache=_peer_cache(service) if wants_answers(options) else None,
        slow_consumer_stats=PeerCounts(clients=service.slow_consumers),
        stale_connection_stats=PeerCounts(clients=service.stale_connections),
        disk_io_wait_stats=DiskWaits(),
        tls_cert_not_after="" if watched.certificate_ends is None else moment(watched.certificate_ends),
        natskeep=Own(version=watched.version),
    )


@lru_cache(16)
def _operator(token: str) -> OperatorClaims:
    # Monitoring asks every few seconds, and the claims of a token never change.
    return OperatorClaims.from_token(token)


def _websocket(watched: Watched) -> WebSocketPort:
    """The settings of the WebSocket port; nothing where it is off."""
    options, tls = watched.options.websocket, watched.options.websocket.tls
    if not watched.websocket_port:
        return WebSocketPort()
    ends = watched.websocket_certificate_ends
    return WebSocketPort(
        host=options.host,
        port=watched.websocket_port,
        advertise=options.advertise,
        no_auth_user=options.no_auth_user,
        jwt_cookie=options.jwt_cookie,
        handshake_timeout=nanoseconds(options.handshake_timeout),
        auth_timeout=number(options.authorization_timeout or 0.0),
        no_tls=options.no_tls,
        tls_map=tls is not None and tls.verify_and_map,
        tls_pinned_certs=[] if tls is None else sorted(tls.pinned_certs),
        same_origin=options.same_origin,
        allowed_origins=list(options.allowed_origins),
        compression=options.compression,
        tls_ocsp_peer_verify=tls is not None and tls.ocsp_peer.verify,
        tls_cert_not_after="" if ends is None else moment(ends),
    )


def _peer_cache(service: Service) -> PeerCache | None:
    found = service.inspection.statistics
    if found is None:
        return None
    return PeerCache(
        cache_type=found.kind,
        cache_hits=found.hits,
        cache_misses=found.misses,
        cached_responses=found.answers,
        cached_revoked_responses=found.revoked,
        cached_good_responses=found.good,
        cached_unknown_responses=found.unknown,
    )


def feature_flags(options: Options) -> dict[str, bool]:
    """Which features of nats-server are said to be on."""
    return {name: options.feature_flags.get(name, False) for name in FEATURES}


def traffic(watched: Watched) -> tuple[int, int, int, int]:
    """Messages and bytes in, messages and bytes out, of all connections that are and that were."""
    in_messages, in_bytes, out_messages, out_bytes = watched.service.closed_counts
    for connection in watched.service.connections.values():
        client = connection.client
        in_messages += client.in_messages
        in_bytes += client.in_bytes
        out_messages += client.out_messages
        out_bytes += client.out_bytes
    return in_messages, in_bytes, out_messages, out_bytes


def shown_base_path(options: Options) -> str:
    """The path that all others stand under, empty where none was set."""
    path = options.monitor.base_path
    return "" if path == "/" else path
