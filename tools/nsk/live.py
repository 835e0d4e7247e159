"""What running servers say of themselves to the system account: whom they trust, who is connected, what they take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from auth import jwt
from auth.claims import OperatorClaims, UserClaims
from auth.envelope import JwtError
from tools.nsk.errors import NskError
from tools.nsk.remote import (
    ACCOUNTS,
    CONNECTIONS,
    PUSH_SUBJECTS,
    VARIABLES,
    Access,
    Answer,
    Remote,
    connected,
    update,
)
from tools.nsk.store import Store

Result = TypeVar("Result")

PAGE: Final = 1024
_KICK: Final = "$SYS.REQ.SERVER.{}.KICK"
_SUBJECTS: Final = (*PUSH_SUBJECTS, ACCOUNTS, CONNECTIONS, VARIABLES, _KICK.format("*"))
_OPEN: Final = 0
_CLOSED: Final = 1
_SKIPPED: Final = "jwt update skipped"
"""What servers say that read accounts from their configuration, of an account that nobody has used yet."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The operator keys whose signature on accounts a server takes, and the operators' identities."""

    server: str
    keys: frozenset[str]
    operators: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connected:
    """One connection. ``user`` and ``issuer`` are public keys; ``token`` is the user's JWT where the server shows it.

    ``sent`` and ``received`` are messages, as the client sees it.
    """

    server_id: str
    server: str
    cid: int
    account: str
    user: str
    issuer: str
    name: str = ""
    address: str = ""
    since: str = ""
    until: str = ""
    reason: str = ""
    """Why it ended, if it did."""
    sent: int = 0
    received: int = 0
    subscriptions: tuple[str, ...] = ()
    token: str = field(default="", repr=False)


