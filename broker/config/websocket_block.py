"""The ``websocket`` block: clients over WebSocket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from broker.config.errors import ConfigError
from broker.config.options import ANY_ADDRESS, DEFAULT_UPGRADE_TIMEOUT, WebSocketOptions
from broker.config.parts.common import block, listen_keys
from broker.config.proxy_block import proxy_protocol
from broker.config.tls_block import tls
from broker.config.tree import Entry, Table
from broker.config.values import (
    Keys,
    Problems,
    boolean,
    duration,
    fail,
    keys,
    positioned_strings,
    read_block,
    seconds_of,
    string,
    wrong_type,
)

_RESERVED_HEADERS: Final = frozenset({"host", "content-length", "connection", "upgrade", "nats-no-masking"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def websocket(entry: Entry, problems: Problems) -> WebSocketOptions:
    """The block; without a port it is off. Raises ConfigError."""
    fields = read_block(block(entry, "websocket to be a map"), KEYS, problems)
    values: dict[str, Any] = {}
    for field, value in fields.items():
        if field == "listen":
            host, values["port"] = value
            values["host"] = host or ANY_ADDRESS
        elif field == "host":
            values["host"] = value or ANY_ADDRESS
        elif field == "authorization":
            values |= value
        else:
            values[field] = value
    values["handshake_timeout"] = values.get("handshake_timeout") or DEFAULT_UPGRADE_TIMEOUT
    for name in ("ping_interval", "authorization_timeout"):
        values[name] = values.get(name) or None
    return WebSocketOptions(**values)


def simple_authorization(entry: Entry, problems: Problems) -> dict[str, Any]:
    """An ``authorization`` block with one user or token, as WebSocket and MQTT have it."""
    if not isinstance(entry.value.content, Table):
        raise wrong_type(entry, "a map in braces")
    return read_block(entry.value.content, AUTHORIZATION, problems)


def _seconds(entry: Entry, _: Problems) -> float:
    content = entry.value.content
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise wrong_type(entry, "a number of seconds")
    return float(content)


def _origins(entry: Entry, _: Problems) -> tuple[str, ...]:
    try:
        origins = positioned_strings(entry)
    except ConfigError:
        raise fail(entry, f"error parsing allowed origins: unsupported type, {entry.value.kind}") from None
    found = []
    for text, position in origins:
        try:
            parts = urlsplit(text)
            number = parts.port
        except ValueError as error:
            raise ConfigError.at(position, f"unable to parse allowed origin: {error}") from None
        if parts.scheme not in {"http", "https"}:
            what = "allowed origins must be absolute URLs with http or https scheme"
            raise ConfigError.at(position, f'unable to parse allowed origin "{text}": {what}')
        if not parts.hostname or number == 0:
            raise ConfigError.at(position, f'unable to parse allowed origin "{text}": host is required')
        found.append(text)
    return tuple(found)


def _handshake_timeout(entry: Entry, _: Problems) -> float:
    content = entry.value.content
    if isinstance(content, str):
        try:
            seconds = seconds_of(content)
        except ValueError as error:
            raise fail(entry, str(error)) from None
    elif isinstance(content, bool) or not isinstance(content, int):
        raise fail(entry, f"error parsing handshake timeout: unsupported type, {entry.value.kind}")
    else:
        seconds = float(content)
    if seconds < 0:
        raise fail(entry, "handshake_timeout must not be negative")
    return seconds


def _headers(entry: Entry, _: Problems) -> Mapping[str, str]:
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"error parsing headers: unsupported type, {entry.value.kind}")
    found: dict[str, str] = {}
    for item in entry.value.content:
        text = item.value.content
        if not isinstance(text, str):
            raise fail(item, f"error parsing header key {item.key}: unsupported type, {item.value.kind}")
        name = item.key.lower()
        if name in _RESERVED_HEADERS:
            raise fail(item, f'websocket: invalid header "{item.key}" not allowed')
        if name.startswith("sec-websocket-"):
            raise fail(item, f'websocket: invalid header "{item.key}", "Sec-WebSocket-" prefix not allowed')
        if not _HEADER_NAME.fullmatch(item.key) or not _HEADER_VALUE.fullmatch(text):
            raise fail(item, f'websocket: invalid header "{item.key}", no header of HTTP can be so')
        found[item.key] = text
    return MappingProxyType(found)


AUTHORIZATION: Final[Keys] = {
    **keys("user", "username", field="user", read=string, doc="User that clients must be."),
    **keys("pass", "password", field="password", read=string, doc="Its password."),
    **keys("token", field="token", read=string, doc="Token that clients must show."),
    **keys(
        "timeout",
        field="authorization_timeout",
        read=_seconds,
        kind="seconds",
        default="that of the clients",
        doc="How long they have to do so.",
    ),
}
KEYS: Final[Keys] = {
    **listen_keys("none: the part is off", fields=True),
    **keys(
        "advertise",
        field="advertise",
        read=string,
        kind="`host:port`",
        doc="Address that other servers of a cluster tell clients; shown by monitoring.",
    ),
    **keys("no_tls", field="no_tls", read=boolean, doc="Serve without TLS, where there is no `tls`."),
    **keys("tls", field="tls", read=tls, kind="map", doc="TLS of this port; without it the start is refused."),
    **keys(
        "proxy_protocol",
        field="proxy_protocol",
        read=proxy_protocol,
        kind="boolean, or map",
        default="`false`",
        doc="The same as for the clients' port, for this one. natskeep only.",
    ),
    **keys("same_origin", field="same_origin", read=boolean, doc="Refuse pages of other origins."),
    **keys(
        *("allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"),
        field="allowed_origins",
        read=_origins,
        kind="URL or list",
        default="all",
        doc="Origins whose pages may connect.",
    ),
    **keys(
        "handshake_timeout",
        field="handshake_timeout",
        read=_handshake_timeout,
        kind="whole seconds, or duration in quotes",
        doc="How long the HTTP request may take.",
    ),
    **keys("compression", "compress", field="compression", read=boolean, doc="Compress messages, where clients ask."),
    **keys(
        "authorization",
        "authentication",
        field="authorization",
        read=simple_authorization,
        kind="map",
        doc="Who clients must be on this port, in place of the server's own `user` or `token`.",
    ),
    **keys("jwt_cookie", field="jwt_cookie", read=string, doc="Cookie that holds the user JWT, in operator mode."),
    **keys("user_cookie", field="user_cookie", read=string, doc="Cookie that holds the user name."),
    **keys("pass_cookie", field="password_cookie", read=string, doc="Cookie that holds the password."),
    **keys("token_cookie", field="token_cookie", read=string, doc="Cookie that holds the token."),
    **keys(
        "no_auth_user",
        field="no_auth_user",
        read=string,
        kind="name of a user",
        doc="Who a client of this port is that shows no credentials.",
    ),
    **keys("headers", field="headers", read=_headers, kind="map of strings", doc="Headers of the HTTP answer."),
    **keys(
        "ping_interval",
        field="ping_interval",
        read=duration,
        kind="duration",
        default="that of the clients",
        doc="Time between two PINGs.",
    ),
}
