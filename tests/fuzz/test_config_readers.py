"""The quick reader of configuration texts against the grammar, which decides what the language is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from broker.config.errors import ConfigError
from broker.config.nodes import ArrayNode, ElementNode, IncludeNode, MapNode, Node, PairNode, RepeatNode, Source
from broker.config.quick import MAX_DEPTH, read_document, read_map, read_variable
from broker.config.syntax import parse
from tests.fuzz.inputs import budget

CASES = Path(__file__).parent.parent / "unit" / "config" / "language.yaml"
TEXTS = [case["text"] for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))]

BLANKS = ["", "", " ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\v", " # note }\n", "// note ]\n", "#", "//"]
MARKS = ["{", "}", "[", "]", ",", ";", "=", ":", ":\n", "(", "\n)\n", '"', "'", "\\", "\ufeff"]
KEYS = ["a", "listen", "include", "Include ", "includes", '"a b"', "'c'", "a{", "a/b", "/a", "-k", "ü", "a#b"]
SCALARS = [
    *("word", "1h30m", "$A", "$2a$11$x", "yes"),
    *("a\\ b", "w\\", "#w", "//w", "ü", "a'b", "/x", "a{b", "a:b", "*.>", "!"),
    *("1", "-1", "64KB", "1kib", "2k]", "1.5", "-1.5", "1.5MB", ".5", "-.5", "-x", "1.", "1-2", "2006-01-02", "0x1"),
    *("2006-01-02T15:04:05Z", "1.2.3.4:4222", "1.2.3", "1.2.3-4", '"s"', "'s'", '"a\\"b"', '"\\x41"', '"#"', "'a\nb'"),
    *("(\nblock\n)", '"', "'", "''", '""'),
]
COMMON = ["word", "$A", "yes", "1", "64KB", "1.5", "1.2.3.4:4222", '"s"', "'s'", "*.>", "1h30m", '"a\\"b"']
QUOTED = ['"s"', '"orders.>"', '""', '"]"', '"#"', '"a\nb"', '"a, b"', '"a\\"b"', "'s'"]
pieces = st.one_of(*map(st.sampled_from, (BLANKS, BLANKS, MARKS, KEYS, SCALARS)))
noise = st.lists(pieces, max_size=14).map("".join)

keys = st.sampled_from(["a", "listen", "b_c"]) | st.sampled_from(KEYS)
blank = st.sampled_from(BLANKS)
separator = st.sampled_from([*(["\n", ", ", ",\n", "\n\n# note\n", "\n\t"] * 4), ";", "", " ", "\n,"])
assign = st.sampled_from([*([": ", " = ", ":", "=", " "] * 4), " : ", ":\n", "\n", ""])


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    statements = st.lists(joined(keys, assign, inner, separator), max_size=3).map("".join)
    elements = st.lists(joined(inner, separator), max_size=3).map("".join)
    maps = joined(st.just("{"), blank, statements, blank, st.just("}"))
    alike = st.builds(lambda one, mark, times: (one + mark) * times, maps, separator, st.integers(2, 3))
    texts = st.lists(joined(st.sampled_from(QUOTED), separator), max_size=4).map("".join)
    repeated = st.lists(alike | joined(maps, separator), max_size=3).map("".join)
    return st.one_of(
        maps,
        joined(st.just("["), blank, elements, blank, st.just("]")),
        joined(st.just("["), blank, texts, blank, st.just("]")),
        joined(st.just("["), blank, repeated, blank, st.just("]")),
    )


values = st.recursive(st.sampled_from(COMMON) | st.sampled_from(SCALARS), containers, max_leaves=8)
statements = st.lists(joined(blank, keys, assign, values, separator), max_size=4).map("".join)
documents = st.one_of(statements, joined(blank, st.just("{"), statements, st.just("}"), blank), noise)


def in_full(node: ElementNode, source: Source) -> Node:
    """The same with every map that is like an earlier one taken apart as well."""
    if isinstance(node, RepeatNode):
        return read_map(source, node.offset)
    if isinstance(node, ArrayNode):
        return ArrayNode([in_full(element, source) for element in node.elements], node.offset)
    if isinstance(node, MapNode):
        return MapNode([statement_in_full(statement, source) for statement in node.statements], node.offset)
    return node


def statement_in_full(statement: PairNode | IncludeNode, source: Source) -> PairNode | IncludeNode:
    if isinstance(statement, IncludeNode):
        return statement
    return PairNode(statement.key, in_full(statement.value, source), statement.offset)


def by_quick_reader(text: str) -> Node | None:
    source = Source("t", text)
    document = read_document(source)
    return None if document is None else in_full(document, source)


def by_grammar(text: str, start: str) -> Node | None:
    try:
        return parse(Source("t", text), "document" if start == "document" else "environment")
    except ConfigError:
        return None


@budget
@given(documents)
@example("a: 1.5MB")
@example("a: 1 # }")
@example("a: {b: 1 # }\n")
@example("{a: 1}\n}")
@example("include a\ninclude 'b'; c: 1")
@example("a: [{include b}, {include b}]")
@example("a: [{b: {c: x}}, {b: {c: x}}\n{b: {c: x}}, {b: {c: x}}}]")
@example('a: ["b", "c" , "d"\n] # e\nf: ["g"], h: {i: ["j"]}')
@example('a: ["b"\n, "c"]')
@example('a: ["b" "c"]')
@example('a: ["b"] c')
@example("a: [{b: '}'}, {b: '}'}, {b: x\"}, {b: x\"}]")
def test_what_the_quick_reader_takes_is_what_the_grammar_reads(text: str) -> None:
    quick = by_quick_reader(text)
    if quick is not None:
        assert by_grammar(text, "document") == quick


@budget
@given(joined(st.sampled_from(SCALARS), st.lists(pieces, max_size=3).map("".join)))
def test_so_it_is_with_variables_of_the_environment(text: str) -> None:
    quick = read_variable(Source("$A", text))
    if quick is not None:
        assert by_grammar(text, "environment") == quick


@pytest.mark.parametrize("text", TEXTS)
def test_so_it_is_with_what_the_language_is_shown_by(text: str) -> None:
    quick = by_quick_reader(text)
    assert quick is None or by_grammar(text, "document") == quick


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "listen: 127.0.0.1:4222\nport = 4222\nname word\n",
        '{"a": {"b": [1, 2.5, "c", {"d": true}]}, "e": {}}\n',
        "a {\n  b: [\n    x\n    'y', # note\n    z,\n  ]\n  c =\n   1; d: $e\n}",
        'include "a.conf"\ninclude b.conf\nt: 2006-01-02T15:04:05Z, s: "\\t"',
    ],
)
def test_it_takes_what_configurations_are_made_of(text: str) -> None:
    quick = read_document(Source("t", text))
    assert quick is not None
    assert by_grammar(text, "document") == quick


def test_it_leaves_what_is_nested_too_deep() -> None:
    deepest, deeper = ("a: " + "[" * depth + "]" * depth for depth in (MAX_DEPTH, MAX_DEPTH + 1))
    assert isinstance(read_document(Source("t", deepest)), MapNode)
    assert read_document(Source("t", deeper)) is None
