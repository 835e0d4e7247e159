"""Every -ERR text that the code can send stands in one table, broker.wire.errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from broker.wire.errors import ErrorText
from tests.source.sources import core_files, python_files, relative

TABLE = "broker/wire/errors.py"
_ERROR_LINE = re.compile(r"-ERR '([^']*)'")


def _texts(path: Path) -> list[str]:
    """Every string of a Python file that is not a docstring."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return [
        node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        for node in constants
        if isinstance(node.value, str | bytes)
    ]


@pytest.mark.parametrize("path", [path for path in python_files("broker") if relative(path) != TABLE], ids=relative)
def test_no_error_line_is_written_elsewhere(path: Path) -> None:
    assert not [text for text in _texts(path) if text.startswith("-ERR '") or text.startswith("Permissions Violation")]


@pytest.mark.parametrize("path", core_files(), ids=relative)
def test_error_lines_of_the_core_are_those_of_the_table(path: Path) -> None:
    assert set(_ERROR_LINE.findall(path.read_text())) <= {text.value for text in ErrorText}


def test_error_texts_fit_their_line() -> None:
    """The quotes of the line must stay the only ones, and one line must stay one line."""
    for text in ErrorText:
        assert not set(text.value) & set("'\r\n")
