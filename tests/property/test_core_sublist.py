"""The compiled sublist against its twin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.core.outbox import Hub
from broker.core.plan import Client, Subscription
from broker.core.sublist import Sublist
from tests.oracle import sublist as twin

TOKENS = [b"a", b"b", b"*", b">", b"a*", b"\x00\xff", b"longer-token"]
CLIENT = Client(Hub())
heads = st.lists(st.sampled_from([token for token in TOKENS if token != b">"]), max_size=3)
patterns = st.tuples(heads, st.sampled_from(TOKENS)).map(lambda parts: b".".join([*parts[0], parts[1]]))
subjects = st.lists(st.sampled_from([*TOKENS, b""]), max_size=5).map(b".".join)


def values(found: list[object]) -> list[int]:
    return sorted(id(value) for value in found)


@given(st.lists(st.tuples(st.booleans(), patterns, st.integers(0, 4))), st.lists(subjects, min_size=1, max_size=20))
def test_inserts_removes_and_matches(steps: list[tuple[bool, bytes, int]], asked: list[bytes]) -> None:
    core, model = Sublist(), twin.Sublist()
    # Subscriptions know their place under one pattern, and here they stand under many, and more than once.
    items = [object(), object(), *(Subscription(CLIENT, b"s", None, b"1") for _ in range(3))]
    for is_insert, pattern, which in steps:
        if is_insert:
            core.insert(pattern, items[which])
            model.insert(pattern, items[which])
        else:
            assert core.remove(pattern, items[which]) == model.remove(pattern, items[which])
        assert len(core) == len(model)
    for subject in asked:
        assert values(core.match(subject)) == values(model.match(subject)), subject
    for pattern, value in list(model.pairs):
        assert core.remove(pattern, value)
    assert len(core) == 0
    assert core.match(b"a.b") == []


@given(st.integers(0, 300), st.integers(0, 300))
def test_deep_subjects(depth: int, depth_of_pattern: int) -> None:
    core, model = Sublist(), twin.Sublist()
    for pattern in (b">", b".".join([b"*"] * (depth_of_pattern + 1)), b".".join([b"a"] * depth_of_pattern + [b">"])):
        core.insert(pattern, pattern)
        model.insert(pattern, pattern)
    subject = b".".join([b"a"] * (depth + 1))
    assert values(core.match(subject)) == values(model.match(subject))


@given(st.sets(st.integers(0, 5000), max_size=300), st.sets(st.integers(0, 5000), max_size=300))
def test_many_literals_come_and_go(kept: set[int], gone: set[int]) -> None:
    core = Sublist()
    for number in sorted(kept | gone):
        core.insert(b"s.%d.t" % number, number)
    for number in sorted(gone):
        assert core.remove(b"s.%d.t" % number, number) or number > 256
    for number in kept - gone:
        assert core.match(b"s.%d.t" % number) == [number]
