"""``upgrade-jwt``: an operator JWT of version 1 in version 2; and ``update``: how nsk itself is brought up to date."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from tools.nsk.cli import Command
from tools.nsk.commands import installed_version
from tools.nsk.errors import NskError, StoreError
from tools.nsk.files import FILE_MODE
from tools.nsk.flags import Flags, Value, boolean, text
from tools.nsk.output import Channel
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store

_VERSION = 2
_QUESTION = """\
Did you upgrade all nats-server and do you want to convert all non managed
operator / account / user jwt to V2?
Once converted you need to re-distribute the operator jwt wherever used.
This includes, but is not limited to:
    ALL nats-server, which need to be restarted (one by one is ok)
    ALL dependent {program} stores in managed mode
"""
_MANAGED = """\
No change was made! Your store is in managed mode and was set up using:
"{program} add operator --force --url <file or url>""
You need to contact "{name}", obtain a V2 jwt and re issue the above command."""
_NO_KEY = """\
Identity Key for Operator {name} not found.
This key needs to be present in order to rewrite the Operator to be v2.
If you intentionally removed it, you need to restore it for this command to work."""
_BACKED_UP = """\
Backup file "{file}" created.
This backup does not contain private nkeys!
If you need to restore this state:
\tDelete the directory "{directory}"
\tExtract the backup
\tMove the created directory in place of the deleted one"""


@dataclass(frozen=True, slots=True)
class UpgradedOperator:
    """What ``upgrade-jwt`` did."""

    name: Annotated[str, "the operator's name"]
    version: Annotated[int, "the version of its JWT now"]
    changed: Annotated[bool, "whether the JWT was written anew"]
    backup: Annotated[str | None, "the zip file with the store as it was before, if one was made"]


def _upgrade(session: Session, flags: Flags) -> UpgradedOperator:
    if not session.environment.operator:
        raise StoreError(f"set an operator -- '{session.output.program} env -o operatorName'")
    store = session.open_store(session.environment.operator)
    report = Report()
    section = report.section("Upgrade operator jwt to v2")
    before = store.operator().nats.version
    backup = _convert(session, store, flags, section)
    session.output.report(report, Channel.MESSAGE)
    if report.failed:
        raise NskError(f"the operator is still of version {before}")
    after = store.operator()
    return UpgradedOperator(after.name, after.nats.version, after.nats.version != before, backup)


def _convert(session: Session, store: Store, flags: Flags, report: Report) -> str | None:
    claims, program = store.operator(), session.output.program
    if claims.nats.version == _VERSION:
        report.ok(f"Operator {claims.name} is already upgraded to version {_VERSION}. No change was applied")
        return None
    if store.managed:
        session.output.message(_QUESTION.format(program=program).rstrip())
        report.error(_MANAGED.format(program=program, name=claims.name))
        return None
    pair = session.keystore.key(claims.subject)
    if pair is None:
        report.error(_NO_KEY.format(name=claims.name))
        return None
    asks = sys.stdin.isatty() and not flags.boolean("OK")
    backup = flags.text("backup")
    if asks and not backup and session.output.confirm("Back up the store to a zip file first?", default=True):
        backup = click.prompt("zip file name", f"{claims.name}-jwtV1-upgrade-backup.zip", err=True)
    if backup:
        backup = str(_back_up(session.environment.absolute(backup), store.directory))
        session.output.message(_BACKED_UP.format(file=backup, directory=store.directory))
    session.output.message("In order to use jwt V2, you must upgrade all nats-server prior to usage!")
    if not flags.boolean("OK") and not (asks and session.output.confirm(_QUESTION.format(program=program))):
        report.ok("Declined to convert at this time. Rerun command when ready.")
        return backup or None
    store.sign_operator(claims, pair)
    report.ok(f"Converted Operator: {claims.name}")
    return backup or None


def _back_up(path: Path, directory: Path) -> Path:
    """Write a zip file of a directory, readable by its owner alone. Raises OSError when there is a file already."""
    path.touch(FILE_MODE, exist_ok=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in sorted(directory.rglob("*")):
            if entry.is_file():
                archive.write(entry, entry.relative_to(directory.parent))
    return path


UPGRADE_JWT = Command(
    "upgrade-jwt",
    "Update an operator JWT of version 1 to version 2.\n"
    "Where a terminal is at hand it asks before; elsewhere --OK says that all servers are ready for it.",
    _upgrade,
    (
        boolean("OK", "", "all servers take JWTs of version 2: do not ask", beyond=True),
        text("backup", "", "zip file to back up the store to before", beyond=True),
    ),
    examples="nsk upgrade-jwt",
    usage_on_error=True,
    changes=True,
    result=UpgradedOperator,
)


# The tool itself.


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of nsk is here."""

    version: Annotated[str, "the installed version"]


def _update(session: Session, flags: Flags) -> Version:
    installed = installed_version()
    wanted = flags.text("version").strip().removeprefix("v")
    if wanted == installed:
        session.output.message(f"Current version {installed} is requested version")
        return Version(installed)
    pinned = "natskeep" if wanted.lower() == "latest" else f"natskeep=={wanted}"
    raise NskError(
        f"{session.output.program} {installed} comes with natskeep and does not replace itself: "
        f"update it with what installed it, such as `pip install --upgrade {pinned}`"
    )


UPDATE = Command(
    "update",
    "Update this tool to latest version",
    _update,
    (text("version", "", "version to updated the nsc binary to", kind=Value("version", str), default="latest"),),
    examples="nsk update",
    usage_on_error=True,
    result=Version,
)
