"""``generate activation``: the token with which another account may import a private export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from auth.creds import decorate_jwt
from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk import exchange
from tools.nsk.account_server import activation_url, post_activation
from tools.nsk.cli import Command
from tools.nsk.commands.describe import STDOUT
from tools.nsk.edits import TIME_FLAGS, times
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.subjects import required
from tools.nsk.values import format_date, format_distance


@dataclass(frozen=True, slots=True)
class ActivationResult:
    """An activation that was generated."""

    account: Annotated[str, "the name of the account that offers what it is for"]
    export: Annotated[str, "the export's name"]
    subject: Annotated[str, "what may be imported"]
    target: Annotated[str, "the public key of the account that may import"]
    token: Annotated[str | None, "the activation, null when it was written to a file"]
    file: Annotated[str | None, "the file, null when the activation is given here"]
    url: Annotated[str | None, "where the account server has it, null when it was not pushed"]


def _generate(session: Session, flags: Flags) -> ActivationResult:
    store = session.store
    account = session.plain_account(flags.text("account"))
    target = flags.text("target-account")
    if target:
        target = session.account_key(target, "target-account")
    owner = store.account(account)
    private = exchange.private_exports(owner)
    if len(private) > 1:
        required(flags, "subject", "a subject is required")
    start, expiry = times(flags)
    session.account_key(target, "target-account")
    made = exchange.activate(
        store,
        account,
        flags.text("subject") or private[0].subject,
        target,
        not_before=start,
        expires_at=expiry,
        signer=session.signer(KeyKind.ACCOUNT, account=owner),
    )
    report = Report()
    report.ok(f"generated {quote(made.export.name)} activation for account {quote(target)}")
    now = datetime.now(UTC).timestamp()
    for moment, verb in ((start, "valid"), (expiry, "expires")):
        if moment:
            report.ok(f"token {verb} {format_date(moment)} - {format_distance(moment, now).title()}")
    file = _write(session, flags.text("output-file"), decorate_jwt(made.token), report)
    url = _push(session, made, report) if flags.boolean("push") else None
    session.finish(report, summarise=True)
    token = made.token if file is None else None
    return ActivationResult(account, made.export.name, made.claims.nats.import_subject, target, token, file, url)


def _write(session: Session, target: str, armoured: str, report: Report) -> str | None:
    if target == STDOUT:
        session.output.line(armoured)
        return None
    path = session.write_output(target, armoured)
    report.ok(f"wrote activation token to {session.display(Path(target))}")
    return str(path)


def _push(session: Session, made: exchange.Activated, report: Report) -> str | None:
    """Where the account server has the activation, or None when it refused, which stands in the report then."""
    operator = session.store.operator()
    server = operator.nats.account_server_url
    if not server:
        raise NskError(f"operator {operator.name} doesn't have an account server url configured")
    if not server.lower().startswith(("http://", "https://")):
        raise NskError(
            "activation push is only supported for http base account server not nats-resover enabled nats-server"
        )
    reply = post_activation(server, made.token)
    pushed = Report("push jwt to account server")
    report.children.append(pushed)
    told = reply.text.strip()
    if reply.is_accepted:
        pushed.warn("pushed account jwt was accepted by the account server")
    elif not reply.is_done:
        pushed.error("failed to push account to remote server")
    elif told:
        pushed.ok("pushed account jwt to the account server")
    if told:
        pushed.message(told)
    if pushed.failed:
        return None
    url = activation_url(server, made.claims.hash_id())
    report.ok(f"activation accessible at {quote(url)}")
    return url


GENERATE = Command(
    "activation",
    "Generate an export activation jwt token",
    _generate,
    (
        text("account", "a", "account name"),
        text("output-file", "o", "output file '--' is stdout", default=STDOUT),
        boolean(
            "push",
            "",
            "push activation token to operator's account server (exclusive of output-file",
        ),
        text("subject", "s", "export subject"),
        text("target-account", "t", "target-account"),
        *TIME_FLAGS,
    ),
    result=ActivationResult,
)
