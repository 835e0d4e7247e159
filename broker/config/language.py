"""The configuration language: from a file to values, with variables, environment and included files resolved.

Whatever the bytes are, the outcome is a table or a :class:`~broker.config.errors.ConfigError`.
"""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Final

import msgspec

from broker.config.errors import ConfigError, Position
from broker.config.nodes import ElementNode, IncludeNode, MapNode, Node, RepeatNode, ScalarNode, Source
from broker.config.quick import read_document, read_map, read_variable
from broker.config.tree import Entry, Repetition, Scalar, Table, Value

MAX_DEPTH: Final = 100
"""Maps, arrays, included files and variables of the environment that may lie inside one another."""
MAX_VALUES: Final = 1_000_000
"""Values a file may amount to once its variables are replaced."""

_NEAR_MAX_DEPTH: Final = MAX_DEPTH - 2
"""Where a map that the quick reader recognises, which may hold maps in turn, may lie too deep."""

_SIZES: Final = {
    "": 1,
    **{suffix: 1000**power for power, suffix in enumerate("kmgtpe", 1)},
    **{suffix + binary: 1024**power for power, suffix in enumerate("kmgtpe", 1) for binary in ("b", "i", "ib")},
}
_INTEGER: Final = re.compile(r"(-?\d+)([a-z]*)")
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPE: Final = re.compile(r"\\x([0-9A-Fa-f]{2})|\\(.?)", re.DOTALL)
_QUOTED: Final = frozenset({"DOUBLE_QUOTED", "SINGLE_QUOTED"})
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")


def parse_file(path: str, environment: Mapping[str, str] | None = None) -> Table:
    """What a configuration file says.

    Args:
        path: the file; errors name it as it is given here.
        environment: variables that ``$NAME`` may refer to; those of the process when absent.

    Raises:
        ConfigError: the file or one that it includes cannot be read or is not written in the language.
    """
    evaluator = _Evaluator(os.environ if environment is None else environment)
    return evaluator.document(_read(path, None), path)


def parse_bytes(
    data: bytes, name: str = "configuration", environment: Mapping[str, str] | None = None, *, directory: str = ""
) -> Table:
    """What a configuration text says.

    Args:
        data: the text in UTF-8, with or without a byte order mark.
        name: what errors call it.
        environment: as in :func:`parse_file`.
        directory: what the paths of included files are relative to; the current directory when empty.

    Raises:
        ConfigError: the text is not written in the language, or a file it includes is not.
    """
    evaluator = _Evaluator(os.environ if environment is None else environment)
    return evaluator.document(_decode(data, name), os.path.join(directory, name))


def _read(path: str, position: Position | None) -> Source:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:
        reason = (error.strerror or "input/output error") if isinstance(error, OSError) else "invalid path"
        raise ConfigError.at(position, f"open {path}: {reason[:1].lower()}{reason[1:]}") from None
    return _decode(data, path)


