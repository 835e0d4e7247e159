"""From a file to options: what keys set, and what is said about those that can not be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from accounts.limits import AccountLimits, JetStreamLimits
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from auth import jwt
from auth.claims import AccountClaims, OperatorClaims
from auth.creds import decorate_jwt
from auth.nkey import KeyKind, KeyPair
from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import load, read_options
from broker.config.options import (
    DEFAULT_CACHE_LIMIT,
    AccountOptions,
    AuthorizationOptions,
    CalloutOptions,
    JetStreamCeilings,
    JetStreamOptions,
    LoggingOptions,
    MonitorOptions,
    Options,
    ResolverKind,
    ResolverOptions,
    UnixOptions,
    UserOptions,
    WriteTimeout,
)
from tls.revocation.settings import CacheKind, CacheSettings, StapleMode, StapleSettings

USER_KEY = KeyPair.generate(KeyKind.USER).public
ACCOUNT_KEY = KeyPair.generate(KeyKind.ACCOUNT).public
CURVE_KEY = KeyPair.generate(KeyKind.CURVE).public
OPERATOR_KEY = KeyPair.generate(KeyKind.OPERATOR).public


def options(text: str) -> Options:
    loaded = read_options(parse_bytes(text.encode(), "t.conf", {}))
    assert loaded.warnings == ()
    return loaded.options


def refusals(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_options(parse_bytes(text.encode(), "t.conf", {}))
    return str(caught.value).split("\n")


def warnings(text: str) -> list[str]:
    return [str(problem) for problem in read_options(parse_bytes(text.encode(), "t.conf", {})).warnings]


def test_an_empty_file_gives_the_defaults_and_a_warning(tmp_path: Path) -> None:
    path = str(tmp_path / "t.conf")
    Path(path).write_text("# nothing\n")
    loaded = load(path)
    assert [str(warning) for warning in loaded.warnings] == [f"{path}: config has no values or is empty"]
    digest = "sha256:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"
    assert loaded.options == Options(config_file=path, config_digest=digest)


def test_options_need_nothing() -> None:
    assert Options(port=-1).port == -1
    assert Options().authorization_timeout == 2.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port: 4333", Options(port=4333)),
        ("port: 0", Options()),
        ("port: -1", Options(port=-1)),
        ("listen: 4333", Options(port=4333)),
        ('listen: "127.0.0.1:-1"', Options(host="127.0.0.1", port=-1)),
        ("listen: 127.0.0.1:4333", Options(host="127.0.0.1", port=4333)),
        ('listen: "[::1]:4222"', Options(host="::1")),
        ('listen: ":4222"', Options()),
        ('host: "::1"\nlisten: 4333', Options(port=4333)),
        ('listen: 4333\nHOST: "::1"', Options(host="::1", port=4333)),
        ("net: localhost", Options(host="localhost")),
        ("server_name: a", Options(server_name="a")),
        ("client_advertise: example.com:4222", Options(client_advertise="example.com:4222")),
        ("max_connections: 10", Options(max_connections=10)),
        ("max_conn: 0", Options(max_connections=-1)),
        ("max_connections: -5", Options(max_connections=-1)),
        ("max_control_line: 3K", Options(max_control_line=3000)),
        ("max_payload: 2kb", Options(max_payload=2048)),
        ("max_payload: 0", Options()),
        ("max_payload: 10\nmax_payload: 20", Options(max_payload=20)),
        ("max_pending: 8GB", Options(max_pending=8 << 30)),
        ("max_subs: 5", Options(max_subscriptions=5)),
        ("max_subscriptions: -1", Options(max_subscriptions=0)),
        ("max_sub_tokens: 8", Options(max_subscription_tokens=8)),
        ("max_subscription_tokens: 255", Options(max_subscription_tokens=255)),
        ("max_closed_clients: 7", Options(max_closed_clients=7)),
        ("no_header_support: true", Options(no_header_support=True)),
        ("no_fast_producer_stall: on", Options(no_fast_producer_stall=True)),
        ("no_sublist_cache: yes", Options(disable_sublist_cache=True)),
        ('ping_interval: "2m30s"\nping_max: 5', Options(ping_interval=150.0, ping_max=5)),
        ("ping_interval: 30s", Options(ping_interval=30.0)),
        ('ping_interval: "0"', Options()),
        ('write_deadline: "250ms"', Options(write_deadline=0.25)),
        ("write_timeout: close", Options(write_timeout=WriteTimeout.CLOSE)),
        (
            'lame_duck_duration: "30s"\nlame_duck_grace_period: "1.5s"',
            Options(lame_duck_duration=30.0, lame_duck_grace_period=1.5),
        ),
        ("pid_file: /run/x.pid\nports_file_dir: /run", Options(pid_file="/run/x.pid", ports_file_dir="/run")),
        ("server_tags: a", Options(server_tags=("a",))),
        ("server_tags: [a, 'b:c']", Options(server_tags=("a", "b:c"))),
        ("server_metadata { zone: a }", Options(server_metadata={"zone": "a"})),
        ("no_auth_user: u\nsystem: SYS", Options(no_auth_user="u", system_account="SYS")),
        ("no_sys_acc: true", Options(no_system_account=True)),
        ("debug: true", Options(logging=LoggingOptions(debug=True))),
        ("trace_headers: true", Options(logging=LoggingOptions(trace=True, trace_headers=True))),
        ("trace_verbose: true\ntrace: false", Options(logging=LoggingOptions(trace_verbose=True))),
        ("trace: true\ntrace_verbose: false", Options(logging=LoggingOptions(trace=True))),
        ("logfile: x\nlogtime: no", Options(logging=LoggingOptions(log_file="x", logtime=False))),
        ("http: 8222", Options(monitor=MonitorOptions(port=8222))),
        ("monitor_port: 8222", Options(monitor=MonitorOptions(port=8222))),
        ("http: 127.0.0.1:8222", Options(monitor=MonitorOptions(host="127.0.0.1", port=8222))),
        ('https: "h:-1"', Options(monitor=MonitorOptions(host="h", https_port=-1))),
        ("http_base_path: a//b/", Options(monitor=MonitorOptions(base_path="/a/b"))),
        ("foo: 4333\nport: $foo", Options(port=4333)),
        ("jetstream: true", Options(jetstream=JetStreamOptions())),
        ("jetstream: false\njetstream: enabled", Options(jetstream=JetStreamOptions())),
        ("storedir: /x\njetstream {}", Options(jetstream=JetStreamOptions(store_dir="/x"), store_dir="/x")),
        (
            "jetstream { store: /x, max_mem: '64M', max_file: '1T', domain: hub, strict: false, sync: always }",
            Options(
                jetstream=JetStreamOptions(
                    store_dir="/x", max_memory=64 << 20, max_store=1 << 40, domain="hub", strict=False
                )
            ),
        ),
        (
            'jetstream { limits { duplicate_window: "2s", max_ack_pending: 3, batch { timeout: "1s", max_msgs: 4 } } }',
            Options(
                jetstream=JetStreamOptions(
                    ceilings=JetStreamCeilings(
                        duplicate_window=2_000_000_000,
                        max_ack_pending=3,
                        batch_timeout=1_000_000_000,
                        batch_messages=4,
                    )
                )
            ),
        ),
        (
            "accounts { A { jetstream: { mem: 1, disk: 2, streams: 3, consumers: 4, max_bytes: true } } }",
            Options(
                accounts=(
                    AccountOptions(
                        name="A",
                        origin="t.conf:1",
                        jetstream=JetStreamLimits(1, 2, 3, 4, max_bytes_required=True),
                    ),
                )
            ),
        ),
        ("feature_flags { x: true }\nprof_block_rate: 1", Options(feature_flags={"x": True})),
        ("store_dir: /x", Options(store_dir="/x")),
        ("ocsp: true\nocsp_cache: true", Options()),
        ("ocsp: false\nocsp_cache: false", Options(
            ocsp=StapleSettings(mode=StapleMode.NEVER), ocsp_cache=CacheSettings(kind=CacheKind.NONE)
        )),
        ("ocsp { mode: MUST, url: 'http://r:80/x' }", Options(
            ocsp=StapleSettings(mode=StapleMode.MUST, urls=("http://r:80/x",))
        )),
        ("ocsp { urls: ['http://a', 'https://b'] }", Options(ocsp=StapleSettings(urls=("http://a", "https://b")))),
        ("ocsp_cache { Type: Local, local_store: d, preserve_revoked: true, save_interval: 2 }", Options(
            ocsp_cache=CacheSettings(directory="d", preserve_revoked=True, save_interval=2.0)
        )),
    ],
)
def test_a_key_sets(text: str, expected: Options) -> None:
    assert options(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "jetstream: false",
        "jetstream: disabled",
        "jetstream { enabled: false, store_dir: /x }",
        "cluster {}",
        "gateway {}",
        "leafnodes {}",
        'mqtt { ack_wait: "1s" }',
        "mappings {}",
        "proxies {}",
        "syslog: false",
        "prof_port: 0",
        "proxy_protocol: false",
        "default_js_domain {}",
    ],
)
def test_a_part_that_is_not_asked_for_does_not_matter(text: str) -> None:
    assert options(text) == Options()


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "cluster { foo: 1, name: c, port: 1 }",
            [
                't.conf:1:0: field "cluster" needs clustering, which is not available in this version; remove it',
                't.conf:1:10: unknown field "foo"',
            ],
        ),
        ("jetstream: maybe", ["t.conf:1:0: Expected 'enabled' or 'disabled' for string value, got 'maybe'"]),
        ("jetstream { tpm: { keys_file: x } }", ['field "tpm" needs a TPM']),
        ("store_dir: /a\njetstream { store: /a }", ["t.conf:1:0: Duplicate 'store_dir' configuration"]),
        ("jetstream { domain: a.b }", ["invalid domain name: may not contain ., * or >"]),
        ("mqtt { listen: 1 }", ['field "mqtt" needs MQTT']),
        ("leaf { port: -1 }", ['field "leaf" needs leafnodes']),
        ("gateway { name: a }", ['field "gateway" needs gateways']),
        ("gateway: 1", ["t.conf:1:0: Expected gateway to be a map, got an integer"]),
        ("proxies { trusted: [] }", ['field "proxies" needs trusted proxies']),
        ("prof_port: 6060", ['field "prof_port" needs profiling']),
        ("log_format: xml", ['field "log_format" must be text or json']),
        (
            "accounts { A { jetstream: maybe } }",
            ["t.conf:1:15: Expected 'enabled' or 'disabled' for string value, got 'maybe'"],
        ),
    ],
)
def test_an_absent_part_is_named(text: str, messages: list[str]) -> None:
    found = refusals(text)
    assert len(found) == len(messages)
    for message, expected in zip(found, messages, strict=True):
        assert expected in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo: 1", 't.conf:1:0: unknown field "foo"'),
        ("max_paylod: 1", 't.conf:1:0: unknown field "max_paylod"; did you mean max_payload?'),
        ("tls{ 1", 't.conf:1:0: unknown field "tls{"; put a space before the {'),
        ("PASS: a\nauthorization { PASS: b, user: u, password: $PASS }", 't.conf:1:0: unknown field "PASS"'),
        (
            'port: "4222"',
            't.conf:1:0: field "port" takes an integer, not a string; write it without quotes, if it is one',
        ),
        ("port: true", 't.conf:1:0: field "port" takes an integer, not a boolean'),
        ("port: 1.5", 't.conf:1:0: field "port" takes an integer, not a decimal number'),
        ("port: 70000", "t.conf:1:0: port must be from 1 to 65535, or -1 for a random port, not 70000"),
        ("host: [a]", 't.conf:1:0: field "host" takes a string, not an array'),
        ("host: 5", 't.conf:1:0: field "host" takes a string, not an integer; put it in quotes'),
        ("debug: 1", 't.conf:1:0: field "debug" takes a boolean (true or false), not an integer'),
        ("server_name: 2006-01-02T15:04:05Z", 'field "server_name" takes a string, not a date; put it in quotes'),
        ('server_name: "a b"', "t.conf:1:0: server name cannot contain spaces"),
        ("listen: abc", 't.conf:1:0: could not parse address string "abc"'),
        ('listen: "::1:4222"', 't.conf:1:0: could not parse address string "::1:4222"'),
        ('listen: "a:b"', 't.conf:1:0: could not parse port "b"'),
        ('listen: "a:99999"', "listen must have a port from 1 to 65535"),
        ("listen: 1.5", "t.conf:1:0: expected port or host:port, got a decimal number"),
        ("max_payload: 3GB", "t.conf:1:0: max_payload value is too big"),
        ("max_payload: -1", "t.conf:1:0: max_payload value can not be negative"),
        ("max_sub_tokens: 0", "t.conf:1:0: max_sub_tokens value can not be negative"),
        ("max_sub_tokens: 256", "t.conf:1:0: max_sub_tokens value is too big"),
        ("write_timeout: Close", "t.conf:1:0: write_timeout must be 'default', 'close' or 'retry'"),
        (
            'ping_interval: "x"',
            't.conf:1:0: error parsing ping_interval: time: invalid duration "x"; write it like "2m"',
        ),
        ('ping_interval: "10"', 'time: missing unit in duration "10"'),
        ('ping_interval: "10d"', 'time: unknown unit "d" in duration "10d"'),
        ('ping_interval: ""', 'time: invalid duration ""'),
        ('ping_interval: "9999999h"', 'time: invalid duration "9999999h"'),
        ('ping_interval: "-1s"', "ping_interval value can not be negative"),
        ('lame_duck_duration: "10s"', "t.conf:1:0: invalid lame_duck_duration of 10s, minimum is 30 seconds"),
        ("lame_duck_duration: 60", 't.conf:1:0: field "lame_duck_duration" takes a string, not an integer'),
        ('lame_duck_grace_period: "-1s"', "t.conf:1:0: invalid lame_duck_grace_period, needs to be positive"),
        ("system_account: 3", "t.conf:1:0: system account name must be a string"),
        ("server_tags: 1", 'field "server_tags" takes a string or a list of strings, not an integer'),
        ("server_metadata: {a: 1}", 't.conf:1:18: field "a" takes a string, not an integer'),
        ("feature_flags {a: 1}", 't.conf:1:15: error parsing feature flag "a": expected bool, got an integer'),
        ("trusted: X", 't.conf:1:0: trust key "X" required to be a valid public operator nkey'),
        ("resolver: 3", "t.conf:1:0: error parsing operator resolver, wrong type"),
        ("resolver: NOPE", 't.conf:1:0: error parsing account resolver, should be MEM or  URL("url") or a map'),
        ("resolver { typ: mem }", "error parsing account resolver, should be MEM"),
        ("resolver_preload: 1", "t.conf:1:0: preload should be a map of account_public_key:account_jwt"),
        ("resolver_preload { A: 1 }", "t.conf:1:19: preload map value should be a string JWT"),
        ("resolver_preload { A: eyJgarbage.x.y }", "t.conf:1:19: invalid account JWT"),
        ("resolver_pinned_accounts: X", 'pinned account key "X" is not a valid public account nkey'),
        ("operator: none.jwt", "t.conf:1:0: error parsing operator JWT: open none.jwt: no such file or directory"),
        ("operator: eyJabc", "t.conf:1:0: error parsing operator JWT: expected 3 chunks"),
        ("operator: 3", 'field "operator" takes a string or a list of strings'),
    ],
)
def test_a_wrong_value_is_refused(text: str, message: str) -> None:
    (found,) = refusals(text)
    assert message in found


def test_every_problem_is_told_in_the_order_of_the_text() -> None:
    assert refusals("foo: 1\nport: x\nauthorization { users: [ {pass: a}, {user: b, bar: 1} ] }") == [
        't.conf:1:0: unknown field "foo"',
        't.conf:2:1: field "port" takes an integer, not a string; write it without quotes, if it is one',
        "t.conf:3:27: User entry requires a user",
        't.conf:3:47: unknown field "bar"',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ping_interval: 30",
            't.conf:1:0: invalid use of field "ping_interval": ping_interval should be converted to a duration',
        ),
        (
            'authorization { timeout: "2m" }',
            't.conf:1:16: invalid use of field "timeout": timeout of 2m (120.000000 seconds) is high, consider keeping '
            "it under 60 seconds. possibly caused by unquoted duration; use '1m' instead of 1m, for example",
        ),
    ],
)
def test_a_doubtful_value_is_used_with_a_warning(text: str, message: str) -> None:
    assert warnings(text) == [message]


def test_an_integer_duration_is_seconds() -> None:
    assert read_options(parse_bytes(b"ping_interval: 30", "t.conf")).options.ping_interval == 30.0


class TestUsers:
    def test_a_single_user(self) -> None:
        assert options("authorization { username: a, password: b, timeout: 1.5 }").authorization == (
            AuthorizationOptions(user="a", password="b", timeout=1.5, declared=True)
        )

    def test_a_token(self) -> None:
        assert options('authorization { token: "123" }').authorization.token == "123"

    def test_an_empty_block_is_declared(self) -> None:
        assert options("authorization {}").authorization == AuthorizationOptions(declared=True)
        assert not options("port: 1").authorization.declared

    def test_users_with_permissions(self) -> None:
        found = options(
            f"""
            authorization {{
              default_permissions {{ publish: a }}
              users: [
                {{ user: u, pass: p, allowed_connection_types: [standard, MQTT], proxy_required: true
                   permissions {{
                     publish {{ allow: ["b", "c.>"], deny: b.x }}
                     subscribe: [ "d", "e q" ]
                     allow_responses {{ max: 5, ttl: "1m" }}
                   }}
                }}
                {{ nkey: {USER_KEY}, permissions {{ pub: [], sub {{}}, allow_responses: true }} }}
              ]
            }}"""
        ).authorization
        assert found.default_permissions == Permissions(publish=SubjectRules(allow=(Grant("a", None, "t.conf:3"),)))
        user, nkey = found.users
        line = "t.conf:7"
        assert user == UserOptions(
            user="u",
            password="p",
            allowed_connection_types=frozenset({"STANDARD", "MQTT"}),
            proxy_required=True,
            origin="t.conf:5",
            permissions=Permissions(
                SubjectRules((Grant("b", None, line), Grant("c.>", None, line)), (Grant("b.x", None, line),)),
                SubjectRules((Grant("d", None, "t.conf:8"), Grant("e", "q", "t.conf:8"))),
                ResponsePermission(5, 60.0),
            ),
        )
        assert nkey == UserOptions(
            nkey=USER_KEY, origin="t.conf:12", permissions=Permissions(responses=ResponsePermission())
        )
        assert (found.password_users, found.nkeys) == ((user,), (nkey,))

    def test_an_auth_callout(self) -> None:
        found = options(
            f"""
            authorization {{ auth_callout {{
              issuer: {ACCOUNT_KEY}, acc: AUTH, users: [a, b], key: {CURVE_KEY}
              allowed_accounts: [APP], break_glass: [c]
            }} }}"""
        ).authorization.callout
        assert found == CalloutOptions(
            issuer=ACCOUNT_KEY,
            account="AUTH",
            users=("a", "b"),
            xkey=CURVE_KEY,
            allowed_accounts=("APP",),
            break_glass=("c",),
        )
        least = options(f"authorization {{ auth_hook {{ issuer: {ACCOUNT_KEY}, auth_users: [a] }} }}")
        assert least.authorization.callout == CalloutOptions(issuer=ACCOUNT_KEY, users=("a",))

    def test_accounts(self) -> None:
        found = options(
            f"""
            accounts {{
              U: [ {{user: a, password: x}} ]
              A {{ users: $U, nkey: {ACCOUNT_KEY}, limits {{ max_conn: 2, max_subs: 0, max_pay: -1, max_leafs: 1 }} }}
              B {{ default_permissions {{ subscribe: b }}, exports: [], mappings {{}} }}
              $SYS {{ users: [ {{user: s, password: x}} ] }}
            }}"""
        ).accounts
        assert [account.name for account in found] == ["A", "B", "$SYS"]
        assert found[0] == AccountOptions(
            name="A",
            nkey=ACCOUNT_KEY,
            users=(UserOptions(user="a", password="x", origin="t.conf:3"),),
            limits=AccountLimits(connections=2, subscriptions=0, payload=-1, leafnodes=1),
            origin="t.conf:4",
        )
        assert found[1].default_permissions == Permissions(
            subscribe=SubjectRules(allow=(Grant("b", None, "t.conf:5"),))
        )

    def test_a_list_of_accounts(self) -> None:
        assert [account.name for account in options("accounts: [A, B]").accounts] == ["A", "B"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("authorization: 3", 't.conf:1:0: field "authorization" takes a map in braces, not an integer'),
            ("authorization { foo: 1 }", 't.conf:1:16: unknown field "foo"'),
            (
                "authorization { token: 123 }",
                't.conf:1:16: field "token" takes a string, not an integer; put it in quotes',
            ),
            ('authorization { token: "" }', 't.conf:1:16: field "token" must not be empty'),
            ('authorization { user: "" }', 't.conf:1:16: field "user" must not be empty'),
            ("authorization { pass: a }", "t.conf:1:0: authorization has a password but no user"),
            ("authorization { user: a, pass: b, token: c }", "t.conf:1:0: Cannot have a user/pass and token"),
            ("authorization { token: a, users: [{user: u}] }", "t.conf:1:0: Can not have a token and a users array"),
            (
                "authorization { user: a, users: [{user: u}] }",
                "t.conf:1:0: Can not have a single user/pass and a users array",
            ),
            (
                "authorization { user: a }\naccounts { A { users: [{user: u}] } }",
                "t.conf:2:1: Can not have a single user/pass and accounts",
            ),
            (
                "authorization { token: a }\naccounts { A { users: [{user: u}] } }",
                "t.conf:2:1: Can not have a token and accounts",
            ),
            (
                "authorization { users: [{user: a},\n{user: a}] }",
                'Duplicate user "a" detected; its second entry is at t.conf:2',
            ),
            (
                f"authorization {{ users: [{{nkey: {USER_KEY}}},{{nkey: {USER_KEY}}}] }}",
                f'Duplicate nkey "{USER_KEY}" detected',
            ),
            (
                "authorization { users: [{user: a}] }\naccounts { A { users: [{user: a}] } }",
                't.conf:2:1: Duplicate user "a" detected',
            ),
            (
                "authorization { timeout: true }",
                "t.conf:1:16: error parsing authorization config, 'timeout' wrong type",
            ),
            (
                "authorization { timeout: x }",
                "error parsing authorization config, 'timeout' time: invalid duration \"x\"",
            ),
            ("authorization { timeout: -1 }", "'timeout' must not be negative"),
            ("authorization { users: {user: a} }", "t.conf:1:16: Expected users field to be an array, got a map"),
            ("authorization { users: [a] }", "t.conf:1:24: Expected user entry to be a map/struct, got a string"),
            ("authorization { users: [ {pass: a} ] }", "t.conf:1:26: User entry requires a user"),
            ("authorization { users: [ {} ] }", "t.conf:1:26: User entry requires a user"),
            ("authorization { users: [ {nkey: X} ] }", "t.conf:1:26: Not a valid public nkey for a user"),
            (
                f"authorization {{ users: [ {{nkey: {USER_KEY}, pass: a}} ] }}",
                "t.conf:1:26: Nkey users do not take usernames or passwords",
            ),
            (
                "authorization { users: [ {user: a, clients: [zz]} ] }",
                't.conf:1:35: invalid connection types ["ZZ"]; use ',
            ),
            ("authorization { users: [ {user: a, clients: 3} ] }", "error parsing allowed connection types"),
            (
                "authorization { users: [ {user: a, permissions: 1} ] }",
                "t.conf:1:35: Expected permissions to be a map/struct, got an integer",
            ),
            (
                "authorization { permissions { foo: 1 } }",
                't.conf:1:30: Unknown field "foo" parsing permissions',
            ),
            (
                "authorization { permissions { pub { foo: 1 } } }",
                "t.conf:1:36: Unknown field name \"foo\" parsing subject permissions, only 'allow' or 'deny' are",
            ),
            ("authorization { permissions { pub: 1 } }", "Expected subject permissions to be a subject, or array of"),
            ('authorization { permissions { pub: "a..b" } }', 't.conf:1:30: subject "a..b" is not a valid subject'),
            ('authorization { permissions { pub: "a q" } }', 't.conf:1:30: subject "a q" is not a valid subject'),
            (
                'authorization { permissions { sub: ["a",\n"a q r"] } }',
                't.conf:2:1: subject "a q r" is not a valid subject',
            ),
            ("authorization { permissions { allow_responses: 1 } }", "t.conf:1:30: error parsing response permissions"),
            (
                'authorization { permissions { grants: ["kv:read B",\n"kv:rad B"] } }',
                't.conf:2:1: there is no grant "kv:rad"; the grants are: stream:read,',
            ),
            ('authorization { permissions { grants: "stream:write S" } }', "name the subjects that may be"),
            ("authorization { permissions { grants: 1 } }", "t.conf:1:30: Expected grants to be a list of texts"),
            ("authorization { permissions { grants: [] } }", "grants names none; leave it out"),
            (
                'authorization { permissions { grants: ["inbox:private a"] } }',
                "grants gives an inbox and nothing to ask for",
            ),
            (
                "authorization { permissions { allow_responses { expires: 3 } } }",
                "t.conf:1:48: error parsing expires, not a duration string",
            ),
            ("accounts: 3", 'field "accounts" takes a map of accounts, or a list of their names, not an integer'),
            ("accounts: [A, B, A]", "t.conf:1:17: Duplicate Account Entry: A"),
            ("accounts: [$G]", "variable reference for 'G'"),
            ('accounts: ["$G"]', 't.conf:1:11: "$G" is a Reserved Account'),
            ("accounts { $G {} }", 't.conf:1:11: "$G" is a Reserved Account'),
            ("accounts { A: 1 }", "t.conf:1:11: Expected map entries for accounts"),
            ("accounts { A { foo: 1 } }", 't.conf:1:15: unknown field "foo"'),
            ("accounts { A { nkey: X } }", 't.conf:1:15: Not a valid public nkey for an account: "X"'),
            ("accounts { A { limits { x: 1 } } }", 't.conf:1:24: Unknown field "x" parsing account limits'),
            ("accounts { A { limits: 1 } }", 'field "limits" takes account limits in a map'),
        ],
    )
    def test_a_mistake_is_refused(self, text: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read_options(parse_bytes(text.encode(), "t.conf", {}))
        (problem,) = caught.value.problems
        assert message in str(problem)


class TestOperatorMode:
    operator = KeyPair.generate(KeyKind.OPERATOR)
    account = KeyPair.generate(KeyKind.ACCOUNT)
    operator_token = jwt.encode(OperatorClaims.new(operator.public), operator)
    account_token = jwt.encode(AccountClaims.new(account.public), operator)

    def test_an_inline_operator_with_preload(self) -> None:
        found = options(
            f"operator: {self.operator_token}\nresolver: MEMORY\n"
            f"resolver_preload: {{\n {self.account.public}: {self.account_token}\n}}\n"
            f"system_account: {self.account.public}\nresolver_pinned_accounts: [{self.account.public}]"
        )
        assert [(operator.token, operator.origin) for operator in found.operators] == [
            (self.operator_token, "t.conf:1")
        ]
        assert found.resolver is not None
        assert found.resolver.kind is ResolverKind.MEMORY
        assert found.resolver_preload == {self.account.public: self.account_token}
        assert found.system_account == self.account.public
        assert found.resolver_pinned_accounts == {self.account.public}

    @pytest.mark.parametrize("armoured", [False, True])
    def test_an_operator_in_a_file(self, tmp_path: Path, armoured: bool) -> None:
        path = tmp_path / "operator.jwt"
        path.write_text(decorate_jwt(self.operator_token) if armoured else self.operator_token + "\n")
        (found,) = options(f'roots: ["{path}"]').operators
        assert (found.token, found.origin) == (self.operator_token, str(path))

    @pytest.mark.parametrize("text", ["mem", "MEM", "Memory", "{ type: memory, other: 1 }"])
    def test_the_memory_resolver(self, text: str) -> None:
        resolver = options(f"account_resolver: {text}").resolver
        assert resolver is not None
        assert resolver.kind is ResolverKind.MEMORY

    @pytest.mark.parametrize("text", ['URL(http://h:1/jwt)', 'url("http://h:1/jwt")', "'URL( \"http://h:1/jwt\" )'"])
    def test_an_account_server(self, text: str) -> None:
        found = options(f"resolver: {text}\nresolver_tls {{ insecure: true }}")
        assert found.resolver is not None
        assert (found.resolver.kind, found.resolver.url) == (ResolverKind.URL, "http://h:1/jwt")
        assert found.resolver_tls is not None
        assert found.resolver_tls.insecure

    def test_a_full_resolver(self, tmp_path: Path) -> None:
        found = options(
            f"resolver {{ type: full, dir: '{tmp_path}', allow_delete: true, hard_delete: true, limit: 7, "
            'interval: "5s", timeout: "3s", something: else }'
        ).resolver
        assert found == ResolverOptions(
            ResolverKind.FULL, "t.conf:1", "", str(tmp_path), allow_delete=True, hard_delete=True, limit=7,
            interval=5.0, timeout=3.0,
        )  # fmt: skip

    def test_a_cache(self, tmp_path: Path) -> None:
        found = options(f"resolver {{ type: CACHE, dir: '{tmp_path}/new/one', ttl: \"1h\" }}").resolver
        assert found == ResolverOptions(
            ResolverKind.CACHE, "t.conf:1", "", f"{tmp_path}/new/one", limit=DEFAULT_CACHE_LIMIT, ttl=3600.0
        )
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("url", "resolved"),
        [("https://h/jwt/v1", "https://h/jwt/v1/accounts"), ("http://h/", "http://h/accounts"), ("nats://h", "")],
    )
    def test_the_account_server_of_the_only_operator(self, url: str, resolved: str) -> None:
        claims = OperatorClaims.new(self.operator.public)
        claims.nats.account_server_url = url
        token = jwt.encode(claims, self.operator)
        found = options(f"operator: {token}").resolver
        assert ("" if found is None else found.url) == resolved
        found = options(f"operator: {token}\nresolver: MEMORY").resolver
        assert found is not None
        assert found.kind is ResolverKind.MEMORY
        assert options(f"operator: [{token}, {token}]").resolver is None

    def test_trusted_keys(self) -> None:
        assert options(f"trusted: {self.operator.public}").trusted_keys == (self.operator.public,)

    def test_a_tampered_operator_is_refused(self) -> None:
        head, body, signature = self.operator_token.split(".")
        tampered = f"{head}.{body}.{'A' * 8}{signature[8:]}"
        (message,) = refusals(f"operator: {tampered}")
        assert message == "t.conf:1:0: error parsing operator JWT: claim failed V2 signature verification"

    @pytest.mark.parametrize("key", ["operator", "trusted", "resolver_pinned_accounts"])
    def test_a_seed_in_place_of_a_key_is_not_shown(self, key: str) -> None:
        (message,) = refusals(f"{key}: {self.operator.seed}")
        assert self.operator.seed not in message
        assert "SO…" in message


def test_the_unix_socket() -> None:
    text = "unix { path: 'run/n.sock', mode: '0660', group: nats, verify_and_map: true, tls: true }"
    assert options(text).unix == UnixOptions(
        path="run/n.sock", mode=0o660, group="nats", verify_and_map=True, tls=True
    )
    assert options("unix { path: n, mode: '640', group: 100 }").unix == UnixOptions(path="n", mode=0o640, group="100")
    assert options("unix { path: n }").unix == UnixOptions(path="n")
    assert options("").unix == UnixOptions()


def test_secrets_are_not_shown() -> None:
    text = 'authorization { users: [{user: u, pass: "s3cret"}] }\ndefault_sentinel: s3cret'
    assert "s3cret" not in repr(options(text))
    assert "s3cret" not in repr(options("authorization { user: u, pass: s3cret }"))
    assert "s3cret" not in repr(options("authorization { token: s3cret }"))
    assert all(
        "s3cret" not in message for message in refusals("authorization { token: s3cret, user: u, password: [1] }")
    )
