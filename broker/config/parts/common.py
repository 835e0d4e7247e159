"""What the blocks of several parts hold alike: addresses, URLs, TLS, authorization and compression."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from broker.config.errors import ConfigError, Position, Problem
from broker.config.options import ANY_ADDRESS
from broker.config.schema import write_timeout
from broker.config.tls_block import tls_fields
from broker.config.tree import Entry, Table
from broker.config.users import authorization_timeout, permissions
from broker.config.values import (
    NOWHERE,
    Keys,
    Problems,
    duration,
    fail,
    keys,
    listen,
    port,
    positioned_strings,
    read_block,
    seconds_of,
    string,
    wrong_type,
)

_COMPRESSION: Final = frozenset(
    {
        "not supported",
        *("off", "disabled", "false", "accept", "on", "enabled", "true"),
        *("s2_fast", "fast", "s2_better", "better", "s2_best", "best", "s2_auto", "auto"),
    }
)
_MOST_THRESHOLDS: Final = 4
_NO_WHITESPACE: Final = re.compile(r"[^\s]+")


def listen_keys(default_port: str, *, fields: bool = False) -> Keys:
    """Where a part listens; `fields` says that the keys set some, of their own names."""
    kinds = ("port, or `\"host:port\"`", "port; -1 is a free one")
    at, host, number = ("listen", "host", "port") if fields else (NOWHERE, NOWHERE, NOWHERE)
    default_host = ANY_ADDRESS if fields else "that of the clients"
    return {
        **keys("listen", field=at, read=listen, kind=kinds[0], doc="Address to listen on."),
        **keys("host", "net", field=host, read=string, default=default_host, doc="Host to listen on."),
        **keys("port", field=number, read=port, kind=kinds[1], default=default_port, doc="Port to listen on."),
    }


WRITE_KEYS: Final[Keys] = {
    **keys("write_deadline", read=duration, default="that of the clients", doc="How long a write may take."),
    **keys(
        "write_timeout",
        read=write_timeout,
        kind="`default`, `close` or `retry`",
        default="`default`",
        doc="What happens when it takes longer.",
    ),
}


def block(entry: Entry, what: str) -> Table:
    """The map of a part."""
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"Expected {what}, got {entry.value.kind}")
    return entry.value.content


def names(entry: Entry) -> frozenset[str]:
    """The keys of a block, in lower case."""
    content = entry.value.content
    return frozenset(item.key.lower() for item in content) if isinstance(content, Table) else frozenset()


def urls(entry: Entry, problems: Problems, kind: str, *, one: bool = False) -> tuple[str, ...]:
    """URLs of other servers; ``kind`` is the word for them in errors."""
    if one and not isinstance(entry.value.content, str):
        raise wrong_type(entry, "a string")
    if not one and not isinstance(entry.value.content, list):
        raise wrong_type(entry, "a list of strings")
    seen: dict[str, Position] = {}
    for text, position in positioned_strings(entry):
        if not is_url(text):
            raise ConfigError.at(position, f'error parsing {kind} url ["{without_password(text)}"]')
        if text in seen:
            problems.warnings.append(_duplicate(text, kind, position))
        seen[text] = position
    return tuple(seen)


def _duplicate(text: str, kind: str, position: Position) -> Problem:
    shown = without_password(text)
    return Problem(f'invalid use of field "{shown}": Duplicate {kind} entry detected', position)


def is_url(text: str) -> bool:
    """Whether it can be the address of a server."""
    try:
        parts = urlsplit(text.strip())
        port_number = parts.port
    except ValueError:
        return False
    if not _NO_WHITESPACE.fullmatch(text.strip()) or text.startswith(":"):
        return False
    return port_number is None or port_number >= 0


def without_password(text: str) -> str:
    """A URL as an error may show it."""
    return re.sub(r"(//[^/@:]*):\S*@", r"\1:…@", text)


def tls(entry: Entry, problems: Problems, *, known_urls: bool = False) -> None:
    """A ``tls`` block of a part; certificates are not opened, because nothing would use them."""
    fields = tls_fields(entry, problems, known_urls=known_urls)
    for there, missing in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if fields.get(there) and not fields.get(missing):
            raise fail(entry, f"missing '{missing}' in TLS configuration")


TLS_WITH_KNOWN_URLS: Final = partial(tls, known_urls=True)


def simple_authorization(entry: Entry, problems: Problems, what: str) -> dict[str, Any]:
    """An ``authorization`` block with one user; ``what`` names the part in errors."""
    content = entry.value.content
    if not isinstance(content, Table):
        raise wrong_type(entry, "a map in braces")
    found = names(entry)
    if "users" in found:
        raise fail(entry, f"{what} authorization does not allow multiple users")
    if "token" in found:
        raise fail(entry, f"{what} authorization does not support tokens")
    if found & {"auth_callout", "auth_hook"}:
        raise fail(entry, f"{what} authorization does not support callouts")
    if "permissions" in found:
        problems.warn(entry, f'setting "permissions" within {what.lower()} authorization block is deprecated')
    return read_block(content, AUTHORIZATION, problems)


def compression(entry: Entry, problems: Problems) -> None:
    """The compression between two servers."""
    content = entry.value.content
    if isinstance(content, bool):
        return
    if isinstance(content, str):
        _mode(entry, content)
        return
    if not isinstance(content, Table):
        raise fail(entry, f'field "{entry.key}" should be a boolean or a structure, got {entry.value.kind}')
    fields = read_block(content, COMPRESSION, problems)
    mode, thresholds = fields.get("mode"), fields.get("thresholds", ())
    if mode in {"s2_auto", "auto"} and "thresholds" in fields:
        if not thresholds:
            raise fail(entry, f'compression mode "{mode}" requires at least one RTT threshold')
        if len(thresholds) > _MOST_THRESHOLDS:
            raise fail(entry, f'compression mode "{mode}" should have no more than 4 RTT thresholds: {len(thresholds)}')
        if any(later <= earlier for earlier, later in pairwise(thresholds) if later):
            raise fail(entry, "RTT threshold values should be in ascending order")


def _mode(entry: Entry, text: str) -> str:
    if text.lower() not in _COMPRESSION:
        raise fail(entry, f'unsupported compression mode "{text}"')
    return text.lower()


def _compression_mode(entry: Entry, problems: Problems) -> str:
    return _mode(entry, string(entry, problems))


def _thresholds(entry: Entry, problems: Problems) -> tuple[float, ...]:
    if not isinstance(entry.value.content, list):
        raise wrong_type(entry, "a list of durations")
    return tuple(_seconds(text, position) for text, position in positioned_strings(entry))


def _seconds(text: str, position: Position) -> float:
    try:
        return seconds_of(text)
    except ValueError as error:
        raise ConfigError.at(position, str(error)) from None


def ignored_permissions(entry: Entry, problems: Problems) -> None:
    """Permissions where they are deprecated: read as others, so that mistakes in them are found."""
    permissions(entry, problems)


def fields_of(entry: Entry, what: str, known: Keys, problems: Problems) -> dict[str, Any]:
    """The fields of a part's block."""
    return read_block(block(entry, what), known, problems)


