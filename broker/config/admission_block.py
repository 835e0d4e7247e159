"""The ``admission`` block: what clients that have not proved who they are may take of the server."""

from __future__ import annotations

from typing import Final

from broker.config.options import AdmissionOptions
from broker.config.tree import Entry
from broker.config.values import Keys, Problems, count, duration, fail, keys, networks, read_block, size, table

LEAST_MEMORY: Final = 1024 * 1024
"""Bytes below which not even a few could log in at one time."""


def _memory(entry: Entry, problems: Problems) -> int:
    wanted = size(entry, problems)
    if wanted < LEAST_MEMORY:
        raise fail(entry, f"{entry.key} must be at least 1MB")
    return wanted


def _backoff(entry: Entry, problems: Problems) -> float:
    seconds = duration(entry, problems)
    if not 1 <= seconds <= 86400:
        raise fail(entry, f"{entry.key} must be between 1s and 24h")
    return seconds


KEYS: Final[Keys] = {
    **keys(
        "max_unauthenticated",
        field="max_unauthenticated",
        read=count,
        kind="number",
        default="half of what `max_connections` and the open files of the process allow",
        doc="Clients at one time that have not logged in. Where there are more, the one that came first of the address "
        "that has most goes.",
    ),
    **keys(
        "max_unauthenticated_per_address",
        field="max_unauthenticated_per_address",
        read=count,
        kind="number",
        doc="The same for each address; 0 is any number. Of IPv6 a network of 64 bits counts as one address.",
    ),
    **keys(
        "max_unauthenticated_memory",
        field="max_unauthenticated_memory",
        read=_memory,
        kind="bytes, such as `64MB`",
        doc="What all of them together may make the server hold: lines, requests and handshakes that are not complete.",
    ),
    **keys(
        "handshakes_per_address",
        field="handshakes_per_address",
        read=count,
        kind="number",
        doc="Handshakes of TLS that an address may begin in a second, those of five seconds at once; 0 is any number. "
        "All addresses together have the `connection_rate_limit` of `tls`.",
    ),
    **keys(
        "failures_per_address",
        field="failures_per_address",
        read=count,
        kind="number",
        doc="Logins and handshakes that may fail in a minute, of an address, and once more for each client that is "
        "logged in from there. Where more fail, nobody of that address is let in for a second, then for two, and so "
        "on; 0 turns nobody away.",
    ),
    **keys(
        "max_backoff",
        field="longest_backoff",
        read=_backoff,
        kind="duration",
        doc="How long an address is turned away at most.",
    ),
    **keys(
        "exempt",
        field="exempt",
        read=networks,
        kind="list of addresses and networks",
        default="`127.0.0.0/8`, `::1`",
        doc="Where the limits of an address do not hold.",
    ),
}


def admission(entry: Entry, problems: Problems) -> AdmissionOptions:
    """The block. Raises ConfigError."""
    return AdmissionOptions(**read_block(table(entry), KEYS, problems))
