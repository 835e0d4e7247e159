"""A validator for the part of JSON Schema that the account tool's schemas use. What it does not know, it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_NOTES = {"$schema", "$defs", "title", "description", "default"}
_RULES = {
    *("$ref", "anyOf", "type", "enum", "const", "properties", "required", "additionalProperties", "items"),
    *("minimum", "maximum"),
}


def problems(value: object, schema: Mapping[str, Any]) -> list[str]:
    """Where a value is not what its schema says; nothing when it is."""
    return list(_problems(value, schema, schema.get("$defs", {}), "$"))


def _problems(value: object, schema: Mapping[str, Any], definitions: Mapping[str, Any], place: str) -> Iterator[str]:
    assert schema.keys() <= _NOTES | _RULES, schema.keys() - _NOTES - _RULES
    if "$ref" in schema:
        yield from _problems(value, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, place)
    if "anyOf" in schema:
        found = [list(_problems(value, choice, definitions, place)) for choice in schema["anyOf"]]
        if all(found):
            yield f"{place}: none of {len(found)} forms fits: {'; '.join(text for texts in found for text in texts)}"
    kind = schema.get("type")
    if kind is not None:
        right = isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
        if not right:
            yield f"{place}: {value!r} is no {kind}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{place}: {value!r} is not {schema['const']!r}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{place}: {value} is out of range"
    if isinstance(value, dict):
        yield from (f"{place}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name, member in value.items():
            if name in known:
                yield from _problems(member, known[name], definitions, f"{place}.{name}")
            elif others is False:
                yield f"{place}: {name} is unknown"
            elif others is not True:
                yield from _problems(member, others, definitions, f"{place}.{name}")
    if isinstance(value, list):
        for number, member in enumerate(value):
            yield from _problems(member, schema.get("items", {}), definitions, f"{place}[{number}]")
