"""The subscriptions are as many and as mixed as the row says, and the misses really match none of them."""

from __future__ import annotations

from accounts.subject import matches
from tools.bench.matching import misses, subscriptions


def test_half_of_the_subscriptions_have_wildcards() -> None:
    subjects = subscriptions(3000)
    wildcards = [subject for subject in subjects if "*" in subject or ">" in subject]
    assert len(subjects) == len(set(subjects)) == 3000
    assert len(wildcards) == 1500
    assert {subject.split(".").index("*") for subject in wildcards if "*" in subject} == {1, 2}
    assert any(subject.endswith(".>") for subject in wildcards)


def test_no_miss_matches_a_subscription() -> None:
    patterns = subscriptions(400)
    ring = misses(count=200)
    side = ring.published
    subjects = [bytes(side.data[n * side.size :]).split(b" ", 2)[1].decode() for n in range(side.count)]
    assert len(set(subjects)) == 200
    assert not [s for s in subjects for pattern in patterns if matches(pattern, s)]
    second_tokens = {pattern.split(".")[1] for pattern in patterns}
    assert {subject.split(".")[1] for subject in subjects} <= second_tokens
