"""Asks a running server about the key of an account, as a user of its system account."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import nats.errors

from tools.nsk.commands.access import named_file
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, text
from tools.nsk.remote import INBOXES, NO_RESPONDERS, STATISTICS, TIMED_OUT, Access, Answer, read_answer, target_of
from tools.nsk.session import Session
from tools.nsk.system_user import system_user
from tools.nsk.tool import Link, Target, linked

SERVER_FLAGS: Final = (
    text("nats", "", "url of the server, defaults to the operator's account server or service urls"),
    text("server", "", "name of the server, where several answer"),
    text("creds", "", "credentials file of a user of the system account, where it is not in the store"),
)

_SUBJECT: Final = "$SYS.REQ.SERVER.{}.{}"
_LOOK_SECONDS: Final = 5.0
_WORK_SECONDS: Final = 600.0
"""What is destroyed is read once, for the receipt."""


def account_of(session: Session, flags: Flags) -> str:
    """What servers call the account: its key where it is one of the store, else as it was given."""
    given = flags.arguments[0]
    try:
        store = session.store
        return store.account(given).subject if given in store.accounts() else given
    except NskError:
        # Servers may have their accounts in the configuration, and then there is no store.
        return given


async def asked(session: Session, flags: Flags, access: Access, what: str, account: str) -> Mapping[str, Any]:
    """What one server says to a request about an account's key. Raises NskError."""
    subject = _SUBJECT.format("*", what)
    async with _link(session, flags, access, subject) as link:
        server = await _server(link, flags.text("server"))
        request = json.dumps({"account": account}).encode()
        answer = await _one(link, _SUBJECT.format(server.id, what), request, _WORK_SECONDS)
    if answer.problem:
        raise NskError(answer.problem, remedy="look into the server's log, which says more")
    if not isinstance(answer.data, Mapping):
        raise NskError(
            f"server {answer.server} answered with nothing", remedy="a natskeep that encrypts streams answers to that"
        )
    return answer.data


@asynccontextmanager
async def _link(session: Session, flags: Flags, access: Access, subject: str) -> AsyncIterator[Link]:
    creds = named_file(flags, "", "creds")
    if creds is not None or urlsplit(access.url).username:
        target = Target(
            urls=[access.url], creds=creds, ca=access.ca, certificate=access.certificate, key=access.key,
            curves=access.curves, tls_first=access.tls_first, name=access.program,
        )
    else:
        store = session.store
        url = access.url or store.operator().nats.account_server_url or ",".join(
            store.operator().nats.operator_service_urls
        )
        if not url:
            raise NskError(
                "no server is known", remedy="name one with --nats, or nsk edit operator --service-url"
            )
        access = replace(access, url=url)
        who = system_user(
            store, (STATISTICS, subject), INBOXES, account=access.account, user=access.user, program=access.program
        )
        target = target_of(access, url, who, access.program)
    async with linked(target) as link:
        yield link


async def _server(link: Link, wanted: str) -> Answer:
    """The server that is meant. Raises NskError."""
    question = {"server_name": wanted, "exact_match": True} if wanted else {}
    found = await _one(link, STATISTICS, json.dumps(question).encode(), _LOOK_SECONDS)
    if found.problem:
        raise NskError(found.problem, remedy="look into the server's log, which says more")
    servers = found.data.get("active_servers") if isinstance(found.data, Mapping) else None
    if not wanted and isinstance(servers, int) and servers > 1:
        raise NskError(f"{servers} servers answer", remedy="name the one that has the streams with --server")
    return found


async def _one(link: Link, subject: str, payload: bytes, seconds: float) -> Answer:
    begun = time.monotonic()
    try:
        message = await link.done(link.client.request(subject, payload, timeout=seconds), subject)
    except nats.errors.NoRespondersError:
        raise NskError(
            NO_RESPONDERS, remedy="only a natskeep answers to that, and only users of its system account"
        ) from None
    except (nats.errors.TimeoutError, TimeoutError):
        waited = time.monotonic() - begun
        raise NskError(f"{TIMED_OUT} after {waited:.0f}s", remedy="see whether the server runs, and name it") from None
    return read_answer(message.data)
