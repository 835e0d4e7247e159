"""From values of the language to values of the options: durations, sizes, addresses, and the collecting of problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import ip_network
from typing import Any, Final, TypeAlias

from broker.config.errors import ConfigError, Position, Problem
from broker.config.tree import Entry, Table, Value

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([^0-9.]*)")
_MAX_SECONDS: Final = float((1 << 63) - 1) / 1e9
_SEED: Final = re.compile(r"S[A-Z2-7]{20}")
MAX_SIZE: Final = (1 << 31) - 1
"""Largest ``max_payload`` and ``max_control_line``, in bytes."""


@dataclass(slots=True)
class Problems:
    """What was found wrong so far. Reading goes on after an error, so that a file is told all its errors at once."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps a :class:`ConfigError` of the block for later."""
        try:
            yield
        except ConfigError as error:
            self.errors.extend(error.problems)

    def warn(self, entry: Entry, reason: str) -> None:
        """Adds a warning about one key."""
        self.warnings.append(Problem(f'invalid use of field "{entry.key}": {reason}', entry.position))


Reader: TypeAlias = Callable[[Entry, Problems], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """What a key means: how its value is read, the field of the options that it sets, and what people are told of it.

    docs/configuration.md is made of the last three.
    """

    field: str
    read: Reader
    doc: str = ""
    """What it does; sentences in Markdown."""
    kind: str = ""
    """The kind of its value with its unit, where the reader alone does not tell."""
    default: str = ""
    """What holds without it, where the options do not tell."""


Keys: TypeAlias = Mapping[str, Key]


def late(module: str, function: str) -> Reader:
    """A reader out of a module of :mod:`broker.config` that is imported only where its key is used."""

    def read(entry: Entry, problems: Problems) -> Any:
        return getattr(import_module(f"broker.config.{module}"), function)(entry, problems)

    return read


NOWHERE: Final = ""
"""The field of a key that is only checked."""


def keys(
    *names: str, read: Reader, doc: str, field: str = NOWHERE, kind: str = "", default: str = ""
) -> dict[str, Key]:
    """One key under all its names."""
    return dict.fromkeys(names, Key(field, read, doc, kind, default))


def read_block(
    table: Table, keys: Keys, problems: Problems, unknown: str = 'unknown field "{}"', *, exact: bool = False
) -> dict[str, Any]:
    """Reads the entries of a map into fields, in the order of the file; where two set one field, the later one counts.

    Args:
        table: the map.
        keys: what it may hold, by names in lower case.
        problems: collects what is wrong.
        unknown: text about a key that is not among ``keys``. A key that a variable refers to needs no meaning.
        exact: whether the case of the keys counts.
    """
    fields: dict[str, Any] = {}
    for entry in table:
        key = keys.get(entry.key if exact else entry.key.lower())
        if key is None:
            if not entry.used:
                problems.errors.append(Problem(unknown.format(entry.key) + _hint(entry.key, keys), entry.position))
            continue
        try:
            value = key.read(entry, problems)
        except ConfigError as error:
            problems.errors.extend(error.problems)
        else:
            fields.pop(key.field, None)
            fields[key.field] = value
    return fields


def _hint(key: str, keys: Keys) -> str:
    if "{" in key:
        return "; put a space before the {"
    similar: list[str] = import_module("difflib").get_close_matches(key.lower(), keys, n=1, cutoff=0.7)
    return f"; did you mean {similar[0]}?" if similar else ""


def without_seed(text: str) -> str:
    """A key as an error may show it: whole when it is public, not when it is a seed that was put in its place."""
    return f"{text[:2]}…" if _SEED.match(text) else text


def wrong_type(entry: Entry, wanted: str, value: Value | None = None) -> ConfigError:
    """The error that a value is of another kind than the key takes."""
    value = entry.value if value is None else value
    remedy = ""
    if "string" in wanted and value.kind in {"an integer", "a decimal number", "a boolean", "a date"}:
        remedy = "; put it in quotes"
    elif value.kind == "a string" and ("integer" in wanted or "boolean" in wanted):
        remedy = "; write it without quotes, if it is one"
    return ConfigError.at(entry.position, f'field "{entry.key}" takes {wanted}, not {value.kind}{remedy}')


def fail(entry: Entry, message: str) -> ConfigError:
    """An error at a key."""
    return ConfigError.at(entry.position, message)


def string(entry: Entry, _: Problems) -> str:
    """Any string."""
    if not isinstance(entry.value.content, str):
        raise wrong_type(entry, "a string")
    return entry.value.content


def log_format(entry: Entry, problems: Problems) -> str:
    """``text`` or ``json``."""
    text = string(entry, problems).lower()
    if text not in {"text", "json"}:
        raise fail(entry, f'field "{entry.key}" must be text or json, not {text!r}')
    return text


def name(entry: Entry, problems: Problems) -> str:
    """A string that must not be empty, as a variable that is set to nothing would make it."""
    text = string(entry, problems)
    if not text:
        raise fail(entry, f'field "{entry.key}" must not be empty; remove it or give it a value')
    return text


def boolean(entry: Entry, _: Problems) -> bool:
    """``true`` or ``false``."""
    if not isinstance(entry.value.content, bool):
        raise wrong_type(entry, "a boolean (true or false)")
    return entry.value.content


def integer(entry: Entry, _: Problems) -> int:
    """Any integer."""
    content = entry.value.content
    if isinstance(content, bool) or not isinstance(content, int):
        raise wrong_type(entry, "an integer")
    return content


def count(entry: Entry, problems: Problems) -> int:
    """An integer from 0."""
    number = integer(entry, problems)
    if number < 0:
        raise fail(entry, f"{entry.key} value can not be negative")
    return number


def size(entry: Entry, problems: Problems) -> int:
    """Bytes, from 0 to :data:`MAX_SIZE`."""
    number = count(entry, problems)
    if number > MAX_SIZE:
        raise fail(entry, f"{entry.key} value is too big")
    return number


def port(entry: Entry, problems: Problems) -> int:
    """A TCP port; -1 is a random one."""
    number = integer(entry, problems)
    if not -1 <= number <= 65535:
        raise fail(entry, f"{entry.key} must be from 1 to 65535, or -1 for a random port, not {number}")
    return number


def rate(entry: Entry, problems: Problems) -> int:
    """How much may be done in a second: 1 or more, or -1 for no limit."""
    value = integer(entry, problems)
    if value < 1 and value != -1:
        raise fail(entry, f"{entry.key} must be 1 or more in a second, or -1 for unlimited, not {value}")
    return value


def strings(entry: Entry, problems: Problems) -> tuple[str, ...]:
    """A list of strings."""
    if not isinstance(entry.value.content, list):
        raise wrong_type(entry, "a list of strings")
    return tuple(text for text, _ in positioned_strings(entry))


def one_or_more(entry: Entry, problems: Problems) -> tuple[str, ...]:
    """A string or a list of strings."""
    return tuple(text for text, _ in positioned_strings(entry))


def networks(entry: Entry, problems: Problems) -> tuple[str, ...]:
    """Addresses and networks of IPv4 and IPv6, all of them as networks (RFC 4632)."""
    found = []
    for text, position in positioned_strings(entry):
        try:
            found.append(str(ip_network(text, strict=False)))
        except ValueError:
            remedy = "write an address such as 192.0.2.7, or a network such as 192.0.2.0/24"
            raise ConfigError.at(position, f'field "{entry.key}": "{text}" is no network; {remedy}') from None
    return tuple(found)


def positioned_strings(entry: Entry) -> list[tuple[str, Position]]:
    """The strings of a string or a list, each with where it stands."""
    content = entry.value.content
    if isinstance(content, str):
        return [(content, entry.position)]
    if not isinstance(content, list):
        raise wrong_type(entry, "a string or a list of strings")
    texts = []
    for element in content:
        if not isinstance(element.content, str):
            raise wrong_type(entry, "a string or a list of strings", element)
        texts.append((element.content, element.position))
    return texts


def table(entry: Entry, wanted: str = "a map in braces") -> Table:
    """A map."""
    if not isinstance(entry.value.content, Table):
        raise wrong_type(entry, wanted)
    return entry.value.content


def string_map(entry: Entry, problems: Problems) -> dict[str, str]:
    """A map from string to string."""
    return {item.key: string(item, problems) for item in table(entry)}


def seconds_of(text: str) -> float:
    """The seconds of a duration such as ``1h30m``, ``250ms`` or ``0``.

    Raises:
        ValueError: it is no such duration; the text says why.
    """
    unsigned = text[1:] if text[:1] in {"+", "-"} else text
    if unsigned == "0":
        return 0.0
    total, end = 0.0, 0
    while end < len(unsigned):
        term = _TERM.match(unsigned, end)
        if term is None:
            raise ValueError(f'time: invalid duration "{text}"')
        if not term[2]:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if term[2] not in _UNITS:
            raise ValueError(f'time: unknown unit "{term[2]}" in duration "{text}"')
        total += float(term[1]) * _UNITS[term[2]]
        end = term.end()
    if not unsigned or total > _MAX_SECONDS:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total


def duration_text(entry: Entry, _: Problems) -> float:
    """Seconds of a duration, which must be a string."""
    text = string(entry, _)
    try:
        return seconds_of(text)
    except ValueError as error:
        raise fail(entry, f'error parsing {entry.key}: {error}; write it like "2m" or "250ms"') from None


def duration(entry: Entry, problems: Problems) -> float:
    """Seconds of a duration that is not negative; an integer counts as seconds, with a warning."""
    content = entry.value.content
    if isinstance(content, int | float) and not isinstance(content, bool):
        problems.warn(entry, f"{entry.key} should be converted to a duration")
        value = float(integer(entry, problems))
    else:
        value = duration_text(entry, problems)
    if value < 0:
        raise fail(entry, f"{entry.key} value can not be negative")
    return value


def timeout(entry: Entry, _: Problems, block: str) -> float:
    """Seconds as a number, or a duration; not negative. ``block`` names where the key stands."""
    content = entry.value.content
    what = f"error parsing {block} config, '{entry.key}'"
    if isinstance(content, str):
        try:
            value = seconds_of(content)
        except ValueError as error:
            raise fail(entry, f"{what} {error}") from None
    elif isinstance(content, int | float) and not isinstance(content, bool):
        value = float(content)
    else:
        raise fail(entry, f"{what} wrong type; write seconds, or a duration in quotes")
    if not 0 <= value <= _MAX_SECONDS:
        raise fail(entry, f"{what} must not be negative or endless")
    return value


def listen(entry: Entry, problems: Problems) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[IPv6]:port`` or a port alone, whose host is the empty string."""
    content = entry.value.content
    if not isinstance(content, str):
        if isinstance(content, bool) or not isinstance(content, int):
            raise fail(entry, f"expected port or host:port, got {entry.value.kind}")
        return "", port(entry, problems)
    host, number = split_address(content, entry)
    return host, number


def split_address(text: str, entry: Entry) -> tuple[str, int]:
    """Host and port of an address text."""
    host, colon, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "[" in host or "]" in host:
        colon = ""
    if not colon:
        raise fail(entry, f'could not parse address string "{text}"; write host:port, with an IPv6 host in brackets')
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", digits):
        raise fail(entry, f'could not parse port "{digits}"')
    number = int(digits)
    if not -1 <= number <= 65535:
        raise fail(entry, f"{entry.key} must have a port from 1 to 65535, or -1 for a random one, not {number}")
    return host, number
