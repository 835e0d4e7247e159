"""No check is switched off: not a lint, not a type, not a test."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.source.sources import ROOT, python_files, relative

_SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:|ruff:|mypy:|pylint:)")
_SKIPPED = re.compile(r"\bpytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def comments(path: Path) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


@pytest.mark.parametrize("path", [*python_files(), *TESTS], ids=relative)
def test_no_check_is_suppressed(path: Path) -> None:
    assert not [comment for comment in comments(path) if _SUPPRESSION.match(comment)]


@pytest.mark.parametrize("path", [path for path in TESTS if path != Path(__file__)], ids=relative)
def test_no_test_is_skipped(path: Path) -> None:
    assert not _SKIPPED.search(path.read_text())
