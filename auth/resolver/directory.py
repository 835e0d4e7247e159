"""A directory of account tokens, one file for each, as nats-server lays it out.

``<account>.jwt`` holds the token and nothing else, readable by the owner alone. A token that was deleted softly stands
as ``<account>.jwt.deleted``. A file is written whole under another name and then renamed, so that whatever happens the
old token stands there or the new one.

The names are read when the server starts, a token when it is first asked for. What cannot be read is logged with its
path, and the account is refused.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auth.envelope import MAXIMUM_TOKEN_BYTES, JwtError, open_unverified
from auth.nkey import KeyKind, is_public_key
from auth.resolver import StoreError
from auth.resolver.index import FullError, Index

LOGGER: Final = logging.getLogger("natskeep.resolver")

SUFFIX: Final = ".jwt"
DELETED: Final = ".deleted"
_UNFINISHED: Final = ".new"
FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700


def check_directory(path: str) -> str:
    """Why a directory cannot hold tokens, or an empty text; one that is not there yet can where it can be made."""
    found = Path(path).absolute()
    while not os.path.lexists(found) and found.parent != found:
        found = found.parent
    if not found.is_dir() or not os.access(found, os.R_OK | os.W_OK | os.X_OK):
        return "dir needs to point to an accessible directory"
    return ""


def reason(error: OSError) -> str:
    """Why the system did not do it, without the path."""
    return (error.strerror or "input/output error").lower()


class UnreadableError(Exception):
    """A file that holds no token of its account; the text names the file."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What a file holds; nothing of it is verified."""

    token: str
    content: bytes
    """The file as it is, which may end with a line end."""
    expires_at: int
    """Unix seconds; 0 is never."""


@dataclass(slots=True)
class Survey:
    """What a look at the directory found: the accounts in it, and tokens in memory that are not what their files say.

    ``before`` and ``now`` are those tokens, None where there is no token that can be read.
    """

    names: list[str]
    known: frozenset[str]
    """Accounts that were known before the look."""
    before: dict[str, str] = field(default_factory=dict)
    now: dict[str, str | None] = field(default_factory=dict)


