"""Fuzz target: maps of a configuration that are written alike, which are read once and then recognised.

Invariant: every option, origin, digest and problem is the same as where each of them is read for itself, as the
grammar does.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import fields
from itertools import cycle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.imports import Import
from broker.config import language
from broker.config.errors import ConfigError
from broker.config.language import MAX_DEPTH, parse_bytes
from broker.config.load import read_options
from broker.config.tree import Repetition, Table, Value, digest
from tests.fuzz.inputs import budget, mutated

ENVIRONMENT = {"N": "X", "L": "[]"}

ACCOUNTS = ["X", "Y", "nobody", "$N", '""', "1"]
SUBJECTS = ['"s.>"', '"q.*"', "q.*", '"s.a"', "'s.$a'", '"s..a"', '"é.>"', "$N", '"s .a"', "true"]
OTHERS = [*[""] * 8, ", to: t", ', to: "t.*"', ", to: t.$1", ", prefix: p", ", prefix: p.*", ", share: true", ", a: 1",
          ", allow_trace: on", ", to = $N", ", share: t", "; To: u", "\n  # note\n", ", stream: s"]

sources = st.builds("{{ account: {}, subject: {} }}".format, st.sampled_from(ACCOUNTS), st.sampled_from(SUBJECTS))
likely = st.builds(
    '{{ {}: {{account: {}, subject: "{}"}}{}}}'.format,
    st.sampled_from(["stream", "service", "stream", "service", "\n service"]),
    st.sampled_from("XY"),
    st.sampled_from(["s.>", "s.>", "q.*", "s.a"]),
    st.sampled_from(OTHERS),
)
unlikely = st.builds(
    "{{{}{}: {}{}}}".format,
    st.sampled_from(["", " ", "\n    ", "allow_trace: on, "]),
    st.sampled_from(["stream", "service", "Service", '"stream"', "servce"]),
    sources | st.sampled_from(SUBJECTS),
    st.sampled_from(OTHERS),
)
FITTING = [
    '{ stream: {account: X, subject: "s.>"}, prefix: p }',
    '{ stream: {account: X, subject: "s.b.>"}, to: "t.>", allow_trace: on }',
    '{ stream: {account: X, subject: s.a}\n  }',
    '{ service: {account: X, subject: "q.*"}, to: "u.$1" }',
    '{\n service: {account: Y, subject: "q.*"}, to: "v.*" }',
    '{ to: s.é, service: {account: Y, subject: s.a}, share: yes }',
]
fitting = st.permutations(FITTING)
pools = st.one_of(
    fitting, fitting, st.lists(likely, min_size=1, max_size=2), st.lists(likely | unlikely, min_size=1, max_size=3)
)
EXPORTERS = (
    '  X: { exports: [ {stream: "s.>"}, {service: "q.*"} ] }\n'
    '  Y: { exports: [ {stream: "s.>", accounts: [A0, X]}, {service: "q.*"}, {service: s.a} ], imports: $L }\n'
)


def document(pool: list[str], counts: list[int], mark: str, before: str) -> str:
    """Accounts that import from a pool, so much each; the same place in the pool is where the next one goes on."""
    turns = cycle(pool)
    blocks = [
        f"  A{number}: {{ imports: [{before}" + "".join(next(turns) + mark for _ in range(count)) + "] }\n"
        for number, count in enumerate(counts)
    ]
    return "accounts: {" + "".join(blocks) + EXPORTERS + "}"


documents = st.builds(
    document,
    pools,
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from([", ", "\n", " # é\n", ",\n     "]),
    st.sampled_from(["", " ", "\n  "]),
)


def everything(imports: Iterable[Import]) -> list[object]:
    """All that stands in imports, what they do not compare as well."""
    return [[type(one), *(repr(getattr(one, field.name)) for field in fields(one))] for one in imports]


def outcome(text: str, environment: dict[str, str] | None = None) -> object:
    try:
        table = parse_bytes(text.encode(), "t.conf", environment or ENVIRONMENT)
        loaded = read_options(table)
    except ConfigError as error:
        return error.problems
    imports = [everything(account.imports) for account in loaded.options.accounts]
    return loaded, imports, digest(table)


def each_for_itself(text: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "read_document", lambda source: None)
        return outcome(text)


@budget
@given(documents)
@example(document(['{service: {account: X, subject: "q.*"}}'], [1, 2], ", ", ""))
def test_what_is_written_alike_is_read_alike(text: str) -> None:
    assert outcome(text) == each_for_itself(text)


@budget
@given(documents.flatmap(lambda text: mutated([text.encode()], [b"{", b"}", b"'", b'"', b"$N", b"#", b"\n", b"to: "])))
def test_so_it_is_after_edits(data: bytes) -> None:
    text = data.decode(errors="replace").replace("\0", "")
    assert outcome(text) == each_for_itself(text)


def tables(value: Value | Table) -> Iterable[Table]:
    content = value.content if isinstance(value, Value) else value
    if isinstance(content, Table):
        yield content
        for entry in content:
            yield from tables(entry.value)
    elif isinstance(content, list):
        for element in content:
            yield from tables(element)


def test_repetitions_are_met() -> None:
    text = document(['{stream: {account: X, subject: "s.>"}, prefix: p}'], [2, 3], "\n", "\n")
    table = parse_bytes(text.encode(), "t.conf", ENVIRONMENT)
    # Four of the imports, and the export of the second exporter.
    assert len([one for one in tables(table) if isinstance(one, Repetition)]) == 5


def test_they_go_with_what_they_stand_in() -> None:
    """Large trees are freed bit by bit, and must not wait for a search for cycles, which looks at everything."""
    text = document(FITTING, [5, 5], "\n", "")
    gc.collect()
    gc.disable()
    try:
        table = parse_bytes(text.encode(), "t.conf", ENVIRONMENT)
        digest(table)
        read_options(table)
        del table
        assert not [one for one in gc.get_objects() if isinstance(one, Repetition)]
    finally:
        gc.enable()


def test_a_repetition_may_lie_too_deep() -> None:
    """What fits where it stands first need not fit where it stands again."""
    shallow = "{b: {c: 1}}"
    for depth in range(MAX_DEPTH - 6, MAX_DEPTH):
        text = f"x: [{shallow}]\ny: " + "[" * depth + shallow + "]" * depth
        assert outcome(text) == each_for_itself(text)
