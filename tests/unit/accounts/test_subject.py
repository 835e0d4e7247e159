"""Subjects and patterns, case by case."""

from __future__ import annotations

import pytest

from accounts import subject


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a.b",
        "*",
        ">",
        "a.*",
        "a.>",
        "*.*.>",
        "f*",
        ">x",
        "a.b>",
        "*x.y",
        "$SYS.x",
        "\x00",
        "caf\u00e9",
        "\udcff.a",
    ],
)
def test_valid(text: str) -> None:
    assert subject.is_valid(text)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\rb", "a\n", ">.a", "a.>.b", ">.>", "a.*."]
)
def test_invalid(text: str) -> None:
    assert not subject.is_valid(text)
    assert not subject.is_literal(text)


@pytest.mark.parametrize(
    ("text", "literal"), [("a.b", True), ("f*", True), (">x.a", True), ("*", False), ("a.>", False), ("a.*.b", False)]
)
def test_literal(text: str, literal: bool) -> None:
    assert subject.is_literal(text) is literal


@pytest.mark.parametrize(
    ("pattern", "given", "expected"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.>", "a", False),
        ("a.>", "a.b.c", True),
        (">", "a", True),
        ("*.b", "a.b", True),
        ("f*", "foo", False),
        ("f*", "f*", True),
        (">", "a..b", False),
        ("*", "", False),
        (">", "a.*", False),
    ],
)
def test_matches(pattern: str, given: str, expected: bool) -> None:
    assert subject.matches(pattern, given) is expected


@pytest.mark.parametrize(
    ("pattern", "given", "expected"),
    [
        ("w.*", "w.>", True),
        ("w.*", "w.*", True),
        ("w.a", "w.*", False),
        ("*", ">", True),
        ("w.>", "w.>", True),
        (">", "a.>.b", True),
        ("a.*.b", "a.>.b", True),
        ("w.*", "w.", False),
    ],
)
def test_wildcards_of_the_subject_are_plain_tokens(pattern: str, given: str, expected: bool) -> None:
    assert subject.matches_as_tokens(pattern, given) is expected


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("foo.*", "foo.>", False),
        ("*", ">", False),
        ("foo.*", "foo.*", True),
        ("foo.>", "foo.*", True),
        ("foo.>", "foo.>", True),
        ("foo.>", "foo", False),
        ("foo.>", "foo.*.>", True),
        ("foo.*.>", "foo.>", False),
        ("foo.a", "foo.*", False),
        ("*.*", "*.a", True),
        (">", ">", True),
        (">", "a..b", False),
    ],
)
def test_contains(outer: str, inner: str, expected: bool) -> None:
    assert subject.contains(outer, inner) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.*", "*.b", True),
        ("a.>", "a", False),
        ("a.>", "a.*", True),
        ("a.*", "a.*.c", False),
        ("a.*.c", "a.>", True),
        ("a", "b", False),
        (">", "*.x", True),
        ("*", ">", True),
        ("a..b", ">", False),
    ],
)
def test_overlaps_in_both_directions(one: str, other: str, expected: bool) -> None:
    assert subject.overlaps(one, other) is expected
    assert subject.overlaps(other, one) is expected


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("q.*", ["q.a", "q.*"], ["q", "q.", "q..b", "q.>", "q.a.b", "*"]),
        ("q.>", ["q.", "q.a", "q..b", "q.>", "q.a.b"], ["q", ".", ">", "a.."]),
        (">", ["q", ".", "q..b", ">", "*"], []),
        ("*", ["q", "*", ">x"], ["q.", "q.a", ".", ">"]),
        ("*.dev", ["b.dev", "*.dev"], ["dev", "b.c.dev"]),
        ("q1", ["q1"], ["q2", "*", ">"]),
    ],
)
def test_queue_patterns(pattern: str, covered: list[str], not_covered: list[str]) -> None:
    assert [name for name in covered if not subject.matches_queue(pattern, name)] == []
    assert [name for name in not_covered if subject.matches_queue(pattern, name)] == []