class DirectoryResolver:
    """The tokens of one directory. Tokens that have been asked for are held in memory from then on, and what replaces
    them too; files that somebody else changes are seen by `survey`.

    `file`, `write`, `remove`, `settle` and `survey` touch files alone and may run in a thread, one at a time; all else
    belongs to the thread that serves.
    """

    def __init__(self, path: str, index: Index, *, keeps_all: bool = True) -> None:
        """``keeps_all`` says that a token whose file is gone is gone; a cache goes on with what it holds in memory."""
        self.path = Path(path)
        self.index = index
        self.keeps_all = keeps_all
        self._tokens: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"DirectoryResolver({str(self.path)!r}, {len(self.index)} accounts)"

    def __contains__(self, name: object) -> bool:
        return name in self._tokens

    def loaded(self) -> list[str]:
        """Accounts whose tokens are held in memory."""
        return list(self._tokens)

    # Files

    def open(self) -> None:
        """Makes the directory where there is none, and reads which tokens there are. Raises StoreError."""
        try:
            self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            names = self._names()
            for left in self.path.glob(f".A*{_UNFINISHED}"):
                # Whoever wrote it was ended amid that; it never counted.
                left.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: {reason(error)}") from None
        self.index.note(names)

    def look(self, preload: Mapping[str, str]) -> list[str]:
        """Reads the directory of a server from outside: what lies there, and ``preload`` where it does not.

        Returns all accounts. Nothing is made or written. Raises StoreError.
        """
        try:
            names = self._names() if self.path.is_dir() else []
        except OSError as error:
            raise StoreError(f"{self.path}: {reason(error)}") from None
        self.index.note(names)
        self._tokens.update((name, token) for name, token in preload.items() if name not in self.index)
        return sorted({*names, *preload})

    def _names(self) -> list[str]:
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                if not entry.name.endswith(SUFFIX):
                    continue
                name = entry.name.removesuffix(SUFFIX)
                if is_public_key(name, KeyKind.ACCOUNT):
                    found.append(name)
                else:
                    LOGGER.warning("%r is no JWT of an account, it is skipped", entry.path)
        return sorted(found)

    def _path_of(self, name: str) -> Path:
        """The file of an account. A name that is no account key has none, wherever it comes from."""
        if not is_public_key(name, KeyKind.ACCOUNT):
            raise StoreError("invalid public key")
        return self.path / f"{name}{SUFFIX}"

    def file(self, name: str) -> Filed | None:
        """What the file of an account holds, None where there is none. Raises UnreadableError and StoreError."""
        path = self._path_of(name)
        try:
            with path.open("rb") as opened:
                content = opened.read(MAXIMUM_TOKEN_BYTES + 1)
            token = content.decode("ascii").strip()
            claims = open_unverified(token)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read: {reason(error)}") from None
        except UnicodeDecodeError:
            raise UnreadableError(f"{path} holds no JWT: token is not ASCII") from None
        except JwtError as error:
            raise UnreadableError(f"{path} holds no JWT: {error}") from None
        if claims.get("sub") != name:
            raise UnreadableError(f"{path} holds the JWT of another account")
        ends = claims.get("exp")
        return Filed(token, content, ends if isinstance(ends, int) else 0)

    def write(self, name: str, token: str) -> None:
        """Puts a token into the file of an account, whole or not at all; after a power cut it is the one before or this
        one, and surely this one after `settle`. Raises StoreError."""
        path = self._path_of(name)
        unfinished = path.with_name(f".{name}.{threading.get_ident():x}{_UNFINISHED}")
        try:
            self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            try:
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
                with open(descriptor, "wb") as file:
                    file.write(token.encode("ascii"))
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(f"{path}: {reason(error)}") from None

    def remove(self, name: str, *, softly: bool = False) -> None:
        """Takes the file of an account away, or renames it; one that is not there is gone. Raises StoreError."""
        path = self._path_of(name)
        try:
            if softly:
                path.replace(path.with_name(path.name + DELETED))
            else:
                path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{path}: {reason(error)}") from None

    def settle(self) -> None:
        """Has what was written and removed outlive a power cut. Raises StoreError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"{self.path}: {reason(error)}") from None

    # What is asked

    def lookup(self, name: str) -> str | None:
        """The token of an account, read from its file when it is first asked for; None where there is none."""
        token = self._tokens.get(name)
        if token is None and name in self.index:
            filed = self.read(name)
            if filed is not None:
                token = self._tokens[name] = filed.token
                self.index.touch(name)
        return token

    def read(self, name: str) -> Filed | None:
        """What the file of an account holds now. What cannot be read is logged, and forgotten."""
        try:
            filed = self.file(name)
        except (UnreadableError, StoreError) as error:
            LOGGER.error("%s; its account is refused", error)
            filed = None
        self.take_in(name, filed)
        return filed

    def take_in(self, name: str, filed: Filed | None) -> None:
        """Keeps in mind what was found in the file of an account."""
        if filed is None:
            self.index.drop(name)
        else:
            self.index.note((name,))
            self.index.read(name, filed.content, filed.expires_at)

    def forget(self, name: str) -> None:
        """Has the file of an account read again when it is next asked for."""
        self._tokens.pop(name, None)

    def held(self, name: str) -> str | None:
        """The token of an account that is held in memory, whatever its file says."""
        return self._tokens.get(name)

    # What changes

    def store(self, name: str, token: str) -> None:
        """Writes the token of an account and holds it from then on. Raises StoreError."""
        dropped = self.surplus(name)
        if dropped is not None:
            self.remove(dropped)
        self.write(name, token)
        self.settle()
        if dropped is not None:
            self.index.drop(dropped)
        self.adopt(name, token)
        self._tokens[name] = token

    def surplus(self, name: str) -> str | None:
        """Whose token has to go before one of this account is written. Raises StoreError where none may."""
        try:
            return self.index.surplus(name)
        except FullError as error:
            raise StoreError(str(error)) from None

    def adopt(self, name: str, token: str) -> None:
        """Goes on with a token that has been written; in memory only where the one before is held there."""
        ends = open_unverified(token).get("exp")
        self.index.put(name, token.encode("ascii"), ends if isinstance(ends, int) else 0)
        if name in self._tokens:
            self._tokens[name] = token

    def let_go(self, name: str, *, entirely: bool) -> None:
        """The file of an account has been taken away; ``entirely`` forgets what is held in memory too."""
        self.index.drop(name)
        if entirely:
            self._tokens.pop(name, None)

    def holds(self, name: str, token: str) -> bool:
        """Whether this very token is in the file of an account already, as far as is known, and none other in force."""
        if self._tokens.get(name, token) != token:
            # Somebody else has put it into the file, and what is held in memory is the one before.
            return False
        return self.index.digest_of(name) == hashlib.sha256(token.encode("ascii")).digest()

    # Files that somebody else changed

    def survey(self) -> Survey:
        """Looks at the directory again and changes nothing. Raises StoreError."""
        known = frozenset(self.index)
        try:
            found = Survey(self._names(), known)
        except OSError as error:
            raise StoreError(f"{self.path}: {reason(error)}") from None
        names = frozenset(found.names)
        for name, token in list(self._tokens.items()):
            now: str | None = None
            if name in names:
                try:
                    filed = self.file(name)
                    now = None if filed is None else filed.token
                except UnreadableError as error:
                    LOGGER.error("%s; its account is refused", error)
            elif not self.keeps_all:
                continue
            if now != token:
                found.before[name], found.now[name] = token, now
        return found

    def apply(self, survey: Survey) -> set[str]:
        """Goes on with what a look found, except for what has changed since; returns whose tokens are others now."""
        names = frozenset(survey.names)
        for name in survey.known - names:
            if not (self.path / f"{name}{SUFFIX}").exists():
                self.index.drop(name)
        self.index.note(survey.names)
        self.index.doubt()
        changed = set()
        for name, token in survey.now.items():
            if self._tokens.get(name) is survey.before[name]:
                changed.add(name)
                del self._tokens[name]
                if token is not None:
                    self._tokens[name] = token
        return changed
