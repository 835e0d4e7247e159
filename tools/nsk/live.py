"""What running servers say of themselves to the system account: whom they trust, who is connected, what they take.

Every server is asked by its id, so that one answer is all there is to wait for; only finding them all takes a moment.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import nats.errors

from auth import jwt
from auth.claims import OperatorClaims, UserClaims
from auth.envelope import JwtError
from tools.nsk.errors import NskError
from tools.nsk.tool import Link, Target, linked

Result = TypeVar("Result")

PAGE: Final = 1024
QUIET_SECONDS: Final = 0.4
"""How long after the last answer others may still come, where a server does not say how many there are."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The operator keys whose signature on accounts a server takes, and the operators' identities."""

    server: str
    keys: frozenset[str]
    operators: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connected:
    """One connection. ``user`` and ``issuer`` are public keys; ``token`` is the user's JWT where the server shows it."""

    server_id: str
    server: str
    cid: int
    account: str
    user: str
    issuer: str
    name: str = ""
    address: str = ""
    since: str = ""
    sent: int = 0
    """Messages that the client published."""
    received: int = 0
    subscriptions: tuple[str, ...] = ()
    token: str = field(default="", repr=False)


class Servers(Protocol):
    """What rotations and answers to leaks ask of running servers. Every method raises NskError."""

    def push(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Hand out account JWTs, by account key; the keys of those that not every server took, with the reason."""

    def trust(self) -> list[Trust]:
        """Whom each server trusts."""

    def connections(self, account: str, *, subscriptions: bool = False) -> list[Connected]:
        """The open connections of an account, by its key."""

    def account_issuers(self) -> dict[str, set[str]]:
        """The accounts that servers hold, by key, and by which keys their JWTs there are signed."""

    def kick(self, connection: Connected) -> bool:
        """End a connection; whether it was there."""


class LiveServers:
    """Servers that are reached as a user of the system account."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def push(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Hand out account JWTs."""

        async def work(link: Link) -> dict[str, str]:
            count = len(await _peers(link, self._target))
            return {
                key: problem for key, token in tokens.items() if (problem := await self._push(link, key, token, count))
            }

        return self._run(work)

    async def _push(self, link: Link, key: str, token: str, count: int) -> str:
        subject = f"$SYS.REQ.ACCOUNT.{key}.CLAIMS.UPDATE"
        answers = await _gather(link, self._target, subject, token.encode("ascii"), count)
        problems = [problem for answer in answers if (problem := _refusal(answer))]
        if not problems and len(answers) < count:
            problems.append(f"{count - len(answers)} of {count} servers did not answer")
        return "; ".join(problems)

    def trust(self) -> list[Trust]:
        """Whom each server trusts."""

        async def work(link: Link) -> list[Trust]:
            return [
                _trust_of(peer, await self._ask(link, peer, "VARZ", {})) for peer in await _peers(link, self._target)
            ]

        return self._run(work)

    def connections(self, account: str, *, subscriptions: bool = False) -> list[Connected]:
        """The open connections of an account."""

        async def work(link: Link) -> list[Connected]:
            found: list[Connected] = []
            for peer in await _peers(link, self._target):
                offset = 0
                while True:
                    request = {"auth": True, "acc": account, "limit": PAGE, "offset": offset, "sort": "cid"}
                    if subscriptions:
                        request["subscriptions"] = True
                    page = (await self._ask(link, peer, "CONNZ", request)).get("connections") or []
                    found += [_connected(peer, entry) for entry in page]
                    if len(page) < PAGE:
                        break
                    offset += PAGE
            return [one for one in found if one.account == account]

        return self._run(work)

    def account_issuers(self) -> dict[str, set[str]]:
        """The accounts that servers hold, and who signed them."""

        async def work(link: Link) -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for peer in await _peers(link, self._target):
                for key in (await self._ask(link, peer, "ACCOUNTZ", {})).get("accounts") or []:
                    detail = (await self._ask(link, peer, "ACCOUNTZ", {"account": key})).get("account_detail") or {}
                    if issuer := str(detail.get("issuer_key") or ""):
                        found.setdefault(key, set()).add(issuer)
            return found

        return self._run(work)

    def kick(self, connection: Connected) -> bool:
        """End a connection."""

        async def work(link: Link) -> bool:
            subject = f"$SYS.REQ.SERVER.{connection.server_id}.KICK"
            answers = await _gather(link, self._target, subject, _encoded({"cid": connection.cid}), 1)
            return bool(answers) and not _refusal(answers[0])

        return self._run(work)

    async def _ask(self, link: Link, peer: Peer, what: str, request: Mapping[str, object]) -> dict[str, Any]:
        answers = await _gather(link, self._target, f"$SYS.REQ.SERVER.{peer.id}.{what}", _encoded(request), 1)
        if not answers:
            raise NskError(f"server {peer.name} did not answer {what} within {self._target.timeout:g} s")
        if problem := _refusal(answers[0]):
            raise NskError(f"server {peer.name} did not answer {what}: {problem}")
        data = answers[0].get("data")
        return data if isinstance(data, dict) else {}

    def _run(self, work: Callable[[Link], Awaitable[Result]]) -> Result:
        # What nats-py logs is said by the errors that follow.
        logging.getLogger("nats").addHandler(logging.NullHandler())

        async def linked_work() -> Result:
            async with linked(self._target) as link:
                return await work(link)

        return asyncio.run(linked_work())


async def _peers(link: Link, target: Target) -> list[Peer]:
    """Every server that answers. Raises NskError where none does."""
    answers = await _gather(link, target, "$SYS.REQ.SERVER.PING.STATSZ", b"", None)
    servers = [answer.get("server") for answer in answers]
    found = {
        str(one["id"]): str(one.get("name") or one["id"]) for one in servers if isinstance(one, dict) and "id" in one
    }
    if not found:
        raise NskError(
            "no server answers the system account: is the user one of the system account that the servers know?"
        )
    return [Peer(key, name) for key, name in found.items()]


async def _gather(link: Link, target: Target, subject: str, payload: bytes, count: int | None) -> list[dict[str, Any]]:
    """The answers to a request: so many, or those of all servers that say how many they are."""
    inbox = link.client.new_inbox()
    subscription = await link.done(link.client.subscribe(inbox), subject)
    await link.done(link.client.publish(subject, payload, reply=inbox), subject)
    await link.flush(subject)
    found: list[dict[str, Any]] = []
    try:
        while count is None or len(found) < count:
            patience = target.timeout if not found or count is not None else QUIET_SECONDS
            answer = _decoded((await link.done(subscription.next_msg(timeout=patience), subject)).data)
            if answer is None:
                break
            found.append(answer)
            if count is None and isinstance(statistics := answer.get("statsz"), dict):
                count = int(statistics.get("active_servers") or 1)
    except nats.errors.TimeoutError:
        pass
    finally:
        await subscription.unsubscribe()
    return found


def _decoded(data: bytes) -> dict[str, Any] | None:
    """An answer; None where nobody took the request."""
    if not data:
        return None
    try:
        answer = json.loads(data)
    except ValueError:
        raise NskError("a server's answer cannot be read: it is no JSON") from None
    return answer if isinstance(answer, dict) else {}


def _encoded(request: Mapping[str, object]) -> bytes:
    return json.dumps(request).encode()


def _refusal(answer: Mapping[str, Any]) -> str:
    """Why a server did not do what it was asked for; empty where it did."""
    server = answer.get("server")
    name = str(server.get("name", "")) if isinstance(server, dict) else ""
    error = answer.get("error")
    if isinstance(error, dict):
        return f"{name}: {error.get('description') or error.get('code')}"
    data = answer.get("data")
    message = str(data.get("message", "")) if isinstance(data, dict) else ""
    if message == "jwt update skipped":
        return f"{name}: it reads this account from its configuration, and nobody has used it there yet"
    return ""


def _trust_of(peer: Peer, data: Mapping[str, Any]) -> Trust:
    keys: set[str] = set()
    operators: set[str] = set()
    for token in data.get("trusted_operators_jwt") or []:
        try:
            claims = OperatorClaims.from_token(str(token))
        except JwtError:
            continue
        keys.update(claims.trusted_keys())
        operators.add(claims.subject)
    return Trust(peer.name, frozenset(keys), frozenset(operators))


def _connected(peer: Peer, entry: Mapping[str, Any]) -> Connected:
    token = str(entry.get("jwt") or "")
    return Connected(
        server_id=peer.id,
        server=peer.name,
        cid=int(entry.get("cid") or 0),
        account=str(entry.get("account") or ""),
        user=_subject(token) or str(entry.get("authorized_user") or ""),
        issuer=str(entry.get("issuer_key") or ""),
        name=str(entry.get("name") or ""),
        address=f"{entry.get('ip', '')}:{entry.get('port', '')}",
        since=str(entry.get("start") or ""),
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


def users_of(connections: Iterable[Connected]) -> list[str]:
    """How people are told of connections."""
    return [
        f"{one.name or 'a client'} at {one.address} (cid {one.cid} on {one.server})"
        for one in sorted(connections, key=lambda one: (one.server, one.cid))
    ]
