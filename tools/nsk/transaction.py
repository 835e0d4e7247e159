"""Changes to several files that happen together or not at all.

``Files`` is how the store, the keystore and the environment touch the disk. Outside of a transaction each change is
made at once. Inside one, changes are kept in memory, reads see them, and the end of the block writes them down through
a journal (``tools.nsk.journal``): a crash at any point leaves everything as it was before, or as it was to be.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tools.nsk import journal
from tools.nsk.errors import StoreError
from tools.nsk.files import locked, make_directory, sync_directory, write_store_file
from tools.nsk.journal import Change


class Files:
    """The files of one program: what is on the disk, under what a transaction has changed."""

    def __init__(self) -> None:
        self._pending: _Pending | None = None
        self._homes: tuple[Path, ...] = ()

    @property
    def in_transaction(self) -> bool:
        """Whether changes are kept back for now."""
        return self._pending is not None

    # Reading.

    def read(self, path: Path) -> str | None:
        """A file's text, or None when there is none. Raises OSError, and UnicodeDecodeError for what is no text."""
        if self._pending is not None and (changed := self._pending.look(path)) is not None:
            return changed.text
        try:
            return path.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_file(self, path: Path) -> bool:
        """Whether there is a file."""
        if self._pending is not None and (changed := self._pending.look(path)) is not None:
            return changed.text is not None
        return path.is_file()

    def is_directory(self, path: Path) -> bool:
        """Whether there is a directory."""
        pending = self._pending
        if pending is not None:
            if path in pending.children:
                return True
            if pending.is_removed(path):
                return False
        return path.is_dir()

    def names(self, path: Path) -> list[str]:
        """The names of a directory's entries, sorted; none when there is no such directory."""
        pending = self._pending
        found: set[str] = set()
        if pending is None or not pending.is_removed(path):
            with suppress(FileNotFoundError, NotADirectoryError):
                found.update(os.listdir(path))
        if pending is not None:
            found = {name for name in found if not pending.is_removed(path / name)}
            found |= pending.children.get(path, set())
        return sorted(found)

    # Changing.

    def write(self, path: Path, text: str) -> None:
        """Put a file there with mode 0600, below directories of mode 0700, over one that may be there."""
        if self._pending is None:
            write_store_file(path, text)
        else:
            self._pending.add(Change("write", path, text))

    def make_directory(self, path: Path) -> None:
        """Create a directory and its missing parents, each with mode 0700."""
        if self._pending is None:
            make_directory(path)
        elif not self.is_directory(path):
            self._pending.add(Change("mkdir", path))

    def remove(self, path: Path) -> bool:
        """Remove a file. False when there is none."""
        if not self.is_file(path):
            return False
        if self._pending is None:
            path.unlink()
            sync_directory(path.parent)
        else:
            self._pending.add(Change("remove", path))
        return True

    def remove_tree(self, path: Path) -> None:
        """Remove a directory and everything below it; none is fine."""
        if not self.is_directory(path):
            return
        if self._pending is None:
            shutil.rmtree(path)
            sync_directory(path.parent)
        else:
            self._pending.add(Change("rmtree", path))

    def move(self, path: Path, target: Path) -> None:
        """Move a file. Raises FileNotFoundError when there is none."""
        text = self.read(path)
        if text is None:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        self.write(target, text)
        self.remove(path)

    # Transactions.

    @contextmanager
    def transaction(self, *homes: Path) -> Iterator[None]:
        """All changes inside the block together. One inside another belongs to the outer one.

        ``homes`` are the directories that the changes belong to, each with a part of the journal for what lies below
        it, the first one also for everything that lies elsewhere. The first is locked from the beginning, so that
        transactions on it come one after the other. When the block raises, nothing has happened. Raises OSError when
        the changes cannot be written.
        """
        if self._pending is not None:
            yield
            return
        with locked(homes[0]):
            journal.settle(*homes, held=homes[0])
            self._pending, self._homes = _Pending(), homes
            try:
                yield
                self.commit()
            finally:
                self._pending = None

    def commit(self) -> None:
        """Write down what the transaction has changed so far; it goes on. Outside of one there is nothing to write.

        Raises OSError where nothing was changed, and StoreError where the journal stays behind with all of it.
        """
        if self._pending is None:
            return
        changes, self._pending = self._pending.changes, _Pending()
        with ExitStack() as locks:
            for home in journal.distinct(self._homes)[1:]:
                if any(change.path.is_relative_to(home) for change in changes):
                    locks.enter_context(locked(home))
            _check_writable(changes)
            try:
                journal.write(changes, self._homes)
            except OSError as error:
                left = self._homes[0] / journal.NAME
                if not left.exists():
                    raise
                raise StoreError(
                    f"{_words(error)} - what was to be done stands in `{left}`, and the next command does it",
                    remedy="make room, or see to who may write there, and run any command",
                ) from None


def _check_writable(changes: Sequence[Change]) -> None:
    """Refuse, while nothing is begun, what the modes of directories forbid. Raises PermissionError."""
    for place in {change.path.parent for change in changes}:
        there = next(path for path in (place, *place.parents) if path.exists())
        if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def _words(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {reason}" if error.filename else reason


class _Pending:
    """The changes of a transaction in their order, and what reads must know of them."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.children: dict[Path, set[str]] = {}
        self._files: dict[Path, Change] = {}
        self._removed: set[Path] = set()

    def look(self, path: Path) -> Change | None:
        """The change that decides about a file, if one does. Its text is None when the file is gone."""
        found = self._files.get(path)
        if found is None and self.is_removed(path):
            return Change("remove", path)
        return found

    def is_removed(self, path: Path) -> bool:
        """Whether what the disk has at a path was removed, by itself or with a directory above it."""
        if (own := self._files.get(path)) is not None and own.text is None:
            return True
        return bool(self._removed) and any(part in self._removed for part in (path, *path.parents))

    def add(self, change: Change) -> None:
        """Note one more change."""
        self.changes.append(change)
        path = change.path
        if change.kind == "write":
            self._files[path] = change
            self._appear(path)
        elif change.kind == "mkdir":
            self.children.setdefault(path, set())
            self._appear(path)
        else:
            self._vanish(path)
            if change.kind == "remove":
                self._files[path] = change
            else:
                self._removed.add(path)

    def _appear(self, path: Path) -> None:
        child, parent = path, path.parent
        while child != parent:
            siblings = self.children.setdefault(parent, set())
            if child.name in siblings:
                return
            siblings.add(child.name)
            child, parent = parent, parent.parent

    def _vanish(self, path: Path) -> None:
        for other in [other for other in self._files if other.is_relative_to(path)]:
            del self._files[other]
        for other in [other for other in self.children if other.is_relative_to(path)]:
            del self.children[other]
        self.children.get(path.parent, set()).discard(path.name)


def settle(directories: Sequence[Path]) -> bool:
    """Finish what a crashed transaction had begun in the directories. True when something was found."""
    return journal.settle(*directories)
