"""What a command says when it cannot do what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.nsk.report import Report


class NskError(Exception):
    """A refusal with a text for the person who typed the command.

    ``show_usage`` adds the command's usage text below the error, for options that are missing or clash; None leaves
    that to the command. ``remedy`` tells what to do; errors whose words are nsc's get theirs from
    ``tools.nsk.remedies``.
    """

    def __init__(self, text: str, *, show_usage: bool | None = None, remedy: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy
        self.show_usage = show_usage
        self.usage = ""
        """The usage text to print, filled in by the command that failed."""
        self.report: Report | None = None
        """What had been done, or tried, until then; filled in likewise."""
        self.exit_code = 1
        """Filled in likewise: what the command ends with when it cannot do what was asked."""


class StoreError(NskError):
    """The store or the keystore lacks what is asked for, holds it already, or cannot be read."""


@contextmanager
def without_usage() -> Iterator[None]:
    """Let errors that come up inside the block show no usage text, whatever the command does about its errors."""
    try:
        yield
    except NskError as error:
        error.show_usage = False
        raise
