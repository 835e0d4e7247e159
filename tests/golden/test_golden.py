"""What nsc said and did with recorded command lines, nsk says and does, except where it is stricter on purpose."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.golden.player import Player, Scenario

_HERE = Path(__file__).parent
_DIFFERENCES = yaml.safe_load((_HERE / "differences.yaml").read_text())
_SCENARIOS = sorted((_HERE / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("compatible", [True, False], ids=["nsc", "nsk"])
@pytest.mark.parametrize("path", _SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, compatible: bool) -> None:
    scenario = Scenario.load(path, _DIFFERENCES, compatible=compatible)
    # Tables are as wide as their longest path, so the home directory's name must be short.
    with tempfile.TemporaryDirectory(prefix="ns", dir="/tmp") as home:
        found = Player(scenario, Path(home), compatible=compatible).play()
    assert not found, "\n".join(found)


def test_differences_are_documented() -> None:
    text = (_HERE.parents[1] / "docs" / "differences.md").read_text()
    assert set(re.findall(r"`scenario:([\w-]+)`", text)) == set(_DIFFERENCES)


def test_differences_belong_to_scenarios() -> None:
    assert set(_DIFFERENCES) <= {path.stem for path in _SCENARIOS}
