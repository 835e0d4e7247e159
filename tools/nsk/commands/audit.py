"""``audit verify|query|tail``: what a server's ledger says, and whether it can be believed."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from auth.nkey import KeyKind, is_public_key
from broker.audit.entry import LineError, moment
from broker.audit.follow import follow
from broker.audit.verify import entries, verify_ledger
from tools.nsk.cli import Answer, Command
from tools.nsk.errors import NskError
from tools.nsk.flags import COUNT, Flag, Flags, boolean, text
from tools.nsk.render import printable
from tools.nsk.session import Session
from tools.nsk.values import parse_when

_MEMBERS = ("seq", "time", "event", "prev")


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What was proved about a ledger."""

    intact: Annotated[bool, "whether nothing was edited, moved, removed or added"]
    problem: Annotated[str, "what is wrong and where, empty when nothing is"]
    first: Annotated[int, "number of the first line that is kept"]
    sealed: Annotated[int, "number of the last line that a seal covers"]
    unsealed: Annotated[int, "lines after the last seal, which nothing proves"]
    keys: Annotated[list[str], "the public keys that sealed it, in their order"]
    key_given: Annotated[bool, "whether the key was given, and not taken from the ledger itself"]


@dataclass(frozen=True, slots=True)
class LedgerEntries:
    """Entries of a ledger."""

    entries: Annotated[list[dict[str, Any]], "as they stand in the ledger, oldest first"]


def _directory(flags: Flags) -> Path:
    path = Path(flags.arguments[0]).expanduser()
    if not path.is_dir():
        raise NskError(f"`{path}` is no directory: name the one that `audit {{ dir }}` of the server names")
    return path


def _verify(session: Session, flags: Flags) -> Answer:
    directory, key = _directory(flags), flags.text("key")
    if key and not is_public_key(key, KeyKind.SERVER):
        raise NskError("--key takes the public key of the server, which begins with N")
    found = verify_ledger(directory, key)
    output = session.output
    if found.intact:
        output.line(f"intact: lines {found.first} to {found.sealed}, sealed by {', '.join(found.keys)}")
    else:
        output.line(f"NOT INTACT: {printable(found.problem)}")
    if found.unsealed:
        output.line(f"{found.unsealed} lines after the last seal are not proved: the server seals them soon")
    for name in found.ignored:
        output.line(f"{name} is older than what the server keeps, and was not looked at")
    if found.intact and not key:
        output.message("The key was taken from the ledger itself, so only its consistency is proved: give --key.")
    result = LedgerVerdict(
        found.intact, found.problem, found.first, found.sealed, found.unsealed, found.keys, bool(key)
    )
    return Answer(result, 0 if found.intact else 1)


VERIFY = Command(
    "verify",
    "Prove that nobody has changed a ledger, with the server's public key alone.\n"
    "The exit code is 0 for an intact ledger, 1 for another, and 2 where there is no answer.",
    _verify,
    (text("key", "", "public key of the server: the id that its log and INFO show"),),
    arguments=(1, 1),
    examples="    nsk audit verify /var/lib/natskeep/audit --key NDHO…",
    error_code=2,
    result=LedgerVerdict,
)


class _Filter:
    """Which entries are wanted."""

    def __init__(self, flags: Flags) -> None:
        now = datetime.now(UTC)
        self._since, self._until = (_time(flags.text(name), now, name) for name in ("since", "until"))
        self._wanted = {name: flags.text(name) for name in ("account", "user", "event", "denial") if flags.text(name)}
        self._everything = flags.boolean("all")

    def takes(self, entry: dict[str, Any]) -> bool:
        if not self._everything and entry["event"] in ("sealed", "opened", "retired"):
            return False
        if (self._since and entry["time"] < self._since) or (self._until and entry["time"] >= self._until):
            return False
        return all(self._fits(entry, name, value) for name, value in self._wanted.items())

    @staticmethod
    def _fits(entry: dict[str, Any], name: str, value: str) -> bool:
        if name in ("account", "user"):
            # Who did it, or whom it was done to.
            target = str(entry.get("target", ""))
            account, _, user = target.rpartition("/")
            about = {str(entry.get(name, "")).removeprefix("jwt:").removeprefix("nkey:").removeprefix("user:")}
            about |= {str(entry.get(name, "")), (account or target) if name == "account" else user}
            return value in about
        return bool(entry.get(name) == value)


def _time(given: str, now: datetime, flag: str) -> str:
    if not given:
        return ""
    try:
        seconds = datetime.fromisoformat(given).timestamp() if "T" in given else parse_when(given, now)
    except ValueError as error:
        raise NskError(f"--{flag} {given}: {error}. Write 2026-11-28T09:00:00Z, or -2h for two hours ago") from None
    return moment(seconds)


def _read(directory: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from entries(directory)
    except LineError as error:
        raise NskError(f"the ledger in `{directory}` cannot be read on: {error}. `audit verify` says more") from None


def _lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in found:
        shown = [f"{name}={_shown(value)}" for name, value in entry.items() if name not in (*_MEMBERS, "signature")]
        yield printable(f"{entry['time']} {entry['seq']} {entry['event']} {' '.join(shown)}".rstrip())


def _shown(value: object) -> str:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    shown = str(value)
    return json.dumps(shown, ensure_ascii=False) if " " in shown or not shown else shown


def _query(session: Session, flags: Flags) -> LedgerEntries:
    wanted = _Filter(flags)
    found = [entry for entry in _read(_directory(flags)) if wanted.takes(entry)]
    session.output.write("".join(f"{line}\n" for line in _lines(found)))
    return LedgerEntries(found)


def _tail(session: Session, flags: Flags) -> LedgerEntries:
    directory, wanted = _directory(flags), _Filter(flags)
    count = flags.number("lines")
    found = (entry for entry in _read(directory) if wanted.takes(entry))
    last: deque[dict[str, Any]] = deque(found, maxlen=max(count, 0))
    session.output.write("".join(f"{line}\n" for line in _lines(last)))
    if not flags.boolean("follow"):
        return LedgerEntries(list(last))
    with suppress(KeyboardInterrupt):
        for entry in filter(wanted.takes, follow(directory, time.sleep)):
            session.output.write("".join(f"{line}\n" for line in _lines([entry])))
            last.append(entry)
    return LedgerEntries(list(last))


_FILTERS = (
    text("account", "a", "only what this account did, or what was done to it"),
    text("user", "u", "only what this user did, by name or public key, or what was done to it"),
    text("event", "e", "only events of this kind: authenticated, denied, account_changed, revoked, kicked, reloaded, "
         "backed_off, crowded, certificate_renewed, certificate_refused, data_key_rotated, shredded"),
    text("denial", "", "only the denial of this id"),
    text("since", "", "only from this time on: 2026-11-28T09:00:00Z, or -2h"),
    text("until", "", "only before this time"),
    boolean("all", "A", "also what the ledger says about itself"),
)
QUERY = Command(
    "query",
    "Show the entries of a ledger that fit",
    _query,
    _FILTERS,
    arguments=(1, 1),
    examples="    nsk audit query /var/lib/natskeep/audit --account SHOP --since -2h",
    result=LedgerEntries,
)
TAIL = Command(
    "tail",
    "Show the last entries of a ledger, and new ones as they come",
    _tail,
    (
        *_FILTERS,
        Flag("lines", "n", "how many", kind=COUNT, default=10),
        boolean("follow", "f", "go on until interrupted"),
    ),
    arguments=(1, 1),
    result=LedgerEntries,
)
