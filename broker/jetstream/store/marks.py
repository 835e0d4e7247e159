"""Where the keys of accounts are, and how one sees of a directory that it needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX: Final = ".key"

MARK: Final = "sealed"
"""File in the directory of an account whose values are sealed, so that nobody takes them for values in the clear."""

FIRST_KEY_FILE: Final = "data.key"
"""Where the first form of the data key stood, beside what it opened."""


def key_file(directory: Path, name: str) -> Path:
    """The key file, in the directory of key files, of the account whose own directory has a name."""
    return directory / f"{name}{SUFFIX}"


def is_sealed(directory: Path, key_directory: Path) -> bool:
    """Whether what an account has on disk can only be read with its data key."""
    key = key_file(key_directory, directory.name)
    return key.exists() or any((directory / name).exists() for name in (FIRST_KEY_FILE, MARK))
