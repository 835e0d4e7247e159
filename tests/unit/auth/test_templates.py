"""Template functions of scoped signing keys: expanded for one user, closed where they cannot be."""

from __future__ import annotations

import time

import pytest

from accounts.permissions import Grant, Permissions, SubjectRules
from auth.templates import MAXIMUM_SUBJECTS, TemplateError, TemplateFacts, expand, split_entry

FACTS = TemplateFacts(
    name="bob",
    subject="UBOB",
    account_name="Acc",
    account_subject="AACC",
    tags=("team:red", "team:blue", "TEAM:x", "dc:a.b", "size:", "n:RED"),
    account_tags=("dc:eu",),
)


def allow(*entries: str, facts: TemplateFacts = FACTS, queues: bool = False) -> tuple[list[str], list[str]]:
    """Allowed and denied entries after the expansion of an allow list."""
    grants = tuple(Grant(*split_entry(entry)) if queues else Grant(entry) for entry in entries)
    made = expand(Permissions(publish=SubjectRules(allow=grants)), facts).publish
    return [str(grant) for grant in made.allow], [str(grant) for grant in made.deny]


def deny(*entries: str, facts: TemplateFacts = FACTS) -> list[str]:
    made = expand(Permissions(subscribe=SubjectRules(deny=tuple(map(Grant, entries)))), facts).subscribe
    return [str(grant) for grant in made.deny]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("u.{{name()}}", ["u.bob"]),
        ("u.{{ Name() }}", ["u.bob"]),
        ("u.{{subject()}}", ["u.UBOB"]),
        ("{{account-name()}}.{{account-subject()}}", ["Acc.AACC"]),
        ("pre{{name()}}post", ["prebobpost"]),
        ("t.{{tag(team)}}", ["t.red", "t.blue"]),
        ("t.{{tag(TEAM)}}", ["t.red", "t.blue"]),
        (
            "{{tag(team)}}.{{account-tag(dc)}}.{{tag(team)}}",
            ["red.eu.red", "red.eu.blue", "blue.eu.red", "blue.eu.blue"],
        ),
        ("t.{{tag(dc)}}", ["t.a.b"]),
        ("t.{{tag(n)}}", ["t.RED"]),
        ("u.{{name()", ["u.{{name()"]),
        ("u.{{}}", ["u.{{}}"]),
        ("plain", ["plain"]),
    ],
)
def test_expansion(entry: str, expected: list[str]) -> None:
    assert allow(entry) == (expected, [])


@pytest.mark.parametrize(
    "entry", ["t.{{tag(none)}}", "t.{{TAG(team)}}", "t.{{tag( team )}}", "t.{{tag(size)}}", "a..b"]
)
def test_what_cannot_be_expanded_is_dropped_from_allow_and_refused_in_deny(entry: str) -> None:
    assert allow(entry, "z") == (["z"], [])
    assert allow(entry) == ([], [">"])
    with pytest.raises(TemplateError):
        deny(entry)


@pytest.mark.parametrize("call", ["foo()", "name", "name( )", "name(x)", "tag", "tag(x", "{name()"])
def test_unknown_functions_refuse_the_user(call: str) -> None:
    with pytest.raises(TemplateError, match="is not defined"):
        allow("{{" + call + "}}", "z")


@pytest.mark.parametrize("name", ["a b", "", "a\nq", ".", "a\tb"])
def test_a_name_cannot_smuggle_in_a_queue_or_an_empty_token(name: str) -> None:
    facts = TemplateFacts(name=name, subject="U", account_name="A", account_subject="A")
    assert allow("u.{{name()}}", "z", facts=facts) == (["z"], [])
    assert allow("u.{{name()}}", "z", facts=facts, queues=True) == (["z"], [])
    with pytest.raises(TemplateError):
        deny("u.{{name()}}", facts=facts)


def test_queue_entries_are_kept_and_expanded() -> None:
    assert allow("foo q1", "u.{{name()}}", "j {{ name() }}", queues=True) == (["foo q1", "u.bob", "j bob"], [])


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("foo", ("foo", None)),
        ("foo q", ("foo", "q")),
        ("{{ name() }}", ("{{ name() }}", None)),
        ("a.{{ x }}.b q.{{ y }}", ("a.{{ x }}.b", "q.{{ y }}")),
        ("a  b", ("a  b", None)),
        (" a", (" a", None)),
        ("a b c", ("a b c", None)),
    ],
)
def test_entries_are_split_outside_braces(entry: str, expected: tuple[str, str | None]) -> None:
    assert split_entry(entry) == expected


def test_the_number_of_subjects_is_bounded_per_list() -> None:
    tags = tuple(f"a:{n}" for n in range(64)) + tuple(f"b:{n}" for n in range(65))
    facts = TemplateFacts("u", "U", "A", "A", tags)
    assert len(allow("{{tag(a)}}.{{tag(a)}}", facts=facts)[0]) == MAXIMUM_SUBJECTS
    for entries in (("{{tag(a)}}.{{tag(b)}}",), ("{{tag(a)}}.{{tag(a)}}", "{{name()}}")):
        with pytest.raises(TemplateError, match="more than 4096"):
            allow(*entries, facts=facts)
    many = tuple(f"{{{{tag(a)}}}}.{n}" for n in range(100))
    with pytest.raises(TemplateError):
        allow(*many, facts=facts)


def test_odd_braces_take_no_time() -> None:
    begun = time.perf_counter()
    for entry in ("{{" * 50_000, "{{a}} " * 20_000, "{{a" * 20_000 + "}}" * 20_000):
        split_entry(entry)
    assert time.perf_counter() - begun < 1
