"""Files that are replaced or destroyed as a whole, and directories that one server has for itself."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from broker.jetstream.store.tables import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE: Final = 1 << 20
_LOCK: Final = ".lock"
"""No account has a directory of that name."""


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def overwrite(path: Path) -> None:
    """Puts zeros in place of what a file holds, if it is there. Raises StoreError.

    The file system may keep what was there before, as those do that copy what is written, and flash memory.
    """
    try:
        with path.open("r+b") as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0:
                left -= file.write(bytes(min(left, _AT_ONCE)))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot overwrite {path}: {error.strerror}") from None


def erase(path: Path) -> None:
    """Overwrites and deletes a file, if it is there. Raises StoreError."""
    overwrite(path)
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot delete {path}: {error.strerror}") from None


def replace(path: Path, content: bytes) -> None:
    """Puts a whole file in place of another, which is overwritten then. Raises StoreError."""
    made = path.with_name(f"{path.name}.new")
    before = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            before = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        made.replace(path)
        sync_directory(path.parent)
        if before >= 0:
            os.pwrite(before, bytes(os.fstat(before).st_size), 0)
            os.fsync(before)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if before >= 0:
            os.close(before)


def lock(directory: Path) -> int:
    """Makes sure that nobody else writes there until the descriptor that is returned is closed. Raises StoreError.

    The kernel ends the lock with the process, however that ends.
    """
    path = directory / _LOCK
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use {directory}: {error.strerror}; check its owner and mode") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"a server keeps its streams in {directory}: stop it, or use another store_dir") from None
    return descriptor
