"""What the system account of running servers is asked: to take accounts, to forget them, and which ones they hold.

``push_accounts`` is the short way: it pushes accounts of a store to the servers that the operator names and returns
what became of each. ``Remote`` asks one question after the other over one connection::

    async with connected(store, Access(), PUSH_SUBJECTS) as remote:
        listed = await remote.gather(LIST)

All servers of a cluster answer a request. How many there are is asked first, so that nobody waits for more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from auth import jwt
from auth.claims import GenericClaims
from auth.nkey import KeyPair
from tools.nsk.account_server import post_account
from tools.nsk.errors import NskError, StoreError
from tools.nsk.store import Store
from tools.nsk.system_user import SystemUser, system_user
from tools.nsk.tool import Link, Target, linked

UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
LIST: Final = "$SYS.REQ.CLAIMS.LIST"
DELETE: Final = "$SYS.REQ.CLAIMS.DELETE"
PACK: Final = "$SYS.REQ.CLAIMS.PACK"
UPDATE_ONE: Final = "$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE"
"""What servers take that keep accounts in memory."""
STATISTICS: Final = "$SYS.REQ.SERVER.PING.STATSZ"
ACCOUNTS: Final = "$SYS.REQ.SERVER.PING.ACCOUNTZ"
CONNECTIONS: Final = "$SYS.REQ.SERVER.PING.CONNZ"
CONNECTIONS_OF: Final = "$SYS.REQ.SERVER.{}.CONNZ"
VARIABLES: Final = "$SYS.REQ.SERVER.PING.VARZ"

INBOXES: Final = "_INBOX.>"
PUSH_SUBJECTS: Final = (LIST, UPDATE, DELETE, UPDATE_ONE.format("*"), STATISTICS)
PLAN_SUBJECTS: Final = (*PUSH_SUBJECTS, PACK, ACCOUNTS, CONNECTIONS, CONNECTIONS_OF.format("*"), VARIABLES)

CONNECT_SECONDS: Final = 5.0
NO_RESPONDERS: Final = "nats: no responders available for request"
TIMED_OUT: Final = "nats: timeout"
_UNAVAILABLE: Final = "503"
_RESOLVER_SCHEMES: Final = ("nats", "tls", "ws", "wss")


class RemoteError(NskError):
    """Servers do not answer, or not as they should."""


class NoRespondersError(RemoteError):
    """No server knows the request."""

    def __init__(self) -> None:
        super().__init__(NO_RESPONDERS)


@dataclass(frozen=True, slots=True)
class Access:
    """Where servers are and who asks them. ``timeout`` are the seconds to wait for answers to one request.

    ``url`` may hold several addresses with commas; where it is empty, the operator's account server URL counts.
    ``account`` and ``user`` name the system account and a user of it, ``ca``, ``certificate`` and ``key`` are files for
    TLS, and ``curves`` the curves that it may use.
    """

    url: str = ""
    account: str = ""
    user: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    curves: tuple[str, ...] = ()
    tls_first: bool = False
    timeout: float = 1.0
    program: str = "nsk"

    def address(self, store: Store) -> str:
        """The URL to use. Raises RemoteError when there is none."""
        found = self.url or store.operator().nats.account_server_url
        if not found:
            raise RemoteError("no account server url or nats-server url was provided by the operator jwt")
        return found


def is_resolver_url(url: str) -> bool:
    """Whether servers are asked over NATS there, and no account server over HTTP."""
    scheme, separator, _ = url.strip().lower().partition("://")
    return bool(separator) and scheme in _RESOLVER_SCHEMES


# Answers.


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server answered: ``data``, or else a ``problem`` in words. ``server`` is its name, ``id`` its key."""

    server: str
    id: str = ""
    data: Any = None
    problem: str = ""

    @property
    def message(self) -> str:
        """What became of an update or a deletion, in the server's words."""
        return str(self.data.get("message")) if isinstance(self.data, Mapping) else str(self.data)


