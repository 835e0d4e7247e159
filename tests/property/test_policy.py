"""Policy tables against a plain twin that tries every literal of a small world.

The central claim is isolation: whatever is admitted and then delivered is permitted literal by literal.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from accounts.policy import Effect
from tests.oracle.patterns import PATTERNS, WORLD, literals, text_matches

QUEUES = ["q", "r", "q.a", "q.b"]
QUEUE_PATTERNS = ["q", "r", "q.*", "*", ">"]


def queue_covered(grant: Grant, queue: str | None) -> bool:
    return grant.queue is not None and queue is not None and text_matches(grant.queue, queue)


def denied(rules: SubjectRules, text: str, queue: str | None) -> bool:
    return any(
        text_matches(grant.subject, text) and (grant.queue is None or queue_covered(grant, queue))
        for grant in rules.deny
    )


def permitted(rules: SubjectRules, literal: str, queue: str | None) -> bool:
    """The meaning of the lists for one literal subject, without any thought of wildcard subscriptions."""
    if denied(rules, literal, queue):
        return False
    if not rules.allow:
        return True
    found = [grant for grant in rules.allow if text_matches(grant.subject, literal)]
    with_queue = [grant for grant in found if grant.queue is not None]
    if queue is not None and with_queue:
        return any(queue_covered(grant, queue) for grant in with_queue)
    return any(grant.queue is None for grant in found)


patterns = st.sampled_from(PATTERNS)
queues = st.none() | st.sampled_from(QUEUES)
plain_lists = st.lists(st.builds(Grant, patterns), max_size=3).map(tuple)
queue_lists = st.lists(st.builds(Grant, patterns, st.none() | st.sampled_from(QUEUE_PATTERNS)), max_size=3).map(tuple)
plain_rules = st.builds(SubjectRules, plain_lists, plain_lists)
queue_rules = st.builds(SubjectRules, queue_lists, queue_lists)


@given(plain_rules, st.booleans(), st.sampled_from([*WORLD, *PATTERNS]))
def test_publish(rules: SubjectRules, responses: bool, published: str) -> None:
    permission = ResponsePermission() if responses else None
    decision = compile_policy(Permissions(rules, responses=permission), Account("A")).decide_publish(published)
    is_denied = any(text_matches(grant.subject, published) for grant in rules.deny)
    matching = [grant for grant in rules.allow if text_matches(grant.subject, published)]
    is_allowed = bool(matching) if rules.allow else not responses
    assert decision.allowed == (is_allowed and not is_denied)
    assert (decision.rule is not None and decision.rule.effect is Effect.DENY) == is_denied


@given(queue_rules, patterns, queues)
def test_nothing_is_delivered_that_is_not_permitted(rules: SubjectRules, wanted: str, queue: str | None) -> None:
    table = compile_policy(Permissions(subscribe=rules), Account("A"))
    if not table.decide_subscribe(wanted, queue).allowed:
        return
    touching = table.delivery_denies_overlapping(wanted, queue)
    for literal in literals(wanted):
        filtered = table.delivery_denied(literal, queue)
        assert filtered is None or filtered in touching
        if filtered is None:
            assert permitted(rules, literal, queue), literal


@given(queue_rules, st.sampled_from(WORLD), queues)
def test_a_literal_subscription_is_decided_exactly(rules: SubjectRules, wanted: str, queue: str | None) -> None:
    table = compile_policy(Permissions(subscribe=rules), Account("A"))
    assert table.decide_subscribe(wanted, queue).allowed == permitted(rules, wanted, queue)


@given(plain_rules, patterns, queues)
def test_a_subscription_must_be_contained_in_one_allow(rules: SubjectRules, wanted: str, queue: str | None) -> None:
    table = compile_policy(Permissions(subscribe=rules), Account("A"))
    contained = any(literals(wanted) <= literals(grant.subject) for grant in rules.allow) or not rules.allow
    assert table.decide_subscribe(wanted, queue).allowed == (contained and not denied(rules, wanted, queue))


@given(queue_rules, patterns, queues)
def test_delivery_denies_are_those_with_a_common_literal(rules: SubjectRules, wanted: str, queue: str | None) -> None:
    table = compile_policy(Permissions(subscribe=rules), Account("A"))
    expected = [
        grant.subject
        for grant in rules.deny
        if literals(grant.subject) & literals(wanted) and (grant.queue is None or queue_covered(grant, queue))
    ]
    assert [rule.subject for rule in table.delivery_denies_overlapping(wanted, queue)] == expected


@given(st.data(), plain_rules, queue_rules)
def test_order_repetition_and_origin_do_not_matter(data: st.DataObject, one: SubjectRules, other: SubjectRules) -> None:
    def disturbed(grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
        shuffled = data.draw(st.permutations([*grants, *grants[:1]]))
        return tuple(Grant(grant.subject, grant.queue, "elsewhere") for grant in shuffled)

    first = compile_policy(Permissions(one, other), Account("A"))
    second = compile_policy(
        Permissions(
            SubjectRules(disturbed(one.allow), disturbed(one.deny)),
            SubjectRules(disturbed(other.allow), disturbed(other.deny)),
        ),
        Account("B"),
    )
    assert first.fingerprint == second.fingerprint
    wanted, queue = data.draw(patterns), data.draw(queues)
    assert first.decide_subscribe(wanted, queue).allowed == second.decide_subscribe(wanted, queue).allowed
    assert first.decide_publish(wanted).allowed == second.decide_publish(wanted).allowed
