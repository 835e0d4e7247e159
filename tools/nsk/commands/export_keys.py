"""``export keys``: seeds, and the JWTs of what they belong to, as files in one directory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.commands.keys import selected
from tools.nsk.errors import NskError, StoreError, without_usage
from tools.nsk.files import make_directory
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.keystore import SEED_SUFFIX
from tools.nsk.report import Report
from tools.nsk.selection import Key, Selection
from tools.nsk.session import Session
from tools.nsk.store import JWT_SUFFIX


@dataclass(frozen=True, slots=True)
class ExportedKeys:
    """What ``export keys`` wrote."""

    directory: Annotated[str, "the directory that the files are in"]
    keys: Annotated[list[str], "the public keys whose seeds were written"]
    jwts: Annotated[list[str], "the public keys whose JWTs were written"]
    without_seed: Annotated[list[str], "the public keys whose seeds are not stored"]
    removed: Annotated[bool, "whether the seeds were removed from the keystore"]


@dataclass(frozen=True, slots=True)
class _Job:
    """One file to write. It has no text when the seed is not stored."""

    label: str
    path: Path
    content: str = ""
    public: str = ""
    """The key whose seed it is; none for JWTs."""


def _export(session: Session, flags: Flags) -> ExportedKeys:
    if not flags.text("dir"):
        raise NskError('required flag(s) "dir" not set', show_usage=True)
    if not session.keystore.directory.is_dir():
        raise StoreError(f"keystore `{session.keystore.directory}` does not exist")
    with without_usage():
        return _write(session, flags, session.environment.absolute(flags.text("dir")))


def _write(session: Session, flags: Flags, directory: Path) -> ExportedKeys:
    keys = selected(session, flags, _selection(session, flags))
    if not keys:
        raise NskError("no keys found to export")
    report = Report()
    jobs = _seeds(session, flags, keys, directory, report)
    if flags.boolean("include-jwts"):
        jobs += _tokens(flags, keys, directory, report)
    make_directory(directory)
    for job in jobs:
        if not job.content:
            report.warn(f"skipped {quote(job.label)} - no seed available")
            continue
        session.write_output(str(job.path), job.content)
        # A seed goes when its copy is on the disk.
        if flags.boolean("remove") and job.public:
            session.keystore.remove_key(job.public)
        report.ok(f"{'moved' if flags.boolean('remove') else 'exported'} {quote(job.label)}")
    session.finish(report, summarise=True, keep=True)
    return ExportedKeys(
        str(directory),
        [job.public for job in jobs if job.public],
        [job.path.name.removesuffix(JWT_SUFFIX) for job in jobs if job.path.name.endswith(JWT_SUFFIX)],
        [job.label for job in jobs if not job.content],
        removed=flags.boolean("remove"),
    )


def _selection(session: Session, flags: Flags) -> Selection:
    selection = Selection.of(session, flags, curves="curves")
    if not flags.text("curve"):
        return selection
    only = replace(selection, key=flags.text("curve"), curves=True)
    return only if flags.boolean("all") else replace(only, operator=False, accounts=False, users=False)


def _seeds(session: Session, flags: Flags, keys: list[Key], directory: Path, report: Report) -> list[_Job]:
    jobs = []
    for key in keys:
        path = directory / f"{key.public}{SEED_SUFFIX}"
        try:
            pair = session.keystore.key(key.public)
        except StoreError:
            report.error(f"error reading seed for {key.public}")
            continue
        if pair is None:
            jobs.append(_Job(key.public, path))
        elif _is_free(path, flags, report):
            jobs.append(_Job(key.public, path, pair.seed, key.public))
    return jobs


def _tokens(flags: Flags, keys: list[Key], directory: Path, report: Report) -> list[_Job]:
    found = [(key, directory / f"{key.public}{JWT_SUFFIX}") for key in keys if key.token]
    return [_Job(f"{path.name} ({key.name})", path, key.token) for key, path in found if _is_free(path, flags, report)]


def _is_free(path: Path, flags: Flags, report: Report) -> bool:
    if flags.boolean("force") or not path.exists():
        return True
    report.error(f"`{path}` already exists - specify --force to overwrite")
    return False


EXPORT = Command(
    "keys",
    "Export operator, account and user keys in the current operator and account context.\n"
    "Flags choose the kinds of keys, and the account or user whose keys are exported. --not-referenced exports\n"
    "stored keys that nothing in the current operator refers to. --include-jwts exports JWTs too, each named by its\n"
    "identity key: 'nsk restore' and 'nsk fix' take such a directory.",
    _export,
    (
        boolean("operator", "o", "export operator keys"),
        boolean("accounts", "a", "export account keys"),
        boolean("users", "u", "export user keys"),
        boolean("curves", "", "export curve keys"),
        text("account", "", "change account context to the named account"),
        text("user", "", "export specified user key"),
        text("curve", "", "export specified curve key"),
        boolean("all", "A", "export operator, accounts and users keys"),
        text("filter", "f", "export keys containing string"),
        boolean("not-referenced", "", "export keys that are not referenced in the current operator context"),
        text("dir", "d", "directory to export keys to"),
        boolean("force", "F", "overwrite existing files"),
        boolean("remove", "R", "removes the original key file from the keyring after exporting it"),
        boolean("include-jwts", "", "include jwts"),
    ),
    examples="""\
nsk export keys --dir <path> (exports the current operator, account and users keys)
nsk export keys --operator --accounts --users (exports current operators, all accounts, and users)
nsk export keys --all (same as specifying --operator --accounts --users)
nsk export keys --operator --not-referenced (exports any other operator keys in the keystore)
nsk export keys --all --filter VSVMGA (exports all keys containing the filter)
nsk export keys --account <name> (changes the account context to the specified account)
""",
    usage_on_error=True,
    changes=True,
    result=ExportedKeys,
)
