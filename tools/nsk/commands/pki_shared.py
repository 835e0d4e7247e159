"""What the commands about certificates have in common: the directory, how long something holds, how paths are shown."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from auth.gojson import quote
from tools.nsk.environment import Environment
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, text
from tools.nsk.pki.folder import Folder
from tools.nsk.session import Session
from tools.nsk.transaction import settle
from tools.nsk.values import parse_when

WHEN: Final = "12h, 90d, 6M, 1y, or a date"
NEAR: Final = text("if-expires-within", "", f"leave alone what is valid for longer: {WHEN}")


def folder_of(session: Session, flags: Flags) -> Folder:
    """The PKI that a command works on; what an interrupted one left is finished first. Raises StoreError."""
    environment = Environment(session.directories, files=session.files)
    given = flags.text("dir")
    directory = environment.absolute(given) if given else environment.pki_directory
    if not session.files.in_transaction:
        settle((directory,))
    return Folder(directory, session.files)


def homes_of(session: Session, flags: Flags) -> tuple[Path, ...]:
    """Where the changes of a command belong. Raises NskError where there is no PKI."""
    folder = folder_of(session, flags)
    folder.require()
    return (folder.directory,)


def life_of(flags: Flags, flag: str = "valid-for", default: str = "") -> timedelta:
    """How long something is to hold, by a flag. Raises NskError."""
    # Whole seconds are what certificates are written in.
    now = datetime.now(UTC).replace(microsecond=0)
    given = flags.text(flag) or default
    try:
        moment = parse_when(given, now)
    except ValueError as problem:
        raise NskError(f"--{flag} {quote(given)}: {problem}", remedy="such as 12h, 90d, 6M, 1y, or a date") from None
    if moment <= now.timestamp():
        raise NskError(f"--{flag} {quote(given)} is not in the future", remedy="such as 12h, 90d, 6M, 1y, or a date")
    return timedelta(seconds=moment - int(now.timestamp()))


def program_of(session: Session, flags: Flags) -> str:
    """The beginning of a command line that works on the same PKI."""
    words = [session.output.program, "pki"]
    if flags.text("dir") or session.directories.all or session.directories.data:
        words += ["--dir", str(folder_of(session, flags).directory)]
    return shlex.join(words)


def quoted_path(path: Path) -> str:
    """A path as a string of the configuration language."""
    return quoted(str(path))


def quoted(given: str) -> str:
    """A string of the configuration language."""
    return '"' + given.replace("\\", "\\\\").replace('"', '\\"') + '"'
