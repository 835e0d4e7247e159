"""The ``leafnodes`` block: servers that hang on others and share some of their subjects."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from auth.nkey import KeyKind, KeyPair, NKeyError, is_public_key
from broker.config.errors import ConfigError, Position
from broker.config.parts.common import (
    COMPRESSION_DOC,
    COMPRESSION_KIND,
    WRITE_KEYS,
    block,
    compression,
    fields_of,
    is_url,
    listed_maps,
    listen_keys,
    names,
    tls,
    urls,
)
from broker.config.tree import Entry, Table
from broker.config.users import authorization_timeout, grants
from broker.config.values import (
    Keys,
    Problems,
    boolean,
    duration,
    duration_text,
    fail,
    keys,
    read_block,
    string,
    wrong_type,
)

_VERSION: Final = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(?:[-+].*)?", re.ASCII)
_OLDEST_VERSION: Final = (2, 8, 0)


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the block asks for leafnodes."""
    fields_of(entry, "map to define a leafnode", KEYS, problems)
    return isinstance(entry.value.content, Table) and len(entry.value.content) > 0


def _authorization(entry: Entry, problems: Problems) -> None:
    content = entry.value.content
    if not isinstance(content, Table):
        raise wrong_type(entry, "a map in braces")
    fields = read_block(content, AUTHORIZATION, problems)
    if "users" not in names(entry):
        return
    if fields.get("user"):
        raise fail(entry, "can not have a single user/pass and a users array")
    if fields.get("nkey"):
        raise fail(entry, "can not have a single nkey and a users array")
    listed = fields.get("users", ())
    for name in sorted(set(listed)):
        if listed.count(name) > 1:
            raise fail(entry, f'duplicate user "{name}" detected in leafnode authorization')


def _users(entry: Entry, problems: Problems) -> tuple[str, ...]:
    found = []
    for item, _ in listed_maps(entry, "users"):
        fields = read_block(item, USER, problems)
        found.append(fields.get("user", ""))
    return tuple(found)


