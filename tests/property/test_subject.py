"""Subjects and patterns against brute force: every literal of a small world is tried."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from accounts import subject
from tests.oracle.patterns import PATTERNS, WORLD, literals, text_matches


def test_matches_every_literal_of_the_world() -> None:
    for pattern in PATTERNS:
        assert {literal for literal in WORLD if subject.matches(pattern, literal)} == literals(pattern), pattern


def test_contains_is_the_subset_relation() -> None:
    for outer, inner in product(PATTERNS, repeat=2):
        assert subject.contains(outer, inner) == (literals(inner) <= literals(outer)), (outer, inner)


def test_overlaps_is_a_common_literal() -> None:
    for one, other in product(PATTERNS, repeat=2):
        assert subject.overlaps(one, other) == bool(literals(one) & literals(other)), (one, other)


def test_intersection_is_what_both_match() -> None:
    for one, other in product(PATTERNS, repeat=2):
        both = subject.intersection(one, other)
        assert (set() if both is None else literals(both)) == literals(one) & literals(other), (one, other)


def test_wildcards_as_tokens_match_like_text() -> None:
    for pattern, given_subject in product(PATTERNS, repeat=2):
        expected = text_matches(pattern, given_subject)
        assert subject.matches_as_tokens(pattern, given_subject) == expected, (pattern, given_subject)


def test_a_refused_token_match_means_that_it_is_not_contained() -> None:
    for outer, inner in product(PATTERNS, repeat=2):
        if subject.contains(outer, inner):
            assert subject.matches_as_tokens(outer, inner), (outer, inner)


ANY_TEXT = st.text(st.sampled_from("ab.*> \t\r\n\udcff"), max_size=8)


@given(ANY_TEXT)
def test_validity_by_its_definition(text: str) -> None:
    parts = text.split(".")
    clean = all(part and not set(part) & set(" \t\r\n") for part in parts)
    assert subject.is_valid(text) == (clean and ">" not in parts[:-1])
    assert subject.is_literal(text) == (clean and not {"*", ">"} & set(parts))


@given(ANY_TEXT, ANY_TEXT)
def test_relations_of_any_two_texts(one: str, other: str) -> None:
    assert subject.overlaps(one, other) == subject.overlaps(other, one)
    if subject.contains(one, other):
        assert subject.overlaps(one, other)
    if "" in one.split(".") or "" in other.split("."):
        assert not subject.overlaps(one, other)
        assert not subject.contains(one, other)
        assert not subject.matches_as_tokens(one, other)


@given(ANY_TEXT, ANY_TEXT)
def test_queue_patterns_cover_what_they_match_as_subjects(pattern: str, name: str) -> None:
    if subject.matches(pattern, name):
        assert subject.matches_queue(pattern, name)
    assert subject.matches_queue(name, name)
