"""Questions on the terminal: a text, yes or no, one of several, some of several.

They go to stderr, so that stdout keeps to data. Whoever is asked can see every default, and the end of the input ends
the command with nothing done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from tools.nsk.errors import NskError

Check = Callable[[str], object]
"""What takes a typed text, and raises NskError or ValueError with what is wrong about it."""


class Prompter:
    """Asks a person. Raises NskError where there is nobody to be asked."""

    def __init__(self) -> None:
        if not sys.stdin.isatty():
            raise NskError(
                "EOF: --interactive asks questions, and the input is no terminal", remedy="give the flags instead"
            )

    def text(self, label: str, default: str = "", check: Check | None = None) -> str:
        """A text, asked for until the check takes it. Without a check nothing is a text too."""

        def read(typed: str) -> str:
            try:
                if check is not None:
                    check(typed)
            except NskError as error:
                raise click.UsageError(error.text) from None
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            return typed

        with _ended():
            answer: str = click.prompt(
                label, default=default, show_default=bool(default), value_proc=read, err=True, type=str
            )
        return answer

    def confirm(self, label: str, default: bool) -> bool:
        """Yes or no."""
        with _ended():
            return click.confirm(label, default=default, err=True)

    def select(self, label: str, choices: Sequence[str], default: str = "") -> str:
        """One of several, by its number or as it is written."""
        self._show(choices)
        start = str(choices.index(default) + 1) if default in choices else ""

        def read(typed: str) -> None:
            _choice(choices, typed)

        return _choice(choices, self.text(label, start, read))

    def select_some(self, label: str, choices: Sequence[str]) -> list[str]:
        """Any number of several, by their numbers or as they are written, with commas between them; none is fine."""
        self._show(choices)

        def read(typed: str) -> list[str]:
            return [_choice(choices, part.strip()) for part in typed.split(",") if part.strip()]

        return read(self.text(f"{label} (numbers with commas, nothing for none)", "", read))

    @staticmethod
    def _show(choices: Sequence[str]) -> None:
        for number, choice in enumerate(choices, 1):
            click.echo(f"  {number}) {choice}", err=True)


def _choice(choices: Sequence[str], typed: str) -> str:
    # A number stands for the choice in that place, unless a choice is written like it.
    if typed in choices:
        return typed
    if typed.isascii() and typed.isdigit() and 1 <= int(typed) <= len(choices):
        return choices[int(typed) - 1]
    raise NskError(f"type a number from 1 to {len(choices)}")


@contextmanager
def _ended() -> Iterator[None]:
    """Tell the end of the input from an interruption, which click takes for the same."""
    try:
        yield
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise
        click.echo(err=True)
        raise NskError("EOF: the input ended before everything was answered", remedy="nothing was done") from None
