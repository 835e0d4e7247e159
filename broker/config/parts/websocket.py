"""The ``websocket`` block: clients over WebSocket."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from broker.config.errors import ConfigError
from broker.config.parts.common import block, listen_keys, names, tls
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

_RESERVED_HEADERS: Final = frozenset({"connection", "upgrade", "sec-websocket-accept"})


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the block asks for WebSocket: without a port it is off."""
    read_block(block(entry, "websocket to be a map"), KEYS, problems)
    return bool(names(entry) & {"port", "listen"})


def simple_authorization(entry: Entry, problems: Problems) -> None:
    """An ``authorization`` block with one user or token, as WebSocket and MQTT have it."""
    if not isinstance(entry.value.content, Table):
        raise wrong_type(entry, "a map in braces")
    read_block(entry.value.content, AUTHORIZATION, problems)


def _seconds(entry: Entry, _: Problems) -> None:
    content = entry.value.content
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise wrong_type(entry, "a number of seconds")


def _origins(entry: Entry, _: Problems) -> None:
    try:
        origins = positioned_strings(entry)
    except ConfigError:
        raise fail(entry, f"error parsing allowed origins: unsupported type, {entry.value.kind}") from None
    for text, position in origins:
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ConfigError.at(position, f"unable to parse allowed origin: {error}") from None
        if parts.scheme not in {"http", "https"}:
            what = "allowed origins must be absolute URLs with http or https scheme"
            raise ConfigError.at(position, f'unable to parse allowed origin "{text}": {what}')
        if not parts.netloc:
            raise ConfigError.at(position, f'unable to parse allowed origin "{text}": host is required')


def _handshake_timeout(entry: Entry, _: Problems) -> None:
    content = entry.value.content
    if isinstance(content, str):
        try:
            seconds_of(content)
        except ValueError as error:
            raise fail(entry, str(error)) from None
    elif isinstance(content, bool) or not isinstance(content, int):
        raise fail(entry, f"error parsing handshake timeout: unsupported type, {entry.value.kind}")


def _headers(entry: Entry, _: Problems) -> None:
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"error parsing headers: unsupported type, {entry.value.kind}")
    for item in entry.value.content:
        if not isinstance(item.value.content, str):
            raise fail(item, f"error parsing header key {item.key}: unsupported type, {item.value.kind}")
        name = item.key.lower()
        if name in _RESERVED_HEADERS:
            raise fail(item, f'websocket: invalid header "{item.key}" not allowed')
        if name.startswith("sec-websocket-"):
            raise fail(item, f'websocket: invalid header "{item.key}", "Sec-WebSocket-" prefix not allowed')


AUTHORIZATION: Final[Keys] = {
    **keys("user", "username", read=string, doc="User that clients must be."),
    **keys("pass", "password", read=string, doc="Its password."),
    **keys("token", read=string, doc="Token that clients must show."),
    **keys("timeout", read=_seconds, kind="seconds", default="1 s", doc="How long they have to do so."),
}
KEYS: Final[Keys] = {
    **listen_keys("none: the part is off"),
    **keys("advertise", read=string, kind="`host:port`", doc="Address that clients are told."),
    **keys("no_tls", read=boolean, default="`false`", doc="Serve without TLS."),
    **keys("tls", read=tls, kind="map", doc="TLS of this port."),
    **keys("same_origin", read=boolean, default="`false`", doc="Refuse pages of other origins."),
    **keys(
        *("allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"),
        read=_origins,
        kind="URL or list",
        default="all",
        doc="Origins whose pages may connect.",
    ),
    **keys(
        "handshake_timeout",
        read=_handshake_timeout,
        kind="whole seconds, or duration in quotes",
        default="none",
        doc="How long the upgrade may take.",
    ),
    **keys("compression", "compress", read=boolean, default="`false`", doc="Compress frames."),
    **keys("authorization", "authentication", read=simple_authorization, kind="map", doc="Who clients must be."),
    **keys("jwt_cookie", read=string, doc="Cookie that holds the user JWT."),
    **keys("user_cookie", read=string, doc="Cookie that holds the user name."),
    **keys("pass_cookie", read=string, doc="Cookie that holds the password."),
    **keys("token_cookie", read=string, doc="Cookie that holds the token."),
    **keys("no_auth_user", read=string, kind="name of a user", doc="Who a client is that shows no credentials."),
    **keys("headers", read=_headers, kind="map of strings", doc="Headers of the HTTP answer."),
    **keys("ping_interval", read=duration, default="that of the clients", doc="Time between two PINGs."),
}
