"""Files that hold secrets or trust: written whole or not at all, and readable by their owner alone from the start."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
PUBLIC_MODE = 0o644
"""Of files without secrets that other programs are to read."""
DIRECTORY_MODE = 0o700
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, each with mode 0700. Existing ones keep their mode."""
    if path.is_dir():
        return
    if path.parent != path:
        make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=DIRECTORY_MODE)


def write_file(path: Path, text: str, *, mode: int = FILE_MODE) -> None:
    """Replace a file's content in one step, with mode 0600, or another one, from its first byte on.

    The text goes to a temporary file beside the target, is flushed to the disk and renamed over it, so that
    a reader or a crash sees the old content or the new one and nothing between. The directory must exist.
    Raises OSError.
    """
    replace_file(path, text, path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp"), mode=mode)
    sync_directory(path.parent)


def replace_file(path: Path, text: str, temporary: Path, *, flush: bool = True, mode: int = FILE_MODE) -> None:
    """``write_file`` by way of a temporary file that the caller names, without making the new name durable.

    A file that an earlier, interrupted call left under the temporary name is dropped. ``flush`` tells whether the
    content is to be on the disk when this returns.
    """
    try:
        try:
            descriptor = os.open(temporary, _CREATE, mode)
        except FileExistsError:
            temporary.unlink()
            descriptor = os.open(temporary, _CREATE, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with open(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            if flush:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


@contextmanager
def written_file(path: Path, *, mode: int = FILE_MODE) -> Iterator[BinaryIO]:
    """A file that is written bit by bit, and is there under its name when all of it is on the disk, else not at all."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(os.open(temporary, _CREATE, mode), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_store_file(path: Path, text: str) -> None:
    """``write_file`` that also creates the directories above the file, with mode 0700."""
    make_directory(path.parent)
    write_file(path, text)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the exclusive lock of a directory, so that commands running at once change it one after the other.

    The lock is on the directory itself and leaves no file behind. Waits until the lock is free.
    """
    make_directory(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
