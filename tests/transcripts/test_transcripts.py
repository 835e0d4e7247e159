"""Recorded conversations with nats-server 2.14.5, byte for byte, played to natskeep.

With NATSKEEP_REFERENCE=/path/to/nats-server the same files are played to that server too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.differences import DIFFERENCES
from tests.support.outcomes import selected_parameters, side_by_side
from tests.support.servers import AS_NATS_SERVER, Target, targets
from tests.transcripts.player import Case, play

CASES = [Case.load(path) for path in sorted((Path(__file__).parent / "cases").rglob("*.yaml"))]


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[tuple[str, str], Future[None]]]:
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    jobs = {}
    for parameters in selected_parameters(request.session, "test_transcript"):
        case, target = parameters["case"], parameters["target"]
        played, server = (case, target) if target.is_reference else (own(case), AS_NATS_SERVER)
        jobs[case.name, target.name] = functools.partial(
            play, played, server, certificates, tmp_path_factory.mktemp("case")
        )
    with side_by_side(jobs) as futures:
        yield futures


def own(case: Case) -> Case:
    """The case with the steps that natskeep takes on purpose where it differs."""
    return Case(case.name, {**case.document, "steps": DIFFERENCES.steps(case.name, case.document["steps"])})


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_transcript(case: Case, target: Target, outcomes: Mapping[tuple[str, str], Future[None]]) -> None:
    outcomes[case.name, target.name].result()
