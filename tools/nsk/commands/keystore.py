"""``keys migrate``: a keystore of nsc's first layout in the present one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tools.nsk.cli import Command
from tools.nsk.environment import Environment
from tools.nsk.flags import Flags
from tools.nsk.keystore import KeyStore
from tools.nsk.migration import migrate_keystore
from tools.nsk.session import Session


@dataclass(frozen=True, slots=True)
class MigratedKeystore:
    """What ``keys migrate`` did."""

    keystore: Annotated[str, "the directory of the keystore"]
    old: Annotated[str | None, "where the old files are now; null when the keystore was in the present layout"]


def _migrate(session: Session, flags: Flags) -> MigratedKeystore:
    # The session's own environment refuses old keystores.
    environment = Environment(session.directories, files=session.files)
    environment.prepare()
    ignore = "NSC_NO_GIT_IGNORE" not in environment.variables
    keystore = KeyStore(environment.keystore_directory, write_ignore_file=ignore, files=session.files)
    shown = environment.abbreviated(keystore.directory)
    if not keystore.needs_migration():
        session.output.message(f"keystore `{shown}` does not need migration")
        return MigratedKeystore(str(keystore.directory), None)
    old = migrate_keystore(keystore)
    session.output.message(
        f"keystore `{shown}` was migrated - old store was renamed to `{environment.abbreviated(old)}` "
        "- remove at your convenience"
    )
    return MigratedKeystore(str(keystore.directory), str(old))


MIGRATE = Command(
    "migrate",
    "migrates keystore to new layout, original keystore is preserved",
    _migrate,
    arguments=(0, 8),
    usage_on_error=True,
    result=MigratedKeystore,
)
