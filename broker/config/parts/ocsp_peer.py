"""``ocsp_peer`` in a ``tls`` block: asks whether client certificates are revoked."""

from __future__ import annotations

from typing import Final

from broker.config.parts.ocsp_cache import seconds
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, boolean, fail, keys, read_block


def read(entry: Entry, problems: Problems) -> bool:
    """Whether certificates are to be asked about."""
    content = entry.value.content
    if isinstance(content, bool):
        return content
    if not isinstance(content, Table):
        raise fail(entry, f"error parsing ocsp peer config: unsupported type, {entry.value.kind}")
    fields = read_block(content, KEYS, problems, 'error parsing tls peer config, unknown field ["{}"]')
    return bool(fields.get("verify"))


_TIME: Final = "seconds, or a duration"
KEYS: Final[Keys] = {
    **keys("verify", field="verify", read=boolean, default="`false`", doc="Whether to ask."),
    **keys("ca_timeout", read=seconds, kind=_TIME, default="2 s", doc="How long an answer may take."),
    **keys("allowed_clockskew", read=seconds, kind=_TIME, default="30 s", doc="How far clocks may differ."),
    **keys("warn_only", read=boolean, default="`false`", doc="Only log what is revoked."),
    **keys("unknown_is_good", read=boolean, default="`false`", doc="Accept certificates that nobody knows."),
    **keys("allow_when_ca_unreachable", read=boolean, default="`false`", doc="Accept them where nobody answers."),
    **keys(
        "cache_ttl_when_next_update_unset", read=seconds, kind=_TIME, default="1 h", doc="How long an answer is kept."
    ),
}
