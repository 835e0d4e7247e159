"""Where a configuration is wrong: positions, problems, and the one error that carries them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """A place in a configuration file, as nats-server names it.

    Lines count from 1. Columns are bytes: from 0 on the first line, from 1 on the others.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def origin(self) -> str:
        """``file:line``, the form in which rules of a policy name where they come from."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth a warning: where, and what to do about it."""

    message: str
    position: Position | None = None
    """``None`` when the problem is not at one place of a file."""

    def __str__(self) -> str:
        return self.message if self.position is None else f"{self.position}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used. Its text holds one problem per line."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    @classmethod
    def at(cls, position: Position | None, message: str) -> ConfigError:
        """The error with this one problem."""
        return cls(Problem(message, position))

    @property
    def file(self) -> str | None:
        """File of the first problem that has a position."""
        return self._first.file if self._first else None

    @property
    def line(self) -> int | None:
        """Line of the first problem that has a position."""
        return self._first.line if self._first else None

    @property
    def column(self) -> int | None:
        """Column of the first problem that has a position."""
        return self._first.column if self._first else None

    @property
    def _first(self) -> Position | None:
        return next((problem.position for problem in self.problems if problem.position), None)