def read_answer(payload: bytes) -> Answer:
    """One server's answer. What is none is an answer with a problem."""
    shown = payload.decode("utf-8", "backslashreplace")
    try:
        document = json.loads(payload)
    except ValueError as error:
        return Answer("", problem=f"failed to parse response: {error} data: {shown}")
    server = document.get("server") if isinstance(document, dict) else None
    name = server.get("name") if isinstance(server, dict) else None
    if not isinstance(server, dict) or not isinstance(name, str) or not name:
        return Answer("", problem=f"server responded without server name in info: {shown}")
    identity = str(server.get("id", ""))
    failure = document.get("error")
    if failure is not None:
        description = failure.get("description") if isinstance(failure, dict) else failure
        return Answer(name, identity, problem=f"server {name} responded with error: {description}")
    if document.get("data") is None:
        # The answer to STATSZ has its numbers beside the server, not in data.
        if isinstance(document.get("statsz"), dict):
            return Answer(name, identity, document["statsz"])
        return Answer(name, identity, problem=f"server {name} responded without data: {shown}")
    return Answer(name, identity, document["data"])


def read_pack(payload: bytes) -> list[tuple[str, str]]:
    """The accounts of one message of a pack, as public key and JWT. Raises RemoteError."""
    found = []
    for line in payload.decode("utf-8", "backslashreplace").split("\n"):
        public, separator, token = line.partition("|")
        if not separator or "|" in token:
            raise RemoteError("pull response bad")
        found.append((public, token))
    return found


# Questions.


class Remote:
    """A connection as a user of the system account. ``servers`` is how many answer, 0 where that is not known."""

    def __init__(self, link: Link, user: SystemUser, url: str, timeout: float) -> None:
        self.user = user
        self.url = url
        self.servers = 0
        self._link = link
        self._timeout = timeout

    async def count_servers(self) -> None:
        """Ask how many servers there are. A user that may not ask waits for all answers instead."""
        try:
            first = await self._first(STATISTICS)
        except RemoteError:
            return
        found = first.data.get("active_servers") if isinstance(first.data, Mapping) else None
        self.servers = found if isinstance(found, int) and found > 0 else 0

    async def _first(self, subject: str) -> Answer:
        found = await self._collect(subject, b"", lambda messages: True)
        return read_answer(found[0].data)

    async def gather(self, subject: str, payload: bytes = b"") -> list[Answer]:
        """The answers of all servers.

        Raises NoRespondersError where no server takes the request, RemoteError where none answers in time.
        """
        found = await self._collect(subject, payload, lambda messages: len(messages) == self.servers)
        return [read_answer(message.data) for message in found]

    async def pack(self) -> list[tuple[str, str]]:
        """Every account that one server holds, as public key and JWT, in the order in which it sends them.

        Raises NoRespondersError where no server keeps them, RemoteError where the answer breaks off.
        """
        *found, last = await self._collect(PACK, b"", lambda messages: not messages[-1].data, between=True)
        if last.data:
            raise RemoteError(TIMED_OUT)
        return [entry for message in found for entry in read_pack(message.data)]

    async def _collect(
        self, subject: str, payload: bytes, is_complete: Callable[[list[Msg]], bool], *, between: bool = False
    ) -> list[Msg]:
        """At least one reply, and all that come in time; with ``between``, each has all the time."""
        client = self._link.client
        inbox = client.new_inbox()
        try:
            subscription = await self._link.done(client.subscribe(inbox), subject)
            await client.publish(subject, payload, reply=inbox)
            found: list[Msg] = []
            end = time.monotonic() + self._timeout
            while not found or not is_complete(found):
                with suppress(nats.errors.TimeoutError):
                    left = max(end - time.monotonic(), 0.001)
                    found.append(await self._link.done(subscription.next_msg(timeout=left), subject))
                    if between:
                        end = time.monotonic() + self._timeout
                    continue
                break
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            raise RemoteError(str(error)) from None
        if not found:
            raise RemoteError(TIMED_OUT)
        if found[0].headers and found[0].headers.get("Status") == _UNAVAILABLE:
            raise NoRespondersError
        return found


@asynccontextmanager
async def connected(
    store: Store, access: Access, publish: Sequence[str], *, name: str = "nsk_push", subscribe: str = INBOXES
) -> AsyncIterator[Remote]:
    """A connection that may publish to some subjects at least. Raises StoreError, RemoteError and NskError."""
    url = access.address(store)
    who = system_user(store, publish, subscribe, account=access.account, user=access.user, program=access.program)
    async with linked(target_of(access, url, who, name)) as link:
        remote = Remote(link, who, url, access.timeout)
        if who.is_temporary and STATISTICS in publish:
            await remote.count_servers()
        yield remote


