"""JWTs, nkeys, creds and configurations with their outcome: one vector for each way to succeed or to fail.

The outcomes were recorded from nats-server 2.14.5. With NATSKEEP_REFERENCE=/path/to/nats-server the same vectors are
offered to that server too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.support.differences import DIFFERENCES
from tests.support.outcomes import selected_parameters, side_by_side
from tests.support.servers import Target, targets
from tests.vectors.group import differences, observe_group
from tests.vectors.vector import Vector, grouped, load_all

# Vectors with a creds file were recorded with a leafnode as the client: test_creds.py reads those files.
VECTORS = [vector for vector in load_all(Path(__file__).parent / "cases") if vector.creds is None]

Observed = Mapping[tuple[str, str], Future[dict[str, dict[str, Any]]]]


@pytest.fixture(scope="session")
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """For each vector and server the run of the group that it belongs to."""
    selected: dict[Target, list[Vector]] = {}
    for parameters in selected_parameters(request.session, "test_vector"):
        selected.setdefault(parameters["target"], []).append(parameters["vector"])
    groups = {(target, index): group for target in selected for index, group in enumerate(grouped(selected[target]))}
    jobs = {
        key: functools.partial(observe_group, group, key[0], tmp_path_factory.mktemp("group"))
        for key, group in groups.items()
    }
    with side_by_side(jobs) as futures:
        yield {(vector.name, key[0].name): futures[key] for key, group in groups.items() for vector in group}


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vector(vector: Vector, target: Target, observed: Observed) -> None:
    outcomes = vector.reference_outcomes()
    if not target.is_reference:
        outcomes = [DIFFERENCES.expectation(vector.name, vector.expect)]
    found = observed[vector.name, target.name].result()[vector.name]
    problems = ["\n".join(differences(expected, found)) for expected in outcomes]
    assert "" in problems, problems[0]
