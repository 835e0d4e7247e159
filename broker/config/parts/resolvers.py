"""Account resolvers that keep JWTs in a directory. Their keys are matched in lower case; unknown ones do not matter."""

from __future__ import annotations

from typing import Final

from broker.config.tree import Entry, Table
from broker.config.values import Key, Keys, Problems, boolean, fail, integer, keys, read_block, seconds_of, string


def check(entry: Entry, block: Table, kind: str, problems: Problems) -> None:
    """Checks a resolver of kind ``FULL`` or ``CACHE``. The directory itself is left alone."""
    known = {**{item.key: Key("", _anything) for item in block}, **KEYS}
    before = len(problems.errors)
    fields = read_block(block, known, problems, exact=True)
    if len(problems.errors) > before:
        return
    if not fields.get("dir"):
        raise fail(entry, "dir has no value and needs to point to a directory")
    if kind == "FULL":
        if "ttl" in fields:
            raise fail(entry, "FULL does not accept ttl")
        if fields.get("hard_delete") and not fields.get("allow_delete"):
            raise fail(entry, "hard_delete has no effect without delete")
        return
    for field, word in (("allow_delete", "allow_delete"), ("hard_delete", "hard_delete"), ("interval", "sync")):
        if fields.get(field):
            raise fail(entry, f"CACHE does not accept {word}")


def _anything(entry: Entry, problems: Problems) -> None:
    """Unknown keys are ignored here."""


def _seconds(entry: Entry, problems: Problems) -> float:
    text = string(entry, problems)
    try:
        return seconds_of(text)
    except ValueError as error:
        raise fail(entry, str(error)) from None


_TEXT: Final = "duration in quotes"
KEYS: Final[Keys] = {
    **keys("type", field="type", read=string, kind="`full` or `cache`", doc="Which JWTs are kept."),
    **keys("dir", field="dir", read=string, kind="path", doc="Directory of the JWTs. Required."),
    **keys("allow_delete", field="allow_delete", read=boolean, default="`false`", doc="`full`: JWTs may be deleted."),
    **keys("hard_delete", field="hard_delete", read=boolean, default="`false`", doc="`full`: delete files at once."),
    **keys("limit", field="limit", read=integer, default="`full`: none, `cache`: 1000", doc="JWTs that are kept."),
    **keys("ttl", field="ttl", read=_seconds, kind=_TEXT, doc="`cache`: how long a JWT is kept."),
    **keys("interval", field="interval", read=_seconds, kind=_TEXT, default="1 min", doc="`full`: when to compare."),
    **keys("timeout", field="timeout", read=_seconds, kind=_TEXT, default="1.9 s", doc="How long one look-up takes."),
}
