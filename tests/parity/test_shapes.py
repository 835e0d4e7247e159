"""What monitoring, the services and the events of the system account look like, held against recorded nats-server.

The recorded shapes are held against the nats-server that NATSKEEP_REFERENCE names, or one of the same release on the
PATH, too; so that shapes which have become stale show.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest

from tests.parity.catalogue import SITUATIONS, played, stored
from tests.parity.shape import Difference, differences
from tests.support.certificates import make_certificates
from tests.support.differences import DIFFERENCES, ShapeDifference
from tests.support.servers import NATSKEEP, Target, targets_at_hand

Shown = Callable[[str, Target], "list[Found]"]


@dataclass(frozen=True, slots=True)
class Found:
    """One difference from what was recorded."""

    where: str
    difference: Difference

    def is_like(self, known: ShapeDifference) -> bool:
        """Whether it is one of those that are documented."""
        return (
            fnmatchcase(self.where, known.where)
            and fnmatchcase(self.difference.path, known.path)
            and fnmatchcase(self.difference.got, known.got)
        )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Plays a situation to a server, once, and finds the differences."""
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))

    @functools.cache
    def play(situation: str, target: Target) -> list[Found]:
        shapes = played(situation, target, certificates, tmp_path_factory.mktemp("server"))
        wanted = stored(situation)
        assert list(shapes) == list(wanted), "the situation asks for something else than was recorded"
        return [
            Found(f"{situation}: {asked}", difference)
            for asked, shape in wanted.items()
            for difference in differences(shape, shapes[asked])
        ]

    return play


@pytest.mark.parametrize("target", targets_at_hand(), ids=lambda target: target.name)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_shapes(situation: str, target: Target, shown: Shown) -> None:
    known = [] if target.is_reference else [one for group in DIFFERENCES.shapes.values() for one in group]
    unexpected = [
        f"{found.where}\n    {found.difference}"
        for found in shown(situation, target)
        if not any(found.is_like(one) for one in known)
    ]
    assert not unexpected, "\n".join(unexpected)


@pytest.mark.parametrize("name", DIFFERENCES.shapes)
def test_what_is_said_to_differ_does(name: str, shown: Shown) -> None:
    found = [one for situation in SITUATIONS for one in shown(situation, NATSKEEP)]
    for known in DIFFERENCES.shapes[name]:
        assert any(one.is_like(known) for one in found), f"nothing is like {known}"
