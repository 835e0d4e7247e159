"""The ``ocsp_cache`` block: kept answers about client certificates. Its keys are matched in their exact case."""

from __future__ import annotations

from typing import Final

from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, boolean, fail, keys, read_block, seconds_of, string

_LEAST_INTERVAL: Final = 1.0
"""Seconds."""


def read(entry: Entry, problems: Problems) -> bool:
    """Whether a cache is asked for."""
    content = entry.value.content
    if isinstance(content, bool):
        return content
    if not isinstance(content, Table):
        raise fail(entry, f"error parsing OCSP peer cache config: unsupported type, {entry.value.kind}")
    unknown = 'error parsing OCSP peer cache config, unknown field ["{}"]'
    fields = read_block(content, KEYS, problems, unknown, exact=True)
    return len(content) > 0 and fields.get("type") != "none"


def _type(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems).lower()
    if text not in {"none", "local"}:
        raise fail(entry, f"error parsing OCSP peer cache config, unknown type [{text}]; use none or local")
    return text


def seconds(entry: Entry, _: Problems) -> float:
    """Seconds as a number or a duration."""
    content = entry.value.content
    if isinstance(content, str):
        try:
            return seconds_of(content)
        except ValueError as error:
            raise fail(entry, f"error parsing tls peer config, conversion error: {error}") from None
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise fail(entry, f"error parsing tls peer config, unexpected type: {entry.value.kind}")
    return float(content)


def _save_interval(entry: Entry, problems: Problems) -> None:
    if seconds(entry, problems) < _LEAST_INTERVAL:
        problems.warn(entry, "the interval is raised to 1s")


KEYS: Final[Keys] = {
    **keys("type", field="type", read=_type, kind="`none` or `local`", default="`local`", doc="Where they are kept."),
    **keys("local_store", read=string, kind="path", default="`_rc_`", doc="Directory for them."),
    **keys("preserve_revoked", read=boolean, default="`false`", doc="Keep the revoked ones for ever."),
    **keys(
        "save_interval",
        read=_save_interval,
        kind="seconds, or a duration",
        default="5 min",
        doc="Time between two saves; at least 1 s.",
    ),
}
