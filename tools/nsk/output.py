"""Where a command's words go: data to stdout, what is said about the work to stderr.

nsc mixes the two, and scripts written for it rely on that; ``--nsc-compatible-output`` gives nsc's own streams,
its emphasis even where no terminal reads it, and its name in advice.
"""

from __future__ import annotations

import re
import sys
from enum import Enum

import click

from tools.nsk.report import Report

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Channel(Enum):
    """A kind of text; the value tells whether it goes to stdout, by default and in nsc's own way."""

    DATA = (True, True)
    LISTING = (True, False)
    REPORT = (False, True)
    MESSAGE = (False, False)


class Output:
    """The two streams of one invocation.

    While it is held, nothing is shown: a command tells what it has changed when that is on the disk.
    """

    def __init__(self, *, compatible: bool = False, structured: bool = False) -> None:
        self.compatible = compatible
        self.structured = structured
        """Whether nothing is printed here, since one JSON document will tell everything at the end."""
        self.reported = Report()
        self._held: list[tuple[str, Channel]] | None = None

    @property
    def program(self) -> str:
        """The name of the tool in advice such as ``nsk env -o NAME``."""
        return "nsc" if self.compatible else "nsk"

    def write(self, text: str, channel: Channel = Channel.DATA) -> None:
        """Write a text as it is. Emphasis is dropped unless a terminal shows it."""
        if self.structured:
            return
        if self._held is not None:
            self._held.append((text, channel))
            return
        stream = sys.stdout if channel.value[self.compatible] else sys.stderr
        if not self.compatible and not stream.isatty():
            text = _ESCAPE.sub("", text)
        stream.write(text)
        stream.flush()

    def hold(self) -> None:
        """Keep back what is written from now on."""
        self._held = []

    def release(self) -> None:
        """Show what was kept back. What comes is kept back again where it was before."""
        held, self._held = self._held, None
        for text, channel in held or ():
            self.write(text, channel)
        self._held = None if held is None else []

    def drop(self) -> None:
        """Forget what was kept back, since it did not happen, and keep nothing back any more."""
        self._held, self.reported = None, Report()

    def confirm(self, question: str, *, default: bool = False) -> bool:
        """Ask the person at the terminal, who sees first what was kept back."""
        self.release()
        return click.confirm(question, default=default, err=True)

    def line(self, text: str = "", channel: Channel = Channel.DATA) -> None:
        """Write a text and a newline."""
        self.write(f"{text}\n", channel)

    def message(self, text: str) -> None:
        """Say something about the work."""
        self.line(text, Channel.MESSAGE)

    def report(self, report: Report, channel: Channel = Channel.REPORT, *, summarise: bool = False) -> None:
        """Print what came out. A report with a failure is always an error message."""
        self.reported = report
        channel = Channel.MESSAGE if report.failed else channel
        lines = report.lines()
        if summarise and (summary := report.summary()):
            lines.append(summary)
        if lines:
            self.write("".join(f"{line}\n" for line in lines), channel)
