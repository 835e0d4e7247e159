"""What an explanation says to change turns the verdict, and no part of it can be left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.explain import Change, Explanation, Who, explain_publish, explain_subscribe
from accounts.flow import World
from accounts.limits import AccountLimits, UserLimits
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from tests.oracle.patterns import PATTERNS, WORLD

QUEUES = ("q", "r", "q.a", "a..b")
patterns = st.sampled_from(PATTERNS)
plain = st.lists(st.builds(Grant, patterns), max_size=3).map(tuple)
queued = st.lists(st.builds(Grant, patterns, st.sampled_from((None, None, "q", "q.*", ">"))), max_size=3).map(tuple)
permissions = st.builds(
    Permissions,
    st.builds(SubjectRules, plain, plain),
    st.builds(SubjectRules, queued, queued),
    st.sampled_from((None, ResponsePermission())),
)
ceilings = st.sampled_from((-1, -1, -1, 0, 5))
mappings = st.lists(
    st.builds(
        lambda source, first, second: SubjectMapping(
            source, (WeightedDestination(first, 40), WeightedDestination(second, 30))
        ),
        st.sampled_from(("a", "a.b", "*")),
        st.sampled_from(("a.b", "b.c", "x")),
        st.sampled_from(("c", "a.a.a")),
    ),
    max_size=2,
    unique_by=lambda mapping: mapping.source,
)


@st.composite
def users(draw: st.DrawFn) -> Who:
    account = Account(
        "A",
        limits=AccountLimits(subscriptions=draw(ceilings), connections=draw(ceilings)),
        mappings=tuple(draw(mappings)),
    )
    policy = compile_policy(draw(permissions), account)
    return Who("u", account, policy, UserLimits(subscriptions=draw(ceilings)))


def parts(change: Change) -> Iterator[Change]:
    """Everything that leaves out something of a change."""
    entries = [
        *(("remove", rule) for rule in change.remove),
        *(("add", rule) for rule in change.add),
        *(("ceilings", name) for name in change.ceilings),
    ]
    for size in range(len(entries)):
        for chosen in itertools.combinations(entries, size):
            yield Change(**{
                kind: tuple(entry for found, entry in chosen if found == kind) for kind in ("remove", "add", "ceilings")
            })  # fmt: skip


def assert_turned(who: Who, explain: Callable[[Who], Explanation]) -> None:
    explanation = explain(who)
    if explanation.change is None:
        assert not explanation.allowed
        return
    assert explain(explanation.change.apply(who)).allowed is not explanation.allowed
    for part in parts(explanation.change):
        assert explain(part.apply(who)).allowed is explanation.allowed
    assert explanation.change.size > 0


@given(users(), st.sampled_from([*WORLD, "a.*"]))
def test_publish(who: Who, subject: str) -> None:
    assert_turned(who, lambda user: explain_publish(World([user.account], 0.0), user, subject))


@given(users(), st.sampled_from(PATTERNS), st.none() | st.sampled_from(QUEUES))
def test_subscribe(who: Who, subject: str, queue: str | None) -> None:
    assert_turned(who, lambda user: explain_subscribe(World([user.account], 0.0), user, subject, queue))


@given(users(), st.sampled_from(WORLD), st.sampled_from(QUEUES))
def test_the_verdict_is_that_of_the_tables(who: Who, subject: str, queue: str) -> None:
    world = World([who.account], 0.0)
    is_open = not who.closed_by
    assert explain_subscribe(world, who, subject, queue).allowed is (
        is_open and who.policy.decide_subscribe(subject, queue).allowed
    )
    assert explain_publish(world, who, subject, is_mapped=True).allowed is (
        is_open and who.policy.decide_publish(subject).allowed
    )
