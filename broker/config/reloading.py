"""What a reload takes: for each option, whether a new value applies to a running server, to whom, and how it is told.

The names are those of nats-server, since scripts look for them in its log. What stands in no row needs a restart, so
that a new option is refused rather than half applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import reduce
from typing import Any, Final

from broker.config.options import (
    JetStreamOptions,
    Options,
    ResolverKind,
    ResolverOptions,
    TLSOptions,
    WebSocketOptions,
    WriteTimeout,
)
from broker.config.validate import duration_words


class Takes(Enum):
    """Whom a reloaded value reaches."""

    ALL = "open connections too"
    NEW = "connections made from then on"
    SERVER = "the server itself"
    RESTART = "nobody before a restart: the reload is refused"


Show = Callable[[object], str]


def _plain(value: object) -> str:
    """A value as nats-server prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{value[key]}' for key in sorted(value))}]"
    if isinstance(value, tuple | frozenset):
        return f"[{' '.join(sorted(map(str, value)))}]"
    return str(value)


def _seconds(value: object) -> str:
    assert isinstance(value, int | float)
    return duration_words(value)


def _optional_seconds(value: object) -> str:
    return "" if value is None else _seconds(value)


def _write_timeout(value: object) -> str:
    return value.value if isinstance(value, WriteTimeout) and value is not WriteTimeout.DEFAULT else ""


def _base_path(value: object) -> str:
    return "" if value == "/" else str(value)


def _resolver_kind(value: object) -> str:
    assert isinstance(value, ResolverKind)
    return value.value


def _octal(value: object) -> str:
    assert isinstance(value, int)
    return f"{value:04o}"


def _without_password(url: object) -> str:
    return re.sub(r"//.*@", "//…@", str(url))


def _count(noun: str) -> Show:
    def show(value: object) -> str:
        assert isinstance(value, tuple | frozenset)
        return f"{len(value)} {noun}"

    return show


@dataclass(frozen=True, slots=True)
class Rule:
    """What a reload does with one option."""

    path: str
    """Where it stands in Options, with dots between the levels; a property of Options where several fields make it."""
    takes: Takes
    name: str
    """What nats-server calls it: the option's name in its log, or the field that it says it does not support."""
    show: Show | None = _plain
    """Writes a value; None where it would be long, or a secret."""
    line: str = "Reloaded: {name} = {value}"
    """What the log says of a new value."""
    refuses: Callable[[object, object], str] | None = None
    """What a reload is not supported for that makes the second value of the first; empty where it takes that."""


_SILENT: Final = "Reloaded: {name}"


def _is_less(old: object, new: object) -> str:
    """What streams were promised is not taken from them; and nobody knows how much that is where it was not said."""
    assert isinstance(old, int)
    assert isinstance(new, int)
    if min(old, new) < 0:
        return "jetstream dynamic max memory and store"
    return "decreasing jetstream max memory and store" if new < old else ""


WEBSOCKET_FIELDS: Final = tuple(one.name for one in fields(WebSocketOptions))

_WEBSOCKET_RELOADED: Final = frozenset({"tls", "proxy_protocol"})


def _restart(path: str, name: str, show: Show | None = _plain) -> Rule:
    return Rule(path, Takes.RESTART, name, show)


