"""The log in a file: appended line by line, opened anew on request, and rotated when it has grown.

A rotated file is called `<file>.YYYY.MM.DD.HH.MM.SS.nnnnnnnnn`, as nats-server calls it.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.log.destination import LogError, note

MODE: Final = 0o640

_STAMP: Final = re.compile(r"(?:\d{4})(?:\.\d\d){5}\.\d{9}")


class LogFile(logging.Handler):
    """A file that takes the log.

    `limit` is the size in bytes above which it is rotated, 0 for never. `kept` is how many files there may be, the
    current one included; 0 is any number. Raises LogError when the file cannot be opened.
    """

    def __init__(self, path: str, *, limit: int = 0, kept: int = 0) -> None:
        super().__init__()
        self.path = path
        self.limit = limit
        self.kept = kept
        self._next_rotation = limit
        self._lost = 0
        self._descriptor = self._open()
        self._size = 0
        self._measure()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, MODE)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LogError(f"error opening file: open {self.path}: {reason}") from error

    def _measure(self) -> None:
        facts = os.fstat(self._descriptor)
        self._size = facts.st_size
        # A terminal or a pipe, as /dev/stdout is one, is no file to put aside.
        self._next_rotation = self.limit if stat.S_ISREG(facts.st_mode) else 0

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, and what has to be said of rotated files."""
        if self._descriptor < 0:
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._write(note(logging.WARNING, f"{lost} lines could not be written to this file"), lost)
        self._write(record, 1)
        if 0 < self._next_rotation < self._size:
            self._rotate()

    def _write(self, record: logging.LogRecord, lines: int) -> None:
        data = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            while data:
                written = os.write(self._descriptor, data)
                self._size += written
                data = data[written:]
        except OSError:
            # A full disk must not end the server; the next line that fits tells how many did not.
            self._lost += lines

    def reopen(self) -> None:
        """Goes on in the file that has the path now. Raises LogError, and stays with the old one, where it cannot."""
        self.acquire()
        try:
            descriptor = self._open()
            os.close(self._descriptor)
            self._descriptor = descriptor
            self._measure()
        finally:
            self.release()

    def close(self) -> None:
        """Closes the file; later records are dropped."""
        self.acquire()
        try:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        finally:
            self.release()
        super().close()

    # Rotation

    def _rotate(self) -> None:
        try:
            backup = self._put_aside()
            descriptor = self._open()
        except OSError as error:
            self._write(note(logging.ERROR, f"Unable to rotate the log file: {error}"), 1)
            self._next_rotation = self._size + self.limit
            return
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._measure()
        if backup:
            self._write(note(logging.INFO, f'Rotated log, backup saved as "{backup}"'), 1)
        self._purge()

    def _put_aside(self) -> str:
        """Renames the current file; returns the new name, or nothing when somebody else has moved it already."""
        mine = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            there = os.stat(self.path)
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                moment = time.time_ns()
                while os.path.lexists(backup := self._backup_name(moment)):
                    moment += 1
                os.rename(self.path, backup)
                return backup
        return ""

    def _backup_name(self, moment: int) -> str:
        seconds, rest = divmod(moment, 1_000_000_000)
        return f"{self.path}.{time.strftime('%Y.%m.%d.%H.%M.%S', time.localtime(seconds))}.{rest:09d}"

    def backups(self) -> list[Path]:
        """The rotated files, oldest first. Raises OSError when the directory cannot be read."""
        path = Path(self.path)
        prefix = f"{path.name}."
        return sorted(
            one
            for one in path.parent.iterdir()
            if one.name.startswith(prefix) and _STAMP.fullmatch(one.name.removeprefix(prefix))
        )

    def _purge(self) -> None:
        if self.kept <= 0:
            return
        try:
            backups = self.backups()
            for old in backups[: max(len(backups) - self.kept + 1, 0)]:
                old.unlink()
                self._write(note(logging.INFO, f'Purged log file "{old}"'), 1)
        except OSError as error:
            self._write(note(logging.ERROR, f"Unable to remove old log files: {error}"), 1)
