"""The log file: rotated when it has grown, kept in number, reopened, and never the end of the program."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.log.destination import LogError
from broker.log.file import LogFile
from broker.log.formats import MessageFormatter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "the.log"


@pytest.fixture
def opened(path: Path) -> Iterator[list[LogFile]]:
    files: list[LogFile] = []
    yield files
    for file in files:
        file.close()


def log_file(path: Path, opened: list[LogFile], *, limit: int = 0, kept: int = 0) -> LogFile:
    made = LogFile(str(path), limit=limit, kept=kept)
    made.setFormatter(MessageFormatter())
    opened.append(made)
    return made


def say(file: LogFile, text: str) -> None:
    file.handle(logging.LogRecord("natskeep", logging.INFO, "", 0, text, None, None))


def test_lines_are_appended_to_what_is_there(path: Path, opened: list[LogFile]) -> None:
    path.write_text("before\n")
    say(log_file(path, opened), "after é")
    assert path.read_text() == "before\nafter é\n"


def test_others_cannot_read_it(path: Path, opened: list[LogFile]) -> None:
    earlier = os.umask(0)
    try:
        log_file(path, opened)
    finally:
        os.umask(earlier)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["missing/x.log", "."])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogError, match=r"error opening file: open .*: \w"):
        LogFile(str(tmp_path / name))


def test_rotation_keeps_every_line(path: Path, opened: list[LogFile]) -> None:
    file = log_file(path, opened, limit=300)
    for number in range(100):
        say(file, f"line {number}")
    backups = file.backups()
    assert len(backups) > 2
    whole = "".join(one.read_text() for one in (*backups, path))
    assert re.findall(r"^line (\d+)$", whole, re.MULTILINE) == [str(number) for number in range(100)]
    for earlier, later in zip(backups, (*backups[1:], path), strict=True):
        assert later.read_text().startswith(f'Rotated log, backup saved as "{earlier}"\n')
        assert 300 < earlier.stat().st_size < 400
        assert re.fullmatch(r"the\.log\.\d{4}(\.\d\d){5}\.\d{9}", earlier.name)


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_old_files_are_purged(path: Path, opened: list[LogFile], kept: int) -> None:
    strangers = [path.with_name("the.log.old"), path.with_name("the.log.2020.01.01.00.00.00.1")]
    for stranger in strangers:
        stranger.touch()
    file = log_file(path, opened, limit=200, kept=kept)
    for number in range(100):
        say(file, f"line {number}")
        assert len(file.backups()) < kept
    assert len(file.backups()) == kept - 1
    assert all(stranger.exists() for stranger in strangers)
    assert 'Purged log file "' in path.read_text()


def test_a_large_file_found_at_the_start_is_rotated(path: Path, opened: list[LogFile]) -> None:
    path.write_text("x" * 1000)
    file = log_file(path, opened, limit=500)
    say(file, "a")
    assert file.backups()[0].read_text() == "x" * 1000 + "a\n"


def test_reopen_after_rename(path: Path, opened: list[LogFile]) -> None:
    file = log_file(path, opened)
    say(file, "one")
    moved = path.rename(path.with_name("moved"))
    say(file, "two")
    file.reopen()
    say(file, "three")
    assert moved.read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


def test_what_cannot_be_reopened_goes_on(path: Path, opened: list[LogFile]) -> None:
    file = log_file(path, opened)
    moved = path.rename(path.with_name("moved"))
    path.mkdir()
    with pytest.raises(LogError):
        file.reopen()
    say(file, "still there")
    assert moved.read_text() == "still there\n"


def test_rotation_of_a_file_that_was_moved_away_opens_a_new_one(path: Path, opened: list[LogFile]) -> None:
    file = log_file(path, opened, limit=50)
    moved = path.rename(path.with_name("moved"))
    path.write_text("somebody else's\n")
    say(file, "x" * 60)
    say(file, "after")
    assert moved.read_text() == "x" * 60 + "\n"
    assert path.read_text() == "somebody else's\nafter\n"
    assert not file.backups()


def test_rotation_that_fails_loses_nothing_and_is_not_tried_with_each_line(path: Path, opened: list[LogFile]) -> None:
    file = log_file(path, opened, limit=200)
    moved = path.rename(path.with_name("moved"))
    path.mkdir()
    for number in range(30):
        say(file, f"line {number} {'x' * 20}")
    text = moved.read_text()
    assert len(re.findall(r"^line \d+ ", text, re.MULTILINE)) == 30
    assert 1 <= text.count("Unable to rotate") <= 6


def test_a_pipe_is_not_rotated(tmp_path: Path, opened: list[LogFile]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file = log_file(pipe, opened, limit=10)
        say(file, "x" * 100)
        assert os.read(reader, 4096) == b"x" * 100 + b"\n"
        assert file.backups() == []
    finally:
        os.close(reader)


def test_lines_that_could_not_be_written_are_counted(
    path: Path, opened: list[LogFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log_file(path, opened)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for _ in range(3):
            say(file, "lost")
    say(file, "written")
    assert path.read_text() == "3 lines could not be written to this file\nwritten\n"


def test_after_the_end_nothing_is_written(path: Path, opened: list[LogFile]) -> None:
    file = log_file(path, opened)
    file.close()
    file.close()
    say(file, "late")
    assert path.read_text() == ""
