"""Parts that this version does not have: their keys are checked like all others, and asking for them is an error.

So no file seems to work while half of it is ignored, and a file that is right for nats-server is told what is missing
rather than what is unknown. Values that ask for nothing (``ocsp: false``, an empty block) are accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from broker.config.errors import ConfigError
from broker.config.tree import Entry, Table
from broker.config.values import Keys, Problems, Reader, fail, integer, keys, string_map

_NOTHING: Final = frozenset({"", "disabled", "disable", "never"})


def needs(entry: Entry, part: str) -> ConfigError:
    """The error that a key asks for a part that this version does not have."""
    return fail(entry, f'field "{entry.key}" needs {part}, which is not available in this version; remove it')


def refuse_absent(entry: Entry, part: str) -> None:
    """Refuses a key of a part that this version does not have, unless its value asks for nothing.

    Raises:
        ConfigError: the part is asked for.
    """
    content = entry.value.content
    nothing = content.lower() in _NOTHING if isinstance(content, str) else not content
    if isinstance(content, Table | list):
        nothing = not len(content)
    if not nothing:
        raise needs(entry, part)


def checked(read: Reader, part: str) -> Reader:
    """Reads a value, and then refuses it unless it asks for nothing."""

    def check(entry: Entry, problems: Problems) -> None:
        read(entry, problems)
        refuse_absent(entry, part)

    return check


def block(module: str, part: str) -> Reader:
    """Reads a value with ``read`` of a module of :mod:`broker.config.parts`, imported only where the key is used.

    What the function returns says whether the part is asked for.
    """

    def check(entry: Entry, problems: Problems) -> None:
        read: Callable[[Entry, Problems], bool] = import_module(f"broker.config.parts.{module}").read
        if read(entry, problems):
            raise needs(entry, part)

    return check


ABSENT_KEYS: Final[Keys] = {
    **keys(
        "cluster",
        read=block("cluster", "clustering"),
        kind="map",
        doc="Joins servers to a cluster.",
    ),
    **keys("gateway", read=block("gateway", "gateways"), kind="map", doc="Joins clusters."),
    **keys("leafnodes", "leaf", read=block("leafnodes", "leafnodes"), kind="map", doc="Joins servers as leafnodes."),
    **keys("mqtt", read=block("mqtt", "MQTT"), kind="map", doc="Serves MQTT clients."),
    **keys(
        "default_js_domain",
        read=checked(string_map, "leafnodes"),
        kind="map of strings",
        doc="JetStream domains that accounts reach through leafnodes.",
    ),
    **keys("proxies", read=block("proxies", "trusted proxies"), kind="map", doc="Proxies that may name their clients."),
    **keys("prof_port", read=checked(integer, "profiling"), kind="port", doc="Serves profiles."),
}
"""Keys of the top level that ask for parts which this version does not have."""
