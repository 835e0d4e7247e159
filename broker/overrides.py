"""The server's flags, and how they change options: what the command line says wins over the configuration file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from broker.config.errors import ConfigError, Problem
from broker.config.options import (
    ANY_ADDRESS,
    DEFAULT_PORT,
    JetStreamOptions,
    LoggingOptions,
    MonitorOptions,
    Options,
    TLSOptions,
)
from broker.flags import Flag, Flags, Section, number_value, port_value, switch_value, text_value
from broker.signals import SIGNALS

_SIGNAL_HELP: Final = f"Signal a running server: {', '.join(SIGNALS)}"

SECTIONS: Final = (
    Section(
        "Server Options",
        (
            Flag("host", ("a", "addr", "net"), text_value, f"Bind to host address (default: {ANY_ADDRESS})", "<host>"),
            Flag("port", ("p", "port"), port_value, f"Use port for clients (default: {DEFAULT_PORT})", "<port>"),
            Flag("name", ("n", "name", "server_name"), text_value, "Server name (default: auto)", "<name>"),
            Flag("pid_file", ("P", "pid"), text_value, "File to store PID", "<file>"),
            Flag("http_port", ("m", "http_port"), port_value, "Use port for http monitoring", "<port>"),
            Flag("https_port", ("ms", "https_port"), port_value, "Use port for https monitoring", "<port>"),
            Flag("config", ("c", "config"), text_value, "Configuration file", "<file>"),
            Flag("check", ("t",), switch_value, "Test configuration and exit"),
            Flag("reload_preview", ("reload-preview",), text_value, "Tell what reloading a file would do", "<file>"),
            Flag("signal", ("sl", "signal"), text_value, _SIGNAL_HELP, "<signal[=pid]>"),
            Flag("client_advertise", ("client_advertise",), text_value, "Address that clients are told", "<host:port>"),
            Flag("ports_file_dir", ("ports_file_dir",), text_value, "Write <program>_<pid>.ports there", "<dir>"),
        ),
    ),
    Section(
        "Logging Options",
        (
            Flag("log_file", ("l", "log"), text_value, "File to redirect log output", "<file>"),
            Flag("log_size_limit", ("log_size_limit",), number_value, "Bytes after which it is rotated", "<limit>"),
            Flag("syslog", ("s", "syslog"), switch_value, "Log to syslog"),
            Flag("remote_syslog", ("r", "remote_syslog"), text_value, "Syslog server, as udp://localhost:514", "<url>"),
            Flag("logtime", ("T", "logtime"), switch_value, "Timestamp log entries (default: true)"),
            Flag("logtime_utc", ("logtime_utc",), switch_value, "Timestamps in UTC instead of local time"),
            Flag("debug", ("D", "debug"), switch_value, "Enable debugging output"),
            Flag("trace", ("V", "trace"), switch_value, "Trace the raw protocol"),
            Flag("verbose_trace", ("VV",), switch_value, "Trace the system account as well"),
            Flag("debug_trace", ("DV",), switch_value, "Debug and trace"),
            Flag("debug_verbose_trace", ("DVV",), switch_value, "Debug, and trace the system account as well"),
            Flag("max_traced_msg_len", ("max_traced_msg_len",), number_value, "Bytes of a payload to trace", "<len>"),
        ),
    ),
    Section(
        "JetStream Options",
        (
            Flag("jetstream", ("js", "jetstream"), switch_value, "Enable JetStream functionality"),
            Flag("store_dir", ("sd", "store_dir"), text_value, "Set the storage directory", "<dir>"),
        ),
    ),
    Section(
        "Authorization Options",
        (
            Flag("user", ("user",), text_value, "User required for connections", "<user>"),
            Flag("password", ("pass",), text_value, "Password required for connections", "<password>"),
            Flag("token", ("auth",), text_value, "Authorization token required for connections", "<token>"),
        ),
    ),
    Section(
        "TLS Options",
        (
            Flag("tls", ("tls",), switch_value, "Enable TLS, do not verify clients (default: false)"),
            Flag("tls_certificate", ("tlscert",), text_value, "Server certificate file", "<file>"),
            Flag("tls_key", ("tlskey",), text_value, "Private key for server certificate", "<file>"),
            Flag("tls_verify", ("tlsverify",), switch_value, "Enable TLS, verify client certificates"),
            Flag("tls_authority", ("tlscacert",), text_value, "Client certificate CA for verification", "<file>"),
        ),
    ),
    Section(
        "Cluster Options",
        (
            Flag("routes", ("routes",), text_value, "Routes to solicit and connect", "<url, url>"),
            Flag("cluster", ("cluster", "cluster_listen"), text_value, "URL on which other members connect", "<url>"),
            Flag("cluster_name", ("cluster_name",), text_value, "Cluster name", "<name>"),
            Flag("no_advertise", ("no_advertise",), switch_value, "Tell clients of no other member"),
            Flag("cluster_advertise", ("cluster_advertise",), text_value, "URL that members are told", "<url>"),
            Flag("connect_retries", ("connect_retries",), number_value, "Attempts to reach implicit routes", "<count>"),
        ),
    ),
    Section("Profiling Options", (Flag("profile", ("profile",), port_value, "Profiling HTTP port", "<port>"),)),
    Section(
        "Common Options",
        (
            Flag("help", ("h", "help"), switch_value, "Show this message"),
            Flag("version", ("v", "version"), switch_value, "Show version"),
            Flag("help_tls", ("help_tls",), switch_value, "Show how TLS is configured"),
        ),
    ),
)
"""What ``natskeep`` takes, in the order of its help text."""

_LOG_SWITCHES: Final = {
    "debug": ("debug",),
    "trace": ("trace",),
    "verbose_trace": ("trace", "trace_verbose"),
    "debug_trace": ("debug", "trace"),
    "debug_verbose_trace": ("debug", "trace", "trace_verbose"),
    "logtime": ("logtime",),
    "syslog": ("syslog",),
    "logtime_utc": ("logtime_utc",),
}
_ABSENT: Final = {
    **dict.fromkeys(
        ("routes", "cluster", "cluster_name", "no_advertise", "cluster_advertise", "connect_retries"), "clustering"
    ),
    "profile": "profiling",
}
"""Flags that ask for a part which this version does not have."""

_CREDENTIALS: Final = ("user", "password", "token")
_TLS: Final = ("tls", "tls_verify", "tls_certificate", "tls_key", "tls_authority")


def apply(flags: Flags, options: Options) -> Options:
    """The options with what the flags change.

    Raises:
        ConfigError: flags contradict each other or the file, or ask for what this version does not have.
    """
    _refuse_absent(flags)
    if "host" in flags:
        options = replace(options, host=flags.text("host") or ANY_ADDRESS)
    if "port" in flags:
        options = replace(options, port=flags.number("port") or DEFAULT_PORT)
    if "name" in flags:
        options = replace(options, server_name=flags.text("name"))
    if "pid_file" in flags:
        options = replace(options, pid_file=flags.text("pid_file"))
    if "client_advertise" in flags:
        options = replace(options, client_advertise=flags.text("client_advertise"))
    if "ports_file_dir" in flags:
        options = replace(options, ports_file_dir=flags.text("ports_file_dir"))
    if "store_dir" in flags:
        options = replace(options, store_dir=flags.text("store_dir"))
    options = replace(options, jetstream=_jetstream(flags, options.jetstream))
    options = replace(options, logging=_logging(flags, options.logging), monitor=_monitor(flags, options.monitor))
    if any(key in flags for key in _CREDENTIALS):
        options = _with_credentials(flags, options)
    if any(key in flags for key in _TLS):
        options = replace(options, tls=_tls(flags, options.tls))
    return options


def _refuse_absent(flags: Flags) -> None:
    """Nobody shall run without what was asked for; a flag with an empty, false or zero value asks for nothing."""
    problems = [
        Problem(f"flag -{flags.name(key)} needs {part}, which is not available in this version; remove it")
        for key, part in _ABSENT.items()
        if flags.asks_for(key)
    ]
    if problems:
        raise ConfigError(*problems)


def _logging(flags: Flags, logging: LoggingOptions) -> LoggingOptions:
    changes: dict[str, Any] = {}
    changes.update({key: flags.text(key) for key in ("log_file", "remote_syslog") if key in flags})
    changes.update({key: flags.number(key) for key in ("log_size_limit", "max_traced_msg_len") if key in flags})
    for key, fields in _LOG_SWITCHES.items():
        if key in flags:
            changes.update(dict.fromkeys(fields, flags.is_on(key)))
    return replace(logging, **changes)


def _jetstream(flags: Flags, jetstream: JetStreamOptions | None) -> JetStreamOptions | None:
    if "jetstream" in flags:
        jetstream = (jetstream or JetStreamOptions()) if flags.is_on("jetstream") else None
    if "store_dir" in flags and jetstream is not None:
        jetstream = replace(jetstream, store_dir=flags.text("store_dir"))
    return jetstream


def _monitor(flags: Flags, monitor: MonitorOptions) -> MonitorOptions:
    if "http_port" in flags:
        monitor = replace(monitor, port=flags.number("http_port"))
    if "https_port" in flags:
        monitor = replace(monitor, https_port=flags.number("https_port"))
    return monitor


def _with_credentials(flags: Flags, options: Options) -> Options:
    """The single user or token. A server that was told of a password never starts without asking for it."""
    authorization = replace(
        options.authorization,
        user=flags.text("user", options.authorization.user),
        password=flags.text("password", options.authorization.password),
        token=flags.text("token", options.authorization.token),
    )
    if authorization.password and not authorization.user:
        raise _problem("a password needs a user: give -user beside -pass")
    if authorization.user and authorization.token:
        raise _problem("Cannot have a user/pass and token")
    if authorization.users or any(account.users for account in options.accounts):
        kind = "token" if authorization.token else "single user/pass"
        raise _problem(f"Can not have a {kind} and a users array: the configuration file names users")
    return replace(options, authorization=authorization)


def _tls(flags: Flags, configured: TLSOptions | None) -> TLSOptions | None:
    """TLS with the certificate of the flags; versions, suites, pins and times stay as the file has them."""
    if "tls" in flags and not flags.is_on("tls"):
        return None
    certificate, key = flags.text("tls_certificate"), flags.text("tls_key")
    if not certificate:
        raise _problem("TLS Server certificate must be present and valid: give -tlscert")
    if not key:
        raise _problem("TLS Server private key must be present and valid: give -tlskey")
    return replace(
        configured or TLSOptions(),
        cert_file=certificate,
        key_file=key,
        certificates=(),
        ca_file=flags.text("tls_authority"),
        verify=flags.is_on("tls_verify"),
    )


def _problem(message: str) -> ConfigError:
    return ConfigError(Problem(message))
