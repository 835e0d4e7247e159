"""``leaked``: what the holder of a credentials file could do and did, and the end of it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable

from accounts.flow import TooManyWaysError
from broker.audit.entry import LineError
from broker.audit.verify import entries
from tools.nsk import leak as leaks
from tools.nsk.cli import Answer, Command
from tools.nsk.commands.rotate import SERVER_FLAGS, servers_of
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.leak import Abilities, Containment, Leak, Trace
from tools.nsk.leak_report import Known, LeakReport, done_lines, report_lines, report_of
from tools.nsk.live import Servers
from tools.nsk.render import printable
from tools.nsk.scene import scene_of_tokens
from tools.nsk.session import Session


def _leaked(session: Session, flags: Flags) -> Answer:
    store = session.store
    if report := flags.text("report"):
        session.check_output(report)
    leak = leaks.read_leak(store, _content(session, flags))
    if not leak.is_ours:
        return _not_ours(session, flags, leak)
    servers = servers_of(session, flags)
    known = Known(_power(session, leak), _log(session, flags, leak))
    if servers is not None:
        try:
            known.now = leaks.connections(store, leak, servers)
            known.ended = leaks.connections(store, leak, servers, ended=True)
        except NskError as problem:
            # The revocation cannot wait for servers to be reached.
            session.output.message(f"servers could not be asked: {problem.text}")
    before = report_of(leak, known)
    _tell(session, report_lines(before))
    if not (flags.boolean("yes") or _agreed(session, leak)):
        session.output.message("nothing was done: confirm with --yes")
        return _finished(session, flags, before, 1)
    done = _contain(session, flags, leak, servers)
    after = report_of(leak, known, done, _next(session, leak, done, flags.text("nats")))
    _tell(session, ["", *done_lines(after)])
    return _finished(session, flags, after, 1 if done.problems else 0)


def _content(session: Session, flags: Flags) -> str:
    path = session.environment.absolute(flags.arguments[0])
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise NskError(f"`{path}` does not exist") from None
    except UnicodeDecodeError:
        raise NskError(f"`{path}` is no credentials file") from None


def _not_ours(session: Session, flags: Flags, leak: Leak) -> Answer:
    report = report_of(leak, Known(Abilities()), steps=_next(session, leak, None, ""))
    _tell(session, report_lines(report))
    return _finished(session, flags, report, 1)


def _power(session: Session, leak: Leak) -> Abilities:
    store = session.store
    operator = store.operator()
    scene = scene_of_tokens(
        [operator], store.account_tokens(), time.time(), system_account=operator.nats.system_account
    )
    try:
        return leaks.abilities(leak, scene)
    except TooManyWaysError as problem:
        raise NskError(str(problem)) from None


def _log(session: Session, flags: Flags, leak: Leak) -> list[Trace] | None:
    if not (given := flags.text("log")):
        return None
    path = session.environment.absolute(given)
    try:
        if path.is_dir():
            return list(leaks.ledger_traces(entries(path), leak.claims.subject))
        with path.open(encoding="utf-8", errors="backslashreplace") as lines:
            return list(leaks.traces(lines, leak.claims.subject))
    except LineError as problem:
        raise NskError(f"the ledger in `{path}` cannot be read: {problem}") from None
    except OSError as problem:
        raise NskError(f"`{path}` cannot be read: {problem.strerror}") from None


def _agreed(session: Session, leak: Leak) -> bool:
    if session.output.structured or not sys.stdin.isatty():
        return False
    return session.output.confirm(f"Revoke user {leak.user or leak.claims.name} and end its connections?")


def _contain(session: Session, flags: Flags, leak: Leak, servers: Servers | None) -> Containment:
    """Revoke, and write that down before servers are told."""
    session.lend_signer()
    store, done = session.store, Containment()
    until = int(time.time()) if flags.boolean("whole-key") else leak.claims.issued_at
    leaks.revoke(store, leak, until, done)
    leaks.remove(store, leak, done, key=flags.boolean("rm-nkey"), creds=flags.boolean("rm-creds"))
    session.commit()
    if servers is None:
        done.problems.append(
            f"servers do not know of it: {_program(session)} push --account {shlex.quote(leak.account)}"
        )
        return done
    try:
        leaks.push(store, leak, servers, done)
    except NskError as problem:
        # The revocation stands in the store, and has to be taken to the servers all the same.
        done.problems.append(f"servers do not know of it: {problem.text}")
    return done


def _program(session: Session) -> str:
    return session.output.program


def _next(session: Session, leak: Leak, done: Containment | None, url: str) -> list[str]:
    """What is to follow: a user whose key others have needs another one, and servers have to know of a revocation."""
    steps = []
    if leak.user and (leak.holds_key or done is not None):
        words = ["rotate", "user", "--account", leak.account, "--name", leak.user]
        steps.append(f"{_program(session)} {shlex.join(words)}")
    if done is not None and not done.pushed:
        words = ["push", "--account", leak.account, *(["--account-jwt-server-url", url] if url else [])]
        steps.append(f"{_program(session)} {shlex.join(words)}")
    return steps


def _finished(session: Session, flags: Flags, report: LeakReport, exit_code: int) -> Answer:
    if path := flags.text("report"):
        lines = [*report_lines(report), *(["", *done_lines(report)] if report.done else [])]
        written = session.write_output(path, "".join(f"{printable(line)}\n" for line in lines))
        session.output.message(f"wrote the report to {session.display(written)}")
    return Answer(report, exit_code)


def _tell(session: Session, lines: Iterable[str]) -> None:
    session.output.write("".join(f"{printable(line)}\n" for line in lines))


LEAKED = Command(
    "leaked",
    "Deal with a credentials file that others may have: tell what its holder could do and did, revoke it, and\n"
    "end its connections. The file need not be of a user of the store; a key of the store's accounts must have\n"
    "signed it. The private key in it is never shown.\n"
    "The exit code is 0 where everything was done, and 1 where something is left to do.",
    _leaked,
    (
        text("log", "", "a server's log, or the directory of its audit ledger, to tell what was done with the file"),
        text("report", "", "file to write the report to"),
        boolean("yes", "y", "revoke and disconnect without asking"),
        boolean("whole-key", "", "revoke all that was issued to the key until now, not only until the file was"),
        boolean("rm-nkey", "D", "remove the user's private key from the keystore"),
        boolean("rm-creds", "C", "remove the user's creds file from the keystore"),
        *SERVER_FLAGS,
    ),
    arguments=(1, 1),
    examples="""\
    nsk leaked found.creds --log natskeep.log
    nsk leaked found.creds --yes --rm-nkey --rm-creds --report leak.txt""",
    changes=True,
    result=LeakReport,
)
