"""``proxy_protocol``: proxies that tell where clients come from."""

from __future__ import annotations

from typing import Final

from broker.config.options import ProxyOptions
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, duration, fail, keys, networks, read_block, wrong_type


def _timeout(entry: Entry, problems: Problems) -> float:
    seconds = duration(entry, problems)
    if seconds <= 0:
        raise fail(entry, f"{entry.key} must be more than 0 seconds")
    return seconds


KEYS: Final[Keys] = {
    **keys(
        "trusted",
        field="trusted",
        read=networks,
        kind="list of addresses and networks",
        doc="The proxies. From there a header must come, and from nowhere else one may. Required.",
    ),
    **keys("timeout", field="timeout", read=_timeout, kind="duration", doc="How long the header may take."),
}


def proxy_protocol(entry: Entry, problems: Problems) -> ProxyOptions | None:
    """``true``, ``false`` or the block. Raises ConfigError."""
    content = entry.value.content
    if isinstance(content, bool):
        return ProxyOptions() if content else None
    if not isinstance(content, Table):
        raise wrong_type(entry, "a boolean (true or false) or a map in braces")
    fields = read_block(content, KEYS, problems)
    if not fields.get("trusted") and "trusted" not in {item.key.lower() for item in content}:
        raise fail(entry, "proxy_protocol needs the key trusted: the addresses and networks of the proxies")
    return ProxyOptions(**fields)