def _nkey(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if not is_public_key(text, KeyKind.USER):
        raise fail(entry, "Not a valid public nkey for leafnode authorization; it begins with U")
    return text


def _remotes(entry: Entry, problems: Problems) -> None:
    seen: set[tuple[tuple[str, ...], str]] = set()
    for item, position in listed_maps(entry, "remotes"):
        with problems.collected():
            fields = read_block(item, REMOTE, problems)
            _check_remote(fields, position, problems)
            key = (fields.get("urls", ()), fields.get("account", "$G"))
            if key in seen and key[0]:
                shown = " ".join(f'"{url}"' for url in key[0])
                raise ConfigError.at(position, f'duplicate remote urls=[{shown}], account="{key[1]}"')
            seen.add(key)


def _check_remote(fields: dict[str, Any], position: Position, problems: Problems) -> None:
    if fields.get("credentials") and fields.get("nkey"):
        raise ConfigError.at(position, "Remote leafnode can not have both creds and nkey defined")
    schemes = {url.partition("://")[0] in {"ws", "wss"} for url in fields.get("urls", ())}
    if len(schemes) > 1:
        raise ConfigError.at(
            position, "remote leaf node configuration cannot have a mix of websocket and non-websocket urls"
        )


def _urls(entry: Entry, problems: Problems) -> tuple[str, ...]:
    if not isinstance(entry.value.content, str | list):
        raise fail(entry, f"Expected remote leafnode url to be an array or string, got {entry.value.kind}")
    return urls(entry, problems, "leafnode", one=isinstance(entry.value.content, str))


def _seed(entry: Entry, problems: Problems) -> bool:
    text = string(entry, problems)
    try:
        valid = is_public_key(KeyPair.from_seed(text).public, KeyKind.USER)
    except NKeyError:
        valid = False
    if not valid:
        raise fail(entry, "Remote leafnode nkey is not a valid seed; it begins with SU")
    return True


def _subjects(entry: Entry, problems: Problems) -> None:
    grants(entry, problems, queues=False)


def _migrate(entry: Entry, problems: Problems) -> None:
    content = entry.value.content
    if isinstance(content, bool):
        return
    if not isinstance(content, Table):
        raise fail(entry, f"Expected boolean or map for jetstream_cluster_migrate, got {entry.value.kind}")
    read_block(content, MIGRATE, problems)


def _proxy(entry: Entry, problems: Problems) -> None:
    before = len(problems.errors)
    fields = read_block(block(entry, "proxy to be a map"), PROXY, problems)
    if len(problems.errors) > before:
        return
    if fields.get("url"):
        parts = urlsplit(fields["url"]) if is_url(fields["url"]) else None
        if parts is None or parts.scheme not in {"http", "https"}:
            scheme = "" if parts is None else parts.scheme
            raise fail(entry, f"proxy URL scheme must be http or https, got: {scheme}")
        if not parts.netloc:
            raise fail(entry, "proxy URL must specify a host")
    if fields.get("timeout", 0) < 0:
        raise fail(entry, "proxy timeout must be >= 0")
    if bool(fields.get("username")) != bool(fields.get("password")):
        raise fail(entry, "proxy username and password must both be specified or both be empty")


def _min_version(entry: Entry, problems: Problems) -> None:
    version = _VERSION.fullmatch(string(entry, problems))
    if version is None:
        raise fail(entry, "invalid leafnode's minimum version: invalid semver")
    if tuple(map(int, version.groups())) < _OLDEST_VERSION:
        raise fail(entry, "the minimum version should be at least 2.8.0")


USER: Final[Keys] = {
    **keys("user", "username", field="user", read=string, doc="Name of the user."),
    **keys("pass", "password", field="password", read=string, doc="Its password."),
    **keys("account", field="account", read=string, default="`$G`", doc="The account that the leafnode is bound to."),
    **keys("proxy_required", read=boolean, default="`false`", doc="Only through a trusted proxy."),
}
AUTHORIZATION: Final[Keys] = {
    **USER,
    **keys("nkey", field="nkey", read=_nkey, kind="public nkey, `U…`", doc="The user's key."),
    **keys(
        "timeout",
        read=authorization_timeout,
        kind="seconds, or a duration",
        default="2 s; with TLS one more than its `timeout`",
        doc="How long a leafnode has to show who it is.",
    ),
    **keys("users", field="users", read=_users, kind="list of maps", doc="Several users."),
}
MIGRATE: Final[Keys] = {
    **keys("leader_migrate_delay", read=duration, default="0", doc="How long to wait before leaders move."),
}
PROXY: Final[Keys] = {
    **keys("url", field="url", read=string, kind="URL", doc="The HTTP proxy."),
    **keys("username", field="username", read=string, doc="User of the proxy."),
    **keys("password", field="password", read=string, doc="Its password."),
    **keys("timeout", field="timeout", read=duration_text, kind="duration in quotes", doc="How long it may take."),
}
REMOTE: Final[Keys] = {
    **keys("url", "urls", field="urls", read=_urls, kind="URL or list", doc="Servers; without port, 7422."),
    **keys("account", "local", field="account", read=string, default="`$G`", doc="The account here that is bound."),
    **keys("credentials", "creds", field="credentials", read=string, kind="path", doc="Credentials to show."),
    **keys("nkey", "seed", field="nkey", read=_seed, kind="seed of a user nkey", doc="Key to sign with."),
    **keys("tls", read=tls, kind="map", doc="TLS towards the server."),
    **keys("hub", read=boolean, default="`false`", doc="Be the hub of this connection."),
    **keys("deny_imports", "deny_import", read=_subjects, kind="subject or list", doc="Not taken from the server."),
    **keys("deny_exports", "deny_export", read=_subjects, kind="subject or list", doc="Not given to the server."),
    **keys("no_randomize", "dont_randomize", read=boolean, default="`false`", doc="Try the URLs in their order."),
    **keys(
        *("ws_compression", "ws_compress", "websocket_compression", "websocket_compress"),
        read=boolean,
        default="`false`",
        doc="Compress WebSocket frames.",
    ),
    **keys("ws_no_masking", "websocket_no_masking", read=boolean, default="`false`", doc="Do not mask them."),
    **keys(
        "jetstream_cluster_migrate",
        "js_cluster_migrate",
        read=_migrate,
        kind="boolean, or map",
        default="`false`",
        doc="Move JetStream leaders away while the connection is down.",
    ),
    **keys("isolate_leafnode_interest", "isolate", read=boolean, default="`false`", doc="Keep leafnodes apart."),
    **keys("request_isolation", read=boolean, default="`false`", doc="Ask the hub for the same."),
    **keys("compression", read=compression, kind=COMPRESSION_KIND, default="`s2_auto`", doc=COMPRESSION_DOC),
    **keys("first_info_timeout", read=duration, default="1 s", doc="How long to wait for INFO."),
    **keys("dial_timeout", read=duration, default="1 s", doc="How long to wait for a connection."),
    **keys("disabled", read=boolean, default="`false`", doc="Do not connect."),
    **keys("proxy", read=_proxy, kind="map", doc="HTTP proxy for WebSocket URLs."),
    **keys("ignore_discovered_servers", read=boolean, default="`false`", doc="Keep to the URLs given."),
}
KEYS: Final[Keys] = {
    **listen_keys("none"),
    **keys("authorization", read=_authorization, kind="map", doc="Who leafnodes must be."),
    **keys("remotes", read=_remotes, kind="list of maps", doc="Servers to hang on."),
    **keys(
        *("reconnect", "reconnect_delay", "reconnect_interval"),
        read=duration,
        default="1 s",
        doc="Time between two tries.",
    ),
    **keys("dial_timeout", read=duration, default="1 s", doc="How long to wait for a connection."),
    **keys("tls", read=tls, kind="map", doc="TLS of the leafnodes' port."),
    **keys("advertise", "leafnode_advertise", read=string, kind="`host:port`", doc="Address that others are told."),
    **keys("no_advertise", read=boolean, default="`false`", doc="Do not tell of other servers."),
    **keys(
        "min_version",
        "minimum_version",
        read=_min_version,
        kind="version, from 2.8.0",
        default="none",
        doc="Oldest version of a server that may connect.",
    ),
    **keys("compression", read=compression, kind=COMPRESSION_KIND, default="`s2_auto`", doc=COMPRESSION_DOC),
    **keys("isolate_leafnode_interest", "isolate", read=boolean, default="`false`", doc="Keep leafnodes apart."),
    **WRITE_KEYS,
}
