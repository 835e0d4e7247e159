"""Proofs of isolation agree with what comes of trying everything, and what they show really happens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.account import Account
from accounts.exports import Export, ServiceExport, StreamExport
from accounts.flow import World, follow
from accounts.imports import Import, ServiceImport, StreamImport
from accounts.mapping import SubjectMapping, WeightedDestination
from accounts.prove import Passage, Proof
from tests.fuzz.inputs import LONG
from tests.oracle.walls import Walls

NAMES = ("A", "B", "C")
PATTERNS = ("a", "*", ">", "a.a", "a.*", "*.a", "a.>", "*.*")
UNIVERSE = tuple(".".join(parts) for length in (1, 2, 3, 4) for parts in itertools.product(("a", "z"), repeat=length))
"""With `z` for every token that no pattern names, and as long as two accounts in a row can tell apart."""


def destinations(source: str) -> list[str]:
    """What a subject may become: all of one shape, in another order, or behind another token."""
    wildcards = source.count("*")
    plain = ".".join(
        token if token != "*" else f"${1 + source.split('.')[:place].count('*')}"
        for place, token in enumerate(source.split("."))
    )
    found = [plain, f"a.{plain}"]
    if source == "*.*":
        found.append("$2.$1")
    if wildcards == 1:
        found.append("$1.a")
    return found


@st.composite
def imports(draw: st.DrawFn, importer: str) -> Import:
    kind = draw(st.sampled_from((StreamImport, ServiceImport)))
    subject = draw(st.sampled_from(PATTERNS))
    exporter = draw(st.sampled_from([name for name in NAMES if name != importer]))
    return kind(account=exporter, subject=subject, to=draw(st.sampled_from(["", *destinations(subject)])))


@st.composite
def mappings(draw: st.DrawFn, functions: bool, chance: bool) -> SubjectMapping:
    source = draw(st.sampled_from(PATTERNS))
    choices = [*destinations(source), "a"] if not source.endswith(">") else destinations(source)
    if functions and "*" in source and not source.endswith(">"):
        choices += [
            "a.{{partition(3,1)}}",
            "{{partition(2)}}.$1",
            "{{split(1,-)}}",
            "a.{{split(1,)}}",
            "{{slicefromleft(1,1)}}",
            "{{splitfromright(1,1)}}.a",
            "a.{{random(2)}}",
        ]
    if not chance or draw(st.booleans()):
        return SubjectMapping(source, (WeightedDestination(draw(st.sampled_from(choices))),))
    chosen = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=2, unique=True))
    weights = draw(st.lists(st.sampled_from((0, 30, 50)), min_size=len(chosen), max_size=len(chosen)))
    return SubjectMapping(source, tuple(map(WeightedDestination, chosen, weights)))


@st.composite
def topologies(draw: st.DrawFn, *, functions: bool = False, chance: bool = True) -> list[Account]:
    """Three accounts with everything that passes their walls."""
    accounts = []
    for name in NAMES:
        exports: list[Export] = draw(
            st.lists(
                st.builds(
                    lambda kind, subject, accounts: kind(subject=subject, accounts=accounts),
                    st.sampled_from((StreamExport, ServiceExport)),
                    st.sampled_from((">", *PATTERNS)),
                    st.sampled_from((None, None, None, frozenset({"A"}), frozenset({"B", "C"}))),
                ),
                max_size=3,
            )
        )
        accounts.append(
            Account(
                name,
                exports=tuple(exports),
                imports=tuple(draw(st.lists(imports(name), max_size=3))),
                mappings=tuple(
                    {found.source: found for found in draw(st.lists(mappings(functions, chance), max_size=2))}.values()
                ),
            )
        )
    return accounts


def shown(accounts: list[Account]) -> set[tuple[str, str]]:
    """Who reaches whom by the proof; what it shows is tried."""
    proof, found = Proof(World(accounts, 0.0)), set()
    for source, target in itertools.permutations(NAMES, 2):
        reach = proof.reach(source, target)
        if reach is None:
            continue
        found.add((source, target))
        for passage in reach.passages:
            assert_it_happens(passage)
        assert bool(reach.script) is reach.is_shown
    return found


def assert_it_happens(passage: Passage) -> None:
    if passage.published is not None:
        assert passage.arrived in set(follow(passage.path, passage.published))


def tried(accounts: list[Account], universe: tuple[str, ...] = UNIVERSE) -> set[tuple[str, str]]:
    return {(source, target) for source, target in Walls(accounts, universe).run().heard if source != target}


MANY = settings(
    max_examples=1_000 if LONG else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@MANY
@given(topologies())
def test_proofs_agree_with_trying_everything(accounts: list[Account]) -> None:
    assert shown(accounts) == tried(accounts)


@MANY
@given(topologies(functions=True))
def test_with_functions_nothing_that_happens_is_called_impossible(accounts: list[Account]) -> None:
    universe = (*UNIVERSE, "a-a", "z-a", "aa", "az.a", "a.za")
    assert tried(accounts, universe) <= shown(accounts)


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_itself_hears_nothing_across_bare_walls(name: str) -> None:
    assert tried([Account(other) for other in NAMES]) == set()
