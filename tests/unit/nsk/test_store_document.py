"""docs/store.md shows what nsk prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.nsk.__main__ import main

_BLOCK = re.compile(r"^```\n(\$ nsk .*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ nsk (.*)\n", re.MULTILINE)
_KEY = re.compile(r"\b([OAU])[A-Z2-7]{55}\b")


def test_the_document_shows_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "NSC_HOME", "NKEYS_PATH", "NSC_CWD_ONLY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    document = (Path(__file__).resolve().parents[3] / "docs" / "store.md").read_text()
    count = 0
    for block in _BLOCK.findall(document):
        _, *parts = _COMMAND.split(block)
        for words, shown in zip(parts[::2], parts[1::2], strict=True):
            assert main(words.split()) == 0, capsys.readouterr().err
            output, errors = capsys.readouterr()
            assert _KEY.sub(r"\1…", output + errors).rstrip() == shown.rstrip(), words
            count += 1
    assert count > 5
