"""The account tool starts fast: looking something up imports nothing that only other commands need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source.sources import ROOT

_ALLOWED = {
    *("tools", "auth", "accounts"),
    *("click", "msgspec", "typing_extensions", "nkeys", "nacl"),
    # The JWT library brings these.
    *("jwt", "cryptography", "bcrypt"),
}
_OWN = {
    *("accounts", "accounts.subject", "tools", "tools.nsk", "tools.nsk.__main__"),
    *(f"tools.nsk.{name}" for name in ("cli", "commands", "environment", "errors", "extension", "files", "flags")),
    *(f"tools.nsk.{name}" for name in ("issuer", "journal", "keystore", "output", "remedies", "render", "report")),
    *(f"tools.nsk.{name}" for name in ("session", "store", "transaction", "values")),
}
_PROGRAM = """
import json, sys
from tools.nsk.__main__ import main
code = main(sys.argv[1:])
assert code == 0, code
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for words in ("add operator O", "add account A", "add user u"):
        _run(home, "-m", "tools.nsk", "-H", str(home / "h"), *words.split())
    return home


def _run(home: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("words", "further"),
    [
        ("describe operator", {"commands.describe", "describe"}),
        ("describe account A", {"commands.describe", "describe"}),
        ("describe user u", {"commands.describe", "describe"}),
        ("describe account A -J", {"commands.describe", "describe"}),
        ("list accounts", {"commands.list"}),
        ("list users", {"commands.list"}),
        ("list keys -A", {"commands.keys", "selection"}),
        ("--help", set()),
        ("add user --help", {"commands.user"}),
    ],
)
def test_what_is_imported(words: str, further: set[str], home: Path) -> None:
    printed = _run(home, "-c", _PROGRAM, "-H", str(home / "h"), *words.split())
    names = set(json.loads(printed.splitlines()[-1]))
    packages = {name.partition(".")[0] for name in names if not name.startswith("_")} - set(sys.stdlib_module_names)
    assert packages <= _ALLOWED
    assert not packages & {"jwt", "cryptography"} or "--help" not in words
    if "--help" not in words:
        own = {name for name in names if name.split(".")[0] in ("tools", "accounts")}
        assert own <= _OWN | {f"tools.nsk.{name}" for name in further}
