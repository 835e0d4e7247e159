"""The keys of the top level that set one option each: type, name of the option, and what it does."""

from __future__ import annotations

from typing import Final

from broker.config.options import UNLIMITED, Options, WriteTimeout
from broker.config.tree import Entry
from broker.config.values import (
    Problems,
    Reader,
    boolean,
    count,
    duration,
    duration_text,
    fail,
    integer,
    keys,
    late,
    listen,
    log_format,
    one_or_more,
    port,
    size,
    string,
    string_map,
    table,
)

_DEFAULTS: Final = Options()


def _default_for_zero(field: str, read: Reader) -> Reader:
    """A number of which 0 means the default."""
    return lambda entry, problems: read(entry, problems) or getattr(_DEFAULTS, field)


def _max_connections(entry: Entry, problems: Problems) -> int:
    """0 and negative numbers mean that there is no limit."""
    number = integer(entry, problems)
    return number if number > 0 else UNLIMITED


def _max_subscriptions(entry: Entry, problems: Problems) -> int:
    return max(integer(entry, problems), 0)


def _subscription_tokens(entry: Entry, problems: Problems) -> int:
    number = integer(entry, problems)
    if number > 255:
        raise fail(entry, f"{entry.key} value is too big")
    if number <= 0:
        raise fail(entry, f"{entry.key} value can not be negative; use 1 to 255, or leave it out for no limit")
    return number


