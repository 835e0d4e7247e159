"""A store that nsc wrote is read, edited and written back with only the intended change, byte for byte.

``nsc_store.json`` holds a store of nsc 2 and the files that nsc changed with each of some command lines. nsk changes
the same files to the same bytes, since signatures follow from key and claims, and touches no other. With the
environment variable NATSKEEP_NSC=/path/to/nsc, that nsc and nsk take turns on one store. The keys were made for this;
they never were secrets.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from auth import jwt
from tools.nsk.__main__ import main

_RECORDED = json.loads((Path(__file__).parent / "nsc_store.json").read_text())


def _write(home: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text)
        path.chmod(0o600)


def _files(home: Path) -> dict[str, str]:
    found = (path for path in home.rglob("*") if path.is_file() and path.name != "nsc.json")
    return {str(path.relative_to(home)): path.read_text() for path in found}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded store, in a home that knows nothing of whoever runs the tests."""
    for variable in ("NSC_HOME", "NKEYS_PATH", "NSC_CWD_ONLY", "NSC_NO_GIT_IGNORE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "h"
    _write(home, _RECORDED["before"])
    return home


def test_every_edit_changes_what_nsc_changes_and_nothing_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dict(_RECORDED["before"])
    assert len(_RECORDED["steps"]) > 10
    for step in _RECORDED["steps"]:
        moment = SimpleNamespace(time=lambda now=step["issued_at"]: now)
        monkeypatch.setattr(jwt, "time", moment)
        assert main(["--nsc-compatible-output", "-H", str(home), *step["argv"]]) == 0, shlex.join(step["argv"])
        expected.update(step["files"])
        expected = {name: text for name, text in expected.items() if text is not None}
        found = _files(home)
        assert found.keys() == expected.keys(), shlex.join(step["argv"])
        for name, text in expected.items():
            assert found[name] == text, f"{shlex.join(step['argv'])}: {name}"


def test_reading_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _files(home)
    for words in (
        "env",
        "list accounts",
        "list keys --all",
        "describe operator",
        "describe account A",
        "describe user u -a A",
        "validate -A",
        "generate creds -a A -n u",
        "upgrade-jwt",
        "keys migrate",
    ):
        assert main(["-H", str(home), *words.split()]) == 0, capsys.readouterr().err
    assert _files(home) == before


def test_nsc_and_nsk_take_turns(home: Path) -> None:
    """Each edits what the other wrote; without an nsc at hand, nsk stands in for it."""
    program = os.environ.get("NATSKEEP_NSC")

    def nsc(*words: str) -> int:
        if not program:
            return main(["--nsc-compatible-output", "-H", str(home), *words])
        return subprocess.run([program, "-H", str(home), *words], check=False, cwd=home.parent).returncode

    def nsk(*words: str) -> int:
        return main(["-H", str(home), *words])

    turns: list[Callable[..., int]] = [nsk, nsc]
    for number in range(6):
        mine, others = turns[number % 2], turns[1 - number % 2]
        account, user = f"T{number}", f"t{number}"
        assert mine("add", "account", account) == 0
        assert others("add", "user", user, "-a", account) == 0
        assert mine("edit", "user", user, "-a", account, "--tag", "x") == 0
        assert others("edit", "account", account, "--sk", "generate", "--conns", "5") == 0
        assert mine("reissue", "operator") == 0
        assert others("rename", "account", account, f"R{number}", "--OK") == 0
        assert mine("delete", "user", user, "-a", f"R{number}", "--revoke") == 0
    for program_ in turns:
        assert program_("validate", "-A") == 0
