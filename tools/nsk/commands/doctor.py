"""``doctor``: what is wrong with the store, and how to mend it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from tools.nsk import journal
from tools.nsk.cli import Answer, Command
from tools.nsk.doctor.examine import examine, mend
from tools.nsk.doctor.findings import Finding, Severity
from tools.nsk.environment import Environment
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.render import printable
from tools.nsk.session import Session
from tools.nsk.store import Store
from tools.nsk.values import parse_when

_LABELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_WORDS = {severity.word: severity for severity in Severity}


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is wrong."""

    id: Annotated[str, "the kind of finding"]
    severity: Annotated[str, "error, warning or info"]
    place: Annotated[str, "what it is about"]
    text: Annotated[str, "what is wrong with it"]
    command: Annotated[str, "what to type in a shell to mend it"]
    safe: Annotated[bool, "whether --fix mends it"]
    mended: Annotated[bool, "whether it was mended just now"]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    operator: Annotated[str, "name of the operator"]
    severity: Annotated[str, "findings of this severity and above are told"]
    findings: Annotated[list[Found], "the worst first"]


def _doctor(session: Session, flags: Flags) -> Answer:
    severity = _severity(flags)
    # Looked for before the store is opened, which finishes what a command that was cut off left behind.
    left_behind = _journals(session)
    store = _store(session)
    found = examine(store, severity=severity, within=_within(flags), program=_program(session, flags))
    if severity <= Severity.WARNING:
        found = [*left_behind, *found]
    for finding in found:
        session.output.write("".join(f"{line}\n" for line in _lines(finding)), Channel.LISTING)
    mended: list[Finding] = []
    if flags.boolean("fix"):
        mended = _fix(session, store, flags, found)
    open_findings = [finding for finding in found if finding not in mended]
    if not found:
        session.output.message(f"operator {store.name}: nothing of severity {severity.word} or above was found")
    result = Examination(store.name, severity.word, [_found(finding, finding in mended) for finding in found])
    return Answer(result, 1 if open_findings else 0)


def _store(session: Session) -> Store:
    """The current operator; one whose JWT is broken too, but none of version 1. Raises StoreError."""
    store = session.current_store()
    try:
        store.operator()
    except (StoreError, OSError):
        return store
    return session.store


def _severity(flags: Flags) -> Severity:
    given = flags.text("severity")
    if given not in _WORDS:
        raise NskError(f'severity "{given}" is none of {", ".join(_WORDS)}')
    return _WORDS[given]


def _within(flags: Flags) -> float:
    now = datetime.now(UTC)
    try:
        moment = parse_when(flags.text("within"), now)
    except ValueError as error:
        raise NskError(f'within "{flags.text("within")}" is invalid: {error}') from None
    return moment - now.timestamp() if moment else 0.0


def _journals(session: Session) -> list[Finding]:
    """Changes that a command which was cut off had decided on and not made everywhere."""
    homes = journal.distinct(Environment(session.directories).homes)
    program = session.output.program
    return [
        Finding(
            "journal-left",
            Severity.WARNING,
            str(home / journal.NAME),
            "a command was cut off while it wrote; what it had decided on was finished just now",
            f"{program} doctor",
        )
        for home in homes
        if (home / journal.NAME).is_file()
    ]


def _program(session: Session, flags: Flags) -> str:
    """The beginning of a command line that works on the same directories."""
    words = [session.output.program]
    for name in ("all-dirs", "config-dir", "data-dir", "keystore-dir"):
        if flags.given(name):
            words += [f"--{name}", str(session.environment.absolute(flags.text(name)))]
    return shlex.join(words)


def _lines(finding: Finding) -> list[str]:
    return [
        f"{_LABELS[finding.severity]:<8} {finding.id}: {printable(finding.place)} {printable(finding.text)}",
        f"         {finding.command}",
    ]


def _fix(session: Session, store: Store, flags: Flags, found: list[Finding]) -> list[Finding]:
    safe = [finding for finding in found if finding.is_safe]
    if not safe:
        session.output.message("nothing of it can be mended without a thought")
        return []
    if not flags.boolean("yes") and not _agreed(session, len(safe)):
        session.output.message("nothing was changed")
        return []
    mended = mend(store, safe)
    for finding in mended:
        session.output.message(f"mended {finding.id}: {printable(finding.place)}")
    return mended


def _agreed(session: Session, count: int) -> bool:
    if session.output.structured or not sys.stdin.isatty():
        raise NskError(f"{count} findings could be mended: confirm with --yes")
    return session.output.confirm(f"Mend {count} of them?")


def _found(finding: Finding, is_mended: bool) -> Found:
    return Found(
        finding.id, finding.severity.word, finding.place, finding.text, finding.command, finding.is_safe, is_mended
    )


DOCTOR = Command(
    "doctor",
    "Look for what is wrong with the operator, its accounts, users, keys and files, and say how to mend it.\n"
    "The exit code is 0 where nothing was found, 1 where something was, and 2 where it could not be looked at.",
    _doctor,
    (
        text("severity", "", "tell of findings of this severity and above: info, warning, error", default="warning"),
        text("within", "", "how near an end must be to be told of: 30d, 2M", default="30d"),
        boolean(
            "fix", "", "mend what can be mended without a thought: modes of files, revocations that are not needed"
        ),
        boolean("yes", "y", "do not ask before something is mended"),
    ),
    error_code=2,
    result=Examination,
)