def _server_name(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if " " in text:
        raise fail(entry, "server name cannot contain spaces")
    return text


def write_timeout(entry: Entry, problems: Problems) -> WriteTimeout:
    """What becomes of a connection whose writes take too long."""
    try:
        return WriteTimeout(string(entry, problems))
    except ValueError:
        raise fail(entry, "write_timeout must be 'default', 'close' or 'retry'") from None


def _lame_duck_duration(entry: Entry, problems: Problems) -> float:
    value = duration_text(entry, problems)
    if value < 30:
        raise fail(entry, f"invalid lame_duck_duration of {entry.value.content}, minimum is 30 seconds")
    return value


def _lame_duck_grace_period(entry: Entry, problems: Problems) -> float:
    value = duration_text(entry, problems)
    if value < 0:
        raise fail(entry, "invalid lame_duck_grace_period, needs to be positive")
    return value


def _system_account(entry: Entry, problems: Problems) -> str:
    if not isinstance(entry.value.content, str):
        raise fail(entry, "system account name must be a string; put it in quotes")
    return entry.value.content


def _feature_flags(entry: Entry, _: Problems) -> dict[str, bool]:
    flags: dict[str, bool] = {}
    for flag in table(entry):
        if not isinstance(flag.value.content, bool):
            kind = flag.value.kind
            raise fail(flag, f'error parsing feature flag "{flag.key}": expected bool, got {kind}')
        flags[flag.key] = flag.value.content
    return flags


_PORT: Final = "port; -1 is a free one"
_BYTES: Final = "bytes, such as `64KB`"
_DURATION: Final = "duration, such as `\"2m\"`"
_COUNT: Final = "number"

CLIENT_KEYS: Final = {
    **keys(
        "listen",
        field="listen",
        read=listen,
        kind="port, or `\"host:port\"`",
        doc="Where clients connect; sets `host` and `port` together. An IPv6 host stands in brackets.",
    ),
    **keys("host", "net", field="host", read=string, doc="Address to listen on for clients."),
    **keys(
        "port",
        field="port",
        read=_default_for_zero("port", port),
        kind=_PORT,
        doc="Port to listen on for clients; 0 is the default.",
    ),
    **keys(
        "server_name",
        field="server_name",
        read=_server_name,
        kind="string",
        default="the server's id",
        doc="Name that clients and monitoring see. No spaces.",
    ),
    **keys(
        "client_advertise",
        field="client_advertise",
        read=string,
        kind="`host` or `host:port`",
        doc="Address that INFO tells clients in place of the one listened on.",
    ),
    **keys(
        "proxy_protocol",
        field="proxy_protocol",
        read=late("proxy_block", "proxy_protocol"),
        kind="boolean, or map",
        default="`false`",
        doc="Proxies before this port say where clients come from, by the PROXY protocol 1 or 2. `true` trusts those "
        "on loopback, private and link-local addresses; the map is natskeep's own.",
    ),
    **keys(
        "max_connections",
        "max_conn",
        field="max_connections",
        read=_max_connections,
        kind=_COUNT,
        doc="Clients at one time; 0 and below is unlimited. A reload closes those that are too many.",
    ),
    **keys(
        "max_control_line",
        field="max_control_line",
        read=_default_for_zero("max_control_line", size),
        kind=_BYTES,
        doc="Longest protocol line, without the payload; a client that sends a longer one is closed.",
    ),
    **keys(
        "max_payload",
        field="max_payload",
        read=_default_for_zero("max_payload", size),
        kind=_BYTES,
        doc="Largest message, headers included; not above `max_pending`. A client that sends a larger one is closed.",
    ),
    **keys(
        "max_pending",
        field="max_pending",
        read=_default_for_zero("max_pending", count),
        kind=_BYTES,
        doc="What may wait for one client; beyond that it is closed as a slow consumer.",
    ),
    **keys(
        "max_subscriptions",
        "max_subs",
        field="max_subscriptions",
        read=_max_subscriptions,
        kind=_COUNT,
        doc="Subscriptions of one connection; 0 and below is unlimited.",
    ),
    **keys(
        "max_subscription_tokens",
        "max_sub_tokens",
        field="max_subscription_tokens",
        read=_subscription_tokens,
        kind="number from 1 to 255",
        default="unlimited",
        doc="Tokens that the subject of a subscription may have.",
    ),
    **keys(
        "max_closed_clients",
        field="max_closed_clients",
        read=_default_for_zero("max_closed_clients", count),
        kind=_COUNT,
        doc="Closed connections that `/connz` remembers.",
    ),
    **keys("no_header_support", field="no_header_support", read=boolean, doc="Refuse messages with headers."),
    **keys(
        "no_fast_producer_stall",
        field="no_fast_producer_stall",
        read=boolean,
        doc="Never pause a publisher whose receivers lag; rather close the receivers.",
    ),
    **keys(
        "disable_sublist_cache",
        "no_sublist_cache",
        field="disable_sublist_cache",
        read=boolean,
        doc="Without effect: what is kept of a subject is dropped with every change that concerns it.",
    ),
    **keys(
        "ping_interval",
        field="ping_interval",
        read=_default_for_zero("ping_interval", duration),
        kind=_DURATION,
        doc="Time between two PINGs to a client.",
    ),
    **keys(
        "ping_max",
        field="ping_max",
        read=_default_for_zero("ping_max", count),
        kind=_COUNT,
        doc="PINGs that may stay unanswered before the connection is closed as stale.",
    ),
    **keys(
        "write_deadline",
        field="write_deadline",
        read=_default_for_zero("write_deadline", duration),
        kind=_DURATION,
        doc="How long a write to a client may take.",
    ),
    **keys(
        "write_timeout",
        field="write_timeout",
        read=write_timeout,
        kind="`default`, `close` or `retry`",
        doc="What happens to a client that misses `write_deadline`: it is closed, or the write goes on. The default "
        "closes clients.",
    ),
    **keys(
        "lame_duck_duration",
        field="lame_duck_duration",
        read=_lame_duck_duration,
        kind="duration in quotes, from 30 s",
        doc="Over how long a server that is about to stop spreads the closing of its clients.",
    ),
    **keys(
        "lame_duck_grace_period",
        field="lame_duck_grace_period",
        read=_lame_duck_grace_period,
        kind="duration in quotes",
        doc="How long it waits before it closes the first; shorter than `lame_duck_duration`.",
    ),
    **keys(
        "allow_non_tls",
        field="allow_non_tls",
        read=boolean,
        doc="Let clients stay in the clear though `tls` is set.",
    ),
    **keys(
        "no_auth_user",
        field="no_auth_user",
        read=string,
        kind="name of a user",
        doc="Who a client is that shows no credentials.",
    ),
    **keys(
        "system_account",
        "system",
        field="system_account",
        read=_system_account,
        kind="name or public key of an account",
        default="`$SYS`",
        doc="The account that server events and requests belong to.",
    ),
    **keys(
        "no_system_account",
        "no_system",
        "no_sys_acc",
        field="no_system_account",
        read=boolean,
        doc="Have no system account.",
    ),
    **keys(
        "default_sentinel",
        field="default_sentinel",
        read=string,
        kind="bearer JWT of a user",
        doc="Operator mode: who a client is that brings no JWT.",
    ),
    **keys("pid_file", "pidfile", field="pid_file", read=string, kind="path", doc="File to write the process id to."),
    **keys(
        "ports_file_dir",
        field="ports_file_dir",
        read=string,
        kind="path",
        doc="Directory for a JSON file that tells the addresses listened on.",
    ),
    **keys("server_tags", field="server_tags", read=one_or_more, doc="Tags that monitoring shows."),
    **keys(
        "server_metadata",
        field="server_metadata",
        read=string_map,
        kind="map of strings",
        doc="Names with values that monitoring shows.",
    ),
    **keys(
        "feature_flags",
        field="feature_flags",
        read=_feature_flags,
        kind="map of booleans",
        doc="Flags of nats-server's own features, which monitoring shows.",
    ),
    **keys(
        "connect_error_reports",
        field="connect_error_reports",
        read=integer,
        kind=_COUNT,
        doc="Without effect in this version, which connects to no other server.",
    ),
    **keys(
        "reconnect_error_reports",
        field="reconnect_error_reports",
        read=integer,
        kind=_COUNT,
        doc="Without effect in this version, which connects to no other server.",
    ),
}
"""Keys that set a field of :class:`~broker.config.options.Options` directly; ``listen`` sets host and port."""

LOGGING_KEYS: Final = {
    **keys("debug", field="logging.debug", read=boolean, doc="Log what helps to find faults."),
    **keys("trace", field="logging.trace", read=boolean, doc="Log the protocol, with secrets left out."),
    **keys(
        "trace_verbose",
        field="logging.trace_verbose",
        read=boolean,
        doc="Trace the system account too; turns `trace` on where that is not set.",
    ),
    **keys(
        "trace_headers",
        field="logging.trace_headers",
        read=boolean,
        doc="Trace headers and leave payloads out; turns `trace` on where that is not set.",
    ),
    **keys("logtime", field="logging.logtime", read=boolean, doc="Put the time in front of each line."),
    **keys("logtime_utc", field="logging.logtime_utc", read=boolean, doc="Write that time in UTC."),
    **keys(
        "log_format",
        field="logging.log_format",
        read=log_format,
        kind="`text` or `json`",
        doc="`text` writes the lines of nats-server, `json` one object a line. natskeep only.",
    ),
    **keys("syslog", field="logging.syslog", read=boolean, doc="Log to the syslog of this machine."),
    **keys(
        "remote_syslog",
        field="logging.remote_syslog",
        read=string,
        kind="URL",
        doc="Log to the syslog at `udp://host:port`, `tcp://host:port` or `unix:///path`.",
    ),
    **keys(
        "log_file",
        "logfile",
        field="logging.log_file",
        read=string,
        kind="path",
        default="standard error",
        doc="File to log to.",
    ),
    **keys(
        "log_size_limit",
        "logfile_size_limit",
        field="logging.log_size_limit",
        read=count,
        kind=_BYTES,
        doc="Size at which a new log file is begun; 0 is never.",
    ),
    **keys(
        "log_max_num",
        "logfile_max_num",
        field="logging.log_max_num",
        read=count,
        kind=_COUNT,
        doc="Log files that are kept; 0 is all.",
    ),
    **keys(
        "max_traced_msg_len",
        field="logging.max_traced_msg_len",
        read=count,
        kind=_BYTES,
        doc="How much of a payload a trace shows; 0 is all.",
    ),
}
"""Keys of :class:`~broker.config.options.LoggingOptions`."""

MONITOR_KEYS: Final = {
    **keys(
        "http",
        field="monitor.http",
        read=listen,
        kind="port, or `\"host:port\"`",
        doc="Where monitoring answers HTTP.",
    ),
    **keys(
        "https",
        field="monitor.https",
        read=listen,
        kind="port, or `\"host:port\"`",
        doc="Where monitoring answers HTTPS, with the certificate of `tls`; excludes `http`.",
    ),
    **keys(
        "http_port",
        "monitor_port",
        field="monitor.port",
        read=port,
        kind=_PORT,
        doc="The port alone; the host is that of the clients. 0 is off.",
    ),
    **keys("https_port", field="monitor.https_port", read=port, kind=_PORT, doc="The same for HTTPS."),
    **keys(
        "http_base_path",
        field="monitor.base_path",
        read=string,
        kind="path",
        doc="What all pages of monitoring stand under.",
    ),
    **keys(
        "dashboard",
        field="monitor.dashboard",
        read=boolean,
        doc="Pages for people under `/ui` of monitoring, read-only.",
    ),
    **keys(
        "monitor_access",
        field="monitor.access",
        read=late("access_block", "monitor_access"),
        kind="map",
        default="everybody",
        doc="Who may look at monitoring: without a token of this block nobody sees more than `/healthz`.",
    ),
}
"""Keys of :class:`~broker.config.options.MonitorOptions`; ``http`` and ``https`` set host and port."""

IGNORED_KEYS: Final = {
    **keys("prof_block_rate", read=integer, kind=_COUNT, doc="Tunes profiling."),
}
"""Keys that only tune parts which this version does not have: checked, without effect."""
