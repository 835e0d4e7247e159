"""The ``gateway`` block: connections between clusters."""

from __future__ import annotations

from functools import partial
from typing import Final

from broker.config.parts.common import WRITE_KEYS, fields_of, listed_maps, listen_keys, simple_authorization, tls, urls
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, boolean, fail, integer, keys, read_block, string


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the block asks for gateways."""
    fields_of(entry, "gateway to be a map", KEYS, problems)
    return isinstance(entry.value.content, Table) and len(entry.value.content) > 0


def _name(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if " " in text:
        raise fail(entry, "gateway name cannot contain spaces")
    return text


def _gateways(entry: Entry, problems: Problems) -> None:
    for block, _ in listed_maps(entry, "gateways"):
        read_block(block, REMOTE, problems)


REMOTE: Final[Keys] = {
    **keys("name", read=string, doc="Name of the other cluster."),
    **keys("url", read=partial(urls, kind="gateway", one=True), kind="URL", doc="One of its servers."),
    **keys("urls", read=partial(urls, kind="gateway"), kind="list of URLs", doc="Several of its servers."),
    **keys("tls", read=partial(tls, known_urls=True), kind="map", doc="TLS towards it."),
}
KEYS: Final[Keys] = {
    **keys("name", read=_name, kind="string", doc="Name of this cluster. No spaces."),
    **listen_keys("none"),
    **keys(
        "authorization",
        read=partial(simple_authorization, what="Gateway"),
        kind="map",
        doc="User and password that other servers must show.",
    ),
    **keys("tls", read=partial(tls, known_urls=True), kind="map", doc="TLS between the clusters."),
    **keys("advertise", read=string, kind="`host:port`", doc="Address that others are told."),
    **keys("connect_retries", read=integer, default="0", doc="How often to try a server that does not answer."),
    **keys("connect_backoff", read=boolean, default="`false`", doc="Wait longer after each try."),
    **keys("gateways", read=_gateways, kind="list of maps", doc="The other clusters."),
    **keys(
        "reject_unknown",
        "reject_unknown_cluster",
        read=boolean,
        default="`false`",
        doc="Refuse clusters that are not listed.",
    ),
    **WRITE_KEYS,
}
