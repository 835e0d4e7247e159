"""The account tool as tests run it: on a store of its own, in a home of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.schema import problems
from tools.nsk.__main__ import main
from tools.nsk.schemas import command_of, schema_for


def schema_of(words: Sequence[str]) -> dict[str, Any]:
    """The schema of the command that a command line names."""
    return schema_for(*command_of(words))


@dataclass(slots=True)
class Tool:
    """The tool on a store of its own, and what it printed last. All JSON must be as its schema says."""

    home: Path
    capture: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def __call__(self, *words: str) -> int:
        code = main(["-H", str(self.home), *words])
        self.out, self.err = self.capture.readouterr()
        if "--json" in words and "--nsc-compatible-output" not in words:
            assert problems(json.loads(self.out), schema_of(words)) == [], words
        return code

    def ok(self, *words: str) -> str:
        """Run what must succeed; what it printed to stdout."""
        assert self(*words) == 0, self.err or self.out
        return self.out

    def refused(self, *words: str) -> str:
        """Run what must fail; the error."""
        assert self(*words) == 1, self.out
        return self.err

    def claims(self, *words: str) -> Any:
        """The claims of a described JWT."""
        return json.loads(self.ok("describe", *words, "-J"))

    def files(self) -> dict[Path, str]:
        """Everything that is stored."""
        return {path: path.read_text() for path in self.home.rglob("*") if path.is_file() and path.name != "nsc.json"}


def tool_at(tmp_path: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool that knows nothing of whoever runs the tests, with an operator O."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NSK_REMEDIES", "always")
    for variable in ("NSC_HOME", "NKEYS_PATH", "NSC_CWD_ONLY", "NSC_NO_GIT_IGNORE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    tool = Tool(tmp_path / "h", capture)
    tool.ok("add", "operator", "O")
    return tool
