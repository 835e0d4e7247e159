"""The shape of JSON: which fields there are, in which order, of which type and which format.

The shape of an object is a dict of its fields in their order, a name with ``?`` standing for a field that some of the
objects in an array lack; that of an array is a list with the shape of its elements, of each kind that it has; that of
anything else is a text: ``integer``, ``time``, ``true`` or ``false``, the word itself in quotation marks where a field
holds one of a few words.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Shape: TypeAlias = "str | list[Shape] | dict[str, Shape]"

ABSENT = "absent"
_KINDS: tuple[type, ...] = (dict, list, str)
MAYBE = "?"
LINE = 120

_WORDS = frozenset(
    {"type", "kind", "client_type", "status", "reason", "error", "description", "tls_version"}
)
"""Fields whose values are told as they are."""

_NUMBERS = frozenset({"cpu", "avg_fanout", "cache_hit_rate"})
"""Fields of fractions, which are written like integers where they happen to be whole."""

_KEYS = {"N": "server", "A": "account", "U": "user", "O": "operator", "X": "curve"}
_KEY = re.compile(r"\b[NAUOX][A-Z2-7]{55}\b")
_REPLY = re.compile(r"_R_(\.\w+)+")
_FORMATS = (
    ("time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")),
    ("jwt", re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")),
    ("sha256", re.compile(r"(sha256:)?[0-9a-f]{64}")),
    ("id", re.compile(r"[0-9A-Za-z]{22}")),
    ("base32 hash", re.compile(r"[A-Z2-7]{52}")),
    ("age", re.compile(r"(\d+y)?(\d+d)?(\d+h)?(\d+m)?\d+s")),
    ("duration", re.compile(r"(\d+h)?(\d+m)?\d+(\.\d+)?(s|ms|µs|ns)")),
    ("version", re.compile(r"\d+\.\d+\.\d+")),
    ("address", re.compile(r"\d+\.\d+\.\d+\.\d+(:\d+)?")),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What stands at a path instead of what was recorded."""

    path: str
    wanted: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}: {self.got} instead of {self.wanted}"


def shape_of(value: Any, field: str = "") -> Shape:
    """The shape of a value that was read from JSON; ``field`` is the name it stood under."""
    if isinstance(value, dict):
        fields: dict[str, Shape] = {}
        for name, one in value.items():
            shape, folded = shape_of(one, name), _folded(name)
            fields[folded] = merged(fields[folded], shape) if folded in fields else shape
        return fields
    if isinstance(value, list):
        return merged_elements([shape_of(one, field) for one in value])
    if value is None:
        return "null"
    if isinstance(value, str):
        return word(value) if field in _WORDS else _format(value)
    if isinstance(value, bool):
        return str(value).lower()
    if field in _NUMBERS:
        return "number"
    return "integer" if isinstance(value, int) else "float"


def word(text: str) -> str:
    """The shape of a text that is told as it is, but for keys in it."""
    return f"'{_folded(text)}'"


def _folded(text: str) -> str:
    """The text with their kinds in place of keys and of reply subjects."""
    return _REPLY.sub("<reply subject>", _KEY.sub(lambda match: f"<{_KEYS[match[0][0]]} key>", text))


def _format(text: str) -> str:
    if _KEY.fullmatch(text):
        return _folded(text)
    return next((name for name, pattern in _FORMATS if pattern.fullmatch(text)), "string" if text else "empty")


def merged_elements(shapes: Sequence[Shape]) -> Shape:
    """The shape of an array whose elements have these shapes."""
    by_kind = ([one for one in shapes if type(one) is kind] for kind in _KINDS)
    return [functools.reduce(merged, alike) for alike in by_kind if alike]


