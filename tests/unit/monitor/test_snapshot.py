"""/varz has the fields that scripts count on, in their order."""

from __future__ import annotations

import json
from typing import Any

from auth import jwt
from auth.claims import OperatorClaims
from broker.config.options import (
    AuthorizationOptions,
    MonitorOptions,
    OperatorOptions,
    Options,
    ResolverOptions,
    WriteTimeout,
)
from broker.monitor.snapshot import varz
from broker.monitor.watched import Usage, Watched, resident_bytes
from broker.monitor.wording import indented
from tests.unit.auth.realm import OPERATOR, SYSTEM, Realm
from tests.unit.monitor.scene import gone, watched

ALWAYS = [
    "server_id", "server_name", "version", "proto", "go", "host", "port", "max_connections", "ping_interval",
    "ping_max", "http_host", "http_port", "http_base_path", "https_port", "auth_timeout", "max_control_line",
    "max_payload", "max_pending", "cluster", "gateway", "leaf", "mqtt", "websocket", "jetstream", "tls_timeout",
    "write_deadline", "start", "now", "uptime", "mem", "cores", "gomaxprocs", "cpu", "connections",
    "total_connections", "routes", "remotes", "leafnodes", "in_msgs", "in_bytes", "in_client_msgs",
    "in_client_bytes", "out_msgs", "out_bytes", "out_client_msgs", "out_client_bytes", "slow_consumers",
    "stale_connections", "stalled_clients", "subscriptions", "http_req_stats", "config_load_time", "config_digest",
    "feature_flags", "system_account", "slow_consumer_stats", "stale_connection_stats", "disk_io_wait_stats",
    "natskeep",
]
"""The fields of nats-server 2.14.5 without a configuration, and at the end natskeep's own."""


def shown(scene: Watched) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(indented(varz(scene)))
    return found


def test_fields_and_their_order() -> None:
    with watched(Options(host="127.0.0.1")) as scene:
        found = shown(scene)
    assert list(found) == ALWAYS
    assert found["version"] == "2.14.5"
    assert list(found["natskeep"]) == ["version"]
    assert found["system_account"] == "$SYS"
    assert found["ping_interval"] == 120_000_000_000
    assert (found["auth_timeout"], found["write_deadline"]) == (2, 10_000_000_000)
    assert found["start"] == found["config_load_time"] == "2023-11-14T22:13:20Z"
    assert found["cluster"] == found["jetstream"] == {}
    assert found["mem"] > 1_000_000


def test_what_is_shown_only_when_set() -> None:
    options = Options(
        host="127.0.0.1",
        max_subscriptions=7,
        write_timeout=WriteTimeout.RETRY,
        server_tags=("a:b", "c"),
        server_metadata={"k": "v"},
        config_digest="sha256:00",
        no_system_account=True,
        authorization=AuthorizationOptions(token="never shown", timeout=2.5),
        monitor=MonitorOptions(base_path="/m"),
    )
    with watched(options) as scene:
        found = shown(scene)
    assert found["max_subscriptions"] == 7
    assert found["write_timeout"] == "retry"
    assert (found["tags"], found["metadata"]) == (["a:b", "c"], {"k": "v"})
    assert found["auth_required"] is True
    assert found["auth_timeout"] == 2.5
    assert found["config_digest"] == "sha256:00"
    assert found["http_base_path"] == "/m"
    assert "system_account" not in found
    assert "never shown" not in json.dumps(found)


def test_trusted_operators() -> None:
    realm = Realm()
    token = jwt.encode(realm.operator, OPERATOR)
    options = Options(
        host="127.0.0.1",
        operators=(OperatorOptions(f"-----BEGIN NATS OPERATOR JWT-----\n{token}\n------END NATS OPERATOR JWT------"),),
        resolver=ResolverOptions(),
        resolver_preload=realm.preload(),
    )
    with watched(options) as scene:
        found = shown(scene)
    assert found["trusted_operators_jwt"] == [token]
    assert found["trusted_operators_claim"] == [json.loads(OperatorClaims.from_token(token).to_json())]
    assert list(found["trusted_operators_claim"][0]) == ["jti", "iat", "iss", "name", "sub", "nats"]
    assert found["system_account"] == SYSTEM.public


def test_traffic_of_connections_that_are_gone_counts() -> None:
    with watched() as scene:
        scene.service.closed_counts[:] = [1, 2, 3, 4]
        scene.service.closed.append(gone(1, in_messages=1))
        scene.service.slow_consumers = 5
        scene.service.stale_connections = 6
        scene.service.stalls = 7
        found = shown(scene)
    names = ("in_msgs", "in_bytes", "out_msgs", "out_bytes")
    assert [found[name] for name in names] == [1, 2, 3, 4]
    assert [found[name.replace("_", "_client_", 1)] for name in names] == [1, 2, 3, 4]
    assert [found[name] for name in ("slow_consumers", "stale_connections", "stalled_clients")] == [5, 6, 7]
    assert found["slow_consumer_stats"] == {"clients": 5, "routes": 0, "gateways": 0, "leafs": 0}
    assert found["stale_connection_stats"] == {"clients": 6, "routes": 0, "gateways": 0, "leafs": 0}


def test_usage_of_a_short_span_is_not_measured() -> None:
    usage = Usage()
    assert usage.percent == 0.0


def test_memory_is_more_than_an_interpreter_needs() -> None:
    assert resident_bytes() > 1_000_000
