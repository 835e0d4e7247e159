"""The compiled transforms against the plain ones: every function, on the same subjects."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.subject import tokens
from accounts.transform import InvalidTransformError, SubjectTransform, matched_until
from broker.core.outbox import Hub
from broker.core.transform import Transform

HUB = Hub()

TOKENS = st.sampled_from(["a", "b", "abc", "a-b", "--", "-a--b-", "é", "日本語", "\udcff", "*", "x" * 70, "$1"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=6).map(".".join)
SOURCES = st.sampled_from(["*", "a.*", "*.*", "*.b.*", "*.>", "a.*.>", ">", "*.*.*", "a.b", "abc.*.*.>"])
PIECES = st.sampled_from(
    [
        "t", "$1", "$2", "$0", "{{wildcard(1)}}", "{{partition(7)}}", "{{partition(7,1)}}", "{{partition(3,1,2)}}",
        "{{partition(0,1)}}", "{{random(1)}}", "{{random(0)}}", "{{split(1,-)}}", "{{split(1,--)}}", "{{split(2,)}}",
        "{{splitfromleft(1,1)}}", "{{splitfromright(1,2)}}", "{{slicefromleft(1,2)}}", "{{slicefromright(1,2)}}",
        "{{slicefromleft(2,-1)}}", "{{splitfromleft(1,99)}}", "$x", "é",
    ]
)  # fmt: skip
DESTINATIONS = st.lists(PIECES, min_size=1, max_size=4)


def wire(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@given(SOURCES, DESTINATIONS, st.lists(SUBJECTS, min_size=1, max_size=8))
def test_both_make_the_same_of_every_subject(source: str, pieces: list[str], subjects: list[str]) -> None:
    destination = ".".join((*pieces, ">") if source.endswith(">") else pieces)
    try:
        plain = SubjectTransform.parse(source, destination)
    except InvalidTransformError:
        return
    compiled = Transform(plain.program)
    assert not compiled.chancy
    for subject in subjects:
        expected = plain.apply(subject, lambda count: 0)
        if matched_until(source, subject) is not None:
            assert expected is not None
            assert compiled.rewrite(wire(subject), HUB) == wire(expected), subject


@given(SUBJECTS, st.integers(2, 9))
def test_chance_stays_in_its_bounds(subject: str, count: int) -> None:
    compiled = Transform(SubjectTransform.parse(">", f"r.{{{{random({count})}}}}.>").program)
    assert compiled.chancy
    result = compiled.rewrite(wire(subject), HUB)
    assert result is not None
    head, number, rest = result.split(b".", 2)
    assert (head, rest) == (b"r", wire(subject))
    assert int(number) in range(count)


def test_chance_reaches_every_number() -> None:
    compiled = Transform(SubjectTransform.parse("a", "{{random(3)}}").program)
    assert {compiled.rewrite(b"a", HUB) for _ in range(500)} == {b"0", b"1", b"2"}


def test_too_few_tokens_have_no_result() -> None:
    for destination in ("x.$2", "x.{{partition(3,2)}}", "x.{{split(2,-)}}"):
        assert Transform(SubjectTransform.parse("a.*.*", destination).program).rewrite(b"a.b", HUB) is None


def test_a_program_has_steps_that_exist() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Transform(())
    with pytest.raises(KeyError):
        Transform([("unheard of",)])


IMPORTS = [
    ("a.*.c", "a.*.c"), ("pub.*.*", "q.$2.$1"), ("pub.>", "P.pub.>"), ("s.*", "x.$1.$1"), ("*.>", "$1.x.>"), ("a", "b"),
]  # fmt: skip
PATTERNS = [
    ">", "*", "*.*", "*.*.*", "a.>", "a.*.c", "a.b.*", "q.a.*", "q.*.b", "P.>", "P.pub.a", "x.a.*", "x.*.b", "x.a.b",
    "x.a.a", "a.x.>", "*.x.b.>", "b", "c",
]  # fmt: skip
WORLD = [".".join(parts) for size in range(1, 4) for parts in product(("a", "b", "c", "pub", "s"), repeat=size)]


@pytest.mark.parametrize(("source", "destination"), IMPORTS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_preimage_holds_exactly_what_is_taken_into_the_pattern(source: str, destination: str, pattern: str) -> None:
    transform = SubjectTransform.for_import(source, destination)
    found = transform.preimage(pattern)
    for subject in WORLD:
        result = transform.apply(subject, lambda count: 0)
        inside = result is not None and matched_until(pattern, result) is not None
        assert inside == (found is not None and matched_until(found, subject) is not None), (subject, found)
    assert found is None or len(tokens(found)) >= len(tokens(source))
