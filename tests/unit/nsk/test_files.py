"""Files appear whole, with their mode from the start, and commands that change a store wait for each other."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tools.nsk.files import locked, make_directory, write_file, write_store_file


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_modes(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "seed"
    write_store_file(path, "secret")
    assert path.read_text() == "secret"
    assert [mode(entry) for entry in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_store_file(tmp_path / "a" / "seed", "secret")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o700
    assert mode(tmp_path / "a" / "seed") == 0o600


def test_the_mode_is_right_before_there_is_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def looked_at(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o7777)

    monkeypatch.setattr(os, "fsync", looked_at)
    write_file(tmp_path / "seed", "secret")
    assert seen[0] == 0o600


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_file(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_missing_directory_is_named_by_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_file(tmp_path / "none" / "file", "x")
    assert caught.value.filename == str(tmp_path / "none" / "file")


def test_existing_directories_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    make_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == 0o755


def test_one_at_a_time(tmp_path: Path) -> None:
    begun, order = threading.Event(), []

    def second() -> None:
        begun.set()
        with locked(tmp_path):
            order.append("second")

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert begun.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []
