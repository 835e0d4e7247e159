"""What monitoring, the services and the events of the system account look like, held against recorded nats-server.

With NATSKEEP_REFERENCE=/path/to/nats-server the recorded shapes are held against that server too.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.parity.catalogue import SITUATIONS, played, stored
from tests.parity.shape import Difference, Shape, differences
from tests.support.certificates import Certificates, make_certificates
from tests.support.differences import DIFFERENCES, ShapeDifference
from tests.support.servers import NATSKEEP, Target, targets


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def found(situation: str, shapes: Mapping[str, Shape]) -> dict[str, list[Difference]]:
    """By what was asked: where its shape is not the recorded one."""
    wanted = stored(situation)
    assert list(shapes) == list(wanted)
    return {asked: list(differences(shape, shapes[asked])) for asked, shape in wanted.items()}


def is_on_purpose(known: ShapeDifference, situation: str, asked: str, difference: Difference) -> bool:
    """Whether a difference is one of those that are documented."""
    return (
        fnmatchcase(f"{situation}: {asked}", known.where)
        and fnmatchcase(difference.path, known.path)
        and fnmatchcase(difference.got, known.got)
    )


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_shapes(situation: str, target: Target, certificates: Certificates, tmp_path: Path) -> None:
    known = () if target.is_reference else [one for group in DIFFERENCES.shapes.values() for one in group]
    unexpected = [
        f"{asked}\n    {difference}"
        for asked, all_of_it in found(situation, played(situation, target, certificates, tmp_path)).items()
        for difference in all_of_it
        if not any(is_on_purpose(one, situation, asked, difference) for one in known)
    ]
    assert not unexpected, "\n".join(unexpected)
