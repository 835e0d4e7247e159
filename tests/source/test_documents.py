"""What the documents say about commands, files and code is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.source.sources import ROOT, documents, relative

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
_MAKE = re.compile(r"`make ([a-z][a-z-]*)|^(?: {4}|\$ )make ([a-z][a-z-]*)", re.MULTILINE)
_MAKE_IN_BLOCK = re.compile(r"^(?:\$ )?make ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def _blocks(path: Path, language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(path.read_text()) if found == language]


@pytest.mark.parametrize("path", documents(), ids=relative)
def test_python_examples_compile(path: Path) -> None:
    for number, example in enumerate(_blocks(path, "python"), 1):
        compile(example, f"{relative(path)} example {number}", "exec", flags=0, dont_inherit=True)


@pytest.mark.parametrize("path", documents(), ids=relative)
def test_configuration_examples_are_read(path: Path) -> None:
    for example in _blocks(path, "conf"):
        read_options(parse_bytes(example.encode()))


@pytest.mark.parametrize("path", documents(), ids=relative)
def test_make_targets_exist(path: Path) -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text()))
    text = path.read_text()
    named = {name for pair in _MAKE.findall(text) for name in pair if name}
    in_blocks = {name for _, block in _BLOCK.findall(text) for name in _MAKE_IN_BLOCK.findall(block)}
    assert named | in_blocks <= targets


@pytest.mark.parametrize("path", documents(), ids=relative)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    broken = [target for target in _LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert not broken


def test_every_decision_is_listed() -> None:
    directory = ROOT / "docs" / "adr"
    records = {path.name for path in directory.glob("[0-9]*.md")}
    assert set(_LINK.findall((directory / "README.md").read_text())) == records


def test_every_dependency_has_its_reason_and_its_range() -> None:
    """The table of ADR 0003 names what pyproject.toml names, with the same range."""
    project = (ROOT / "pyproject.toml").read_text()
    section = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert section is not None
    wanted = dict(re.findall(r'"([\w-]+)([<>=][^";]*)', section[1]))
    record = (ROOT / "docs" / "adr" / "0003-dependencies.md").read_text()
    named = dict(re.findall(r"^\| ([\w-]+) \| ([<>=][^ ,]*(?:,<\d+)?)", record, re.MULTILINE))
    assert named == {name: bounds.strip() for name, bounds in wanted.items()}
