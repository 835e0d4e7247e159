"""Flags take the forms that account tools take, before and behind commands."""

from __future__ import annotations

import re

import pytest

from tools.nsk.__main__ import main
from tools.nsk.commands import ROOT
from tools.nsk.errors import NskError
from tools.nsk.flags import INTEGER, Flag, boolean, expand, number, strings, text

FLAGS = (
    text("name", "n", "a name"),
    boolean("bearer", "b", "a switch"),
    strings("tag", "", "a list"),
    number("data", "a size"),
    Flag("responses", "", "", kind=INTEGER, implied="1"),
)


@pytest.mark.parametrize(
    ("words", "expanded", "rest"),
    [
        (["--name", "x"], ["--name=x"], []),
        (["--name=x", "y"], ["--name=x"], ["y"]),
        (["-n", "x"], ["--name=x"], []),
        (["-nx"], ["--name=x"], []),
        (["-n=x"], ["--name=x"], []),
        (["-bn", "x"], ["--bearer=true", "--name=x"], []),
        (["--bearer", "u"], ["--bearer=true"], ["u"]),
        (["--bearer=false"], ["--bearer=false"], []),
        (["--responses", "5"], ["--responses=1"], ["5"]),
        (["--responses=5"], ["--responses=5"], []),
        (["--data", "-1"], ["--data=-1"], []),
        (["a", "--", "--name", "b"], [], ["a", "--name", "b"]),
        (["-"], [], ["-"]),
    ],
)
def test_forms(words: list[str], expanded: list[str], rest: list[str]) -> None:
    assert expand(words, FLAGS) == (expanded, rest)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-bz"], "unknown shorthand flag: 'z' in -z"),
        (["--name"], "flag needs an argument: --name"),
        (["-n"], "flag needs an argument: 'n' in -n"),
    ],
)
def test_errors(words: list[str], message: str) -> None:
    with pytest.raises(NskError) as caught:
        expand(words, FLAGS)
    assert caught.value.text == message


def test_leading_flags_end_at_the_first_argument() -> None:
    assert expand(["-b", "add", "--whatever"], FLAGS, leading=True) == (["--bearer=true"], ["add", "--whatever"])


def test_a_value_that_cannot_be_read_names_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", "account", "--conns", "x"]) == 1
    assert 'invalid argument "x" for "--conns" flag' in capsys.readouterr().err


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["help", "add", "user"], ["add", "user", "-h"], ["add"], ["add", "--help", "user"]):
        assert main(words) == 0
        output = capsys.readouterr()
        assert "Usage:\n  nsk" in output.out
        assert output.err == ""


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    groups = _listed(capsys.readouterr().out)
    assert "tool" in groups
    for group in groups:
        assert main(["help", group]) == 0
        for member in _listed(capsys.readouterr().out):
            assert main([group, member, "--help"]) == 0
            assert f"nsk {group} {member}" in capsys.readouterr().out


_LISTED = re.compile(r"^  ([a-z][\w-]*) +[A-Za-z]", re.MULTILINE)


def _listed(text_: str) -> list[str]:
    return [name for name in _LISTED.findall(text_.partition("\nFlags:")[0]) if name != "nsk"]


def test_the_help_shows_every_command_once_in_sections(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    own = capsys.readouterr().out
    assert main(["--nsc-compatible-output", "--help"]) == 0
    assert "\nAvailable Commands:\n" in capsys.readouterr().out
    assert "Available Commands" not in own
    assert sorted(_listed(own)) == [name for name, _ in ROOT.offered("")]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nsk version ")


def test_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bogus"]) == 1
    assert capsys.readouterr().err == 'Error: unknown command "bogus" for "nsk"\nRun \'nsk --help\' for usage.\n'
