"""``pull``: take the operator and accounts from servers into the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from auth.creds import parse_decorated_jwt
from auth.gojson import quote
from tools.nsk.account_server import account_url, fetch, operator_urls
from tools.nsk.cli import Command
from tools.nsk.commands.access import SYSTEM_FLAGS, TLS_FLAGS, access_of, finish, usage_if_compatible
from tools.nsk.errors import NskError, StoreError
from tools.nsk.flags import Flags, boolean, text
from tools.nsk.pulling import accept, store_accepted
from tools.nsk.remote import PACK, Access, RemoteError, connected, is_resolver_url
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.tool import UnreachableError
from tools.nsk.web import Reply


@dataclass(frozen=True, slots=True)
class PullResult:
    """What was taken."""

    url: Annotated[str, "where it was taken from"]
    stored: Annotated[list[str], "names of what was stored: accounts, or the operator"]


def _pull(session: Session, flags: Flags) -> PullResult:
    with usage_if_compatible(session):
        everything, account, url = _asked(session, flags)
    report = Report()
    job = _Job(session, url, overwrite=flags.boolean("overwrite-newer"), report=report)
    if is_resolver_url(url):
        job.pull_all(access_of(session, flags, url=url))
    else:
        job.fetch_all(everything=everything, account=account)
    # nsc shows the usage after a failure on servers, but not on account servers.
    finish(session, report, keep=True, usage=session.output.compatible and is_resolver_url(url))
    return PullResult(url, job.stored)


def _asked(session: Session, flags: Flags) -> tuple[bool, str, str]:
    """Whether all is to be taken, else which account, and where from. Raises NskError."""
    operator, everything = session.store.operator(), flags.boolean("all")
    account = session.account_name(flags.text("account")) if flags.text("account") else session.environment.account
    url, shown = operator.nats.account_server_url, quote(session.store.name)
    if not everything and not account:
        raise NskError("specify --all or --account")
    if not url:
        raise NskError(f"operator {shown} doesn't set account server url - unable to pull")
    if is_resolver_url(url) and not everything:
        raise NskError(f"operator {shown} can only pull all jwt - unable to pull by account")
    return everything, account, url


class _Job:
    def __init__(self, session: Session, url: str, *, overwrite: bool, report: Report) -> None:
        self.stored: list[str] = []
        self._session = session
        self._store = session.store
        self._url = url
        self._overwrite = overwrite
        self._report = report

    def pull_all(self, access: Access) -> None:
        """Everything that a server holds, over NATS."""
        section = self._report.section("pull from cluster using system account")
        try:
            found = asyncio.run(self._packed(access))
        except StoreError as error:
            section.error(f"failed to obtain system user: {error.text}")
            return
        except RemoteError as error:
            section.error(f"failed to get response to pull: {error.text}")
            return
        except NskError as error:
            unreachable = self._session.output.compatible and isinstance(error, UnreachableError)
            words = "nats: no servers available for connection" if unreachable else error.text
            section.error(f"failed to connect to {self._url}: {words}")
            return
        for public, token in found:
            name = self._keep(token, section, public=public)
            if name and self._session.output.compatible and not section.failed:
                section.label = f"pulled {quote(name)} from the account server"

    async def _packed(self, access: Access) -> list[tuple[str, str]]:
        name = f"{access.program}_pull"
        async with connected(self._store, access, (PACK,), name=name) as remote:
            return await remote.pack()

    def fetch_all(self, *, everything: bool, account: str) -> None:
        """The operator and all accounts, or one account, over HTTP."""
        if everything:
            self._fetch(self._store.operator().name, operator_urls(self._url))
        for name in self._store.accounts() if everything else [account]:
            claims = self._store.account(name)
            self._fetch(claims.name, (account_url(self._url, claims.subject),), public=claims.subject)

    def _fetch(self, name: str, urls: tuple[str, ...], *, public: str = "") -> None:
        section = self._report.section(f"pull {quote(name)} from the account server")
        try:
            reply = _first_found(urls)
        except NskError as error:
            section.error(error.text)
            return
        if not reply.is_done:
            section.error(f"failed to pull jwt from the account server: : [{reply.status}]")
            return
        found = Report()
        pulled = self._keep(reply.text, found, public=public)
        if pulled and not found.failed:
            section.label = f"pulled {quote(pulled)} from the account server"
            return
        section.ok("pulled jwt from the account server")
        section.children += found.children

    def _keep(self, text: str, section: Report, *, public: str) -> str:
        """Store what was taken if it may be stored; its name, or nothing."""
        try:
            claims, token = accept(self._store, parse_decorated_jwt(text), public=public, overwrite=self._overwrite)
        except NskError as error:
            section.error(error.text)
            return ""
        store_accepted(self._store, claims, token)
        self.stored.append(claims.name)
        section.ok(f"stored {claims.type_name} {quote(claims.name)}")
        return claims.name


def _first_found(urls: tuple[str, ...]) -> Reply:
    *others, last = urls
    for url in others:
        try:
            return fetch(url)
        except NskError:
            continue
    return fetch(last)


PULL = Command(
    "pull",
    "Pull an operator or account jwt replacing the local jwt with the server's version",
    _pull,
    (
        text("account", "a", "account name"),
        boolean("all", "A", "operator and all accounts under the operator"),
        boolean("overwrite-newer", "F", "overwrite local JWTs that are newer than remote"),
        *SYSTEM_FLAGS,
        *TLS_FLAGS,
    ),
    arguments=(0, 99),
    usage_on_error=True,
    changes=True,
    result=PullResult,
)
