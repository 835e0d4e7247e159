"""``--interactive`` asks for a command's flags, on a terminal; without one nothing happens."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.unit.nsk.terminal import Talk, talk
from tests.unit.nsk.tool import Tool, tool_at
from tools.nsk.asking import Ask, Gate, Pick, PickSome, Put, Question, Repeat, Switch, When
from tools.nsk.cli import Command, Group
from tools.nsk.commands import ROOT
from tools.nsk.questions import QUESTIONS


@pytest.fixture
def tool(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """An operator O with accounts A and B."""
    found = tool_at(tmp_path, capsys, monkeypatch)
    found.ok("add", "account", "B")
    found.ok("add", "account", "A")
    return found


def ask(tool: Tool, words: list[str], *answers: tuple[str, str]) -> Talk:
    return talk(["-H", str(tool.home), *words], answers, {"HOME": str(tool.home.parent)})


def test_a_user_is_added_by_answers(tool: Tool) -> None:
    done = ask(
        tool,
        ["add", "user", "-i"],
        ("select account [1]:", "B"),
        ("user name:", "u"),
        ("generate an user nkey [Y/n]:", ""),
        ("valid from:", ""),
        ("valid until (0 is always):", "3d"),
    )
    assert done.code == 0, done.shown
    assert done.out == ""
    assert tool.claims("user", "-a", "B", "u")["exp"] > 0


def test_answers_that_a_flag_refuses_are_asked_for_again(tool: Tool) -> None:
    done = ask(
        tool,
        ["edit", "account", "A", "-i", "--trace-context-subject", "t"],
        ("select account [1]:", "7"),
        ("select account [1]:", "A"),
        ("add a signing key [y/N]:", ""),
        ("max connections (-1 unlimited) [-1]:", "many"),
        ("max connections (-1 unlimited) [-1]:", "10"),
        ("max leaf node connections (-1 unlimited) [-1]:", ""),
        ("max data (-1 unlimited) [-1]:", ""),
        ("max exports (-1 unlimited) [-1]:", ""),
        ("max imports (-1 unlimited) [-1]:", ""),
        ("max payload (-1 unlimited) [-1]:", "1K"),
        ("max subscriptions (-1 unlimited) [-1]:", ""),
        ("valid from:", ""),
        ("valid until (0 is always):", ""),
        ("add a tags [y/N]:", "y"),
        ("enter a tags:", "blue"),
        ("add another tags [y/N]:", ""),
        ("Account Description:", "ours"),
        ("Info url:", ""),
        ("Enable context tracing? [y/N]:", ""),
    )
    assert done.code == 0, done.shown
    assert "type a number from 1 to 2" in done.shown
    nats = tool.claims("account", "A")["nats"]
    assert (nats["limits"]["conn"], nats["limits"]["payload"], nats["limits"]["subs"]) == (10, 1000, -1)
    assert (nats["tags"], nats["description"]) == (["blue"], "ours")


def test_several_users_are_deleted_after_a_last_question(tool: Tool) -> None:
    for name in ("u", "v", "w"):
        tool.ok("add", "user", name)
    words = ["delete", "user", "-i"]
    before = tool.files()
    questions = [
        ("select account [1]:", ""),
        ("select users (numbers with commas, nothing for none):", "1, w"),
        ("revoke user before deleting [Y/n]:", ""),
        ("delete associated nkey [y/N]:", ""),
        ("delete associated creds file [y/N]:", "y"),
    ]
    refused = ask(tool, words, *questions, ("cannot be undone - continue [y/N]:", ""))
    assert refused.code == 1
    assert "delete cancelled" in refused.shown
    assert tool.files() == before
    done = ask(tool, words, *questions, ("cannot be undone - continue [y/N]:", "y"))
    assert done.code == 0, done.shown
    tool.ok("describe", "user", "v")
    assert len(tool.claims("account", "A")["nats"]["revocations"]) == 2


def test_init_without_flags_asks(tmp_path: Path) -> None:
    done = talk(
        ["init"],
        [("enter a configuration directory", ""), ("name your operator, account and user", "home")],
        {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "d"), "XDG_CONFIG_HOME": str(tmp_path / "c")},
    )
    assert done.code == 0, done.shown
    assert (tmp_path / "d" / "nats" / "nsc" / "stores" / "home" / "accounts" / "home" / "users" / "home.jwt").is_file()


def test_the_end_of_the_input_ends_everything(tool: Tool) -> None:
    before = tool.files()
    done = ask(tool, ["add", "account", "-i"], ("account name:", "C"), ("generate an account nkey [Y/n]:", "^D"))
    assert done.code == 1
    assert "Error: EOF" in done.shown
    assert "Traceback" not in done.shown
    assert tool.files() == before


def test_without_a_terminal_nothing_is_asked(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("C\n"))
    assert "give the flags instead" in tool.refused("add", "account", "-i")
    assert "give the flags instead" in tool.refused("init")


def test_a_command_without_questions_needs_no_terminal(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    tool.ok("list", "accounts", "-i")


def test_a_key_is_selected_where_several_sign(tool: Tool) -> None:
    tool.ok("edit", "account", "A", "--sk", "generate")
    key = tool.claims("account", "A")["nats"]["signing_keys"][0]
    done = ask(
        tool,
        ["add", "user", "-i", "-a", "A"],
        ("select account [1]:", ""),
        ("user name:", "u"),
        ("generate an user nkey [Y/n]:", ""),
        ("valid from:", ""),
        ("valid until (0 is always):", ""),
        ("select the key to sign the user [1]:", key),
    )
    assert done.code == 0, done.shown
    assert tool.claims("user", "u")["iss"] == key


# The table.


def _flags(question: Question) -> set[str]:
    if isinstance(question, Gate | When):
        return {flag for inner in (*question.then, *question.otherwise) for flag in _flags(inner)}
    if isinstance(question, Ask | Switch | Pick | PickSome | Repeat | Put):
        return {question.flag}
    return set()


def _command(words: str) -> Command | None:
    command: object = ROOT
    for word in words.split():
        assert isinstance(command, Group)
        command = command.get_command(None, word)
    return command if isinstance(command, Command) else None


@pytest.mark.parametrize("words", sorted(QUESTIONS))
def test_questions_are_about_flags_that_the_command_has(words: str) -> None:
    command = _command(words)
    if command is not None:
        known = {parameter.long.removeprefix("--") for parameter in command.params if hasattr(parameter, "long")}
        assert {flag for question in QUESTIONS[words] for flag in _flags(question)} <= known
