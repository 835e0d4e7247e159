"""The journal: a list of changes that is written down before they are made, so that a crash cannot stop halfway.

Each home (the stores, the keystore) gets its own part, ``.nsk-journal``, with the changes below it, so that seeds are
never written outside of the keystore. The part in the first home is the head: it is written last, and from the moment
it is there the changes count as made. The other parts name the head, and are void without it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools.nsk.errors import StoreError
from tools.nsk.files import locked, make_directory, replace_file, sync_directory

NAME = ".nsk-journal"
Kind = Literal["write", "mkdir", "remove", "rmtree"]
_MANY = 64
"""From so many files on, one call that flushes everything is faster than one for each."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one path. Making it again changes nothing more. ``text`` is None unless something is written."""

    kind: Kind
    path: Path
    text: str | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """What one journal file says. ``head`` is where the head lies; the head names the ``others``."""

    identifier: str
    head: Path
    others: tuple[Path, ...]
    changes: tuple[tuple[int, Change], ...]

    def to_json(self) -> str:
        changes = [[place, change.kind, str(change.path), change.text] for place, change in self.changes]
        return json.dumps(
            {
                "id": self.identifier,
                "head": str(self.head),
                "others": [str(other) for other in self.others],
                "changes": changes,
            }
        )


def distinct(homes: Iterable[Path]) -> list[Path]:
    """The homes without those that are the same directory as one before."""
    found: dict[Path, Path] = {}
    for home in homes:
        found.setdefault(home.resolve(), home)
    return list(found.values())


def write(changes: Sequence[Change], homes: Sequence[Path]) -> None:
    """Make the changes through a journal. The caller holds the locks of the homes. Raises OSError."""
    if not changes:
        return
    identifier = secrets.token_hex(8)
    first, *others = distinct(homes)
    shares: dict[Path, list[tuple[int, Change]]] = {first: []}
    for place, change in enumerate(changes):
        home = next((other for other in others if change.path.is_relative_to(other)), first)
        shares.setdefault(home, []).append((place, change))
    rest = [home / NAME for home in shares if home != first]
    written: list[Path] = []
    try:
        for home in (*(home for home in shares if home != first), first):
            make_directory(home)
            part = _Part(identifier, first / NAME, tuple(rest) if home == first else (), tuple(shares[home]))
            _put(home / NAME, part.to_json())
            written.append(home / NAME)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    _carry_out([change for _, change in sorted(_both(shares), key=lambda entry: entry[0])], identifier)
    _forget([first / NAME, *rest])


def settle(*homes: Path, held: Path | None = None) -> bool:
    """Finish, or drop, what a crashed program left in the homes. True when there was something.

    Waits for a program that is still at work. ``held`` is a home whose lock the caller has.
    Raises StoreError for a journal that cannot be read.
    """
    found = False
    for home in distinct(homes):
        if (home / NAME).exists() or _temporary(home / NAME).exists():
            found = _settle(home, held) or found
    return found


def _settle(home: Path, held: Path | None) -> bool:
    own = _load(home / NAME)
    head_home = own.head.parent if own is not None else home
    taken = held.resolve() if held is not None else None
    with ExitStack() as locks:
        for directory in distinct((head_home, home)):
            if directory.resolve() != taken and directory.is_dir():
                locks.enter_context(locked(directory))
        _temporary(home / NAME).unlink(missing_ok=True)
        # Somebody may have finished it while this one waited.
        own = _load(home / NAME)
        if own is None:
            return True
        head = _load(own.head)
        if head is None or head.identifier != own.identifier:
            _forget([home / NAME])
            return True
        for other in distinct(path.parent for path in head.others):
            if other.resolve() not in (taken, home.resolve(), head_home.resolve()) and other.is_dir():
                locks.enter_context(locked(other))
        parts = [part for path in head.others if (part := _load(path)) is not None]
        mine = [part for part in (head, *parts) if part.identifier == head.identifier]
        ordered = sorted((entry for part in mine for entry in part.changes), key=lambda entry: entry[0])
        _carry_out([change for _, change in ordered], head.identifier)
        _forget([own.head, *head.others])
    return True


def _both(shares: dict[Path, list[tuple[int, Change]]]) -> Iterable[tuple[int, Change]]:
    return (entry for share in shares.values() for entry in share)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp")


def _put(path: Path, text: str) -> None:
    replace_file(path, text, _temporary(path))
    sync_directory(path.parent)


def _load(path: Path) -> _Part | None:
    try:
        value = json.loads(path.read_text("utf-8"))
        changes = tuple(
            (int(place), Change(kind, Path(target), text)) for place, kind, target, text in value["changes"]
        )
        return _Part(value["id"], Path(value["head"]), tuple(map(Path, value["others"])), changes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"`{path}` is the journal of an interrupted command and cannot be read: "
            "look at the store, then remove the file"
        ) from None


def _carry_out(changes: Sequence[Change], identifier: str) -> None:
    one_by_one = len(changes) < _MANY
    for change in changes:
        _make(change, identifier, flush=one_by_one)
    if not one_by_one:
        os.sync()


def _make(change: Change, identifier: str, *, flush: bool) -> None:
    path = change.path
    if change.kind == "write":
        make_directory(path.parent)
        replace_file(path, change.text or "", path.with_name(f".{path.name[:100]}.{identifier}.tmp"), flush=flush)
    elif change.kind == "mkdir":
        make_directory(path)
    elif change.kind == "rmtree":
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if flush:
        with suppress(FileNotFoundError):
            sync_directory(path.parent)


def _forget(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            sync_directory(path.parent)
