"""Reads requests as Go's encoding/json does: names in any case, null for nothing, its texts about what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from auth.gojson import quote
from broker.jetstream.codec.kinds import Integer, Moment, TextWord, Word
from broker.jetstream.codec.scanner import JsonError, Scanner, SyntaxProblemError, TruncatedError
from broker.jetstream.codec.times import parse_time

StructT = TypeVar("StructT", bound=msgspec.Struct)
_Read = Callable[["_Reading", Any, tuple[str, ...]], Any]

_PACKAGE: Final = "server"
"""The Go package whose types error texts name."""


class _Number(str):
    """A number with a fraction or an exponent, as it is written."""

    __slots__ = ()


_DECODER: Final = msgspec.json.Decoder(float_hook=_Number)
_SKIPPED: Final = object()
"""Stands for a value that is left as it was."""


def decode(payload: bytes, kind: type[StructT], *, strict: bool) -> StructT:
    """The request in a payload; all defaults in an empty one.

    ``strict`` refuses names that the request does not have. Raises JsonError in the words of nats-server.
    """
    if not payload.strip():
        return kind()
    try:
        value = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _salvaged(payload)
    return _filled(kind, value, strict=strict)


def unmarshal(payload: bytes, kind: type[StructT]) -> StructT:
    """Like `decode`, for the few requests that nats-server reads another way: one value, whatever names it has.

    Raises JsonError.
    """
    try:
        value = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        scanner = Scanner(payload)
        try:
            scanner.value()
        except TruncatedError:
            raise JsonError("unexpected end of JSON input") from None
        if not scanner.at_end():
            found = payload[scanner.position : scanner.position + 1].decode("latin-1")
            raise JsonError(f"invalid character '{found}' after top-level value") from None
        value = _lenient(payload)
    return _filled(kind, value, strict=False)


def is_empty(payload: bytes) -> bool:
    """Whether a payload asks for nothing: it is empty, or an object without fields."""
    if not payload or payload == b"{}":
        return True
    try:
        return bool(msgspec.json.decode(payload) == {})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _salvaged(payload: bytes) -> object:
    """The last of several values that stand behind each other, which are read in turn. Raises JsonError."""
    scanner = Scanner(payload)
    value: object = {}
    while not scanner.at_end():
        start = scanner.position
        try:
            scanner.value()
        except SyntaxProblemError as error:
            raise JsonError(f"{error} at offset {error.offset}") from None
        value = _lenient(payload[start : scanner.position])
    return value


def _lenient(text: bytes) -> object:
    """A value that is well-formed; bytes that are no UTF-8 become U+FFFD."""
    try:
        return _DECODER.decode(text.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise JsonError(str(error)) from None


class _Reading:
    """One request on its way: the first problem is what it is refused with."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.problem: str | None = None
        self.structs: list[str] = []
        """Go's names of the structs around what is read, the innermost last."""

    def note(self, problem: str) -> None:
        self.problem = self.problem or problem

    def mismatch(self, value: object, type_name: str, path: tuple[str, ...]) -> object:
        """A value of another type than is wanted, which leaves the field as it is."""
        what = f"json: cannot unmarshal {_described(value)} into Go "
        where = f"struct field {self.structs[-1]}.{'.'.join(path)} of" if path else "value of"
        self.note(f"{what}{where} type {type_name}")
        return _SKIPPED


def _filled(kind: type[StructT], value: object, *, strict: bool) -> StructT:
    reading = _Reading(strict=strict)
    found = _struct(kind)(reading, value, ())
    if reading.problem is not None:
        raise JsonError(reading.problem)
    return kind() if found is _SKIPPED else found


