"""Every key that a configuration file may hold at its top level: what it sets, or which part of the server it awaits.

Keys of parts that this version does not have are refused with the name of the part, unless their value asks for nothing
(``jetstream: disabled``, an empty block), so that no file seems to work while half of it is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.config.errors import Problem
from broker.config.options import UNLIMITED, Options, WriteTimeout
from broker.config.tree import Entry, Table
from broker.config.values import (
    Key,
    Problems,
    Reader,
    boolean,
    count,
    duration,
    duration_text,
    fail,
    integer,
    listen,
    log_format,
    one_or_more,
    port,
    size,
    string,
    string_map,
    table,
    wrong_type,
)

_DEFAULTS: Final = Options()


def _default_for_zero(field: str, read: Reader) -> Key:
    """A number of which 0 means the default."""
    return Key(field, lambda entry, problems: read(entry, problems) or getattr(_DEFAULTS, field))


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


def _write_timeout(entry: Entry, problems: Problems) -> WriteTimeout:
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


def _feature_flags(entry: Entry, _: Problems) -> None:
    for flag in table(entry):
        if not isinstance(flag.value.content, bool):
            kind = flag.value.kind
            raise fail(flag, f'error parsing feature flag "{flag.key}": expected bool, got {kind}')


def _keys(*names: str, key: Key) -> dict[str, Key]:
    return dict.fromkeys(names, key)


CLIENT_KEYS: Final = {
    **_keys("listen", key=Key("listen", listen)),
    **_keys("host", "net", key=Key("host", string)),
    **_keys("port", key=_default_for_zero("port", port)),
    **_keys("server_name", key=Key("server_name", _server_name)),
    **_keys("client_advertise", key=Key("client_advertise", string)),
    **_keys("max_connections", "max_conn", key=Key("max_connections", _max_connections)),
    **_keys("max_control_line", key=_default_for_zero("max_control_line", size)),
    **_keys("max_payload", key=_default_for_zero("max_payload", size)),
    **_keys("max_pending", key=_default_for_zero("max_pending", count)),
    **_keys("max_subscriptions", "max_subs", key=Key("max_subscriptions", _max_subscriptions)),
    **_keys("max_subscription_tokens", "max_sub_tokens", key=Key("max_subscription_tokens", _subscription_tokens)),
    **_keys("max_closed_clients", key=_default_for_zero("max_closed_clients", count)),
    **_keys("no_header_support", key=Key("no_header_support", boolean)),
    **_keys("no_fast_producer_stall", key=Key("no_fast_producer_stall", boolean)),
    **_keys("disable_sublist_cache", "no_sublist_cache", key=Key("disable_sublist_cache", boolean)),
    **_keys("ping_interval", key=_default_for_zero("ping_interval", duration)),
    **_keys("ping_max", key=_default_for_zero("ping_max", count)),
    **_keys("write_deadline", key=_default_for_zero("write_deadline", duration)),
    **_keys("write_timeout", key=Key("write_timeout", _write_timeout)),
    **_keys("lame_duck_duration", key=Key("lame_duck_duration", _lame_duck_duration)),
    **_keys("lame_duck_grace_period", key=Key("lame_duck_grace_period", _lame_duck_grace_period)),
    **_keys("allow_non_tls", key=Key("allow_non_tls", boolean)),
    **_keys("no_auth_user", key=Key("no_auth_user", string)),
    **_keys("system_account", "system", key=Key("system_account", _system_account)),
    **_keys("no_system_account", "no_system", "no_sys_acc", key=Key("no_system_account", boolean)),
    **_keys("default_sentinel", key=Key("default_sentinel", string)),
    **_keys("pid_file", "pidfile", key=Key("pid_file", string)),
    **_keys("ports_file_dir", key=Key("ports_file_dir", string)),
    **_keys("server_tags", key=Key("server_tags", one_or_more)),
    **_keys("server_metadata", key=Key("server_metadata", string_map)),
    **_keys("connect_error_reports", key=Key("connect_error_reports", integer)),
    **_keys("reconnect_error_reports", key=Key("reconnect_error_reports", integer)),
}
"""Keys that set a field of :class:`~broker.config.options.Options` directly; ``listen`` sets host and port."""

LOGGING_KEYS: Final = {
    **{key: Key(f"logging.{key}", boolean) for key in ("debug", "trace", "logtime", "logtime_utc", "syslog")},
    **{key: Key(f"logging.{key}", boolean) for key in ("trace_verbose", "trace_headers")},
    **_keys("log_format", key=Key("logging.log_format", log_format)),
    **_keys("remote_syslog", key=Key("logging.remote_syslog", string)),
    **_keys("log_file", "logfile", key=Key("logging.log_file", string)),
    **_keys("log_size_limit", "logfile_size_limit", key=Key("logging.log_size_limit", count)),
    **_keys("log_max_num", "logfile_max_num", key=Key("logging.log_max_num", count)),
    **_keys("max_traced_msg_len", key=Key("logging.max_traced_msg_len", count)),
}
"""Keys of :class:`~broker.config.options.LoggingOptions`."""

MONITOR_KEYS: Final = {
    **_keys("http", key=Key("monitor.http", listen)),
    **_keys("https", key=Key("monitor.https", listen)),
    **_keys("http_port", "monitor_port", key=Key("monitor.port", port)),
    **_keys("https_port", key=Key("monitor.https_port", port)),
    **_keys("http_base_path", key=Key("monitor.base_path", string)),
}
"""Keys of :class:`~broker.config.options.MonitorOptions`; ``http`` and ``https`` set host and port."""

IGNORED_KEYS: Final = {
    "feature_flags": Key("ignored", _feature_flags),
    "prof_block_rate": Key("ignored", integer),
    **_keys("store_dir", "storedir", key=Key("ignored", string)),
}
"""Keys that only tune parts which this version does not have: checked, without effect."""


_LISTEN: Final = frozenset({"listen", "host", "net", "port"})
_DEADLINES: Final = frozenset({"write_deadline", "write_timeout"})
_CLUSTER: Final = (
    _LISTEN
    | _DEADLINES
    | {
        "name",
        "authorization",
        "routes",
        "tls",
        "advertise",
        "cluster_advertise",
        "no_advertise",
        "connect_retries",
        "connect_backoff",
        "permissions",
        "pool_size",
        "accounts",
        "compression",
        "ping_interval",
        "ping_max",
    }
)
_GATEWAY: Final = (
    _LISTEN
    | _DEADLINES
    | {
        "name",
        "authorization",
        "tls",
        "advertise",
        "connect_retries",
        "connect_backoff",
        "gateways",
        "reject_unknown",
        "reject_unknown_cluster",
    }
)
_LEAFNODES: Final = (
    _LISTEN
    | _DEADLINES
    | {
        "authorization",
        "remotes",
        "reconnect",
        "reconnect_delay",
        "reconnect_interval",
        "dial_timeout",
        "tls",
        "advertise",
        "leafnode_advertise",
        "no_advertise",
        "min_version",
        "minimum_version",
        "compression",
        "isolate_leafnode_interest",
        "isolate",
    }
)
_WEBSOCKET: Final = _LISTEN | {
    "advertise",
    "no_tls",
    "tls",
    "same_origin",
    "allowed_origins",
    "allowed_origin",
    "allow_origins",
    "allow_origin",
    "origins",
    "origin",
    "handshake_timeout",
    "compression",
    "compress",
    "authorization",
    "authentication",
    "jwt_cookie",
    "user_cookie",
    "pass_cookie",
    "token_cookie",
    "no_auth_user",
    "headers",
    "ping_interval",
}
_MQTT: Final = _LISTEN | {
    "tls",
    "authorization",
    "authentication",
    "no_auth_user",
    "ack_wait",
    "ackwait",
    "js_api_timeout",
    "api_timeout",
    "max_ack_pending",
    "max_pending",
    "max_inflight",
    "js_domain",
    "stream_replicas",
    "consumer_replicas",
    "consumer_memory_storage",
    "consumer_inactive_threshold",
    "consumer_auto_cleanup",
    "reject_qos2_publish",
    "downgrade_qos2_subscribe",
}
_JETSTREAM: Final = frozenset(
    {
        "strict",
        "store_dir",
        "store",
        "storedir",
        "sync_interval",
        "sync",
        "max_memory_store",
        "max_mem_store",
        "max_mem",
        "max_file_store",
        "max_file",
        "domain",
        "enabled",
        "enable",
        "key",
        "ek",
        "encryption_key",
        "prev_key",
        "prev_ek",
        "prev_encryption_key",
        "cipher",
        "extension_hint",
        "limits",
        "tpm",
        "unique_tag",
        "max_outstanding_catchup",
        "max_buffered_size",
        "max_buffered_msgs",
        "request_queue_limit",
        "info_queue_limit",
        "meta_compact",
        "meta_compact_size",
        "meta_compact_sync",
        "max_concurrent_io",
    }
)

ABSENT_BLOCKS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "cluster": ("clustering", _CLUSTER),
    "gateway": ("gateways", _GATEWAY),
    **dict.fromkeys(("leafnodes", "leaf"), ("leafnodes", _LEAFNODES)),
    **dict.fromkeys(("websocket", "ws"), ("WebSocket", _WEBSOCKET)),
    "mqtt": ("MQTT", _MQTT),
    "jetstream": ("JetStream", _JETSTREAM),
}
"""Blocks of parts that this version does not have: the part, and the keys that the block may hold."""

ABSENT_KEYS: Final = {
    "proxies": "trusted proxies",
    "proxy_protocol": "the PROXY protocol",
    "ocsp": "OCSP",
    "ocsp_cache": "OCSP",
    "prof_port": "profiling",
    "resolver_tls": "the URL account resolver",
    "default_js_domain": "JetStream",
}
"""Other keys of parts that this version does not have."""

_NOTHING: Final = frozenset({"", "disabled", "disable", "never"})


def refuse_absent(entry: Entry, part: str) -> None:
    """Refuses a key of a part that this version does not have, unless its value asks for nothing.

    Raises:
        ConfigError: the part is asked for.
    """
    content = entry.value.content
    nothing = content.lower() in _NOTHING if isinstance(content, str) else not content
    if isinstance(content, Table | list):
        nothing = not len(content)
    if not nothing:
        raise fail(entry, f'field "{entry.key}" needs {part}, which is not available in this version; remove it')


def refuse_absent_block(entry: Entry, problems: Problems) -> None:
    """Refuses the block of a part that this version does not have, and names the keys in it that are unknown anyway.

    Raises:
        ConfigError: the part is asked for.
    """
    part, known = ABSENT_BLOCKS[entry.key.lower()]
    content = entry.value.content
    if isinstance(content, Table):
        for item in content:
            if item.key.lower() not in known and not item.used:
                problems.errors.append(Problem(f'unknown field "{item.key}"', item.position))
        # Without a port, these two are off; so is JetStream where it says so.
        entries = {item.key.lower(): item.value.content for item in content}
        if part in {"WebSocket", "MQTT"} and entries.keys().isdisjoint({"port", "listen"}):
            return
        if part == "JetStream" and (entries.get("enabled") is False or entries.get("enable") is False):
            return
    elif part != "JetStream":
        raise wrong_type(entry, "a map in braces")
    elif isinstance(content, str) and content.lower() not in {"enabled", "enable", "disabled", "disable"}:
        raise fail(entry, f"Expected 'enabled' or 'disabled' for string value, got '{content}'")
    refuse_absent(entry, part)
