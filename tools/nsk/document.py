"""The JSON documents of ``--json``: what a command did, what came of it, and the schemas of both.

Every command prints one document. Its ``result`` is of the type that the command declares, so that the schema is read
off the declaration and cannot disagree with it. The few commands that had JSON of their own before, such as those for
which nsc has a form, print what they declare without the document around it.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from tools.nsk.errors import NskError
from tools.nsk.report import Report

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Final[Mapping[object, str]] = {str: "string", int: "integer", bool: "boolean", float: "number"}
_REPORT: Final = {
    "type": "array",
    "description": "what was done, in the order in which it was done",
    "items": {"$ref": "#/$defs/entry"},
}
_ENTRY: Final = {
    "type": "object",
    "properties": {
        "status": {"enum": ["ok", "warning", "error", "message"]},
        "text": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
    },
    "required": ["status", "text", "children"],
    "additionalProperties": False,
}
_ERROR: Final = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "what is wrong, as it is printed behind Error:"},
        "remedy": {
            "type": "string",
            "description": "what to do about it, often a command line or the names to choose from, in one sentence "
            "that terminals show below the error; empty where there is nothing to say",
        },
    },
    "required": ["text", "remedy"],
    "additionalProperties": False,
}


def succeeded(report: Report, result: object, *, ok: bool = True) -> str:
    """The document of a command that did what was asked, or whose answer is no when it is not ``ok``."""
    return _document(ok=ok, report=_entries(report), error=None, result=plain(result))


def failed(error: NskError) -> str:
    """The document of a command that did not."""
    report = _entries(error.report) if error.report is not None else []
    return _document(ok=False, report=report, error={"text": error.text, "remedy": error.remedy}, result=None)


def _document(**members: object) -> str:
    return json.dumps(members, indent=2, ensure_ascii=False)


def _entries(report: Report) -> list[dict[str, object]]:
    children = [entry for child in report.children for entry in _entries(child)]
    if not report.label:
        return children
    return [{"status": report.outcome.name.lower(), "text": report.label, "children": children}]


def printed(result: object) -> str:
    """The document of a command with a form of its own."""
    return json.dumps(plain(result), indent=2)


def plain(value: object) -> object:
    """A result as JSON has it: objects, lists, texts, numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value


def schema(title: str, result: Any, *, own_form: bool = False) -> dict[str, object]:
    """The JSON Schema of a command's document. ``title`` is the command line, such as ``nsk add user``.

    ``result`` is the type of what comes of it. A command of ``own_form`` prints that and nothing around it; its
    failures are told as those of all others.
    """
    definitions: dict[str, object] = {"entry": _ENTRY}
    found = _of(result, definitions)
    return {
        "$schema": DIALECT,
        "title": title,
        **({"anyOf": [found, _envelope({"type": "null"})]} if own_form else _envelope(found)),
        "$defs": definitions,
    }


def _envelope(result: dict[str, object]) -> dict[str, object]:
    nothing = {"type": "null"}
    return {
        "type": "object",
        "properties": {
            "ok": {"type": "boolean", "description": "whether the command did what was asked, or the answer is yes"},
            "report": _REPORT,
            "error": {"description": "why it did not, else null", "anyOf": [nothing, _ERROR]},
            "result": {
                "description": "what came of it, null when the command failed",
                "anyOf": [nothing] if result == nothing else [nothing, result],
            },
        },
        "required": ["ok", "report", "error", "result"],
        "additionalProperties": False,
    }


def _of(kind: Any, definitions: dict[str, object]) -> dict[str, object]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        note = next((note for note in arguments[1:] if isinstance(note, str)), None)
        return {**_of(arguments[0], definitions), **({"description": note} if note else {})}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind is None or kind is type(None):
        return {"type": "null"}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(argument, definitions) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple, set, frozenset):
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict or origin is Mapping:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return {"type": "string"}
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        names = [field.name for field in dataclasses.fields(kind)]
        return {
            "type": "object",
            "description": (kind.__doc__ or "").strip().split("\n")[0],
            "properties": {name: _of(hints[name], definitions) for name in names},
            "required": names,
            "additionalProperties": False,
        }
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        [reference], components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
        definitions.update(components)
        return reference
    if kind is object or kind is Any:
        return {}
    raise TypeError(f"{kind!r} has no JSON form")
