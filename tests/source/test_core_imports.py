"""The compiled core knows itself, libc and CPython: no policy, no asyncio, no ssl."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.source.sources import core_files, relative

_CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+cimport\b|cimport\s+([\w.]+))", re.MULTILINE)
_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\b|import\s+([\w.]+))", re.MULTILINE)
_CIMPORTED = ("broker.core", "cpython", "cython", "libc")
_POLICY_FREE = {"array", "collections", "errno", "math", "os", "secrets", "struct", "time", "typing"}


def _modules(pattern: re.Pattern[str], source: str) -> list[str]:
    return [first or second for first, second in pattern.findall(source)]


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", core_files(), ids=relative)
def test_core_cimports_only_itself_libc_and_cpython(path: Path) -> None:
    foreign = [module for module in _modules(_CIMPORT, path.read_text()) if not _within(module, _CIMPORTED)]
    assert not foreign


@pytest.mark.parametrize("path", core_files(), ids=relative)
def test_core_imports_no_policy_and_no_input_or_output(path: Path) -> None:
    modules = [module for module in _modules(_IMPORT, path.read_text()) if not _within(module, ("broker.core",))]
    assert set(modules) <= _POLICY_FREE & sys.stdlib_module_names


def test_there_is_a_core() -> None:
    assert {path.stem for path in core_files()} >= {"parser", "sublist", "plan", "outbox"}