class Servers(Protocol):
    """What rotations and answers to leaks ask of running servers. Every method raises NskError."""

    def push(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Hand out account JWTs, by account key; the keys of those that not every server took, with the reason."""

    def trust(self) -> list[Trust]:
        """Whom each server trusts."""

    def connections(self, account: str, *, subscriptions: bool = False, ended: bool = False) -> list[Connected]:
        """The open connections of an account, by its key, or those that have ended and are remembered."""

    def account_issuers(self) -> dict[str, set[str]]:
        """The accounts that servers hold, by key, and by which keys their JWTs there are signed."""

    def kick(self, connections: Iterable[Connected]) -> list[str]:
        """End connections; why some could not be ended."""


class LiveServers:
    """The servers of an operator, asked by a user of its system account."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    def push(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Hand out account JWTs."""

        async def work(remote: Remote) -> dict[str, str]:
            found = {key: await _push(remote, key, token) for key, token in tokens.items()}
            return {key: problem for key, problem in found.items() if problem}

        return self._run(work)

    def trust(self) -> list[Trust]:
        """Whom each server trusts."""

        async def work(remote: Remote) -> list[Trust]:
            return [_trust_of(answer) for answer in await _answers(remote, VARIABLES, {})]

        return self._run(work)

    def connections(self, account: str, *, subscriptions: bool = False, ended: bool = False) -> list[Connected]:
        """The connections of an account."""

        async def work(remote: Remote) -> list[Connected]:
            found: list[Connected] = []
            offset, is_more = 0, True
            while is_more:
                request: dict[str, object] = {"auth": True, "acc": account, "limit": PAGE, "offset": offset}
                request |= {"sort": "cid", "subscriptions": subscriptions, "state": _CLOSED if ended else _OPEN}
                is_more, offset = False, offset + PAGE
                for answer in await _answers(remote, CONNECTIONS, request):
                    page = answer.data.get("connections") or []
                    is_more = is_more or len(page) >= PAGE
                    found += [_connection(answer, entry) for entry in page]
            return [one for one in found if one.account == account]

        return self._run(work)

    def account_issuers(self) -> dict[str, set[str]]:
        """The accounts that servers hold, and who signed them."""

        async def work(remote: Remote) -> dict[str, set[str]]:
            keys = {key for answer in await _answers(remote, ACCOUNTS, {}) for key in answer.data.get("accounts") or ()}
            found: dict[str, set[str]] = {}
            for key in sorted(keys):
                # A server that does not hold the account says so, which is no failure.
                for answer in await remote.gather(ACCOUNTS, _encoded({"account": key})):
                    if issuer := _detail(answer).get("issuer_key"):
                        found.setdefault(key, set()).add(str(issuer))
            return found

        return self._run(work)

    def kick(self, connections: Iterable[Connected]) -> list[str]:
        """End connections."""

        async def work(remote: Remote) -> list[str]:
            remote.servers = 1
            problems = []
            for one in connections:
                [answer, *_] = await remote.gather(_KICK.format(one.server_id), _encoded({"cid": one.cid}))
                # Success comes without data, and one that has ended by itself is ended.
                if "responded with error" in answer.problem and "no such client" not in answer.problem:
                    problems.append(f"cid {one.cid} on {one.server}: {answer.problem}")
            return problems

        return self._run(work)

    def _run(self, work: Callable[[Remote], Awaitable[Result]]) -> Result:
        async def connected_work() -> Result:
            async with connected(self._store, self._access, _SUBJECTS, name=self._access.program) as remote:
                return await work(remote)

        return asyncio.run(connected_work())


async def _push(remote: Remote, key: str, token: str) -> str:
    """Hand out one JWT; why not every server took it, or nothing."""
    pushed = await update(remote, "", key, token)
    problems = [pushed.problem] if pushed.problem else [answer.problem for answer in pushed.answers if answer.problem]
    if remote.servers and len(pushed.answers) < remote.servers and not pushed.problem:
        problems.append(f"{remote.servers - len(pushed.answers)} of {remote.servers} servers did not answer")
    if any(_SKIPPED in answer.message for answer in pushed.taken):
        for answer in await remote.gather(ACCOUNTS, _encoded({"account": key})):
            if _detail(answer).get("jwt") != token:
                problems.append(f"server {answer.server} reads this account from its configuration, which is older")
    return "; ".join(problems)


async def _answers(remote: Remote, subject: str, request: Mapping[str, object]) -> list[Answer]:
    """What all servers answer. Raises NskError where one of them cannot."""
    found = await remote.gather(subject, _encoded(request))
    for answer in found:
        if answer.problem:
            raise NskError(answer.problem)
        if not isinstance(answer.data, dict):
            raise NskError(f"server {answer.server} answered what cannot be read")
    if remote.servers and len(found) < remote.servers:
        raise NskError(f"{remote.servers - len(found)} of {remote.servers} servers did not answer")
    return found


def _encoded(request: Mapping[str, object]) -> bytes:
    return json.dumps(request).encode()


def _detail(answer: Answer) -> Mapping[str, Any]:
    detail = answer.data.get("account_detail") if isinstance(answer.data, dict) else None
    return detail if isinstance(detail, dict) else {}


def _trust_of(answer: Answer) -> Trust:
    keys: set[str] = set()
    operators: set[str] = set()
    for token in answer.data.get("trusted_operators_jwt") or []:
        try:
            claims = OperatorClaims.from_token(str(token))
        except JwtError:
            continue
        keys.update(claims.trusted_keys())
        operators.add(claims.subject)
    return Trust(answer.server, frozenset(keys), frozenset(operators))


def _connection(answer: Answer, entry: Mapping[str, Any]) -> Connected:
    token = str(entry.get("jwt") or "")
    return Connected(
        server_id=answer.id,
        server=answer.server,
        cid=int(entry.get("cid") or 0),
        account=str(entry.get("account") or ""),
        user=_subject(token) or str(entry.get("authorized_user") or ""),
        issuer=str(entry.get("issuer_key") or ""),
        name=str(entry.get("name") or ""),
        address=f"{entry.get('ip', '')}:{entry.get('port', '')}",
        since=str(entry.get("start") or ""),
        until=str(entry.get("stop") or ""),
        reason=str(entry.get("reason") or ""),
        sent=int(entry.get("in_msgs") or 0),
        received=int(entry.get("out_msgs") or 0),
        subscriptions=tuple(map(str, entry.get("subscriptions_list") or ())),
        token=token,
    )


def _subject(token: str) -> str:
    try:
        claims = jwt.decode_unverified(token) if token else None
    except JwtError:
        return ""
    return claims.subject if isinstance(claims, UserClaims) else ""


def words(connections: Iterable[Connected]) -> list[str]:
    """How people are told of connections."""
    return [
        f"{one.name or 'a client'} at {one.address} (cid {one.cid} on {one.server})"
        for one in sorted(connections, key=lambda one: (one.server, one.cid))
    ]
