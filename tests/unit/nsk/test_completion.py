"""Completion: the tool knows what could come next, and a real bash that loaded its script completes it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.nsk.terminal import ROOT, read_until
from tests.unit.nsk.tool import Tool, tool_at


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with an account A and users alice, alan and bob."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "A")
    for name in ("alice", "alan", "bob"):
        found.ok("add", "user", name)
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["exp"], ["expirations", "explain"]),
        (["delete", "u"], ["user"]),
        (["create", "use"], ["user", "users"]),
        (["add", "user", "--priv"], ["--private-inbox", "--private-key"]),
        (["add", "user", "--bearer="], ["--bearer=true", "--bearer=false"]),
        (["add", "user", "--role", ""], ["service", "consumer", "publisher", "admin"]),
        (["add", "user", "--role=p"], ["--role=publisher"]),
        (["edit", "user", "al"], ["alan", "alice"]),
        (["edit", "user", "-n", "b"], ["bob"]),
        (["edit", "user", "-a", ""], ["A"]),
        (["edit", "user", "-a", "A", "--name=al"], ["--name=alan", "--name=alice"]),
        (["describe", "account", ""], ["A"]),
        (["--interactive", "edit", "user", "bo"], ["bob"]),
        (["add", "user", "zz"], []),
    ],
)
def test_what_could_come_next(tool: Tool, words: list[str], expected: list[str]) -> None:
    found = tool.ok("__complete", "--no-descriptions", "--", "-H", str(tool.home), *words).splitlines()
    assert [line for line in found if line in expected] == expected
    assert expected or not found


def test_hidden_commands_are_not_offered(tool: Tool) -> None:
    offered = tool.ok("__complete", "--no-descriptions", "--", "").splitlines()
    assert "tool" in offered
    assert {"pub", "rtt", "__complete"}.isdisjoint(offered)


def test_candidates_are_described(tool: Tool) -> None:
    assert "account\tAdd an account" in tool.ok("__complete", "--", "add", "acc")


def test_a_store_that_cannot_be_read_offers_nothing(tool: Tool) -> None:
    (tool.home / "nsc.json").write_text("{")
    assert tool.ok("-H", "elsewhere", "__complete", "--", "-H", str(tool.home), "edit", "user", "") == ""


@pytest.mark.parametrize("shell", ["bash", "fish", "powershell", "zsh"])
def test_every_script_asks_the_tool(tool: Tool, shell: str) -> None:
    script = tool.ok("completion", shell)
    assert "__complete" in script
    assert "@PROGRAM@" not in script
    assert "@PLAIN@" not in script
    assert "nsc" in tool.ok("--nsc-compatible-output", "completion", shell)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_that_are_here_take_their_script(tool: Tool, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        # Only bash is everywhere.
        assert shell != "bash"
        return
    done = subprocess.run(
        [program, "-n"], input=tool.ok("completion", shell), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def bash(tool: Tool, tmp_path: Path) -> Iterator[int]:
    """A terminal on which an interactive bash has loaded the script."""
    program = tmp_path / "bin" / "nsk"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tools.nsk "$@"\n')
    program.chmod(0o700)
    script = tmp_path / "script"
    script.write_text(tool.ok("completion", "bash"))
    ours, theirs = pty.openpty()
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "TERM": "dumb",
        "PS1": "ready> ",
    }
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    read_until(ours, "ready> ")
    os.write(ours, f". {script}; bind 'set bell-style none'\n".encode())
    read_until(ours, "ready> ")
    yield ours
    process.kill()
    process.wait()
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("nsk expir", "nsk expirations "),
        ("nsk -H {home} edit user alic", "edit user alice "),
        ("nsk add user --role=publ", "nsk add user --role=publisher "),
        ("nsk generate diagram comp", "nsk generate diagram component "),
    ],
)
def test_bash_completes_what_is_typed(bash: int, tool: Tool, typed: str, completed: str) -> None:
    os.write(bash, typed.format(home=tool.home).encode() + b"\t")
    assert completed in read_until(bash, completed)
