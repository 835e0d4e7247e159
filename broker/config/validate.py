"""How options fit together: what a server checks before it starts, wherever its options come from.

Rules about operators, accounts and users belong to :mod:`auth.settings`.
"""

from __future__ import annotations

import socket
from collections import Counter

from accounts.account import Account
from accounts.exchange import import_problems
from broker.config.errors import ConfigError, Problem
from broker.config.options import Options, ResolverKind
from broker.config.resolver_block import is_account_server
from broker.config.values import MAX_SIZE


def validate(options: Options) -> None:
    """Checks that a server can start with these options.

    Raises:
        ConfigError: with every contradiction.
    """
    messages = [
        *_identity(options),
        *_limits(options),
        *_times(options),
        *_monitoring(options),
        *_revocation(options),
        *_websocket(options),
        *_unix(options),
        *_accounts(options),
        *_imports(options),
    ]
    if messages:
        raise ConfigError(*map(Problem, messages))


def _identity(options: Options) -> list[str]:
    messages = []
    if " " in options.server_name:
        messages.append("server name cannot contain spaces")
    if not -1 <= options.port <= 65535:
        messages.append(f"port must be from 1 to 65535, or -1 for a random port, not {options.port}")
    if options.client_advertise and not _is_address(options.client_advertise):
        messages.append(
            f"invalid ClientAdvertise value of {options.client_advertise}; write host or host:port, "
            "with an IPv6 host in brackets"
        )
    return messages


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        return bool(bracket) and len(host) > 1 and (not port or (port[0] == ":" and _is_port(port[1:])))
    if not colon:
        host, port = text, "1"
    return bool(host) and _is_port(port) and not any(character in host for character in ": /[]")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _limits(options: Options) -> list[str]:
    messages = [
        f"{name} must be from 1 to {MAX_SIZE} bytes, not {value}"
        for name, value in (("max_control_line", options.max_control_line), ("max_payload", options.max_payload))
        if not 0 < value <= MAX_SIZE
    ]
    if options.max_payload > options.max_pending:
        messages.append(
            f"max_payload ({options.max_payload}) cannot be higher than max_pending ({options.max_pending})"
        )
    if not 0 <= options.max_subscription_tokens <= 255:
        messages.append("max_subscription_tokens must be from 1 to 255, or 0 for no limit")
    return messages


def _times(options: Options) -> list[str]:
    messages = [
        f"{name} must be more than 0 seconds"
        for name, value in (
            ("ping_interval", options.ping_interval),
            ("write_deadline", options.write_deadline),
            ("authorization timeout", options.authorization_timeout),
            ("TLS timeout", options.tls.timeout if options.tls else 1.0),
            ("WebSocket TLS timeout", options.websocket.tls.timeout if options.websocket.tls else 1.0),
            ("WebSocket handshake_timeout", options.websocket.handshake_timeout),
            ("WebSocket ping_interval", options.websocket.ping_interval),
            ("WebSocket authorization timeout", options.websocket.authorization_timeout),
        )
        if value is not None and value <= 0
    ]
    grace, duration = options.lame_duck_grace_period, options.lame_duck_duration
    if grace < 0:
        messages.append("invalid lame_duck_grace_period, needs to be positive")
    if grace >= duration:
        messages.append(
            f"lame duck grace period ({duration_words(grace)}) should be strictly lower than "
            f"lame duck duration ({duration_words(duration)})"
        )
    return messages


def _monitoring(options: Options) -> list[str]:
    monitor = options.monitor
    messages = []
    if monitor.port and monitor.https_port:
        messages.append(f"can't specify both HTTP ({monitor.port}) and HTTPs ({monitor.https_port}) ports")
    elif monitor.https_port and options.tls is None:
        messages.append("TLS cert and key required for HTTPS")
    return messages


def _unix(options: Options) -> list[str]:
    unix = options.unix
    messages = []
    if unix.tls and options.tls is None:
        messages.append("tls of unix needs the tls of the clients; write a tls block")
    if unix.verify_and_map and not hasattr(socket, "SO_PEERCRED"):
        messages.append("verify_and_map of unix is not available: this system does not tell whose process a client is")
    return messages


def _revocation(options: Options) -> list[str]:
    """What is asked about the certificates of clients that show none."""
    messages = []
    for block, tls in (("tls", options.tls), ("tls of websocket", options.websocket.tls)):
        if tls is None or tls.verify or tls.verify_and_map:
            continue
        if tls.ocsp_peer.verify:
            messages.append(
                "OCSP peer verification for client connections requires TLS verify (mTLS) to be enabled; "
                f"set verify: true in {block}"
            )
        if tls.crl_files:
            messages.append(f"crl_files are about client certificates; set verify: true in {block}")
    return messages


def _websocket(options: Options) -> list[str]:
    websocket = options.websocket
    if not websocket.port:
        return []
    messages = []
    if websocket.tls is None and not websocket.no_tls:
        messages.append("websocket requires TLS configuration; write a tls block, or no_tls: true")
    if not -1 <= websocket.port <= 65535:
        messages.append(f"websocket port must be from 1 to 65535, or -1 for a random port, not {websocket.port}")
    if websocket.advertise and not _is_address(websocket.advertise):
        messages.append(f"invalid websocket advertise value of {websocket.advertise}; write host or host:port")
    if websocket.jwt_cookie and not (options.operators or options.trusted_keys):
        messages.append(
            "trusted operators or trusted keys configuration is required for JWT authentication via cookie "
            f'"{websocket.jwt_cookie}"'
        )
    if options.authorization.users or any(account.users for account in options.accounts):
        messages += [
            f"websocket authentication {name} not compatible with presence of users/nkeys"
            for name, value in (("username", websocket.user), ("token", websocket.token))
            if value
        ]
    return messages


def _accounts(options: Options) -> list[str]:
    resolver = options.resolver
    names = Counter(account.name for account in options.accounts)
    messages = [f"Duplicate Account Entry: {name}" for name in sorted(names) if names[name] > 1]
    if options.resolver_preload and (resolver is None or resolver.kind is ResolverKind.URL):
        messages.append("resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR")
    if resolver is not None and resolver.is_directory and not resolver.directory:
        messages.append("dir has no value and needs to point to a directory")
    if resolver is not None and resolver.kind is ResolverKind.URL and not is_account_server(resolver.url):
        messages.append("the URL of an account server starts with http:// or https:// and names a host")
    if resolver is not None and min(resolver.timeout, resolver.interval) <= 0:
        messages.append("timeout and interval of the resolver must be more than 0 seconds")
    return messages


def _imports(options: Options) -> list[str]:
    """Imports that no export permits. A file was checked when it was read, with the places of what is wrong."""
    if options.config_file or not any(account.imports for account in options.accounts):
        return []
    problems = import_problems(
        Account(account.name, exports=account.exports, imports=account.imports) for account in options.accounts
    )
    return [str(problem) for problem in problems]


def duration_words(seconds: float) -> str:
    """A duration as nats-server prints it: ``1h0m0s``, ``2m0s``, ``1.5s``, ``250ms``."""
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    if rest and rest < 1:
        for unit, scale in (("ms", 1e3), ("µs", 1e6), ("ns", 1e9)):
            if rest * scale >= 1 or unit == "ns":
                return f"{sign}{rest * scale:.9g}{unit}"
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    words = f"{rest:.9g}s"
    if minutes or hours:
        words = f"{minutes:.0f}m{words}"
    return f"{sign}{hours:.0f}h{words}" if hours else sign + words