RULES: Final = (
    _restart("server_name", "ServerName"),
    _restart("host", "Host"),
    _restart("port", "Port"),
    Rule("client_advertise", Takes.NEW, "client_advertise", line="Reload: {name} = {value}"),
    Rule("logging.trace", Takes.ALL, "trace"),
    Rule("logging.debug", Takes.SERVER, "debug"),
    Rule("logging.trace_verbose", Takes.ALL, "trace_verbose"),
    Rule("logging.trace_headers", Takes.ALL, "trace_headers"),
    _restart("disable_sublist_cache", "NoSublistCache"),
    _restart("no_header_support", "NoHeaderSupport"),
    Rule("logging.logtime", Takes.SERVER, "logtime"),
    Rule("logging.logtime_utc", Takes.SERVER, "logtime_utc"),
    Rule("logging.log_format", Takes.SERVER, "log_format"),
    Rule("proxy_protocol", Takes.NEW, "proxy_protocol", lambda proxy: "disabled" if proxy is None else "enabled"),
    Rule("max_connections", Takes.ALL, "max_connections"),
    _restart("max_subscriptions", "MaxSubs"),
    _restart("max_subscription_tokens", "MaxSubTokens"),
    Rule("authorization.nkeys", Takes.ALL, "authorization nkey users", None, _SILENT),
    Rule("authorization.password_users", Takes.ALL, "authorization users", None, _SILENT),
    Rule("authorization.default_permissions", Takes.ALL, "authorization default permissions", None, _SILENT),
    Rule("authorization.callout", Takes.ALL, "authorization callout", None, _SILENT),
    Rule("authenticator", Takes.ALL, "authenticator", None, _SILENT),
    Rule("authorization.declared", Takes.ALL, "authorization", None, _SILENT),
    Rule("accounts", Takes.ALL, "accounts", None, _SILENT),
    Rule("mappings", Takes.ALL, "mappings", None, _SILENT),
    _restart("no_auth_user", "NoAuthUser"),
    Rule("default_sentinel", Takes.ALL, "default_sentinel", None, _SILENT),
    _restart("system_account", "SystemAccount"),
    _restart("no_system_account", "NoSystemAccount"),
    Rule("authorization.user", Takes.ALL, "authorization username", None, _SILENT),
    Rule("authorization.password", Takes.ALL, "authorization password", None, _SILENT),
    _restart("authorization.proxy_required", "ProxyRequired"),
    Rule("authorization.token", Takes.ALL, "authorization token", None, _SILENT),
    Rule("ping_interval", Takes.ALL, "ping_interval", _seconds),
    Rule("ping_max", Takes.ALL, "ping_max"),
    _restart("monitor.host", "HTTPHost"),
    _restart("monitor.port", "HTTPPort"),
    _restart("monitor.base_path", "HTTPBasePath", _base_path),
    _restart("monitor.https_port", "HTTPSPort"),
    Rule("monitor.dashboard", Takes.SERVER, "dashboard"),
    Rule("monitor.access", Takes.SERVER, "monitor_access", None, _SILENT),
    Rule("authorization_timeout", Takes.NEW, "authorization timeout"),
    Rule("max_control_line", Takes.ALL, "max_control_line"),
    Rule("max_payload", Takes.ALL, "max_payload"),
    _restart("max_pending", "MaxPending"),
    Rule("no_fast_producer_stall", Takes.ALL, "no_fast_producer_stall", lambda off: "not " if off else "",
         "Reloaded: fast producers will {value}be stalled"),
    Rule("admission", Takes.NEW, "admission", None, _SILENT),
    _restart("audit", "Audit", None),
    Rule("jetstream", Takes.SERVER, "JetStream", None, _SILENT),
    Rule("jetstream.max_memory", Takes.SERVER, "JetStream max_mem_store", refuses=_is_less),
    Rule("jetstream.max_store", Takes.SERVER, "JetStream max_file_store", refuses=_is_less),
    _restart("jetstream.store_dir", "jetstream storage directory"),
    _restart("jetstream.domain", "JetStreamDomain"),
    _restart("jetstream.strict", "NoJetStreamStrict"),
    Rule("jetstream.key", Takes.SERVER, "JetStream key", None, _SILENT),
    Rule("jetstream.previous_key", Takes.SERVER, "JetStream prev_key", None, _SILENT),
    Rule("jetstream.key_command", Takes.SERVER, "JetStream key_command", None, _SILENT),
    Rule("jetstream.key_timeout", Takes.SERVER, "JetStream key_timeout", _seconds),
    _restart("jetstream.key_dir", "JetStreamKeyDir"),
    _restart("jetstream.cipher", "JetStreamCipher"),
    _restart("jetstream.ceilings", "JetStreamLimits", str),
    Rule("pid_file", Takes.SERVER, "pid_file"),
    Rule("ports_file_dir", Takes.SERVER, "ports_file_dir"),
    Rule("logging.log_file", Takes.SERVER, "log_file"),
    _restart("logging.log_size_limit", "LogSizeLimit"),
    _restart("logging.log_max_num", "LogMaxFiles"),
    Rule("logging.syslog", Takes.SERVER, "syslog"),
    Rule("logging.remote_syslog", Takes.SERVER, "remote_syslog"),
    Rule("tls.timeout", Takes.NEW, "tls timeout"),
    Rule("tls", Takes.NEW, "tls", lambda tls: "disabled" if tls is None else "enabled"),
    _restart("tls.verify_and_map", "TLSMap"),
    _restart("allow_non_tls", "AllowNonTLS"),
    Rule("tls.handshake_first", Takes.NEW, "handshake_first", lambda first: _plain(first is not False),
         "Reloaded: Client TLS handshake first: {value}"),
    _restart("tls.connection_rate_limit", "TLSRateLimit"),
    Rule("tls.watch", Takes.SERVER, "tls watch", _seconds),
    Rule("tls.expiry_warning", Takes.SERVER, "tls expiry_warning", _optional_seconds),
    Rule("ocsp", Takes.ALL, "OCSP", None, _SILENT),
    Rule("ocsp_cache", Takes.SERVER, "OCSP peer cache", None, "Reloaded {name}"),
    Rule("store_dir", Takes.SERVER, "store_dir"),
    Rule("tls.pinned_certs", Takes.ALL, "pinned_certs", _count("pinned_certs"), "Reloaded: {value}"),
    Rule("websocket.tls", Takes.NEW, "websocket tls", None, _SILENT),
    Rule("websocket.proxy_protocol", Takes.NEW, "websocket proxy_protocol", None, _SILENT),
    *(_restart(f"websocket.{name}", "Websocket", None) for name in WEBSOCKET_FIELDS if name not in _WEBSOCKET_RELOADED),
    Rule("unix.path", Takes.NEW, "unix path"),
    Rule("unix.mode", Takes.NEW, "unix mode", _octal),
    Rule("unix.group", Takes.NEW, "unix group"),
    Rule("unix.verify_and_map", Takes.ALL, "unix verify_and_map"),
    Rule("unix.tls", Takes.NEW, "unix tls"),
    Rule("write_deadline", Takes.ALL, "write_deadline", _seconds),
    _restart("write_timeout", "WriteTimeout", _write_timeout),
    _restart("max_closed_clients", "MaxClosedClients"),
    _restart("lame_duck_duration", "LameDuckDuration", _seconds),
    _restart("lame_duck_grace_period", "LameDuckGracePeriod", _seconds),
    Rule("logging.max_traced_msg_len", Takes.ALL, "max_traced_msg_len"),
    _restart("trusted_keys", "TrustedKeys"),
    Rule("operators", Takes.ALL, "TrustedOperators", _count("operators"), "Reloaded: operators"),
    _restart("resolver", "AccountResolver", None),
    _restart("resolver.kind", "AccountResolver kind", _resolver_kind),
    _restart("resolver.url", "AccountResolver url", _without_password),
    _restart("resolver.directory", "AccountResolver dir"),
    Rule("resolver.allow_delete", Takes.SERVER, "resolver allow_delete"),
    Rule("resolver.hard_delete", Takes.SERVER, "resolver hard_delete"),
    Rule("resolver.limit", Takes.SERVER, "resolver limit"),
    Rule("resolver.ttl", Takes.SERVER, "resolver ttl", _seconds),
    Rule("resolver.interval", Takes.SERVER, "resolver interval", _seconds),
    Rule("resolver.timeout", Takes.SERVER, "resolver timeout", _seconds),
    Rule("resolver_tls", Takes.SERVER, "resolver_tls", None, _SILENT),
    Rule("resolver_preload", Takes.ALL, "resolver_preload", None, _SILENT),
    _restart("resolver_pinned_accounts", "ResolverPinnedAccounts"),
    Rule("reconnect_error_reports", Takes.SERVER, "reconnect_error_reports"),
    Rule("connect_error_reports", Takes.SERVER, "connect_error_reports"),
    Rule("server_tags", Takes.SERVER, "tags", None, _SILENT),
    Rule("server_metadata", Takes.SERVER, "metadata", None, _SILENT),
    _restart("feature_flags", "FeatureFlags"),
)
"""One row for each option, in the order in which nats-server looks for differences."""

MEANINGLESS: Final = frozenset({"config_file", "config_digest", "authorization.timeout", "authorization.users"})
"""What says where options come from, and fields that rows show in another form."""


def value_at(options: Options, path: str) -> object:
    """The value of an option.

    Of `tls` as a whole it is what the rows of its single fields leave, of `resolver` whether there is none, of
    `jetstream` whether there is any; a block that is not there has their defaults.
    """
    first, _, rest = path.partition(".")
    if path == "tls":
        return None if options.tls is None else replace(options.tls, **_TLS_FIELDS)
    if first == "tls":
        return getattr(options.tls or TLSOptions(), rest)
    if path == "jetstream":
        return options.jetstream is not None
    if first == "jetstream":
        return getattr(options.jetstream or JetStreamOptions(), rest)
    if path == "resolver":
        return options.resolver is None
    if first == "resolver":
        return getattr(options.resolver or ResolverOptions(), rest)
    return reduce(getattr, path.split("."), options)


_TLS_FIELDS: Final[Mapping[str, Any]] = {
    rule.path.removeprefix("tls."): getattr(TLSOptions(), rule.path.removeprefix("tls."))
    for rule in RULES
    if rule.path.startswith("tls.")
}
