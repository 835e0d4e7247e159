"""The file that tells which process serves."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

MODE: Final = 0o600


class PidFileError(OSError):
    """The pid file cannot be written."""


class PidFile:
    """Holds the process id within a `with` block, and may move in it. An empty name is no file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Self:
        self._write(self.name)
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove(self.name)

    def move(self, name: str) -> None:
        """Writes another file in place of the one there is. Raises PidFileError, and then the old one stays."""
        if name != self.name:
            self._write(name)
            self._remove(self.name)
            self.name = name

    @staticmethod
    def _write(name: str) -> None:
        if not name:
            return
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise PidFileError(f"Could not write pidfile: open {name}: {why}") from error

    @staticmethod
    def _remove(name: str) -> None:
        """Removes the file unless another process wrote its own id there."""
        path = Path(name)
        with suppress(OSError, UnicodeDecodeError):
            if name and path.read_text("ascii") == str(os.getpid()):
                path.unlink()
