"""What a reload takes and what it refuses, option by option, in nats-server's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from broker.config.options import (
    AccountOptions,
    AuthorizationOptions,
    LoggingOptions,
    MonitorOptions,
    OperatorOptions,
    Options,
    ResolverOptions,
    TLSOptions,
    UserOptions,
    WriteTimeout,
)
from broker.config.reloading import MEANINGLESS, RULES, Takes
from broker.reload.plan import ReloadError, plan_reload

TLS = TLSOptions(cert_file="c", key_file="k")
NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
BOB = UserOptions(user="bob", password="pw", origin="x:1")


def with_authorization(**fields: Any) -> Options:
    return Options(authorization=AuthorizationOptions(**fields))


TAKEN = [
    (Options(), Options(logging=LoggingOptions(debug=True)), ["Reloaded: debug = true"]),
    (Options(), Options(logging=LoggingOptions(trace=True, trace_verbose=True)),
     ["Reloaded: trace = true", "Reloaded: trace_verbose = true"]),
    (Options(), Options(logging=LoggingOptions(logtime=False)), ["Reloaded: logtime = false"]),
    (Options(), Options(logging=LoggingOptions(log_file="x.log")), ["Reloaded: log_file = x.log"]),
    (Options(), Options(logging=LoggingOptions(max_traced_msg_len=10)), ["Reloaded: max_traced_msg_len = 10"]),
    (Options(max_connections=10), Options(), ["Reloaded: max_connections = 65536"]),
    (Options(), Options(max_control_line=100), ["Reloaded: max_control_line = 100"]),
    (Options(), Options(max_payload=100), ["Reloaded: max_payload = 100"]),
    (Options(), Options(ping_interval=30.0, ping_max=5), ["Reloaded: ping_interval = 30s", "Reloaded: ping_max = 5"]),
    (Options(), Options(write_deadline=3.0), ["Reloaded: write_deadline = 3s"]),
    (Options(), Options(no_fast_producer_stall=True), ["Reloaded: fast producers will not be stalled"]),
    (Options(no_fast_producer_stall=True), Options(), ["Reloaded: fast producers will be stalled"]),
    (Options(), Options(client_advertise="1.2.3.4:5"), ["Reload: client_advertise = 1.2.3.4:5"]),
    (Options(), Options(pid_file="x.pid", ports_file_dir="."),
     ["Reloaded: pid_file = x.pid", "Reloaded: ports_file_dir = ."]),
    (Options(), Options(server_tags=("a",), server_metadata={"a": "b"}), ["Reloaded: tags", "Reloaded: metadata"]),
    (Options(), Options(connect_error_reports=5, reconnect_error_reports=6),
     ["Reloaded: reconnect_error_reports = 6", "Reloaded: connect_error_reports = 5"]),
    (Options(), with_authorization(user="a", password="b"),
     ["Reloaded: authorization username", "Reloaded: authorization password"]),
    (with_authorization(token="x"), with_authorization(token="y", timeout=3.0),
     ["Reloaded: authorization token", "Reloaded: authorization timeout = 3"]),
    (Options(), with_authorization(users=(BOB, UserOptions(nkey=NKEY))),
     ["Reloaded: authorization nkey users", "Reloaded: authorization users"]),
    (Options(), Options(accounts=(AccountOptions(name="A"),)), ["Reloaded: accounts"]),
    (Options(), Options(tls=TLS), ["Reloaded: authorization timeout = 3", "Reloaded: tls = enabled"]),
    (Options(tls=TLS), Options(), ["Reloaded: authorization timeout = 2", "Reloaded: tls = disabled"]),
    (Options(tls=TLS), Options(tls=replace(TLS, cert_file="d")), ["Reloaded: tls = enabled"]),
    (Options(tls=TLS), Options(tls=replace(TLS, timeout=5.0)),
     ["Reloaded: authorization timeout = 6", "Reloaded: tls timeout = 5"]),
    (Options(tls=TLS), Options(tls=replace(TLS, handshake_first=True)),
     ["Reloaded: Client TLS handshake first: true"]),
    (Options(tls=TLS), Options(tls=replace(TLS, pinned_certs=frozenset({"ab"}))), ["Reloaded: 1 pinned_certs"]),
    (Options(), Options(resolver_preload={"A": "secret"}), ["Reloaded: resolver_preload"]),
]


@pytest.mark.parametrize(("old", "new", "lines"), TAKEN)
def test_what_is_taken(old: Options, new: Options, lines: list[str]) -> None:
    plan = plan_reload(old, new)
    assert [change.line for change in plan.changes] == lines
    plan.check()


REFUSED = [
    (Options(), Options(port=4333), "Port: old=4222, new=4333"),
    (Options(), Options(host="127.0.0.1"), "Host: old=0.0.0.0, new=127.0.0.1"),
    (Options(), Options(server_name="x"), "ServerName: old=, new=x"),
    (Options(), Options(logging=LoggingOptions(log_size_limit=1000)), "LogSizeLimit: old=0, new=1000"),
    (Options(), Options(logging=LoggingOptions(log_max_num=3)), "LogMaxFiles: old=0, new=3"),
    (Options(), Options(monitor=MonitorOptions(port=4651)), "HTTPPort: old=0, new=4651"),
    (Options(), Options(monitor=MonitorOptions(https_port=4651)), "HTTPSPort: old=0, new=4651"),
    (Options(), Options(monitor=MonitorOptions(base_path="/x")), "HTTPBasePath: old=, new=/x"),
    (Options(), Options(max_pending=3145728), "MaxPending: old=67108864, new=3145728"),
    (Options(), Options(max_subscriptions=3, max_pending=3145728), "MaxSubs: old=0, new=3"),
    (Options(), Options(max_subscription_tokens=4), "MaxSubTokens: old=0, new=4"),
    (Options(), Options(max_closed_clients=5), "MaxClosedClients: old=10000, new=5"),
    (Options(), Options(write_timeout=WriteTimeout.CLOSE), "WriteTimeout: old=, new=close"),
    (Options(), Options(lame_duck_duration=40.0), "LameDuckDuration: old=2m0s, new=40s"),
    (Options(), Options(lame_duck_grace_period=3.0), "LameDuckGracePeriod: old=10s, new=3s"),
    (Options(), Options(no_header_support=True), "NoHeaderSupport: old=false, new=true"),
    (Options(), Options(disable_sublist_cache=True), "NoSublistCache: old=false, new=true"),
    (Options(), Options(allow_non_tls=True), "AllowNonTLS: old=false, new=true"),
    (Options(), Options(no_system_account=True), "NoSystemAccount: old=false, new=true"),
    (Options(), Options(system_account="X"), "SystemAccount: old=, new=X"),
    (Options(), with_authorization(proxy_required=True), "ProxyRequired: old=false, new=true"),
    (Options(), Options(tls=replace(TLS, verify_and_map=True)), "TLSMap: old=false, new=true"),
    (Options(tls=TLS), Options(tls=replace(TLS, connection_rate_limit=5)), "TLSRateLimit: old=0, new=5"),
    (Options(), Options(operators=(OperatorOptions("secret"),)), "TrustedOperators: old=0 operators, new=1 operators"),
    (Options(operators=(OperatorOptions("secret"),)), Options(), "TrustedOperators: old=1 operators, new=0 operators"),
    (Options(), Options(trusted_keys=("OA",)), "TrustedKeys: old=[], new=[OA]"),
    (Options(), Options(resolver_pinned_accounts=frozenset({"B", "A"})), "ResolverPinnedAccounts: old=[], new=[A B]"),
]


@pytest.mark.parametrize(("old", "new", "text"), REFUSED)
def test_what_is_refused(old: Options, new: Options, text: str) -> None:
    with pytest.raises(ReloadError) as caught:
        plan_reload(old, new).check()
    assert str(caught.value) == f"config reload not supported for {text}"


def test_operators_may_change() -> None:
    plan = plan_reload(Options(operators=(OperatorOptions("a"),)), Options(operators=(OperatorOptions("b"),)))
    plan.check()
    assert [change.line for change in plan.changes] == ["Reloaded: operators"]


def test_a_resolver_cannot_come_or_go() -> None:
    resolving = Options(resolver=ResolverOptions())
    for old, new in ((Options(), resolving), (resolving, Options())):
        with pytest.raises(ReloadError) as caught:
            plan_reload(old, new).check()
        assert str(caught.value) == "config reload does not support moving to or from an account resolver"


def test_no_auth_user_goes_only_with_its_user() -> None:
    old = Options(authorization=AuthorizationOptions(users=(BOB,)), no_auth_user="bob")
    kept = replace(old, no_auth_user="")
    assert [change.refusal for change in plan_reload(old, kept).refused] == [
        "config reload not supported for NoAuthUser: old=bob, new="
    ]
    assert plan_reload(kept, old).refused
    assert not plan_reload(old, with_authorization(users=(replace(BOB, user="al"),))).refused
    in_account = Options(accounts=(AccountOptions(name="A", users=(BOB,)),))
    assert plan_reload(old, in_account).refused


def test_where_something_stands_is_no_difference() -> None:
    old = Options(accounts=(AccountOptions(name="A", users=(BOB,), origin="x:1"),), config_file="x", config_digest="1")
    moved = AccountOptions(name="A", users=(replace(BOB, origin="y:5"),), origin="y:4")
    assert plan_reload(old, Options(accounts=(moved,), config_file="y", config_digest="2")) == plan_reload(old, old)
    assert not plan_reload(old, old).changes


BLOCKS = frozenset({"logging", "monitor", "authorization", "websocket", "unix", "jetstream"})


def leaves(options: Any, path: str = "") -> Iterator[str]:
    """The paths of all options; blocks are gone into where their fields have rows."""
    for field in fields(options):
        value = getattr(options, field.name)
        at = f"{path}{field.name}"
        if field.name in BLOCKS and is_dataclass(value):
            yield from leaves(value, f"{at}.")
        else:
            yield at


def test_every_option_has_a_row_that_says_what_a_reload_does() -> None:
    assert set(leaves(Options())) - MEANINGLESS <= {rule.path for rule in RULES}


def test_no_row_shows_a_secret() -> None:
    for rule in RULES:
        if rule.path.split(".")[-1] in {"password", "token", "users", "default_sentinel", "resolver_preload"}:
            assert rule.show is None
            assert rule.takes is (Takes.RESTART if rule.path.startswith("websocket.") else Takes.ALL)
