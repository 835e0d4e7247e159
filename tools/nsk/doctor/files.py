"""Files and directories that others than their owner can read, creds files that are out of date."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from auth.creds import parse_decorated_jwt
from auth.gojson import quote
from tools.nsk.doctor.findings import Examined, Finding, Severity
from tools.nsk.files import DIRECTORY_MODE, FILE_MODE
from tools.nsk.keystore import CREDS_SUFFIX, SEED_SUFFIX
from tools.nsk.store import Store


def file_findings(examined: Examined) -> Iterator[Finding]:
    """What is wrong with the files of the operator and of the keystore."""
    yield from mode_findings(examined.store)
    yield from _creds(examined)


def mode_findings(store: Store) -> Iterator[Finding]:
    """Whom the files of the operator and of the keystore lie open to."""
    for root in (store.directory, store.keystore.keys_directory, store.keystore.creds_directory):
        if root.is_dir():
            yield from _modes(root)


def _modes(root: Path) -> Iterator[Finding]:
    yield from _mode(root, DIRECTORY_MODE)
    for directory, directories, files in os.walk(root):
        for name in sorted(directories):
            yield from _mode(Path(directory) / name, DIRECTORY_MODE)
        for name in sorted(files):
            yield from _mode(Path(directory) / name, FILE_MODE)


def _mode(path: Path, wanted: int) -> Iterator[Finding]:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if mode == wanted or stat.S_ISLNK(status.st_mode):
        return
    is_secret = path.suffix in (SEED_SUFFIX, CREDS_SUFFIX) and mode & 0o077
    what = "directory" if wanted == DIRECTORY_MODE else "file"
    yield Finding(
        f"{what}-mode",
        Severity.ERROR if is_secret else Severity.WARNING if mode & 0o077 else Severity.INFO,
        str(path),
        f"has mode {mode:04o} where {wanted:04o} is meant" + (", so that others can read the secret" * bool(is_secret)),
        f"chmod {wanted:04o} {shlex.quote(str(path))}",
        partial(path.chmod, wanted),
    )


def _creds(examined: Examined) -> Iterator[Finding]:
    """Creds files that are not those of their users as they are now."""
    store = examined.store
    directory = store.keystore.creds_directory / store.name
    for path in sorted(directory.glob(f"*/*{CREDS_SUFFIX}")):
        account, user = path.parent.name, path.stem
        if not store.has_user(account, user):
            yield Finding(
                "creds-without-user",
                Severity.WARNING,
                str(path),
                f"is of a user {quote(user)} that account {quote(account)} does not have",
                f"rm {shlex.quote(str(path))}",
            )
        elif user not in examined.users.get(account, ()):
            # Its JWT cannot be read.
            continue
        elif parse_decorated_jwt(path.read_text("utf-8", "replace")) != store.user_token(account, user):
            yield Finding(
                "creds-outdated",
                Severity.WARNING,
                str(path),
                f"holds another JWT than the store has of user {quote(user)}",
                examined.run("generate", "creds", "--account", account, "--name", user, "--output-file", str(path)),
            )
