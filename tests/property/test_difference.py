"""What one table allows and another refuses: every loss is one, and none is missed, subject by subject."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.difference import losses
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from accounts.policy import Action, PolicyTable
from accounts.subject import contains, matches_as_tokens
from tests.oracle.patterns import PATTERNS, WORLD

patterns = st.sampled_from(PATTERNS)
plain = st.lists(st.builds(Grant, patterns), max_size=3).map(tuple)
queued = st.lists(st.builds(Grant, patterns, st.sampled_from((None, None, "q", "q.*", ">"))), max_size=3).map(tuple)
tables = st.builds(
    Permissions,
    st.builds(SubjectRules, plain, plain),
    st.builds(SubjectRules, queued, queued),
    st.sampled_from((None, ResponsePermission())),
).map(lambda permissions: compile_policy(permissions, Account("A")))


@given(tables, tables)
def test_every_loss_is_one(before: PolicyTable, after: PolicyTable) -> None:
    for loss in losses(before, after):
        if loss.action is Action.PUBLISH:
            assert before.decide_publish(loss.example).allowed
            assert not after.decide_publish(loss.example).allowed
            assert matches_as_tokens(loss.subject, loss.example)
        else:
            assert before.decide_subscribe(loss.example, loss.queue).allowed
            assert not after.decide_subscribe(loss.example, loss.queue).allowed


@given(tables, tables)
def test_no_loss_is_missed(before: PolicyTable, after: PolicyTable) -> None:
    found = losses(before, after)
    published = [loss.subject for loss in found if loss.action is Action.PUBLISH]
    subscribed = [loss.subject for loss in found if loss.action is Action.SUBSCRIBE and loss.queue is None]
    for subject in WORLD:
        if before.decide_publish(subject).allowed and not after.decide_publish(subject).allowed:
            assert any(matches_as_tokens(region, subject) for region in published), subject
    for subject in (*WORLD, *PATTERNS):
        if before.decide_subscribe(subject).allowed and not after.decide_subscribe(subject).allowed:
            assert any(contains(region, subject) or matches_as_tokens(region, subject) for region in subscribed), (
                subject
            )


@given(tables)
def test_equal_tables_lose_nothing(table: PolicyTable) -> None:
    assert losses(table, PolicyTable(tuple(reversed(table.rules)), table.responses)) == ()


def test_single_subjects_in_what_a_deny_refuses_as_a_whole() -> None:
    before = SubjectRules((Grant("b.a.>"),), (Grant("b.a.*"),))
    after = SubjectRules((Grant("a"),))
    (loss,) = losses(*(compile_policy(Permissions(subscribe=rules), Account("A")) for rules in (before, after)))
    assert (loss.subject, loss.example) == ("b.a.>", "b.a.any.any2")
