"""The manual of the account tool shows what is printed; ``python -m tests.support.manual`` writes it anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.manual import MANUAL, pages, play
from tools.nsk.commands import ROOT
from tools.nsk.schemas import commands


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_page_shows_what_is_printed(page: Path) -> None:
    assert page.read_text("utf-8") == play(page), "python -m tests.support.manual"


def test_every_command_is_on_a_page() -> None:
    manual = "\n".join(page.read_text("utf-8") for page in pages())
    hidden = {"fix", "migrate", "rename account", "pub", "reply", "req", "rtt", "sub", "upgrade-jwt"}
    shown = {line for line, _ in commands() if not line.startswith("test ")} - hidden
    assert {name for line in shown for name in line.split()[:1]} <= {name for name, _ in ROOT.offered("")}
    assert [line for line in sorted(shown) if f"nsk {line}" not in manual and f"`{line}" not in manual] == []


def test_every_page_is_listed() -> None:
    overview = (MANUAL / "README.md").read_text("utf-8")
    assert [page.name for page in pages() if page.name != "README.md" and f"({page.name})" not in overview] == []
