"""Flags are read as nats-server reads them, change the options they name, and refuse what would be guesswork."""

from __future__ import annotations

import pytest

from broker.__main__ import program_name, usage_text, version_text
from broker.config.errors import ConfigError
from broker.config.options import (
    AccountOptions,
    AuthorizationOptions,
    JetStreamOptions,
    LoggingOptions,
    MonitorOptions,
    Options,
    TLSOptions,
    UserOptions,
)
from broker.flags import FlagError, Section, parse
from broker.overrides import SECTIONS, apply


def options(*words: str, base: Options | None = None) -> Options:
    return apply(parse(SECTIONS, words), base or Options())


@pytest.mark.parametrize("words", [("-p", "4300"), ("--p", "4300"), ("-p=4300",), ("--port=4300",), ("-p", "0x10cc")])
def test_all_spellings_mean_the_same(words: tuple[str, ...]) -> None:
    assert options(*words).port == 4300


def test_the_last_of_equal_flags_counts() -> None:
    assert options("-p", "1", "--port", "2").port == 2


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_switches_can_be_turned_on_by_value(text: str) -> None:
    assert options(f"-D={text}").logging.debug


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_switches_can_be_turned_off(text: str) -> None:
    assert not options(f"-D={text}", base=Options(logging=LoggingOptions(debug=True))).logging.debug


def test_a_switch_does_not_take_the_next_word() -> None:
    flags = parse(SECTIONS, ["-D", "false"])
    assert flags.is_on("debug")
    assert flags.words == ("false",)


@pytest.mark.parametrize(
    ("words", "left"),
    [(["-D", "-", "-V"], ("-", "-V")), (["-D", "--", "-V"], ("-V",)), (["x", "-V"], ("x", "-V")), ([], ())],
)
def test_flags_end_at_the_first_other_word(words: list[str], left: tuple[str, ...]) -> None:
    flags = parse(SECTIONS, words)
    assert flags.words == left
    assert "trace" not in flags


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-zz",), "flag provided but not defined: -zz"),
        (("--zz=1",), "flag provided but not defined: -zz"),
        (("---p", "1"), "bad flag syntax: ---p"),
        (("-=1",), "bad flag syntax: -=1"),
        (("-p",), "flag needs an argument: -p"),
        (("-p", "abc"), 'invalid value "abc" for flag -p: it is no port; give 1 to 65535, or -1 for a free one'),
        (("-p=",), 'invalid value "" for flag -p: it is no port; give 1 to 65535, or -1 for a free one'),
        (("-m", "65536"), 'invalid value "65536" for flag -m: it is no port; give 1 to 65535, or -1 for a free one'),
        (("-p", " 1"), 'invalid value " 1" for flag -p: it is no port; give 1 to 65535, or -1 for a free one'),
        (("-D=maybe",), 'invalid value "maybe" for flag -D: it is a switch; say true or false'),
    ],
)
def test_what_cannot_be_read_is_named(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        options(*words)
    assert str(caught.value) == text


def test_flags_win_over_the_file_and_leave_the_rest() -> None:
    base = Options(
        host="10.0.0.1",
        port=1,
        server_name="one",
        pid_file="/old",
        max_payload=7,
        monitor=MonitorOptions(port=3, base_path="/x"),
    )
    changed = options(
        "-a", "127.0.0.1", "-p", "2", "-n", "two", "-P", "/new", "-m", "4", "-l", "/log", "-client_advertise", "h:9",
        "-ports_file_dir", "/ports",
        base=base,
    )  # fmt: skip
    assert (changed.host, changed.port, changed.server_name, changed.pid_file) == ("127.0.0.1", 2, "two", "/new")
    assert changed.monitor == MonitorOptions(port=4, base_path="/x")
    assert changed.logging.log_file == "/log"
    assert changed.client_advertise == "h:9"
    assert changed.ports_file_dir == "/ports"
    assert changed.max_payload == 7
    assert options(base=base) == base


def test_nothing_and_zero_mean_the_default() -> None:
    base = Options(host="10.0.0.1", port=1)
    assert options("-a", "", "-p", "0", base=base) == Options()
    assert options("-p", "-1").port == -1


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("-D", LoggingOptions(debug=True)),
        ("-V", LoggingOptions(trace=True)),
        ("-VV", LoggingOptions(trace=True, trace_verbose=True)),
        ("-DV", LoggingOptions(debug=True, trace=True)),
        ("-DVV", LoggingOptions(debug=True, trace=True, trace_verbose=True)),
        ("-T=false", LoggingOptions(logtime=False)),
        ("-logtime_utc", LoggingOptions(logtime_utc=True)),
    ],
)
def test_logging(flag: str, expected: LoggingOptions) -> None:
    assert options(flag).logging == expected


