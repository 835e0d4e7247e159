"""Subject mappings: weights, clusters, and what is dropped."""

from __future__ import annotations

from collections import Counter

import pytest

from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.transform import InvalidTransformError


def mapping(source: str, *destinations: WeightedDestination) -> SubjectMapping:
    return SubjectMapping(source, destinations)


def spread(found: SubjectMapping, subject: str, cluster: str = "") -> Counter[str | None]:
    """How many of a hundred messages go where, each roll once."""
    return Counter(found.apply(subject, cluster, lambda count, roll=roll: roll % count) for roll in range(100))


def test_one_destination_takes_all_without_a_roll() -> None:
    found = mapping("a.*", WeightedDestination("b.$1"))
    assert found.matches("a.x")
    assert not found.matches("a.x.y")
    assert found.apply("a.x", "", pytest.fail) == "b.x"


def test_weights_divide_and_the_rest_keeps_its_subject() -> None:
    found = mapping("a", WeightedDestination("b", 60), WeightedDestination("c", 10), WeightedDestination("d", 0))
    assert spread(found, "a") == {"b": 60, "c": 10, "a": 30}


def test_the_rest_is_dropped_where_the_source_is_listed() -> None:
    found = mapping("a", WeightedDestination("b", 50), WeightedDestination("a", 20))
    assert spread(found, "a") == {"b": 50, "a": 20, None: 30}


def test_a_group_of_the_own_cluster_counts_in_place_of_the_general_one() -> None:
    found = mapping("a", WeightedDestination("b", 60), WeightedDestination("c", 70, "X"))
    assert spread(found, "a") == {"b": 60, "a": 40}
    assert spread(found, "a", "Y") == {"b": 60, "a": 40}
    assert spread(found, "a", "X") == {"c": 70, "a": 30}


def test_without_a_group_for_this_cluster_nothing_changes() -> None:
    assert spread(mapping("a", WeightedDestination("c", 100, "X")), "a") == {"a": 100}
    assert spread(mapping("a"), "a") == {"a": 100}


@pytest.mark.parametrize(
    ("destinations", "message"),
    [
        ([WeightedDestination("b", 10), WeightedDestination("b", 20, "X")], 'duplicate entry for "b"'),
        ([WeightedDestination("b", 60), WeightedDestination("c", 50)], "total weight needs to be <= 100"),
        ([WeightedDestination("b", 101)], "individual weights need to be <= 100"),
        ([WeightedDestination("b.*")], "invalid subject"),
        ([WeightedDestination("b.$1")], "invalid mapping destination: wildcard index out of range in $1"),
    ],
)
def test_a_mistake_is_named(destinations: list[WeightedDestination], message: str) -> None:
    with pytest.raises(InvalidTransformError) as caught:
        mapping("a", *destinations)
    assert str(caught.value) == message


def test_a_source_must_be_a_subject() -> None:
    with pytest.raises(InvalidTransformError, match="invalid subject"):
        mapping("a..b")