def _described(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case _Number():
            return f"number {value}"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


@cache
def _struct(kind: type[msgspec.Struct]) -> _Read:
    """How a struct is read; the names of its fields are those in JSON."""
    hints = get_type_hints(kind, include_extras=True)
    go_name: str = getattr(kind, "GO_NAME", kind.__name__)
    embedded: dict[str, str] = getattr(kind, "EMBEDDED", {})
    fields = {
        field.encode_name: (field.name, _reader(hints[field.name]), embedded.get(field.name, ""))
        for field in msgspec.structs.fields(kind)
    }
    folded = {name.lower(): name for name in reversed(fields)}

    def read(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
        if value is None:
            return _SKIPPED
        if not isinstance(value, dict):
            return reading.mismatch(value, f"{_PACKAGE}.{go_name}", path)
        given = {}
        reading.structs.append(go_name)
        for name, part in value.items():
            known = name if name in fields else folded.get(name.lower())
            if known is None:
                if reading.strict:
                    reading.note(f"json: unknown field {quote(name)}")
                continue
            attribute, reader, outer = fields[known]
            found = reader(reading, part, (*path, outer, known) if outer else (*path, known))
            if found is not _SKIPPED:
                given[attribute] = found
        reading.structs.pop()
        return kind(**given)

    return read


def _reader(hint: Any) -> _Read:
    """How a value of an annotated type is read."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(arguments[1])
    if origin in (Union, UnionType):
        return _optional(_reader(next(one for one in arguments if one is not NoneType)))
    if origin is list:
        return _list(_reader(arguments[0]), _go_name(arguments[0]), _zero(arguments[0]))
    if origin is dict:
        return _map(_reader(arguments[1]))
    if hint is str:
        return _string
    if hint is bool:
        return _boolean
    if isinstance(hint, type) and issubclass(hint, Word):
        return _word(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct(hint)
    raise TypeError(f"no way to read {hint}")


def _go_name(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return str(get_args(hint)[1].name)
    return "string" if hint is str else f"*{_PACKAGE}.{getattr(hint, 'GO_NAME', hint.__name__)}"


def _string(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
    if value is None:
        return _SKIPPED
    if isinstance(value, _Number) or not isinstance(value, str):
        # Of numbers that do not become text, Go tells no digits.
        what = 0 if isinstance(value, _Number) else value
        return reading.mismatch(what, "string", path)
    return value


def _boolean(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
    if value is None:
        return _SKIPPED
    if not isinstance(value, bool):
        return reading.mismatch(0 if isinstance(value, _Number) else value, "bool", path)
    return value


def _annotated(kind: Integer | Moment) -> _Read:
    if isinstance(kind, Moment):
        return _moment

    def read(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
        if value is None:
            return _SKIPPED
        if isinstance(value, bool) or not isinstance(value, int):
            return reading.mismatch(value, kind.name, path)
        if not kind.least <= value <= kind.most:
            return reading.mismatch(_Number(value), kind.name, path)
        return value

    return read


def _moment(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
    if value is None:
        return _SKIPPED
    if isinstance(value, _Number) or not isinstance(value, str):
        raise JsonError("Time.UnmarshalJSON: input is not a JSON string")
    try:
        return parse_time(value)
    except ValueError as error:
        raise JsonError(str(error)) from None


def _optional(inner: _Read) -> _Read:
    def read(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
        return None if value is None else inner(reading, value, path)

    return read


def _zero(hint: Any) -> Callable[[], object]:
    """Makes what null in a list stands for."""
    return int if get_origin(hint) is Annotated else hint


def _list(inner: _Read, name: str, zero: Callable[[], object]) -> _Read:
    def read(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
        if value is None:
            return []
        if not isinstance(value, list):
            return reading.mismatch(value, f"[]{name}", path)
        found = [inner(reading, part, path) for part in value]
        return [zero() if part is _SKIPPED else part for part in found]

    return read


def _map(inner: _Read) -> _Read:
    def read(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            return reading.mismatch(value, "map[string]string", path)
        found = {name: inner(reading, part, path) for name, part in value.items()}
        return {name: "" if part is _SKIPPED else part for name, part in found.items()}

    return read


def _word(kind: type[Word]) -> _Read:
    def read(reading: _Reading, value: Any, path: tuple[str, ...]) -> Any:
        text = value if isinstance(value, str) and not isinstance(value, _Number) else None
        if issubclass(kind, TextWord) and text is None and value is not None:
            return reading.mismatch(value, "string", path)
        try:
            return kind.read(text, msgspec.json.encode(value).decode())
        except ValueError as error:
            raise JsonError(str(error)) from None

    return read
