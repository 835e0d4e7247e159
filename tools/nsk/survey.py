"""Asks running servers what a plan needs: the accounts that they hold, whom they trust, and who is connected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from auth.claims import AccountClaims, OperatorClaims
from auth.envelope import JwtError
from tools.nsk.account_server import account_url
from tools.nsk.deletions import deletions
from tools.nsk.errors import NskError
from tools.nsk.plan_model import Connection, Holdings, StoredUser, Subscription, Wanted
from tools.nsk.remote import (
    ACCOUNTS,
    CONNECTIONS,
    CONNECTIONS_OF,
    VARIABLES,
    Answer,
    NoRespondersError,
    Remote,
    RemoteError,
)
from tools.nsk.store import Store
from tools.nsk.web import exchange

_PAGE: Final = 256
"""Connections that are asked for at once: an answer with their subscriptions must fit a message."""
_HTTP_SECONDS: Final = 5.0
_NOT_FOUND: Final = 404


def wanted_of(store: Store, names: Iterable[str], *, removed: Iterable[str] = ()) -> Wanted:
    """What pushing accounts of a store, and removing others from servers, is to bring about. Raises StoreError."""
    tokens = {store.account(name).subject: store.account_token(name) for name in names}
    users = (
        StoredUser(store.account(account).subject, user, store.user_token(account, user))
        for account in store.accounts()
        for user in store.users(account)
    )
    return Wanted(tokens, frozenset(removed), tuple(users))


async def holdings(remote: Remote, store: Store, wanted: Wanted) -> Holdings:
    """What servers hold, with the connections of the accounts that would change. Raises RemoteError."""
    notes: list[str] = []
    operators, system_account = await _trusted(remote, store, notes)
    tokens = await _tokens(remote, wanted, notes)
    changing = [
        public
        for public in (*wanted.tokens, *wanted.removed)
        if tokens.get(public) not in (None, wanted.tokens.get(public))
    ]
    own = remote.user.pair.public
    connections = [
        connection
        for public in changing
        for connection in await _connections(remote, public, notes)
        if connection.user != own
    ]
    return Holdings(tokens, operators, system_account, tuple(connections), tuple(dict.fromkeys(notes)))


def strangers(store: Store, held: Holdings) -> dict[str, int | None]:
    """The accounts of an operator that servers hold and its store does not, and when each was deleted there.

    Those of other operators whom the servers trust, and the servers' system account, are none of its business.
    """
    own = store.operator().subject
    foreign: set[str] = set()
    for token in held.operators:
        with suppress(JwtError):
            claims = OperatorClaims.from_token(token)
            if claims.subject != own:
                foreign.update(claims.trusted_keys())
    known, gone = store.account_tokens(), deletions(store)
    return {
        public: gone[public].at if public in gone else None
        for public, token in sorted(held.tokens.items())
        if public not in known and public != held.system_account and _issuer(token) not in foreign
    }


def _issuer(token: str) -> str:
    try:
        return AccountClaims.from_token(token).issuer
    except JwtError:
        return ""


async def refused_imports(remote: Remote, publics: Iterable[str]) -> set[tuple[str, str, str, str]]:
    """The imports that a server says are not in force: account, kind, exporting account, subject there."""
    found = set()
    for public in publics:
        for answer in await remote.gather(ACCOUNTS, json.dumps({"account": public}).encode()):
            detail = _mapping(answer).get("account_detail")
            for one in detail.get("imports") or () if isinstance(detail, Mapping) else ():
                if isinstance(one, Mapping) and one.get("invalid") is True:
                    kind, exporter, subject = (str(one.get(name, "")) for name in ("type", "account", "subject"))
                    found.add((public, kind, exporter, subject))
    return found


def holdings_over_http(store: Store, url: str, wanted: Wanted) -> Holdings:
    """What an account server holds of the accounts of the store. Raises NskError."""
    tokens = {}
    for public in {*store.account_tokens(), *wanted.tokens}:
        reply = exchange(account_url(url, public), timeout=_HTTP_SECONDS)
        if reply.is_done:
            tokens[public] = reply.text.strip()
        elif reply.status != _NOT_FOUND:
            raise NskError(f'error pulling "{account_url(url, public)}": {reply.status}')
    operator = store.operator()
    note = "an account server knows nothing of connections and of accounts that the store does not have"
    return Holdings(tokens, (store.operator_token(),), operator.nats.system_account, notes=(note,))


async def _trusted(remote: Remote, store: Store, notes: list[str]) -> tuple[tuple[str, ...], str]:
    """The JWTs of the operators that servers trust, and their system account."""
    operator = store.operator()
    try:
        found = [_mapping(answer) for answer in await remote.gather(VARIABLES)]
    except RemoteError as error:
        notes.append(f"servers do not tell whom they trust, so the operator of the store counts: {error.text}")
        found = []
    trusted = {tuple(sorted(map(str, each.get("trusted_operators_jwt") or ()))) for each in found}
    if len(trusted) > 1:
        notes.append("servers do not trust the same operators; those of the first one count")
    for each in found:
        operators = tuple(map(str, each.get("trusted_operators_jwt") or ()))
        if operators:
            return operators, str(each.get("system_account") or operator.nats.system_account)
    return (store.operator_token(),), operator.nats.system_account


async def _tokens(remote: Remote, wanted: Wanted, notes: list[str]) -> dict[str, str]:
    with suppress(NoRespondersError):
        return dict(await remote.pack())
    # Servers that keep accounts in memory, or a part of them, tell of those that they have in use.
    found: dict[str, str] = {}
    names: dict[str, None] = {}
    for answer in await remote.gather(ACCOUNTS, b"{}"):
        names.update(dict.fromkeys(map(str, _mapping(answer).get("accounts") or ())))
    for public in dict.fromkeys((*names, *wanted.tokens)):
        tokens = set()
        for answer in await remote.gather(ACCOUNTS, json.dumps({"account": public}).encode()):
            detail = _mapping(answer).get("account_detail")
            token = detail.get("jwt") if isinstance(detail, Mapping) else None
            if isinstance(token, str) and token:
                tokens.add(token)
        if len(tokens) > 1:
            notes.append(f"servers hold different claims of account {public}; those that were issued last count")
        if tokens:
            found[public] = max(tokens, key=_issued)
    return found


def _issued(token: str) -> int:
    try:
        return AccountClaims.from_token(token).issued_at
    except JwtError:
        return 0


def _mapping(answer: Answer) -> Mapping[str, Any]:
    return answer.data if isinstance(answer.data, Mapping) else {}


# Connections.


async def _connections(remote: Remote, public: str, notes: list[str]) -> list[Connection]:
    found: list[Connection] = []
    try:
        for answer in await remote.gather(CONNECTIONS, _page(public, 0)):
            found += await _pages(remote, answer, public, notes)
    except RemoteError as error:
        notes.append(f"servers do not tell who is connected: {error.text}")
    return found


async def _pages(remote: Remote, answer: Answer, public: str, notes: list[str]) -> list[Connection]:
    """The connections of one server, from its first page on."""
    found: list[Connection] = []
    while True:
        if answer.problem:
            notes.append(answer.problem)
        page = _mapping(answer)
        entries = page.get("connections") or ()
        found += _read_connections(answer.server, public, entries)
        if not entries or len(found) >= _number(page.get("total")) or not answer.id:
            return found
        answer = (await remote.gather(CONNECTIONS_OF.format(answer.id), _page(public, len(found))))[0]


def _page(public: str, offset: int) -> bytes:
    asked = {"acc": public, "auth": True, "subscriptions_detail": True, "offset": offset, "limit": _PAGE}
    return json.dumps(asked).encode()


def _read_connections(server: str, public: str, entries: Iterable[Any]) -> Iterator[Connection]:
    for entry in entries:
        if isinstance(entry, Mapping):
            details = entry.get("subscriptions_list_detail") or ()
            yield Connection(
                server=server,
                cid=_number(entry.get("cid")),
                account=public,
                user=str(entry.get("authorized_user", "")),
                token=str(entry.get("jwt", "")),
                client=str(entry.get("name", "")),
                subscriptions=tuple(
                    Subscription(str(one.get("subject", "")), str(one["qgroup"]) if one.get("qgroup") else None)
                    for one in details
                ),
            )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
