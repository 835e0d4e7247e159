"""The ``cluster`` block: routes between the servers of one cluster."""

from __future__ import annotations

from functools import partial
from typing import Final

from broker.config.errors import ConfigError
from broker.config.parts.common import (
    COMPRESSION_DOC,
    COMPRESSION_KIND,
    WRITE_KEYS,
    compression,
    fields_of,
    listen_keys,
    simple_authorization,
    tls,
    urls,
)
from broker.config.tree import Entry, Table
from broker.config.users import permissions
from broker.config.values import Keys, Problems, boolean, duration, fail, integer, keys, positioned_strings, string

_LONGEST_PING_INTERVAL: Final = 30.0
"""Seconds between two PINGs on a route, at most."""


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the block asks for clustering."""
    fields = fields_of(entry, "map to define cluster", KEYS, problems)
    accounts = fields.get("accounts", ())
    for name in sorted(set(accounts)):
        if accounts.count(name) > 1:
            raise fail(entry, f'found duplicate account name "{name}" in pinned accounts list [{" ".join(accounts)}]')
    if accounts and fields.get("pool_size", 0) < 0:
        raise fail(entry, "pool_size cannot be negative if pinned accounts are specified")
    return isinstance(entry.value.content, Table) and len(entry.value.content) > 0


def _name(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if " " in text:
        raise fail(entry, "cluster name cannot contain spaces")
    return text


def _permissions(entry: Entry, problems: Problems) -> None:
    if permissions(entry, problems).responses is not None:
        raise fail(entry, "Cluster permissions do not support dynamic responses")


def _accounts(entry: Entry, _: Problems) -> tuple[str, ...]:
    try:
        return tuple(text for text, _ in positioned_strings(entry))
    except ConfigError:
        raise fail(entry, f"error parsing accounts: unsupported type, {entry.value.kind}") from None


def _ping_interval(entry: Entry, problems: Problems) -> None:
    if duration(entry, problems) > _LONGEST_PING_INTERVAL:
        problems.warn(entry, "Cluster 'ping_interval' will reset to 30s which is the max for routes")


KEYS: Final[Keys] = {
    **keys("name", read=_name, kind="string", default="chosen at random", doc="Name of the cluster. No spaces."),
    **listen_keys("none"),
    **keys(
        "authorization",
        read=partial(simple_authorization, what="Cluster"),
        kind="map",
        doc="User and password that other servers must show.",
    ),
    **keys("routes", read=partial(urls, kind="route"), kind="list of URLs", doc="Servers to connect to."),
    **keys("tls", read=partial(tls, known_urls=True), kind="map", doc="TLS between the servers."),
    **keys("advertise", "cluster_advertise", read=string, kind="`host:port`", doc="Address that others are told."),
    **keys("no_advertise", read=boolean, default="`false`", doc="Do not tell clients of the other servers."),
    **keys("connect_retries", read=integer, default="0", doc="How often to try a server that does not answer."),
    **keys("connect_backoff", read=boolean, default="`false`", doc="Wait longer after each try."),
    **keys("permissions", read=_permissions, kind="map", doc="Subjects that cross the routes."),
    **keys("pool_size", field="pool_size", read=integer, default="3", doc="Connections to each server."),
    **keys(
        "accounts",
        field="accounts",
        read=_accounts,
        kind="string or list",
        doc="Accounts with connections of their own.",
    ),
    **keys("compression", read=compression, kind=COMPRESSION_KIND, default="`accept`", doc=COMPRESSION_DOC),
    **keys("ping_interval", read=_ping_interval, kind="duration", default="30 s", doc="Time between PINGs."),
    **keys("ping_max", read=integer, default="that of the clients", doc="PINGs that may stay unanswered."),
    **WRITE_KEYS,
}
