"""Writes answers as Go's encoding/json does: fields in order, empty ones left out, maps sorted, HTML escaped."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

from auth.gojson import escaped
from broker.jetstream.codec.kinds import Moment
from broker.jetstream.codec.times import shown_time

Plain = dict[str, Any]
"""An object of JSON, its names in order."""

_ENCODER: Final = msgspec.json.Encoder()
_AS_IT_IS: Final = frozenset((int, str, bool, type(None)))
"""Answers may have a hundred thousand of these; each is passed over without a call."""


def dumps(value: object) -> bytes:
    """The JSON of plain data and of structs in it."""
    return escaped(_ENCODER.encode(_plainly(value)))


def plain(value: msgspec.Struct) -> Plain:
    """A struct as an object of JSON: what holds nothing is left out, unless its ``ALWAYS`` names it."""
    found: Plain = {}
    for name, attribute, is_always, is_time in _fields(type(value)):
        content = getattr(value, attribute)
        if is_time and content is not None:
            found[name] = shown_time(content)
        elif is_always or (content and not _is_zero(content)):
            found[name] = _plainly(dict(sorted(content.items())) if isinstance(content, dict) else content)
    return found


def _plainly(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return plain(value)
    if isinstance(value, dict):
        return {name: part if type(part) in _AS_IT_IS else _plainly(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [part if type(part) in _AS_IT_IS else _plainly(part) for part in value]
    return value


def _is_zero(content: object) -> bool:
    """Whether a word is the one that an absent one means."""
    return isinstance(content, str) and content is _first(type(content))


@cache
def _first(kind: type) -> object:
    members = getattr(kind, "__members__", None)
    return next(iter(members.values())) if members else None


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, bool, bool], ...]:
    hints = get_type_hints(kind, include_extras=True)
    always: frozenset[str] = getattr(kind, "ALWAYS", frozenset())
    return tuple(
        (field.encode_name, field.name, field.name in always, _is_time(hints[field.name]))
        for field in msgspec.structs.fields(kind)
    )


def _is_time(hint: Any) -> bool:
    inner = [hint, *get_args(hint)]
    return any(get_origin(one) is Annotated and isinstance(get_args(one)[1], Moment) for one in inner)
