"""Times, revocations and places: who gets in, and whose live connection ends when a time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from auth.claims import TimeRange
from auth.nkey import KeyKind, KeyPair
from broker.config.options import Options
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, assert_idle, close_reason, serving, session_of, until

USER = b"-ERR 'User Authentication Expired'\r\n"
ACCOUNT = b"-ERR 'Account Authentication Expired'\r\n"
VIOLATION = b"-ERR 'Authorization Violation'\r\n"

SOON = 2
"""Seconds from now, in whole seconds of the clock as tokens have them: between one and two."""

LATER = 3600

Bend = Callable[[Realm, int], None]


def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(moment))


def user_ends(realm: Realm, now: int) -> None:
    realm.user.expires_at = now + SOON
    realm.account.expires_at = now + LATER


def account_ends(realm: Realm, now: int) -> None:
    realm.user.expires_at = now + LATER
    realm.account.expires_at = now + SOON


def operator_ends(realm: Realm, now: int) -> None:
    realm.account.expires_at = now + LATER
    realm.operator.expires_at = now + SOON


def window_ends(realm: Realm, now: int) -> None:
    realm.user.nats.times = [TimeRange(start=clock(now - 60), end=clock(now + SOON))]
    realm.user.nats.times_location = "UTC"


def bearer_ends(realm: Realm, now: int) -> None:
    realm.user.nats.bearer_token = True
    realm.user.expires_at = now + SOON


ENDS: list[tuple[Bend, bytes]] = [
    (user_ends, USER),
    (account_ends, ACCOUNT),
    (operator_ends, ACCOUNT),
    (window_ends, USER),
    (bearer_ends, USER),
]


def together(realms: list[Realm]) -> Options:
    """One server that trusts the operators of all realms."""
    options = [realm.options() for realm in realms]
    preload = {key: token for each in options for key, token in each.resolver_preload.items()}
    operators = tuple(operator for each in options for operator in each.operators)
    return Options(
        operators=operators, resolver=options[0].resolver, resolver_preload=preload, max_control_line=8192,
        ping_interval=LATER,
    )  # fmt: skip


@in_every_loop
async def test_live_connections_end_when_their_time_is_over() -> None:
    now = int(time.time())
    realms = [Realm() for _ in range(len(ENDS) + 1)]
    for realm, (bend, _) in zip(realms, ENDS, strict=False):
        bend(realm, now)
    async with serving(together(realms)) as server:
        clients = [await realm.connect(server) for realm in realms]
        for client in clients:
            await client.send(b"SUB a 1\r\n")
            assert await client.ping() == []
        told = await asyncio.gather(*(client.rest() for client in clients[:-1]))
        assert time.time() >= now + SOON
        assert told == [text for _, text in ENDS]
        for client in clients[:-1]:
            assert await close_reason(server, client) == "Authentication Expired"
        assert await clients[-1].ping() == []
        assert sum(tenant.subscriptions for tenant in server.service.control.tenants.values()) == 1
        # Whose time is over does not get in again; a user whose time is over is told no more than others.
        for realm in realms[:-1]:
            assert await (await realm.attempt(server)).rest() == VIOLATION


async def test_a_second_connect_brings_its_own_end() -> None:
    realm = Realm()
    realm.user.expires_at = int(time.time()) + LATER
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        assert session_of(server, client).transport._expiry_timer is not None
        realm.user.expires_at = 0
        await client.introduce(**realm.proof(client))
        assert await client.frame() == b"PONG"
        assert session_of(server, client).transport._expiry_timer is None


# Who does not get in at all


def expired(realm: Realm) -> None:
    realm.user.expires_at = int(time.time()) - 10


def not_yet(realm: Realm) -> None:
    realm.user.not_before = int(time.time()) + LATER


def account_expired(realm: Realm) -> None:
    realm.account.expires_at = int(time.time()) - 10


def account_not_yet(realm: Realm) -> None:
    realm.account.not_before = int(time.time()) + LATER


def operator_expired(realm: Realm) -> None:
    realm.operator.expires_at = int(time.time()) - 10


def operator_not_yet(realm: Realm) -> None:
    realm.operator.not_before = int(time.time()) + LATER


def revoked(realm: Realm) -> None:
    realm.account.nats.revocations = {realm.user_key.public: realm.issued_at}


def all_revoked(realm: Realm) -> None:
    realm.account.nats.revocations = {"*": realm.issued_at}


def from_elsewhere(realm: Realm) -> None:
    realm.user.nats.source_networks = ["10.0.0.0/8", "::1/128", "128.0.0.0/1"]


def outside_window(realm: Realm) -> None:
    now = time.time()
    realm.user.nats.times = [TimeRange(start=clock(now + LATER), end=clock(now + 2 * LATER))]
    realm.user.nats.times_location = "UTC"


def bearer_not_allowed(realm: Realm) -> None:
    realm.user.nats.bearer_token = True
    realm.account.nats.limits.disallow_bearer = True


def other_connection_type(realm: Realm) -> None:
    realm.user.nats.allowed_connection_types = ["MQTT"]


def another_key_signs_the_nonce(realm: Realm) -> None:
    realm.user_key = KeyPair.generate(KeyKind.USER)


@pytest.mark.parametrize(
    "bend",
    [
        expired, not_yet, account_expired, account_not_yet, operator_expired, operator_not_yet, revoked, all_revoked,
        from_elsewhere, outside_window, bearer_not_allowed, other_connection_type, another_key_signs_the_nonce,
    ],
    ids=lambda bend: bend.__name__,
)  # fmt: skip
async def test_refused(bend: Callable[[Realm], None]) -> None:
    realm = Realm()
    bend(realm)
    async with serving(realm.options()) as server:
        client = await realm.attempt(server)
        assert await client.rest() == VIOLATION
        assert await close_reason(server, client) == "Authentication Failure"
        assert_idle(server)


async def test_a_token_that_a_stranger_signed() -> None:
    realm, stranger = Realm(), Realm()
    async with serving(realm.options()) as server:
        assert await (await stranger.attempt(server)).rest() == VIOLATION
        async with await realm.connect(server) as client:
            assert await client.ping() == []


async def test_a_signature_for_another_connection() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        one, other = await Client.open(server), await Client.open(server)
        await one.greeting()
        await other.greeting()
        assert one.info["nonce"] != other.info["nonce"]
        await other.introduce(**realm.proof(one))
        assert await other.rest() == VIOLATION
        await one.introduce(**realm.proof(one))
        assert await one.frame() == b"PONG"


def revoked_before(realm: Realm) -> None:
    realm.account.nats.revocations = {realm.user_key.public: realm.issued_at - 1, "*": realm.issued_at - 1}


def another_revoked(realm: Realm) -> None:
    realm.account.nats.revocations = {KeyPair.generate(KeyKind.USER).public: int(time.time())}


def from_here(realm: Realm) -> None:
    realm.user.nats.source_networks = ["10.0.0.0/8", "127.0.0.0/8"]


def inside_window(realm: Realm) -> None:
    now = time.time()
    realm.user.nats.times = [TimeRange(start=clock(now - LATER), end=clock(now + LATER))]
    realm.user.nats.times_location = "UTC"


def standard_connections(realm: Realm) -> None:
    realm.user.nats.allowed_connection_types = ["STANDARD", "WEBSOCKET"]


@pytest.mark.parametrize(
    "bend",
    [revoked_before, another_revoked, from_here, inside_window, standard_connections],
    ids=lambda bend: bend.__name__,
)
async def test_admitted(bend: Callable[[Realm], None]) -> None:
    realm = Realm()
    bend(realm)
    async with serving(realm.options()) as server, await realm.connect(server) as client:
        assert await client.ping() == []


async def test_a_bearer_need_not_sign_and_all_others_must() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        assert await (await realm.attempt(server, signed=False)).rest() == VIOLATION
        realm.user.nats.bearer_token = True
        client = await realm.connect(server, signed=False)
        assert await client.ping() == []
        client.close()
        await until(lambda: not server.service.connections)
        # What monitoring keeps of a bearer is no credential.
        assert server.service.closed[-1].token == ""