def target_of(access: Access, url: str, who: SystemUser, name: str) -> Target:
    """A server, and as whom to speak to it."""
    # What nats-py logs is said by the errors that follow.
    logging.getLogger("nats").addHandler(logging.NullHandler())
    return Target(
        urls=[part.strip() for part in url.split(",") if part.strip()],
        ca=access.ca,
        certificate=access.certificate,
        key=access.key,
        curves=access.curves,
        tls_first=access.tls_first,
        timeout=CONNECT_SECONDS,
        name=name,
        identity=(who.token, who.pair),
    )


# Accounts.


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of one account: what each server answered, or why none did."""

    account: str
    public: str
    answers: tuple[Answer, ...] = ()
    problem: str = ""

    @property
    def taken(self) -> tuple[Answer, ...]:
        """The answers of the servers that took it."""
        return tuple(answer for answer in self.answers if not answer.problem)

    @property
    def succeeded(self) -> bool:
        """Whether every server that answered took it."""
        return not self.problem and bool(self.answers) and len(self.taken) == len(self.answers)


async def update(remote: Remote, account: str, public: str, token: str, *, one_by_one: bool = True) -> Pushed:
    """Push a JWT. With ``one_by_one``, servers that keep accounts in memory are reached too."""
    try:
        try:
            answers = await remote.gather(UPDATE, token.encode())
        except NoRespondersError:
            if not one_by_one:
                raise
            answers = await remote.gather(UPDATE_ONE.format(public), token.encode())
    except RemoteError as error:
        return Pushed(account, public, problem=error.text)
    return Pushed(account, public, tuple(answers))


async def delete(remote: Remote, publics: Iterable[str], signer: KeyPair) -> list[Answer]:
    """Have servers forget accounts, which an operator's key demands. Raises RemoteError."""
    claims = GenericClaims(subject=signer.public)
    claims.nats["accounts"] = list(publics)
    return await remote.gather(DELETE, jwt.encode(claims, signer).encode())


def delete_signer(store: Store) -> KeyPair:
    """The stored operator key that may demand deletions: a signing key where the operator demands them.

    Raises StoreError.
    """
    keys = store.operator_signers()
    for public in keys:
        if (pair := store.keystore.key(public)) is not None:
            return pair
    raise StoreError("operator keys needed to prune: no operator keys were not found in the keystore")


def push_accounts(
    store: Store, names: Iterable[str], access: Access | None = None, *, tokens: Mapping[str, str] | None = None
) -> list[Pushed]:
    """Push accounts of a store to running servers, and wait for what each server says.

    ``names`` are the store's names of the accounts; ``tokens`` may hold JWTs by name to push instead of the stored
    ones. The servers are those of ``access``, else of the operator's account server URL, over NATS or HTTP. Nothing is
    checked beforehand. Raises StoreError for what the store lacks, RemoteError or NskError where no server is reached;
    what servers refuse stands in the results (``Pushed.succeeded``).
    """
    access = access or Access()
    wanted = []
    for name in names:
        token = (tokens or {}).get(name) or store.account_token(name)
        wanted.append((name, store.account(name).subject, token))
    url = access.address(store)
    if not is_resolver_url(url):
        return [_posted(url, name, public, token) for name, public, token in wanted]
    return asyncio.run(_push(store, access, wanted))


async def _push(store: Store, access: Access, wanted: Sequence[tuple[str, str, str]]) -> list[Pushed]:
    async with connected(store, access, PUSH_SUBJECTS) as remote:
        return [await update(remote, name, public, token) for name, public, token in wanted]


def _posted(url: str, name: str, public: str, token: str) -> Pushed:
    reply = post_account(url, public, token)
    if reply.is_done or reply.is_accepted:
        return Pushed(name, public, (Answer(url, data=reply.text),))
    problem = f"account server {url} responded with status {reply.status}: {reply.text}"
    return Pushed(name, public, (Answer(url, problem=problem),))
