"""What payloads reach, against a plain twin: every subject of a small world, one by one."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from accounts.policy import Action, Effect, PolicyTable, Rule
from accounts.reach import (
    API,
    Holdings,
    consuming,
    delivering,
    fetching,
    filtering,
    publishing,
    reading,
    reading_one,
    removing,
)
from accounts.subject import matches

WORLD = [".".join(parts) for length in range(1, 5) for parts in product("abc", repeat=length)]
"""Every literal subject of four tokens at most; patterns below have three at most, and never name a `c`."""

tokens = st.sampled_from(("a", "b", "*"))
patterns = st.builds(
    lambda parts, rest: ".".join([*parts, ">"] if rest or not parts else parts),
    st.lists(tokens, max_size=2),
    st.booleans(),
)
lists = st.lists(patterns, max_size=3)


def table(
    *, deny_sub: list[str] | None = None, deny_pub: list[str] | None = None, allow_pub: list[str] | None = None,
    allow_sub: list[str] | None = None,
) -> PolicyTable:  # fmt: skip
    rules = [Rule(Action.SUBSCRIBE, Effect.DENY, one) for one in deny_sub or ()]
    rules += [Rule(Action.PUBLISH, Effect.DENY, one) for one in deny_pub or ()]
    rules += [Rule(Action.PUBLISH, Effect.ALLOW, one) for one in allow_pub or ()]
    rules += [Rule(Action.SUBSCRIBE, Effect.ALLOW, one) for one in allow_sub or ()]
    return PolicyTable(tuple(rules), None)


def of(some: list[str], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in some)


def stream(subjects: list[str], held: list[str]) -> Holdings:
    return Holdings("S", tuple(subjects), lambda pattern: any(matches(pattern, one) for one in held))


@given(lists, lists, st.lists(st.sampled_from(WORLD), max_size=3), lists)
def test_a_pattern_is_read_where_it_has_nothing_that_is_denied(
    denies: list[str], subjects: list[str], held: list[str], wanted: list[str]
) -> None:
    there = [one for one in WORLD if of(subjects, one) or one in held]
    reached = [one for one in there if of(wanted or [">"], one) and of(denies, one)]
    refusal = reading(table(deny_sub=denies), stream(subjects, held), wanted)
    assert (refusal is not None) is bool(reached), reached
    if refusal is not None:
        assert refusal.action is Action.SUBSCRIBE
        assert any(matches(refusal.target, one) for one in reached)
        assert refusal.decision.rule is not None
        # The same question to the table, as an explanation asks it, is refused by the same rule.
        assert not table(deny_sub=denies).decide_subscribe(refusal.target).allowed
    assert all((reading_one(table(deny_sub=denies), one) is None) is not of(denies, one) for one in WORLD)


@given(lists, lists, patterns)
def test_what_may_not_be_published_is_not_let_go(denies: list[str], subjects: list[str], wanted: str) -> None:
    reached = [one for one in WORLD if of(subjects, one) and matches(wanted, one) and of(denies, one)]
    assert (removing(table(deny_pub=denies), stream(subjects, []), wanted) is not None) is bool(reached)


@given(lists, lists, patterns)
def test_the_server_publishes_only_what_its_client_may(denies: list[str], allows: list[str], wanted: str) -> None:
    policy = table(deny_pub=denies, allow_pub=allows)
    made = [one for one in WORLD if matches(wanted, one)]
    if publishing(policy, wanted) is None:
        assert all(policy.decide_publish(one).allowed for one in made)
    elif any(wanted == one for one in allows) or not allows:
        assert any(of(denies, one) for one in made)


@given(lists, lists, lists, st.sampled_from(WORLD))
def test_deliveries_go_where_the_client_may_speak_or_listen(
    denies: list[str], speaks: list[str], listens: list[str], subject: str
) -> None:
    policy = table(deny_pub=denies, allow_pub=speaks, allow_sub=listens)
    may = not of(denies, subject) and (not speaks or of(speaks, subject) or not listens or of(listens, subject))
    assert (delivering(policy, subject) is None) is may


@given(lists, lists)
def test_filters_in_payloads_are_held_to_those_in_subjects(allowed: list[str], wanted: list[str]) -> None:
    for prefix, judge in ((f"{API}.CONSUMER.CREATE.S.*", filtering), (f"{API}.DIRECT.GET.S", fetching)):
        plain = [f"{API}.CONSUMER.CREATE.S", f"{API}.DIRECT.GET.S"]
        policy = table(allow_pub=[*plain, *(f"{prefix}.{one}" for one in allowed)])
        refusal = judge(policy, "S", wanted)
        if refusal is None and allowed:
            assert all(of(allowed, one) for one in WORLD if of(wanted or [">"], one))
        if not allowed or (wanted and all(one in allowed for one in wanted)):
            assert refusal is None


@given(lists, st.lists(patterns, min_size=1, max_size=2))
def test_a_source_is_read_by_who_may_have_a_consumer_of_it(allowed: list[str], wanted: list[str]) -> None:
    policy = table(allow_pub=[f"{API}.STREAM.CREATE.*", *(f"{API}.CONSUMER.CREATE.S.*.{one}" for one in allowed)])
    if consuming(policy, API, "S", wanted) is None:
        assert all(of(allowed, one) for one in WORLD if of(wanted, one))
    else:
        assert not all(one in allowed for one in wanted)
    assert consuming(policy, API, "OTHER", wanted) is not None
