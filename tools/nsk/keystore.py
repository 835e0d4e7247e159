"""The keystore: seeds and creds files, each mode 0600 below directories of mode 0700, in nsc's layout.

A seed lies in ``keys/<kind>/<two characters>/<public key>.nk``, a creds file in
``creds/<operator>/<account>/<user>.creds``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auth.nkey import KeyPair, NKeyError, public_key_kind
from tools.nsk.errors import StoreError
from tools.nsk.transaction import Files

SEED_SUFFIX = ".nk"
CREDS_SUFFIX = ".creds"
CONTEXT_SUFFIX = ".json"
_IGNORE_FILE = "# ignore all nk files \n**/*.nk\n\n# ignore all creds files\n**/*.creds\n"


class KeyStore:
    """Seeds by public key, and creds files by operator, account and user."""

    def __init__(self, directory: Path, *, write_ignore_file: bool = True, files: Files | None = None) -> None:
        self.directory = directory
        self.files = files or Files()
        """What reads and writes here and in the stores that use this keystore."""
        self._write_ignore_file = write_ignore_file
        self._lent: dict[str, KeyPair] = {}

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
        self.files.make_directory(self.keys_directory)
        self.files.make_directory(self.creds_directory)
        ignore = self.directory / ".gitignore"
        if self._write_ignore_file and not self.files.is_file(ignore):
            self.files.write(ignore, _IGNORE_FILE)

    def misplaced(self) -> Iterator[Path]:
        """The seeds and creds files that lie where nsc kept them before it sorted them into ``keys`` and ``creds``."""
        if not self.directory.is_dir():
            return
        inside = (self.keys_directory, self.creds_directory)
        for entry in sorted(self.directory.iterdir()):
            if entry not in inside:
                paths = [entry] if entry.is_file() else sorted(entry.rglob("*"))
                yield from (path for path in paths if path.suffix in (SEED_SUFFIX, CREDS_SUFFIX) and path.is_file())

    def needs_migration(self) -> bool:
        """Whether there are misplaced files."""
        return next(self.misplaced(), None) is not None

    def key_path(self, public: str) -> Path:
        """Where the seed of a public key lies, or would."""
        return self.keys_directory / public[0] / public[1:3] / f"{public}{SEED_SUFFIX}"

    def has_key(self, public: str) -> bool:
        """Whether the seed of a public key is stored."""
        return public_key_kind(public) is not None and self.files.is_file(self.key_path(public))

    def key(self, public: str) -> KeyPair | None:
        """The key pair of a public key, or None when its seed is neither stored nor lent.

        Raises StoreError when the file holds something else than the seed of that key.
        """
        if public_key_kind(public) is None:
            return None
        path = self.key_path(public)
        try:
            seed = self.files.read(path)
            if seed is None:
                return self._lent.get(public)
            pair = KeyPair.from_seed(seed.strip())
        except (NKeyError, UnicodeDecodeError):
            pair = None
        if pair is None or pair.public != public:
            raise StoreError(f"`{path}` does not hold the seed of {public}")
        return pair

    def lend(self, pair: KeyPair) -> None:
        """Let ``key`` find a key whose seed is kept elsewhere, as long as this object lives. It is not stored."""
        self._lent[pair.public] = pair

    def store_key(self, pair: KeyPair) -> Path:
        """Store a seed. Storing the same one again changes nothing.

        Raises StoreError when another seed lies there under the key's name.
        """
        path = self.key_path(pair.public)
        stored = self.files.read(path)
        if stored is not None:
            if stored.strip() != pair.seed:
                raise StoreError(f"key `{path}` already exists and is different")
            return path
        self.prepare()
        self.files.write(path, pair.seed)
        return path

    def remove_key(self, public: str) -> bool:
        """Remove a seed and the directory that it leaves empty. False when it was not stored."""
        if not self.has_key(public):
            return False
        path = self.key_path(public)
        self.files.remove(path)
        if not self.files.names(path.parent):
            self.files.remove_tree(path.parent)
        return True

    def public_keys(self) -> Iterator[str]:
        """The public keys whose seeds are stored, sorted."""
        directory = self.keys_directory
        for kind in self.files.names(directory):
            for shard in self.files.names(directory / kind):
                for name in self.files.names(directory / kind / shard):
                    public = name.removesuffix(SEED_SUFFIX)
                    if public != name and public_key_kind(public) is not None:
                        yield public

    def creds_path(self, operator: str, account: str, user: str) -> Path:
        """Where the creds file of a user lies, or would."""
        return self.creds_directory / operator / account / f"{user}{CREDS_SUFFIX}"

    def write_creds(self, operator: str, account: str, user: str, text: str) -> Path:
        """Write a creds file over the one that may be there."""
        self.prepare()
        path = self.creds_path(operator, account, user)
        self.files.write(path, text)
        return path

    def move_creds(self, operator: str, account: str, name: str) -> bool:
        """Move the creds files of an account below another name. False when there is no directory of them."""
        old, new = (self.creds_directory / operator / part for part in (account, name))
        if not self.files.is_directory(old):
            return False
        self.files.make_directory(new)
        for entry in self.files.names(old):
            self.files.move(old / entry, new / entry)
        self.files.remove_tree(old)
        return True

    def context_path(self, operator: str, account: str, user: str) -> Path:
        """Where the context lies that goes with the creds file of a user with a private inbox, or would."""
        return self.creds_path(operator, account, user).with_name(f"{user}{CONTEXT_SUFFIX}")

    def remove_creds(self, operator: str, account: str, user: str) -> bool:
        """Remove a creds file, and the context beside it. False when there is none."""
        self.files.remove(self.context_path(operator, account, user))
        return self.files.remove(self.creds_path(operator, account, user))
