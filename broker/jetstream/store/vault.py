"""The key files of accounts, which stand apart from what they open.

A copy of what an account has on disk is worth nothing without its key file. So key files may be kept on another volume
than the data, and must not go into the same backups: whoever destroys the key file, and all copies of it, has destroyed
what the account had in every backup.

A key file is replaced as a whole: what it says before is true until what it says afterwards is.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from broker.jetstream.store.files import erase, replace
from broker.jetstream.store.journal import found as journals
from broker.jetstream.store.marks import FIRST_KEY_FILE, MARK, SUFFIX, is_sealed, key_file
from broker.jetstream.store.sealing import CHACHA, FIRST, IN_THE_CLEAR, KEY_BYTES, DataKey, Sealed, seal, unseal
from broker.jetstream.store.tables import StoreError
from broker.jetstream.store.wrapping import SALT_BYTES, ByKey, OtherKeyError, Wrapper, decoded, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MARK_TEXT: Final = b"natskeep sealed 2\n"
_MAGIC: Final = b"natskeep key file 2\n"
_FIRST_MAGIC: Final = b"natskeep data key 1\n"


class Vault:
    """The key files in one directory. May be used by any thread."""

    def __init__(
        self, directory: Path, wrapper: Wrapper, earlier: Sequence[Wrapper] = (), cipher: str = CHACHA
    ) -> None:
        """``earlier`` are those that may have wrapped before, ``cipher`` is what new values are sealed with."""
        self.directory = directory
        self._wrapper = wrapper
        self._earlier = tuple(earlier)
        self._cipher = cipher
        self._lock = threading.RLock()

    def adopt(self, wrapper: Wrapper, earlier: Sequence[Wrapper]) -> bool:
        """Wraps with something else from now on; returns whether it is something else."""
        with self._lock:
            if wrapper == self._wrapper:
                return False
            self._wrapper, self._earlier = wrapper, (self._wrapper, *earlier)
        return True

    # Opening

    def codec(self, directory: Path, account: str) -> Sealed:
        """For an account's directory. Where there is neither key nor data, a key is made, and kept once it is needed.

        What is in the clear, or sealed by the first form, is to be sealed anew then. Raises StoreError: the key does
        not fit, or is missing.
        """
        path, first = self.path(directory.name), directory / FIRST_KEY_FILE
        if path.exists():
            keys = self._read(path, account)
        elif first.exists():
            keys = (self._read_first(first, account), DataKey.generate(2))
        elif is_sealed(directory, self.directory):
            raise StoreError(
                f"{directory} is encrypted, and its key file {path} is gone; put it back from where it is kept, or "
                "remove the directory, which nobody can read without it"
            )
        elif (directory / "data.mdb").exists() or journals(directory):
            keys = (DataKey(0, IN_THE_CLEAR), DataKey.generate(1))
        else:
            return self._unborn(directory, account)
        if not path.exists():
            self.write(directory.name, account, keys)
        if not (directory / MARK).exists():
            replace(directory / MARK, _MARK_TEXT)
        if first.exists():
            erase(first)
        return Sealed(keys, self._cipher)

    def _unborn(self, directory: Path, account: str) -> Sealed:
        """For an account that has nothing yet, and may never have anything."""
        codec = Sealed([DataKey.generate(1)], self._cipher)
        wrapper, document = self._wrapper, self._document(account, codec.keys)

        def keep() -> None:
            path = self.path(directory.name)
            with self._lock:
                if not path.exists():
                    replace(path, document if wrapper == self._wrapper else self._document(account, codec.keys))
            replace(directory / MARK, _MARK_TEXT)

        codec.kept = keep
        return codec

    def path(self, name: str) -> Path:
        """The key file of the account whose directory has a name."""
        return key_file(self.directory, name)

    def _read(self, path: Path, account: str) -> tuple[DataKey, ...]:
        document = _content(path)
        try:
            if not document.startswith(_MAGIC):
                raise ValueError
            wrapped = json.loads(document[len(_MAGIC) :])
            sealed = decoded(wrapped["sealed"])
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{path} is no key file; put it back from where a copy of it is kept") from None
        key = self._unwrapped(path, account, wrapped)
        try:
            ring = json.loads(unseal(CHACHA, key, sealed, _MAGIC + account.encode()))
        except ValueError:
            raise StoreError(f"{path} is damaged; put it back from where a copy of it is kept") from None
        return tuple(DataKey(int(one["number"]), str(one["form"]), decoded(one["secret"])) for one in ring["keys"])

    def _unwrapped(self, path: Path, account: str, wrapped: dict[str, str]) -> bytes:
        for wrapper in (self._wrapper, *self._earlier):
            with suppress(OtherKeyError):
                return wrapper.unwrap(account, wrapped)
        raise StoreError(f"{path} was sealed with another key; give that one as 'prev_key' of the jetstream block")

    def _read_first(self, path: Path, account: str) -> DataKey:
        """The only data key of an account, as it was kept at first."""
        document = _content(path)
        salt, sealed = document[len(_FIRST_MAGIC) :][:SALT_BYTES], document[len(_FIRST_MAGIC) + SALT_BYTES :]
        if not document.startswith(_FIRST_MAGIC) or not sealed:
            raise StoreError(f"{path} is no data key; restore it from a backup")
        for wrapper in (self._wrapper, *self._earlier):
            if isinstance(wrapper, ByKey):
                with suppress(ValueError):
                    return DataKey(1, FIRST, wrapper.first(salt, sealed, account, _FIRST_MAGIC))
        raise StoreError(f"{path} was sealed with another key; give that one as 'prev_key' of the jetstream block")

    # Writing

    def write(self, name: str, account: str, keys: Iterable[DataKey]) -> None:
        """Replaces the key file of an account, which then stands on disk. Raises StoreError."""
        # Nothing is written that was wrapped by a wrapper of before.
        with self._lock:
            replace(self.path(name), self._document(account, keys))

    def _document(self, account: str, keys: Iterable[DataKey]) -> bytes:
        ring = [{"number": one.number, "form": one.form, "secret": encoded(one.secret)} for one in keys]
        key = os.urandom(KEY_BYTES)
        sealed = seal(CHACHA, key, json.dumps({"keys": ring}).encode(), _MAGIC + account.encode())
        return _MAGIC + json.dumps({**self._wrapper.wrap(account, key), "sealed": encoded(sealed)}).encode() + b"\n"

    def check(self, wrapper: Wrapper, earlier: Sequence[Wrapper]) -> None:
        """Looks whether all would be well with another wrapper: whether it wraps, and every key file can be opened.

        Raises StoreError.
        """
        key = os.urandom(KEY_BYTES)
        if wrapper.unwrap("", wrapper.wrap("", key)) != key:
            raise StoreError("what unwraps keys does not give back what was wrapped")
        other = Vault(self.directory, wrapper, (*earlier, self._wrapper, *self._earlier))
        for path in self._paths():
            # A key that is being destroyed is neither there nor gone.
            with self._lock:
                if path.exists():
                    other._read(path, unquote(path.name.removesuffix(SUFFIX)))

    def rewrap(self) -> tuple[int, list[StoreError]]:
        """Has every key file wrapped by what wraps now: how many were not, and what was in the way of others."""
        changed, problems = 0, []
        for path in self._paths():
            name = path.name.removesuffix(SUFFIX)
            account = unquote(name)
            try:
                with self._lock:
                    if path.exists() and not self._is_wrapped(path, account):
                        self.write(name, account, self._read(path, account))
                        changed += 1
            except StoreError as error:
                problems.append(error)
        if not problems:
            self._earlier = ()
        return changed, problems

    def _is_wrapped(self, path: Path, account: str) -> bool:
        """Whether a key file is wrapped by what wraps now."""
        try:
            self._wrapper.unwrap(account, json.loads(_content(path)[len(_MAGIC) :]))
        except (OtherKeyError, ValueError):
            return False
        return True

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob(f"*{SUFFIX}"))

    # Destroying

    def ids(self, name: str, account: str) -> list[str]:
        """What the data keys of an account are called; nothing where they cannot be opened."""
        try:
            return [key.id for key in self._read(self.path(name), account) if key.id]
        except StoreError:
            return []

    def destroy(self, name: str, account: str) -> bool:
        """Destroys the key file of an account; returns whether a copy of it is worth nothing either.

        Raises StoreError.
        """
        with self._lock:
            erase(self.path(name))
            erase(self.path(name).with_name(f"{name}{SUFFIX}.new"))
        return self._wrapper.destroy(account)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
