"""What a configuration text says, before anyone asks what it means: values with the places they stand at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Final, TypeAlias

import msgspec

from broker.config.errors import Position

_DISCARDED_AT_ONCE: Final = 1000
"""Values that are few enough to be freed in one step."""

Scalar: TypeAlias = bool | int | float | str | datetime


class Value(msgspec.Struct):
    """One value. Its text is not shown, because it may be a secret."""

    content: Scalar | list[Value] | Table
    position: Position
    size: int = 1
    """Values in it, itself included."""

    def __repr__(self) -> str:
        return f"Value(position={self.position!r}, size={self.size})"

    @property
    def kind(self) -> str:
        """What it is, in words for an error."""
        content = self.content
        if isinstance(content, bool):
            return "a boolean"
        if isinstance(content, int):
            return "an integer"
        if isinstance(content, float):
            return "a decimal number"
        if isinstance(content, str):
            return "a string"
        if isinstance(content, datetime):
            return "a date"
        return "a map" if isinstance(content, Table) else "an array"


class Entry(msgspec.Struct):
    """One key of a map with its value. Variables share the value of the entry that they name."""

    key: str
    value: Value
    position: Position
    """Where the key stands."""
    used: bool = False
    """Whether a variable refers to the key. Such a key needs no meaning of its own."""


@dataclass(slots=True, eq=False)
class Likeness:
    """What maps have in common that are written in the same characters, and so say the same at different places."""

    size: int = 1
    """Values in each of them, itself included."""
    json: str = ""
    """Each of them as JSON, once that has been asked for."""
    meaning: object = None
    """What the first of them means without any problem, left here by who read it for who reads the next."""


class Table:
    """A map: entries by their exact keys, in the order of the text; the last of equal keys counts, at its own place."""

    __slots__ = ("_entries", "likeness")

    def __init__(self, likeness: Likeness | None = None) -> None:
        """``likeness`` is shared with other maps that are written alike."""
        self.likeness = likeness
        self._entries: dict[str, Entry] = {}

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries by their keys."""
        return self._entries

    def put(self, entry: Entry) -> None:
        """Adds an entry, in place of an earlier one with this key."""
        entries = self.entries
        if entry.key in entries:
            del entries[entry.key]
        entries[entry.key] = entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)


class Repetition(Table):
    """A map that is written like an earlier one; its own entries are made when somebody asks for them."""

    __slots__ = ("_offset", "_read")

    def __init__(self, likeness: Likeness, read: Callable[[int], dict[str, Entry]], offset: int) -> None:
        """``read`` makes the entries of what stands at an offset; it is called once at most."""
        self.likeness = likeness
        self._read: Callable[[int], dict[str, Entry]] | None = read
        self._offset = offset

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries by their keys, each with its own place."""
        read, self._read = self._read, None
        if read is not None:
            self._entries = read(self._offset)
        return self._entries


def discard(table: Table) -> None:
    """Empties a table that nobody needs any more, bit by bit, because freeing much at once holds up other threads."""
    values = [entry.value for entry in table]
    table.entries.clear()
    while values:
        value = values.pop()
        content = value.content
        if value.size > _DISCARDED_AT_ONCE and isinstance(content, Table):
            values += [entry.value for entry in content]
            content.entries.clear()
        elif value.size > _DISCARDED_AT_ONCE and isinstance(content, list):
            values += content
            content.clear()


def digest(table: Table) -> str:
    """The digest that nats-server shows for a configuration: SHA-256 over the JSON of all it says, keys sorted."""
    text = _json(Value(table, Position("", 1, 0)))
    for character in _HTML:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return "sha256:" + hashlib.sha256(f"{text}\n".encode()).hexdigest()


# Go's encoder writes these five characters so that its output is safe inside HTML.
_HTML: Final = "<>&\u2028\u2029"


def _json(value: Value) -> str:
    content = value.content
    if isinstance(content, str):
        return encode_basestring(content)
    if isinstance(content, Table):
        return _json_map(content)
    if isinstance(content, list):
        return "[" + ",".join(map(_json, content)) + "]"
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, int):
        return str(content)
    if isinstance(content, datetime):
        return f'"{content.replace(tzinfo=None).isoformat()}Z"'
    return _json_float(content)


def _json_map(table: Table) -> str:
    likeness = table.likeness
    if likeness is not None and likeness.json:
        return likeness.json
    # Keys differ, so they alone decide; code points sort as their UTF-8 does.
    pairs = sorted(table.entries.items())
    text = "{" + ",".join([f"{encode_basestring(key)}:{_json(entry.value)}" for key, entry in pairs]) + "}"
    if likeness is not None:
        likeness.json = text
    return text


def _json_float(number: float) -> str:
    if number == 0:
        return "-0" if str(number).startswith("-") else "0"
    if 1e-6 <= abs(number) < 1e21:
        text = format(Decimal(repr(number)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = format(Decimal(repr(number)).normalize(), "e").partition("e")
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa}e{sign}{abs(int(exponent)):0{1 if sign == '-' else 2}}"
