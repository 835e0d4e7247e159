"""How options fit together."""

from __future__ import annotations

import pytest

from accounts.exports import StreamExport
from accounts.imports import StreamImport
from accounts.mapping import SubjectMapping, WeightedDestination
from broker.config.errors import ConfigError
from broker.config.options import (
    AccountOptions,
    AuthorizationOptions,
    MonitorOptions,
    Options,
    ResolverKind,
    ResolverOptions,
    TLSOptions,
)
from broker.config.validate import duration_words, validate

TLS = TLSOptions(cert_file="c", key_file="k")


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(port=-1),
        Options(client_advertise="example.com"),
        Options(client_advertise="example.com:4222"),
        Options(client_advertise="[::1]"),
        Options(client_advertise="[::1]:4222"),
        Options(monitor=MonitorOptions(https_port=-1), tls=TLS),
        Options(resolver=ResolverOptions(), resolver_preload={"A": "x"}),
        Options(mappings=(SubjectMapping("a", (WeightedDestination("b"),)),)),
        Options(
            accounts=(
                AccountOptions(name="A", imports=(StreamImport(account="B", subject="a"),)),
                AccountOptions(name="B", exports=(StreamExport(subject="a"),)),
            )
        ),
    ],
)
def test_what_fits_together_passes(options: Options) -> None:
    validate(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Options(max_payload=2 << 20, max_pending=1 << 20),
            "max_payload (2097152) cannot be higher than max_pending (1048576)",
        ),
        (
            Options(lame_duck_duration=30.0, lame_duck_grace_period=60.0),
            "lame duck grace period (1m0s) should be strictly lower than lame duck duration (30s)",
        ),
        (Options(lame_duck_grace_period=-1.0), "invalid lame_duck_grace_period, needs to be positive"),
        (
            Options(monitor=MonitorOptions(port=1, https_port=2), tls=TLS),
            "can't specify both HTTP (1) and HTTPs (2) ports",
        ),
        (Options(monitor=MonitorOptions(https_port=2)), "TLS cert and key required for HTTPS"),
        (Options(server_name="a b"), "server name cannot contain spaces"),
        (Options(port=65536), "port must be from 1 to 65535, or -1 for a random port, not 65536"),
        (Options(max_control_line=0), "max_control_line must be from 1 to 2147483647 bytes, not 0"),
        (Options(max_subscription_tokens=256), "max_subscription_tokens must be from 1 to 255, or 0 for no limit"),
        (Options(ping_interval=0.0), "ping_interval must be more than 0 seconds"),
        (
            Options(authorization=AuthorizationOptions(timeout=-1.0)),
            "authorization timeout must be more than 0 seconds",
        ),
        (Options(accounts=(AccountOptions(name="A"), AccountOptions(name="A"))), "Duplicate Account Entry: A"),
        (
            Options(accounts=(AccountOptions(name="A", imports=(StreamImport(account="B", subject="a"),)),)),
            '"B" account not defined for stream import (there is no account B that can be used)',
        ),
        (
            Options(
                accounts=(
                    AccountOptions(name="A", imports=(StreamImport(account="B", subject="b"),)),
                    AccountOptions(name="B", exports=(StreamExport(subject="a"),)),
                )
            ),
            'Error adding stream import "b": stream import not authorized (B exports no stream that contains b)',
        ),
        (Options(resolver=ResolverOptions(ResolverKind.FULL)), "dir has no value and needs to point to a directory"),
        (
            Options(resolver=ResolverOptions(ResolverKind.URL, url="h")),
            "the URL of an account server starts with http:// or https:// and names a host",
        ),
        (
            Options(resolver=ResolverOptions(ResolverKind.CACHE, directory="x", timeout=0.0)),
            "timeout and interval of the resolver must be more than 0 seconds",
        ),
        (
            Options(resolver=ResolverOptions(ResolverKind.URL, url="http://h"), resolver_preload={"A": "x"}),
            "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR",
        ),
        (
            Options(resolver_preload={"A": "x"}),
            "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR",
        ),
        *(
            (
                Options(client_advertise=text),
                f"invalid ClientAdvertise value of {text}; write host or host:port, with an IPv6 host in brackets",
            )
            for text in ("a b", "a:b:c", "::1", "host:", "host:99999", ":1", "[::1", "[]:1", "[::1]x")
        ),
    ],
)
def test_a_contradiction_is_refused(options: Options, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(options)
    assert str(caught.value) == message


def test_every_contradiction_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Options(port=-2, server_name="a b"))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (10, "10s"),
        (1.5, "1.5s"),
        (120, "2m0s"),
        (3600, "1h0m0s"),
        (3661.5, "1h1m1.5s"),
        (0.25, "250ms"),
        (0.00005, "50µs"),
        (2e-9, "2ns"),
        (-90, "-1m30s"),
    ],
)
def test_durations_are_written_as_nats_server_does(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        (Options(), 2.0),
        (Options(tls=TLS), 3.0),
        (Options(tls=TLSOptions(timeout=0.5)), 1.5),
        (Options(tls=TLS, authorization=AuthorizationOptions(timeout=5.0)), 5.0),
    ],
)
def test_the_authorization_timeout_follows_that_of_tls(options: Options, seconds: float) -> None:
    assert options.authorization_timeout == seconds
