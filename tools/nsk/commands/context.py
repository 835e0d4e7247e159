"""``generate context``: a context of the nats command line tool for a user of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auth.gojson import quote
from tools.nsk.cli import Command
from tools.nsk.contexts import context_path, context_text
from tools.nsk.errors import NskError
from tools.nsk.files import PUBLIC_MODE, make_directory, write_file
from tools.nsk.flags import Flags, text
from tools.nsk.report import Report
from tools.nsk.session import Session


@dataclass(frozen=True, slots=True)
class GeneratedContext:
    """A context of the nats command line tool."""

    path: Annotated[str, "the file that it was written to"]


def _context(session: Session, flags: Flags) -> GeneratedContext:
    store = session.store
    account = session.account_name(flags.text("account")) if flags.text("account") else session.environment.account
    user = flags.text("user")
    if not user and account:
        users = store.users(account)
        if not users:
            raise NskError(f"account {quote(account)} has no users")
        user = users[0] if len(users) == 1 else ""
    name = flags.text("context")
    if not name:
        raise NskError("context name is required")
    if "/" in name or "\\" in name:
        raise NskError("context name cannot contain filepath separators")
    if not account:
        raise NskError("account is required")
    if not user:
        raise NskError("user is required")
    if not store.has_user(account, user):
        raise NskError(f"user {quote(user)} not found in {quote(account)}")
    creds = store.creds_path(account, user)
    if not creds.is_file():
        raise NskError(f'creds file "{creds}" - doesn\'t exist - {session.output.program} generate creds first')
    path = context_path(session.environment, name)
    make_directory(path.parent)
    write_file(path, context_text(store.operator(), account, store.user(account, user), creds), mode=PUBLIC_MODE)
    session.output.message(str(path))
    report = Report()
    report.ok(f"wrote nats cli context file to {session.display(path)}")
    session.finish(report)
    return GeneratedContext(str(path))


CONTEXT = Command(
    "context",
    "Generate nats cli user context",
    _context,
    (
        text("account", "a", "account name"),
        text("user", "u", "user name"),
        text("context", "", "context name"),
    ),
    examples="nsk generate context --account a --user u --context contextName",
    result=GeneratedContext,
)
