"""The keystore: seeds and creds files, each mode 0600 below directories of mode 0700, in nsc's layout.

A seed lies in ``keys/<kind>/<two characters>/<public key>.nk``, a creds file in
``creds/<operator>/<account>/<user>.creds``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auth.nkey import KeyPair, NKeyError, public_key_kind
from tools.nsk.errors import StoreError
from tools.nsk.files import make_directory, sync_directory, write_store_file

SEED_SUFFIX = ".nk"
CREDS_SUFFIX = ".creds"
_IGNORE_FILE = "# ignore all nk files \n**/*.nk\n\n# ignore all creds files\n**/*.creds\n"


class KeyStore:
    """Seeds by public key, and creds files by operator, account and user."""

    def __init__(self, directory: Path, *, write_ignore_file: bool = True) -> None:
        self.directory = directory
        self._write_ignore_file = write_ignore_file

    @property
    def keys_directory(self) -> Path:
        """Above the seeds."""
        return self.directory / "keys"

    @property
    def creds_directory(self) -> Path:
        """Above the creds files."""
        return self.directory / "creds"

    def prepare(self) -> None:
        """Create the directories, and the file that keeps seeds out of git."""
        make_directory(self.keys_directory)
        make_directory(self.creds_directory)
        ignore = self.directory / ".gitignore"
        if self._write_ignore_file and not ignore.exists():
            write_store_file(ignore, _IGNORE_FILE)

    def needs_migration(self) -> bool:
        """Whether seeds or creds lie where nsc kept them before it sorted them into ``keys`` and ``creds``."""
        if not self.directory.is_dir():
            return False
        inside = (self.keys_directory, self.creds_directory)
        return any(
            path.suffix in (SEED_SUFFIX, CREDS_SUFFIX)
            for entry in self.directory.iterdir()
            if entry not in inside
            for path in ([entry] if entry.is_file() else entry.rglob("*"))
        )

    def key_path(self, public: str) -> Path:
        """Where the seed of a public key lies, or would."""
        return self.keys_directory / public[0] / public[1:3] / f"{public}{SEED_SUFFIX}"

    def has_key(self, public: str) -> bool:
        """Whether the seed of a public key is stored."""
        return public_key_kind(public) is not None and self.key_path(public).is_file()

    def key(self, public: str) -> KeyPair | None:
        """The key pair of a public key, or None when its seed is not stored.

        Raises StoreError when the file holds something else than the seed of that key.
        """
        if not self.has_key(public):
            return None
        path = self.key_path(public)
        try:
            pair = KeyPair.from_seed(path.read_text("utf-8").strip())
        except (NKeyError, UnicodeDecodeError):
            pair = None
        if pair is None or pair.public != public:
            raise StoreError(f"`{path}` does not hold the seed of {public}")
        return pair

    def store_key(self, pair: KeyPair) -> Path:
        """Store a seed. Storing the same one again changes nothing.

        Raises StoreError when another seed lies there under the key's name.
        """
        path = self.key_path(pair.public)
        if path.exists():
            if path.read_text("utf-8").strip() != pair.seed:
                raise StoreError(f"key `{path}` already exists and is different")
            return path
        self.prepare()
        write_store_file(path, pair.seed)
        return path

    def remove_key(self, public: str) -> bool:
        """Remove a seed and the directory that it leaves empty. False when it was not stored."""
        if not self.has_key(public):
            return False
        path = self.key_path(public)
        path.unlink()
        _remove_empty(path.parent)
        return True

    def public_keys(self) -> Iterator[str]:
        """The public keys whose seeds are stored, sorted."""
        for path in sorted(self.keys_directory.glob(f"*/*/*{SEED_SUFFIX}")):
            if public_key_kind(path.stem) is not None:
                yield path.stem

    def creds_path(self, operator: str, account: str, user: str) -> Path:
        """Where the creds file of a user lies, or would."""
        return self.creds_directory / operator / account / f"{user}{CREDS_SUFFIX}"

    def write_creds(self, operator: str, account: str, user: str, text: str) -> Path:
        """Write a creds file over the one that may be there."""
        self.prepare()
        path = self.creds_path(operator, account, user)
        write_store_file(path, text)
        return path

    def remove_creds(self, operator: str, account: str, user: str) -> bool:
        """Remove a creds file. False when there is none."""
        path = self.creds_path(operator, account, user)
        if not path.is_file():
            return False
        path.unlink()
        sync_directory(path.parent)
        return True


def _remove_empty(directory: Path) -> None:
    if any(directory.iterdir()):
        sync_directory(directory)
    else:
        directory.rmdir()
        sync_directory(directory.parent)
