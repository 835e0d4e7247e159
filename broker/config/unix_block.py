"""The ``unix`` block: clients of the same machine, over a Unix socket."""

from __future__ import annotations

import re
from typing import Final

from broker.config.options import UnixOptions
from broker.config.parts.common import block
from broker.config.tree import Entry
from broker.config.values import Keys, Problems, boolean, fail, keys, read_block, string

_MODE: Final = re.compile(r"0?[0-7]{3}")


def unix(entry: Entry, problems: Problems) -> UnixOptions:
    """The block. Raises ConfigError."""
    content = block(entry, "unix to be a map")
    fields = read_block(content, KEYS, problems)
    if not fields.get("path") and "path" not in {item.key.lower() for item in content}:
        raise fail(entry, "unix needs the key path: the file of the socket")
    return UnixOptions(**fields)


def _path(entry: Entry, problems: Problems) -> str:
    path = string(entry, problems)
    if not path or "\0" in path:
        raise fail(entry, "path must name a file")
    return path


def _mode(entry: Entry, _: Problems) -> int:
    """The configuration language knows no octal numbers, so that one without quotes would mean another mode."""
    content = entry.value.content
    if not isinstance(content, str) or not _MODE.fullmatch(content):
        raise fail(entry, 'mode must be three octal digits in quotes, such as "0660"')
    return int(content, 8)


def _group(entry: Entry, problems: Problems) -> str:
    content = entry.value.content
    if isinstance(content, int) and not isinstance(content, bool) and content >= 0:
        return str(content)
    return string(entry, problems)


KEYS: Final[Keys] = {
    **keys("path", field="path", read=_path, kind="path", doc="The socket's file. Required."),
    **keys(
        "mode",
        field="mode",
        read=_mode,
        kind="octal digits in quotes",
        default='`"0600"`',
        doc="Permissions of the file: who may write to it may connect.",
    ),
    **keys(
        "group",
        field="group",
        read=_group,
        kind="name or number",
        default="that of the process",
        doc="Group that the file belongs to.",
    ),
    **keys(
        "verify_and_map",
        field="verify_and_map",
        read=boolean,
        doc="Clients are the users `unix:uid=1000` or `unix:user=alice` of the configuration, by the system user whose "
        "process they are; anybody else is refused.",
    ),
    **keys("tls", field="tls", read=boolean, doc="Clients have to speak TLS, as the clients' `tls` says."),
}
