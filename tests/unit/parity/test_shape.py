"""Shapes of JSON: what is told apart, and what is not."""

from __future__ import annotations

import json

import pytest

from tests.parity.shape import ABSENT, Difference, differences, shape_of, written
from tests.support.snappy import unpacked

KEY = "A" * 56


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, "integer"), (1.5, "float"), (True, "true"), (None, "null"), ("", "empty"), ("x", "string"),
        ("2026-01-02T03:04:05.6Z", "time"), ("2026-01-02T03:04:05.60Z", "string"), (KEY, "<account key>"),
        ("1d0h0m4s", "age"), ("1.5ms", "duration"), ("2.14.5", "version"), ([], []), ([1, 2], ["integer"]),
        ([1, "x"], ["integer|string"]), ([{"a": 1, "b": 2}, {"b": 3}], [{"a?": "integer", "b": "integer"}]),
        ([{"a": 1}, KEY], [{"a": "integer"}, "<account key>"]), ({"kind": "Client"}, {"kind": "'Client'"}),
        ({"cpu": 1.5}, {"cpu": "number"}), ({KEY: 1}, {"<account key>": "integer"}),
    ],
)  # fmt: skip
def test_shapes_of_values(value: object, shape: object) -> None:
    assert shape_of(value) == shape


@pytest.mark.parametrize(
    ("wanted", "got", "found"),
    [
        ({"a": 1}, {"a": "x"}, Difference("$.a", "integer", "string")),
        ({"a": 1}, {}, Difference("$.a", "integer", ABSENT)),
        ({}, {"a": [1]}, Difference("$.a", ABSENT, '["integer"]')),
        ({"a": 1, "b": 1}, {"b": 1, "a": 1}, Difference("$", "order a b", "order b a")),
        ({"a": [{"b": 1}, {}]}, {"a": [{"b": 1}]}, Difference("$.a[].b", "in some", "in all")),
        ({"a": [1]}, {"a": []}, Difference("$.a", '["integer"]', "[]")),
        ({"a": {}}, {"a": None}, Difference("$.a", "{}", "null")),
    ],
)
def test_differences_are_found(wanted: object, got: object, found: Difference) -> None:
    assert list(differences(shape_of(wanted), shape_of(got))) == [found]
    assert not list(differences(shape_of(got), shape_of(got)))


def test_shapes_are_written_as_they_are() -> None:
    shape = shape_of({"a": [{f"field {number}": number for number in range(20)}, 3], "b": {}, "c": [[]]})
    text = written(shape)
    assert json.loads(text) == shape
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (1, b"abc", b"abc"),
        (0, b"\x03\x08abc", b"abc"),
        (0, b"\x0a\x08abc\x0d\x03", b"abcabcabca"),
        (0, b"\x0a\x08abc\x1a\x03\x00", b"abcabcabca"),
        (0, b"\x40\xf0\x3f" + b"x" * 64, b"x" * 64),
    ],
    ids=["plain", "literal", "near copy", "copy", "long literal"],
)
def test_snappy_is_unpacked(kind: int, data: bytes, text: bytes) -> None:
    checksum = b"sums"
    chunk = bytes([kind]) + (len(checksum) + len(data)).to_bytes(3, "little") + checksum + data
    assert unpacked(b"\xff\x06\x00\x00sNaPpY" + chunk) == text
