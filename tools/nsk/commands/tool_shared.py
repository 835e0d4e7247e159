"""What the commands below ``nsk tool`` share: which server and which user, running to the end, asking before a loss."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from auth.gojson import quote
from tools.nsk import tool
from tools.nsk.cli import Command, Run
from tools.nsk.commands import TOOL_FLAGS
from tools.nsk.commands.access import curves_named, named_file
from tools.nsk.errors import NskError
from tools.nsk.flags import Flag, Flags, boolean, text
from tools.nsk.output import Channel
from tools.nsk.remedies import one_of
from tools.nsk.render import printable
from tools.nsk.session import Session
from tools.nsk.streams.api import JetStream, Stored, opened
from tools.nsk.streams.results import StoredMessage, message_result
from tools.nsk.values import parse_duration

Result = TypeVar("Result")

PROGRESS_BYTES = 1 << 20
"""From how many bytes on it is shown how far one is."""

WHO = (text("account", "a", "account name"), text("user", "u", "user name"))
YES = boolean("yes", "y", "do it without asking", beyond=True)


def target_of(session: Session, flags: Flags, name: str) -> tool.Target:
    """Server and user, from the flags alone where they name both, else from the store."""
    urls = [url.strip() for url in flags.text("nats").split(",") if url.strip()]
    if not urls:
        urls = session.store.operator().nats.operator_service_urls
        if not urls:
            raise NskError(f"operator {quote(session.store.name)} doesn't have operator_service_urls set")
    given = flags.text("creds")
    return tool.Target(
        urls=urls,
        creds=Path(given).expanduser() if given else _stored_creds(session, flags),
        ca=named_file(flags, "NATS_CA", "ca", "ca-cert"),
        certificate=named_file(flags, "NATS_CERT", "client-cert"),
        key=named_file(flags, "NATS_KEY", "client-key"),
        tls_first=flags.boolean("tls-first"),
        curves=curves_named(flags.text("tls-curves")),
        timeout=_seconds(flags.text("timeout")),
        name=f"nsk_{name}",
    )


def _stored_creds(session: Session, flags: Flags) -> Path:
    store = session.store
    account = session.account_name(flags.text("account"))
    user = flags.text("user")
    if not user:
        users = store.users(account)
        if len(users) != 1:
            raise NskError("a user is required", remedy=one_of(users, "--user"))
        user = users[0]
    return store.creds_path(account, user)


def _seconds(given: str) -> float:
    try:
        seconds = parse_duration(given) / 1e9
    except ValueError as error:
        raise NskError(str(error)) from None
    if seconds <= 0:
        raise NskError(f"--timeout must be more than nothing: {given}")
    return seconds


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; Ctrl-C ends it, and is raised."""
    # What nats-py logs is said by the errors that follow.
    logging.getLogger("nats").addHandler(logging.NullHandler())
    return asyncio.run(work)


def run_until_interrupted(work: Coroutine[Any, Any, object]) -> None:
    """Run what listens, of which Ctrl-C is the usual end."""
    with suppress(KeyboardInterrupt):
        run(work)


def agreed(session: Session, flags: Flags, question: str) -> bool:
    """Whether the person wants what cannot be undone. Raises NskError where there is nobody to be asked."""
    if flags.boolean("yes"):
        return True
    if session.output.structured or not sys.stdin.isatty():
        raise NskError(f"{question} Nothing was done.", remedy="it cannot be undone: say so with --yes")
    if session.output.confirm(question):
        return True
    session.output.message("nothing was done")
    return False


def show_message(session: Session, message: Stored) -> StoredMessage:
    """Print a message of a stream; the result for it."""
    result = message_result(message)
    session.output.line(f"[{result.sequence}] {printable(result.subject)} {result.time}", Channel.LISTING)
    for header, value in result.headers.items():
        session.output.line(f"  {header}: {value}", Channel.LISTING)
    session.output.line(f"  {result.text}", Channel.LISTING)
    return result


def tool_command(
    name: str, description: str, run: Run, own: tuple[Flag, ...], arguments: tuple[int, int], **more: Any
) -> Command:
    """A command below ``nsk tool``, with the flags that all of them have."""
    return Command(name, description, run, (*WHO, *own), arguments=arguments, group_flags=TOOL_FLAGS, **more)


def with_streams(
    session: Session, flags: Flags, name: str, work: Callable[[JetStream], Awaitable[Result]]
) -> Result:
    """What work with JetStream comes to, over a connection of its own."""
    target = target_of(session, flags, name)

    async def worked() -> Result:
        async with opened(target) as streams:
            return await work(streams)

    return run(worked())
