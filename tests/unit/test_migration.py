"""``-t`` tells which differences from nats-server a configuration meets, in the words of the documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from auth.envelope import seal
from auth.nkey import KeyKind, KeyPair
from broker.__main__ import main
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import (
    AuthorizationOptions,
    CalloutOptions,
    JetStreamOptions,
    MonitorOptions,
    OperatorOptions,
    Options,
    ProxyOptions,
    TLSOptions,
    WebSocketOptions,
)
from broker.migration import DIFFERENCES, Difference, report, touched
from tests.source.sources import ROOT
from tls.policy import CertificatePair
from tls.revocation.settings import PeerSettings, StapleMode, StapleSettings

ALLOWED = "authorization {{ users: [{{user: a, password: b, permissions: {{{permissions}}}}}] }}"


def options_of(text: str) -> Options:
    return read_options(parse_bytes(text.encode())).options


def token(kind: str, **claims: object) -> str:
    """A JWT of which only the claims matter."""
    payload = {"iss": "O", "sub": "O", "nats": {"type": kind, "version": 2, **claims}, **claims}
    return seal(json.dumps(payload).encode(), KeyPair.generate(KeyKind.OPERATOR))


OPERATORS = Options(operators=(OperatorOptions(token("operator")),))
WATCHED = MonitorOptions(port=-1)
ASKING = TLSOptions(verify=True, ocsp_peer=PeerSettings(verify=True))
PINNED = TLSOptions(pinned_certs=frozenset({"0" * 64}))
CALLOUT = CalloutOptions(issuer="A", users=("auth",))
ENCRYPTED = replace(CALLOUT, xkey="X")
CALLED = Options(authorization=AuthorizationOptions(callout=CALLOUT))
SERVICE = {"auth_users": ["U"], "allowed_accounts": ["*"], "xkey": "X"}
SCOPE = {"kind": "user_scope", "key": "A", "template": {"sub": {"allow": ["in.{{name()}}", "jobs workers"]}}}


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reference[:40])
def test_the_documentation_says_the_same(difference: Difference) -> None:
    rows = (ROOT / "docs" / "differences.md").read_text().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    words = [difference.reference, difference.natskeep, difference.why]
    assert [*filter(None, words)] in [row[: len([*filter(None, words)])] for row in cells]


NOT_OF_A_FILE = {
    "Several errors are told in any order, some of them without a place",
    "A value of the wrong type is told in the words of Go",
    "Negative numbers and sizes are accepted where they mean nothing",
    "An import `to` a subject with `>` where the exporter's has none is accepted",
    "The error of an unknown operation shows the next 32 bytes",
    "Control characters and line ends of the client's subjects reach the log as they are",
    "A user with a token in the user's place, or a seed in a payload, is logged as it came",
    "`Reloaded: authorization users` and `Reloaded: accounts` are logged at every reload",
}
"""What no valid file asks for: it is refused by name, or it is about what clients send and what is logged of all."""


def test_nothing_that_a_file_can_meet_is_left_out() -> None:
    told = {difference.reference for difference in DIFFERENCES} | NOT_OF_A_FILE
    section, missing = "", []
    for row in (ROOT / "docs" / "differences.md").read_text().splitlines():
        section = row[3:] if row.startswith("## ") else section
        if row.startswith("| ") and section in {
            "Permissions", "Limits", "TLS", "WebSocket", "Time", "Auth callout", "Monitoring",
            "The configuration file", "Revoked certificates", "The log", "Reload",
        }:
            reference = row.strip("|").split("|")[0].strip()
            is_refusal = reference.startswith(("An export or import that is empty", "A mapping without"))
            if reference not in {*told, "", "\N{EN DASH}", "nats-server 2.14.5"} and not is_refusal:
                missing.append(reference)
    assert missing == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(resolver_preload={"A": token("account", signing_keys=[SCOPE])}), "Kept, and expanded"),
        (Options(proxy_protocol=ProxyOptions()), "It trusts loopback, private and link-local addresses"),
        (Options(resolver_preload={"A": token("account", limits={"data": 5})}), "maximum account data exceeded"),
        (Options(tls=TLSOptions()), "Its files are watched"),
        (Options(tls=TLSOptions()), "Only suites with authenticated encryption"),
        (Options(tls=TLSOptions(cipher_suites=("TLS_AES_128_GCM_SHA256",))), "no others are used"),
        (Options(tls=TLSOptions(curve_preferences=("CurveP256", "X25519"))), "the order of preference"),
        (Options(tls=TLSOptions(cipher_suites=("TLS_RSA_WITH_RC4_128_SHA",))), "alone they are refused"),
        (Options(websocket=WebSocketOptions(port=1, tls=TLSOptions(verify=True))), "each handshake is a full one"),
        (Options(tls=TLSOptions(connection_rate_limit=5)), "when its ClientHello arrives"),
        (options_of('mappings { "a.*": b, "a.b": c }'), "the most specific source"),
        (options_of("trace: true"), "Every secret is blanked"),
        (options_of("trace: true"), "The answer is"),
        (options_of("websocket { port: 1, no_tls: true }"), "A close frame with code 1002"),
        (options_of("websocket { port: 1, no_tls: true, compression: true }"), "Only to what is kept"),
        (Options(websocket=WebSocketOptions(port=1, tls=PINNED)), "At every handshake"),
        (options_of(ALLOWED.format(permissions='publish: "x"')), "a denial id"),
        (options_of("log_max_num: 3"), "It holds"),
        (Options(tls=ASKING), "It must be about the very certificate"),
        (Options(websocket=WebSocketOptions(port=1, tls=ASKING)), "Its handshake is over by then"),
        (Options(tls=ASKING), "By POST, and by GET"),
        (Options(tls=replace(ASKING, timeout=1.0)), "Never longer than its handshake may take"),
        (Options(tls=ASKING, monitor=MonitorOptions(https_port=-1)), "It asks for none"),
        (Options(tls=ASKING), "Plain ones; either server"),
        (Options(tls=TLSOptions(certificates=(CertificatePair("a", "b"),) * 2)), "Each"),
        (options_of("ocsp { urls: ['http://a', 'http://b'] }"), "One responder after the other"),
        (Options(tls=TLSOptions(), ocsp=StapleSettings(mode=StapleMode.MUST)), "at intervals that grow"),
        (Options(tls=TLSOptions(), ocsp=StapleSettings(mode=StapleMode.ALWAYS)), "It is refused; a certificate"),
        (options_of("jetstream: enabled"), "When it is on disk"),
        (options_of("jetstream: enabled\n" + ALLOWED.format(permissions='publish: "x"')), "They are held against both"),
        (replace(OPERATORS, jetstream=JetStreamOptions()), "the server asks for nobody"),
        (options_of("jetstream: enabled, http: 8222"), "something cannot be, and the log what"),
        (options_of("syslog: true"), "counted, dropped and reported"),
        (options_of("authorization { user: a, password: b }"), "They stay while"),
        (options_of("max_connections: 5"), "The newest connections are closed"),
        (options_of("accounts { A { limits { max_subs: 5 } } }"), "Only one that holds more"),
        (Options(resolver_preload={"A": token("account", limits={"subs": 5})}), "Only one that holds more"),
        (Options(pid_file="/run/pid"), "It goes"),
        (Options(monitor=WATCHED), "the first 100"),
        (options_of(ALLOWED.format(permissions='subscribe: "foo.*"')), "A subscription must be contained"),
        (options_of(ALLOWED.format(permissions='allow_responses: true, publish: {deny: "x"}')), "Deny wins"),
        (Options(operators=(OperatorOptions(token("operator", exp=1)),)), "No login under an operator"),
        (Options(monitor=WATCHED), "`GET` and `HEAD`"),
        (replace(OPERATORS, monitor=WATCHED), "never a bearer token"),
        (Options(tls=TLSOptions(verify=True), monitor=WATCHED), "first of the chain"),
        (OPERATORS, "A reload takes it, unless it names another system account"),
        (Options(operators=(OperatorOptions("no token"),)), "A reload takes it"),
        (Options(pid_file="/run/pid"), "Removed, unless another process"),
        (CALLED, "Users of the configuration come first"),
        (CALLED, "Only those that `auth_users` names"),
        (replace(CALLED, authorization=AuthorizationOptions(callout=ENCRYPTED)), "It must be encrypted"),
        (Options(resolver_preload={"A": token("account", authorization=SERVICE)}), "The system account must be"),
        (Options(resolver_preload={"A": token("account", authorization=SERVICE)}), "It must be encrypted"),
        (Options(resolver_preload={"A": token("account", authorization=SERVICE)}), "Its JWT must be good by itself"),
    ],
)
def test_what_a_configuration_meets_is_told(options: Options, expected: str) -> None:
    assert [difference for difference in touched(options) if expected in difference.natskeep]


@pytest.mark.parametrize("permissions", ['subscribe: ["foo.bar", "foo.>"]', "allow_responses: true"])
def test_permissions_that_mean_the_same_are_not_told(permissions: str) -> None:
    [found] = touched(options_of(ALLOWED.format(permissions=permissions)))
    assert found.natskeep.startswith("They go on with a denial id")


@pytest.mark.parametrize(
    "options",
    [
        options_of("port: 4222"),
        options_of("max_connections: 0"),
        options_of("http: 0"),
        options_of('mappings { "a.*": b, "b.*": c }'),
        options_of('syslog: true\nlog_file: "x"'),
        Options(resolver_preload={"A": token("account", limits={"data": -1, "subs": -1}, signing_keys=["A"])}),
    ],
)
def test_what_a_configuration_does_not_meet_is_not_told(options: Options) -> None:
    assert report("natskeep", options) == ""


def test_the_check_of_a_file_tells_on_stdout_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.conf").write_text('pid_file: "pid"\nhttp: "127.0.0.1:8222"\n')
    assert main(["-t", "-c", "server.conf"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("natskeep does 7 of the things that this file asks for differently:\n")
    assert "nats-server: The pid file stays when the server ends\n   natskeep: Removed" in output.out
    assert len(output.err.splitlines()) == 1
    monkeypatch.setattr("sys.argv", ["nats-server"])
    assert main(["-t", "-c", "server.conf"]) == 0
    assert capsys.readouterr().out == ""
