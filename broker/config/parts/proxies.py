"""The ``proxies`` block: proxies that sign for the clients they bring."""

from __future__ import annotations

from typing import Final

from auth.nkey import KeyKind, is_public_key
from broker.config.errors import ConfigError
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, fail, keys, read_block, string, without_seed


def read(entry: Entry, problems: Problems) -> bool:
    """Whether proxies are trusted."""
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"expected proxies to be a map/struct, got {entry.value.kind}")
    read_block(entry.value.content, KEYS, problems)
    return len(entry.value.content) > 0


def _trusted(entry: Entry, problems: Problems) -> None:
    content = entry.value.content
    if not isinstance(content, list):
        raise fail(entry, f"expected proxies' trusted field to be an array, got {entry.value.kind}")
    for element in content:
        if not isinstance(element.content, Table):
            raise ConfigError.at(element.position, f"expected proxies' trusted entry to be a map, got {element.kind}")
        fields = read_block(element.content, TRUSTED, problems)
        if not fields and not len(element.content):
            raise ConfigError.at(element.position, "a trusted proxy needs a key")


def _key(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if not any(is_public_key(text, kind) for kind in KeyKind if kind is not KeyKind.CURVE):
        raise fail(entry, f'invalid proxy key "{without_seed(text)}"')
    return text


TRUSTED: Final[Keys] = {**keys("key", "public_key", field="key", read=_key, kind="public nkey", doc="The proxy's key.")}
KEYS: Final[Keys] = {**keys("trusted", read=_trusted, kind="list of maps", doc="The proxies.")}