def merged(one: Shape, other: Shape) -> Shape:
    """The shape of things of which some have the one shape and some the other; both are of one kind."""
    if isinstance(one, dict) and isinstance(other, dict):
        return _merged_fields(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return merged_elements([*one, *other])
    if isinstance(one, str) and isinstance(other, str):
        return "|".join(sorted({*one.split("|"), *other.split("|")}))
    raise TypeError(f"elements of one array are of two kinds: {one} and {other}")


def _merged_fields(one: Mapping[str, Shape], other: Mapping[str, Shape]) -> Shape:
    fields, others = _named(one), _named(other)
    maybe = {name for name, (_, is_maybe) in [*fields.items(), *others.items()] if is_maybe} | (
        fields.keys() ^ others.keys()
    )
    order = list(fields)
    at = 0
    for name in others:
        if name in fields:
            at = order.index(name) + 1
        else:
            order.insert(at, name)
            at += 1
    made: dict[str, Shape] = {}
    for name in order:
        shapes = [found[name][0] for found in (fields, others) if name in found]
        made[name + MAYBE if name in maybe else name] = merged(shapes[0], shapes[-1])
    return made


def _named(fields: Mapping[str, Shape]) -> dict[str, tuple[Shape, bool]]:
    """The fields by their bare names, with whether they may be absent."""
    return {name.removesuffix(MAYBE): (shape, name.endswith(MAYBE)) for name, shape in fields.items()}


def differences(wanted: Shape, got: Shape, path: str = "$") -> Iterator[Difference]:
    """Where one shape is not like another."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        yield from _field_differences(_named(wanted), _named(got), path)
    elif isinstance(wanted, list) and isinstance(got, list) and [*map(type, wanted)] == [*map(type, got)]:
        for wanted_element, got_element in zip(wanted, got, strict=True):
            yield from differences(wanted_element, got_element, f"{path}[]")
    elif wanted != got:
        yield Difference(path, told(wanted), told(got))


def _field_differences(
    wanted: Mapping[str, tuple[Shape, bool]], got: Mapping[str, tuple[Shape, bool]], path: str
) -> Iterator[Difference]:
    for name in [*wanted, *(name for name in got if name not in wanted)]:
        place = f"{path}.{name}"
        if name not in got:
            yield Difference(place, told(wanted[name][0]), ABSENT)
        elif name not in wanted:
            yield Difference(place, ABSENT, told(got[name][0]))
        else:
            (wanted_shape, wanted_maybe), (got_shape, got_maybe) = wanted[name], got[name]
            yield from differences(wanted_shape, got_shape, place)
            if wanted_maybe != got_maybe:
                yield Difference(place, *("in some" if maybe else "in all" for maybe in (wanted_maybe, got_maybe)))
    orders = [[name for name in fields if name in wanted and name in got] for fields in (wanted, got)]
    if orders[0] != orders[1]:
        yield Difference(path, *(f"order {' '.join(order)}" for order in orders))


def told(shape: Shape) -> str:
    """A shape in one line."""
    return shape if isinstance(shape, str) else json.dumps(shape)


def written(shape: Shape, indent: str = "") -> str:
    """A shape as JSON whose lines are short enough to be read."""
    line = json.dumps(shape, ensure_ascii=False)
    if len(indent) + len(line) + 30 <= LINE or isinstance(shape, str) or not shape:
        return line
    deeper = f"{indent}  "
    if isinstance(shape, list):
        elements = f",\n{deeper}".join(written(one, deeper) for one in shape)
        return f"[\n{deeper}{elements}\n{indent}]"
    fields = [f"{json.dumps(name, ensure_ascii=False)}: {written(one, deeper)}" for name, one in shape.items()]
    # Short fields share a line, as long as there is room.
    lines: list[str] = []
    for field in fields:
        is_short = lines and "\n" not in lines[-1] and len(deeper) + len(lines[-1]) + len(field) + 3 <= LINE
        if is_short and "\n" not in field and indent:
            lines[-1] += f", {field}"
        else:
            lines.append(field)
    return "{\n" + ",\n".join(deeper + line for line in lines) + f"\n{indent}}}"
