"""What nsc said and did with recorded command lines, nsk says and does, except where it is stricter on purpose."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.golden.player import Player, Scenario
from tests.support.servers import Target, targets

_HERE = Path(__file__).parent
_DIFFERENCES = yaml.safe_load((_HERE / "differences.yaml").read_text())
_SCENARIOS = sorted((_HERE / "scenarios").glob("*.yaml"))


_ON_SERVERS = [path for path in _SCENARIOS if "\nneeds: server\n" in path.read_text()[:200]]
_ON_FILES = [path for path in _SCENARIOS if path not in _ON_SERVERS]
_SERVED_FROM_MEMORY = {"net-mem-resolver-tools", "net-push-mem"}
"""Scenarios for which natskeep needs no directory of accounts."""


def _play(path: Path, *, compatible: bool, server: Target | None = None) -> None:
    scenario = Scenario.load(path, _DIFFERENCES, compatible=compatible)
    assert scenario.needs_server == (server is not None)
    # Tables are as wide as their longest path, so the home directory's name must be short.
    with tempfile.TemporaryDirectory(prefix="ns", dir="/tmp") as home:
        found = Player(scenario, Path(home), compatible=compatible, server=server).play()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("compatible", [True, False], ids=["nsc", "nsk"])
@pytest.mark.parametrize("path", _ON_FILES, ids=lambda path: path.stem)
def test_scenario(path: Path, compatible: bool) -> None:
    _play(path, compatible=compatible)


@pytest.mark.parametrize(
    ("path", "server"),
    [
        pytest.param(path, target, id=f"{path.stem}-{target.name}")
        for path in _ON_SERVERS
        for target in targets()
        if target.is_reference or path.stem in _SERVED_FROM_MEMORY
    ],
)
def test_scenario_on_a_server(path: Path, server: Target) -> None:
    """Only as nsc would print: in its own way, nsk shows a plan before it pushes."""
    _play(path, compatible=True, server=server)


def test_differences_are_documented() -> None:
    text = (_HERE.parents[1] / "docs" / "differences.md").read_text()
    assert set(re.findall(r"`scenario:([\w-]+)`", text)) == set(_DIFFERENCES)


def test_differences_belong_to_scenarios() -> None:
    assert set(_DIFFERENCES) <= {path.stem for path in _SCENARIOS}
