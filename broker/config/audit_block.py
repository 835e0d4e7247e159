"""The ``audit`` block: the ledger of security events."""

from __future__ import annotations

from typing import Final

from broker.config.options import AuditOptions
from broker.config.tree import Entry
from broker.config.values import (
    Keys,
    Problems,
    boolean,
    count,
    duration,
    fail,
    keys,
    name,
    read_block,
    size,
    table,
)

SMALLEST_FILE: Final = 64 * 1024
"""Bytes below which files would change all the time."""


def _seal_interval(entry: Entry, problems: Problems) -> float:
    seconds = duration(entry, problems)
    if not 0.01 <= seconds <= 3600:
        raise fail(entry, "seal_interval must be between 10ms and 1h")
    return seconds


def _maximum_file(entry: Entry, problems: Problems) -> int:
    wanted = size(entry, problems)
    if wanted < SMALLEST_FILE:
        raise fail(entry, "max_file must be at least 64KB")
    return wanted


KEYS: Final[Keys] = {
    **keys("dir", "directory", field="directory", read=name, kind="path", doc="Where its files lie."),
    **keys(
        "key",
        field="key",
        read=name,
        kind="path",
        default="`server.nk` in `dir`",
        doc="File with the seed of the server nkey that seals the ledger; made where it is missing. Its public key is "
        "also the id of the server. Best kept where whoever can write the ledger cannot read it.",
    ),
    **keys(
        "previous_key",
        field="previous_key",
        read=name,
        kind="path",
        doc="File with the seed that sealed the ledger until now, so that it can name the new one.",
    ),
    **keys(
        "seal_interval",
        field="seal_interval",
        read=_seal_interval,
        kind="duration",
        doc="How long after it was written an event is sealed and on the disk, at most.",
    ),
    **keys(
        "max_file", field="maximum_file", read=_maximum_file, kind="bytes", doc="Size after which a new file begins."
    ),
    **keys("keep", field="keep", read=count, doc="Files to keep; 0 is all."),
    **keys(
        "refuse_unrecorded",
        field="refuse_unrecorded",
        read=boolean,
        doc="Turn logins away while the ledger cannot be written, rather than let in whom nothing tells of.",
    ),
}


def audit(entry: Entry, problems: Problems) -> AuditOptions:
    """The block. Raises ConfigError."""
    fields = read_block(table(entry), KEYS, problems)
    if not fields.get("directory"):
        raise fail(entry, "audit needs a dir: the directory that the ledger is written to")
    return AuditOptions(**fields)
