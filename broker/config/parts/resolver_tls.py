"""The ``resolver_tls`` block: TLS towards the URL account resolver."""

from __future__ import annotations

from broker.config.parts.common import tls
from broker.config.tree import Entry, Table
from broker.config.values import Problems


def read(entry: Entry, problems: Problems) -> bool:
    """Whether the block says anything."""
    tls(entry, problems)
    return isinstance(entry.value.content, Table) and len(entry.value.content) > 0