def test_single_user_and_token() -> None:
    authorization = options("-user", "u", "-pass", "p").authorization
    assert (authorization.user, authorization.password) == ("u", "p")
    assert options("--auth=t").authorization.token == "t"


@pytest.mark.parametrize(
    ("words", "base", "text"),
    [
        (("-pass", "p"), Options(), "a password needs a user"),
        (("-user", "u", "-auth", "t"), Options(), "Cannot have a user/pass and token"),
        (
            ("-user", "u"),
            Options(authorization=AuthorizationOptions(token="t")),
            "Cannot have a user/pass and token",
        ),
        (
            ("-user", "u"),
            Options(authorization=AuthorizationOptions(users=(UserOptions(user="a"),))),
            "Can not have a single user/pass and a users array",
        ),
        (
            ("-auth", "t"),
            Options(accounts=(AccountOptions(name="A", users=(UserOptions(user="a"),)),)),
            "Can not have a token and a users array",
        ),
    ],
)
def test_credentials_that_would_be_ignored_are_refused(words: tuple[str, ...], base: Options, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        options(*words, base=base)


def test_tls_flags_replace_the_certificate_and_keep_the_policy() -> None:
    base = Options(tls=TLSOptions(cert_file="a", key_file="b", ca_file="c", verify=True, min_version="1.3"))
    tls = options("-tlscert", "x", "-tlskey", "y", base=base).tls
    assert tls == TLSOptions(cert_file="x", key_file="y", min_version="1.3")
    tls = options("-tlsverify", "-tlscert", "x", "-tlskey", "y", "-tlscacert", "z").tls
    assert tls == TLSOptions(cert_file="x", key_file="y", ca_file="z", verify=True)
    assert options("-tls=false", base=base).tls is None


@pytest.mark.parametrize("words", [("-tls",), ("-tlsverify",), ("-tlskey", "y"), ("-tlscacert", "z")])
def test_tls_needs_a_certificate(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="TLS Server certificate must be present and valid"):
        options(*words)


def test_tls_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="TLS Server private key must be present and valid"):
        options("-tls", "-tlscert", "x")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-cluster", "nats://127.0.0.1:1"), "flag -cluster needs clustering"),
        (("-cluster_listen", "nats://127.0.0.1:1"), "flag -cluster_listen needs clustering"),
        (("-routes", "nats://127.0.0.1:1"), "flag -routes needs clustering"),
        (("-cluster_name", "C"), "flag -cluster_name needs clustering"),
        (("-no_advertise",), "flag -no_advertise needs clustering"),
        (("-cluster_advertise", "h:1"), "flag -cluster_advertise needs clustering"),
        (("-connect_retries", "3"), "flag -connect_retries needs clustering"),
        (("-profile", "1"), "flag -profile needs profiling"),
    ],
)
def test_parts_that_are_absent_are_named(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(*words)
    assert str(caught.value) == f"{text}, which is not available in this version; remove it"


@pytest.mark.parametrize(
    "words", [("-js=false",), ("-cluster", ""), ("-routes=",), ("-profile", "0"), ("-no_advertise=0",)]
)
def test_what_asks_for_no_part_changes_nothing(words: tuple[str, ...]) -> None:
    assert options(*words) == Options()


def test_streams_are_kept_where_a_flag_says_so() -> None:
    assert options("-sd", "/x") == Options(store_dir="/x")
    assert options("-js").jetstream == JetStreamOptions()
    assert options("--jetstream", "-sd", "/x").jetstream == JetStreamOptions(store_dir="/x")
    file = Options(jetstream=JetStreamOptions(domain="hub"))
    assert options("-store_dir", "/x", base=file).jetstream == JetStreamOptions(domain="hub", store_dir="/x")
    assert options("-js=false", base=file).jetstream is None


def test_names_are_unique() -> None:
    names = [name for section in SECTIONS for flag in section.flags for name in flag.names]
    keys = [flag.key for section in SECTIONS for flag in section.flags]
    assert len(set(names)) == len(names)
    assert len(set(keys)) == len(keys)


def test_usage_shows_every_flag() -> None:
    text = usage_text("natskeep", "       natskeep other\n")
    assert text.startswith("\nUsage: natskeep [options]\n       natskeep other\n")
    section: Section
    for section in SECTIONS:
        assert f"{section.title}:" in text
        for flag in section.flags:
            assert all(f"-{name}" in text for name in flag.names)
            assert flag.help in text


def test_the_name_decides_what_the_version_looks_like() -> None:
    assert program_name("/usr/bin/nats-server") == "nats-server"
    assert program_name("/x/broker/__main__.py") == program_name("natskeep") == "natskeep"
    assert version_text("nats-server") == "nats-server: v2.14.5"
    assert version_text("natskeep").startswith("natskeep ")
    assert version_text("natskeep").endswith(" (nats-server 2.14.5)")
