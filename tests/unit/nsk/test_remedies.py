"""Every refusal says what to do about it, on a line of its own, and never where nsc's words are wanted."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.remedies import meant, one_of, remedy_for

SOURCE = Path(__file__).resolve().parents[3] / "tools" / "nsk"


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with an account A and users u and v."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "A")
    found.ok("add", "user", "u")
    found.ok("add", "user", "v")
    return found


def _refusals() -> Iterator[tuple[str, str]]:
    """The place and the words of every refusal that has no remedy of its own and prints no usage."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id not in ("NskError", "StoreError") or not node.args:
                continue
            if any(keyword.arg in ("remedy", "show_usage") for keyword in node.keywords):
                continue
            words = _words(node.args[0])
            if words is not None:
                yield f"{path.name}:{node.lineno}", words


def _words(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = [str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values]
    return "".join(parts) if any(isinstance(part, ast.Constant) for part in node.values) else None


def test_every_refusal_names_a_remedy() -> None:
    refusals = list(_refusals())
    assert len(refusals) > 100
    assert [f"{place}: {words}" for place, words in refusals if not remedy_for(words)] == []


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["edit", "user", "--tag", "x"], "name one: u|v"),
        (["delete", "user"], "name one: u|v"),
        (["delete", "user", "V"], "name one: v"),
        (["edit", "user", "zz", "--tag", "x"], "name one: u|v"),
        (["add", "user", "u"], "nsk edit user <name>"),
        (["describe", "account", "a"], "name one: A"),
        (["add", "user", "w", "--expiry", "5x"], "2027-01-31"),
        (["generate", "creds"], "name one: --name u|v"),
        (["edit", "user", "u", "--subs", "abc"], "--help"),
    ],
)
def test_a_refusal_is_followed_by_its_remedy(tool: Tool, words: list[str], remedy: str) -> None:
    error = tool.refused(*words).splitlines()
    assert error[0].startswith("Error: ")
    assert error[1].startswith("  \N{RIGHTWARDS ARROW} ")
    assert remedy in error[1]


def test_nsc_compatible_output_has_no_remedy(tool: Tool) -> None:
    error = tool.refused("--nsc-compatible-output", "add", "user", "u")
    assert error == 'Error: the user "u" already exists\n'


def test_the_remedy_is_a_member_of_the_json_document(tool: Tool) -> None:
    tool.refused("add", "user", "u", "--json")
    error = json.loads(tool.out)["error"]
    assert error["text"] == 'the user "u" already exists'
    assert "nsk edit user" in error["remedy"]


def test_accounts_that_differ_in_case_are_named_not_guessed(tool: Tool) -> None:
    assert "name one: A" in tool.refused("list", "users", "-a", "a")


def test_candidates_are_those_that_were_meant() -> None:
    assert meant("alice", ["Alice", "ALICE", "bob"]) == "name one: Alice|ALICE"
    assert meant("AB", ["ABCD", "XYZ"]) == "name one: ABCD"
    assert meant("nobody", ["a", "b"]) == "name one: a|b"
    assert meant("nobody", []) == ""


def test_long_lists_are_cut() -> None:
    assert one_of(map(str, range(20))) == "name one: 0|1|2|3|4|5|6|7, or one of 12 more"


def test_a_document_that_nobody_takes_is_an_error_in_words(tool: Tool) -> None:
    command = [sys.executable, "-m", "tools.nsk", "-H", str(tool.home), "add", "user", "w", "--json=true"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, check=False, cwd=SOURCE.parents[1], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Error: " in done.stderr
