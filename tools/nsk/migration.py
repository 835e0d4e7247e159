"""Old layouts made new: the keystore in which all seeds of an operator lay in one directory."""

from __future__ import annotations

import secrets
import string
from pathlib import Path

from auth.nkey import KeyPair
from tools.nsk.collection import seed_problem
from tools.nsk.errors import StoreError
from tools.nsk.keystore import CREDS_SUFFIX, SEED_SUFFIX, KeyStore

_LETTERS = string.digits + string.ascii_letters
_LETTER_COUNT = 22


def unique_name() -> str:
    """A name that nothing else has."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LETTER_COUNT))


def migrate_keystore(keystore: KeyStore) -> Path:
    """Sort the seeds and creds files that lie outside of ``keys`` and ``creds`` into nsc's present layout.

    The old files move to a directory beside the keystore, which is returned; everything else stays, since stores may
    lie in the same directory. Raises StoreError when something is no seed, or no text, or a creds file lies where none
    belongs; then nothing has changed.
    """
    files, root = keystore.files, keystore.directory
    old = root.with_name(f"{root.name}_{unique_name()}")
    with files.transaction(root):
        found = {path: _text(path) for path in keystore.misplaced()}
        seeds = [_seed(path, text) for path, text in found.items() if path.suffix == SEED_SUFFIX]
        creds = {path: text for path, text in found.items() if path.suffix == CREDS_SUFFIX}
        places = {_creds_place(path.relative_to(root)): text for path, text in creds.items()}
        for path, text in found.items():
            files.write(old / path.relative_to(root), text)
            files.remove(path)
            for directory in path.parents:
                if directory == root or files.names(directory):
                    break
                files.remove_tree(directory)
        keystore.prepare()
        for pair in seeds:
            keystore.store_key(pair)
        for place, text in places.items():
            files.write(root / place, text)
    return old


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise StoreError(f"error processing `{path}`: it is not a text") from None


def _seed(path: Path, text: str) -> KeyPair:
    if problem := seed_problem(text.strip()):
        raise StoreError(f"error processing `{path}`: {problem}")
    return KeyPair.from_seed(text.strip())


def _creds_place(path: Path) -> Path:
    """Where a creds file belongs; once it lay in ``<operator>/accounts/<account>/users``."""
    parts = path.parts
    if len(parts) == 5:
        return Path("creds", parts[0], parts[2], parts[4])
    raise StoreError(f"unexpected creds filepath len of {len(parts)}: `{path}`")