def _decode(data: bytes, name: str) -> Source:
    data = data.removeprefix(BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = Source(name, data[: error.start].decode())
        raise ConfigError.at(
            before.position(len(before.text)), "the text is not valid UTF-8 here; save the file as UTF-8"
        ) from None
    source = Source(name, text)
    if "\0" in text:
        raise ConfigError.at(source.position(text.index("\0")), "the text contains a NUL byte; remove it")
    return source


class _Place(msgspec.Struct):
    """Where evaluation stands: the text, the maps around, and how deep it is; never changed, and made for each map."""

    source: Source
    scopes: tuple[Table, ...]
    depth: int
    files: tuple[str, ...]
    """Files being read, the outermost first; an include of one of them is a cycle."""
    variables: tuple[str, ...] = ()
    """Variables of the environment being read."""

    def position(self, offset: int) -> Position:
        return self.source.position(offset)

    def inside(self, offset: int, scope: Table | None = None) -> _Place:
        """One level deeper."""
        if self.depth >= MAX_DEPTH:
            raise ConfigError.at(self.position(offset), f"more than {MAX_DEPTH} levels lie inside one another")
        scopes = self.scopes if scope is None else (*self.scopes, scope)
        return _Place(self.source, scopes, self.depth + 1, self.files, self.variables)


class _Evaluator:
    """Turns syntax into values, and takes it apart on the way: freed all at once, it would hold up other threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def document(self, source: Source, path: str) -> Table:
        """The value of a whole file."""
        return self._document(_Place(source, (), 0, (path,)))

    def _document(self, place: _Place) -> Table:
        node = read_document(place.source) or _by_grammar(place.source, "document")
        table = Table()
        if isinstance(node, MapNode):
            self._fill(table, node, place.inside(0, table))
        return table

    def _value(self, node: Node, place: _Place) -> Value:
        if isinstance(node, ScalarNode):
            text = node.text
            if node.kind in _QUOTED and "\\" not in text:
                return Value(text[1:-1], place.source.position(node.offset))
            return self._scalar(node, place)
        position = place.source.position(node.offset)
        if isinstance(node, MapNode):
            table = Table(node.likeness)
            self._fill(table, node, place.inside(node.offset, table))
            value = _sized(Value(table, position))
            if node.likeness is not None:
                node.likeness.size = value.size
            return value
        return _sized(Value(self._elements(node.elements, place.inside(node.offset)), position))

    def _elements(self, nodes: list[ElementNode], place: _Place) -> list[Value]:
        nodes.reverse()
        found: list[Value] = []
        # A repetition needs no variables. If it knew the maps around it, it would not be freed with them at once.
        read = partial(self._entries, _Place(place.source, (), place.depth, place.files))
        while nodes:
            node = nodes.pop()
            if isinstance(node, RepeatNode):
                likeness, offset = node.likeness, node.offset
                if place.depth >= _NEAR_MAX_DEPTH:
                    # Perhaps the earlier one lay less deep.
                    read(offset)
                repetition = Repetition(likeness, read, offset)
                found.append(Value(repetition, place.source.position(offset), likeness.size))
            else:
                found.append(self._value(node, place))
        return found

    def _entries(self, place: _Place, offset: int) -> dict[str, Entry]:
        """What stands in a map that is like an earlier one, which was without errors."""
        table = Table()
        self._fill(table, read_map(place.source, offset), place.inside(offset, table))
        return table.entries

    def _fill(self, table: Table, node: MapNode, place: _Place) -> None:
        node.statements.reverse()
        while node.statements:
            statement = node.statements.pop()
            if isinstance(statement, IncludeNode):
                for entry in self._include(statement, place):
                    table.put(entry)
            else:
                # The key comes first in the text, and its line is looked up once for both.
                position = place.source.position(statement.offset)
                table.put(Entry(statement.key, self._value(statement.value, place), position))

    def _include(self, node: IncludeNode, place: _Place) -> Table:
        name, position = node.path, place.position(node.offset)
        # Paths are relative to the file that includes, even those that begin with a slash.
        path = os.path.normpath(os.path.join(os.path.dirname(place.files[-1]), name.lstrip("/")))
        if path in map(os.path.normpath, place.files):
            raise ConfigError.at(position, f"error parsing include file '{name}', the file includes itself")
        inner = place.inside(node.offset)
        try:
            return self._document(_Place(_read(path, None), (), inner.depth, (*place.files, path)))
        except ConfigError as error:
            raise ConfigError.at(position, f"error parsing include file '{name}', {error}") from None

    def _scalar(self, node: ScalarNode, place: _Place) -> Value:
        text, position = node.text, place.position(node.offset)
        match node.kind:
            case "WORD" | "ELEMENT":
                return self._word(text, position, place)
            case "DOUBLE_QUOTED":
                content: Scalar = _unescape(text[1:-1], position)
            case "INTEGER":
                content = _integer(text, position)
            case "FLOAT":
                content = float(text)
            case "DATETIME":
                content = _datetime(text, position)
            case "ADDRESS":
                content = text
            case "NOT_A_DATE":
                raise _parse_error(
                    position, "All ISO8601 dates must be in full Zulu form.", "quote the value if it is not a date"
                )
            case "NOT_A_NUMBER" if text.startswith("-") and not text.startswith("-."):
                offset = node.offset + 1
                found = place.source.text[offset : offset + 1] or " "
                raise _parse_error(position, f"Expected a digit but got '{found}'.", "quote a string that begins so")
            case "NOT_A_NUMBER":
                raise _parse_error(position, "Floats must start with a digit", "quote a string that begins so")
            case _:  # SINGLE_QUOTED and BLOCK: what stands between the two marks, as it is.
                content = text[1:-1]
        return Value(content, position)

    def _word(self, text: str, position: Position, place: _Place) -> Value:
        if text.startswith("$") and not text.startswith("$2a$"):
            return self._variable(text[1:], position, place)
        boolean = _BOOLEANS.get(text.lower())
        return Value(_unescape(text, position) if boolean is None else boolean, position)

    def _variable(self, name: str, position: Position, place: _Place) -> Value:
        for scope in reversed(place.scopes):
            if entry := scope.entries.get(name):
                entry.used = True
                return Value(entry.value.content, position, entry.value.size)
        # A password that begins with $ looks like a variable, and must not appear in a log.
        shown = name if _NAME.fullmatch(name) else "…"
        remedy = "define it before, or in the environment" if name == shown else "quote a string that begins with $"
        what = f"variable reference for '{shown}' on line {position.line}"
        text = self._environment.get(name) if name else None
        if text is None:
            raise ConfigError.at(position, f"{what} can not be found; {remedy}")
        if name in place.variables:
            raise ConfigError.at(position, f"variable reference cycle for '{name}'")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ConfigError.at(position, f"{what} could not be parsed: it is not valid UTF-8")
        if not text.strip():
            return Value("", position)
        inner = place.inside(0)
        source = Source(f"${name}", text)
        try:
            node = read_variable(source) or _by_grammar(source, "environment")
            value = self._value(node, _Place(source, (), inner.depth, place.files, (*place.variables, name)))
        except ConfigError as error:
            raise ConfigError.at(position, f"{what} could not be parsed: {error}") from None
        return Value(value.content, position, value.size)


def _by_grammar(source: Source, start: str) -> Node:
    """Reads what the quick reader leaves; few configurations need it, and it takes a while to import."""
    node: Node = import_module("broker.config.syntax").parse(source, start)
    return node


def _sized(value: Value) -> Value:
    content = value.content
    if isinstance(content, Table):
        for entry in content.entries.values():
            value.size += entry.value.size
    elif isinstance(content, list):
        for element in content:
            value.size += element.size
    if value.size > MAX_VALUES:
        raise ConfigError.at(value.position, f"the variables in it amount to more than {MAX_VALUES} values")
    return value


def _integer(text: str, position: Position) -> int:
    match = _INTEGER.fullmatch(text.lower())
    # Python refuses to convert more than 4300 digits; none of those numbers would fit anyway.
    number = int(match[1]) * _SIZES[match[2]] if match and len(match[1]) <= 20 else 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise ConfigError.at(position, "integer '…' is out of the range of 64 bits; quote it if it is a string")
    return number


def _datetime(text: str, position: Position) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError.at(position, f"expected Zulu formatted DateTime, but got '{text}'") from None


def _unescape(text: str, position: Position) -> str:
    if "\\" not in text:
        return text
    data, end = bytearray(), 0
    for escape in _ESCAPE.finditer(text):
        data += text[end : escape.start()].encode()
        end = escape.end()
        if escape[1]:
            data.append(int(escape[1], 16))
        elif escape[2] == "x":
            raise _parse_error(position, "Expected two hexadecimal digits after '\\x'", "write \\\\ for a backslash")
        elif (character := _ESCAPES.get(escape[2])) is not None:
            data += character.encode()
        else:
            raise _parse_error(
                position,
                f"Invalid escape character '{escape[2] or ' '}'. Only the following escape characters are allowed: "
                '\\xXX, \\t, \\n, \\r, \\", \\\\.',
                "write \\\\ for a backslash, or use single quotes",
            )
    data += text[end:].encode()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError.at(position, "the \\x escapes of this string do not make valid UTF-8") from None


def _parse_error(position: Position, message: str, remedy: str) -> ConfigError:
    return ConfigError.at(position, f"Parse error on line {position.line}: '{message}'; {remedy}")
