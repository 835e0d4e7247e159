"""docs/differences.md and the tests agree on the cases in which natskeep differs on purpose."""

from __future__ import annotations

import re
from pathlib import Path

from tests.source.sources import ROOT
from tests.support.differences import DIFFERENCES

_NAME = re.compile(r"`(transcript|vector|shape):([\w.-]+)`")
_CASES = ROOT / "tests"


def _named(kind: str) -> set[str]:
    text = (ROOT / "docs" / "differences.md").read_text()
    return {name for found, name in _NAME.findall(text) if found == kind}


def _existing(directory: Path) -> set[str]:
    return {
        match[1] for path in directory.rglob("*.yaml") if (match := re.match(r"name: ([\w.-]+)\n", path.read_text()))
    }


def test_transcripts_that_differ_are_documented() -> None:
    assert _named("transcript") == set(DIFFERENCES.transcripts)


def test_vectors_that_differ_are_documented() -> None:
    assert _named("vector") == set(DIFFERENCES.vectors)


def test_shapes_that_differ_are_documented() -> None:
    assert _named("shape") == set(DIFFERENCES.shapes)


def test_cases_that_differ_exist() -> None:
    assert set(DIFFERENCES.transcripts) <= _existing(_CASES / "transcripts" / "cases")
    assert set(DIFFERENCES.vectors) <= _existing(_CASES / "vectors" / "cases")