def listed_maps(entry: Entry, what: str) -> Iterable[tuple[Table, Position]]:
    """The maps of a list, each with the place of its first key."""
    content = entry.value.content
    if not isinstance(content, list):
        raise fail(entry, f"Expected {what} field to be an array, got {entry.value.kind}")
    for element in content:
        if not isinstance(element.content, Table):
            raise ConfigError.at(element.position, f"Expected {what} entry to be a map/struct, got {element.kind}")
        yield element.content, next((item.position for item in element.content), element.position)


AUTHORIZATION: Final[Keys] = {
    **keys("user", "username", field="user", read=string, doc="User that the other side must be."),
    **keys("pass", "password", field="password", read=string, doc="Its password."),
    **keys(
        "timeout",
        field="timeout",
        read=authorization_timeout,
        kind="seconds, or a duration",
        default="2 s; with TLS one more than its `timeout`",
        doc="How long it has to show them.",
    ),
    **keys("permissions", read=ignored_permissions, kind="map", doc="Deprecated; see the block's own `permissions`."),
}
COMPRESSION: Final[Keys] = {
    **keys("mode", field="mode", read=_compression_mode, kind="mode", doc="See `compression`."),
    **keys(
        "rtt_thresholds",
        "thresholds",
        "rtts",
        "rtt",
        field="thresholds",
        read=_thresholds,
        kind="list of durations",
        default="10 ms, 50 ms, 100 ms",
        doc="Round trips from which `s2_auto` compresses, and then more strongly.",
    ),
}
COMPRESSION_KIND: Final = "boolean, mode or map"
COMPRESSION_DOC: Final = (
    "`off`, `accept`, `s2_fast`, `s2_better`, `s2_best` or `s2_auto`; a map with `mode` and `rtt_thresholds` for "
    "the last."
)
