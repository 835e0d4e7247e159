"""The ``ocsp`` block: stapled answers about the server's own certificate. Its keys are matched in their exact case."""

from __future__ import annotations

from typing import Final

from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, fail, keys, one_or_more, read_block, string

_MODES: Final = frozenset({"always", "must", "never", "auto"})


def read(entry: Entry, problems: Problems) -> bool:
    """Whether OCSP is asked for."""
    content = entry.value.content
    if isinstance(content, bool):
        return content
    if isinstance(content, str) and content in {"", "never"}:
        return False
    if not isinstance(content, Table):
        raise fail(entry, f"error parsing ocsp config: unsupported type, {entry.value.kind}")
    unknown = 'error parsing ocsp config: unsupported field "{}"'
    fields = read_block(content, KEYS, problems, unknown, exact=True)
    return len(content) > 0 and fields.get("mode") != "never"


def _mode(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems).lower()
    if text not in _MODES:
        raise fail(entry, f'error parsing ocsp config: unsupported ocsp mode "{text}"; use always, must, never or auto')
    return text


KEYS: Final[Keys] = {
    **keys("mode", field="mode", read=_mode, kind="`always`, `must`, `never` or `auto`", doc="When to staple."),
    **keys("url", read=string, kind="URL", doc="Who is asked."),
    **keys("urls", read=one_or_more, kind="URL or list", doc="Who is asked."),
}
