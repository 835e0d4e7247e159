"""Terms: what is left of a set of subjects behind a pattern, and which of them no exclusion matches."""

from __future__ import annotations

import itertools

import pytest

from accounts.terms import Exclusion, Term, match, open_length

ANYTHING = Term((0,), 1)


def behind(term: Term, pattern: str) -> Term | None:
    binding = match(term, pattern, itertools.count(10).__next__)
    return None if binding is None else term.bound(binding)


@pytest.mark.parametrize(
    ("term", "pattern", "left"),
    [
        (Term.literal("a.b"), "a.*", Term.literal("a.b")),
        (Term.literal("a.b"), "a", None),
        (Term.literal("a.b"), "b.>", None),
        (ANYTHING, ">", ANYTHING),
        (ANYTHING, "a", Term(("a",))),
        (ANYTHING, "a.*", Term(("a", 10))),
        (ANYTHING, "a.>", Term(("a", 10), 1)),
        (ANYTHING, "*.b.>", Term((0, "b", 11), 1)),
        (Term((5, 5)), "a.*", Term(("a", "a"))),
        (Term((5, 5)), "a.b", None),
        (Term((5,)), "*.>", None),
        (Term((5, 6)), "*.>", Term((5, 6))),
    ],
)
def test_what_a_pattern_leaves(term: Term, pattern: str, left: Term | None) -> None:
    assert behind(term, pattern) == left


@pytest.mark.parametrize(
    ("term", "pattern", "subject"),
    [
        (Term.literal("a.b"), "a.b", "a.b"),
        (Term(("a", 3)), "a.*", None),
        (ANYTHING, ">", None),
        (Term(("a", 3), 1), "a.>", None),
    ],
)
def test_the_pattern_of_a_set(term: Term, pattern: str, subject: str | None) -> None:
    assert term.pattern == pattern
    assert term.subject == subject


@pytest.mark.parametrize(
    ("exclusions", "length"),
    [
        ((), 0),
        (((ANYTHING, ">"),), None),
        (((ANYTHING, "*"),), 1),
        (((ANYTHING, "*"), (ANYTHING, "*.*")), 2),
        (((ANYTHING, "*"), (ANYTHING, "*.>")), None),
        (((ANYTHING, "a"), (ANYTHING, "b.>")), 0),
        (((Term(("a", 3)), "a.*"),), None),
        (((Term(("a", 3)), "*.b"),), 0),
        (((Term(("a",)), "a"), (ANYTHING, "b")), None),
    ],
)
def test_what_exclusions_leave_open(exclusions: tuple[Exclusion, ...], length: int | None) -> None:
    assert open_length(exclusions) == length
