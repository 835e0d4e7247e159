"""Ceilings over real sockets: of the server, of accounts and of users, and what a client is told at each."""

from __future__ import annotations

import json

import pytest

from accounts.limits import AccountLimits
from auth.claims import UserClaims
from broker.config.options import AccountOptions, UserOptions
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, assert_idle, close_reason, serving, session_of, until

EXCEEDED = b"-ERR 'maximum connections exceeded'\r\n"


def account(name: str = "A", limits: AccountLimits | None = None) -> AccountOptions:
    return AccountOptions(name=name, users=(UserOptions(user=name.lower(), password="p"),), limits=limits)


def login(name: str = "A") -> dict[str, str]:
    return {"user": name.lower(), "pass": "p"}


# The server's


@in_every_loop
async def test_one_connection_too_many_is_told_after_info() -> None:
    async with serving(max_connections=3) as server:
        clients = [await Client.connect(server) for _ in range(3)]
        surplus = await Client.open(server)
        await surplus.greeting()
        assert await surplus.rest() == EXCEEDED
        assert await close_reason(server, surplus) == "Maximum Connections Exceeded"
        clients[0].close()
        await until(lambda: len(server.service.connections) == 2)
        clients.append(await Client.connect(server))
        for client in clients[1:]:
            assert await client.ping() == []


async def test_what_a_surplus_client_has_sent_already_is_not_heard() -> None:
    async with serving(max_connections=1) as server, await Client.connect(server) as listener:
        await listener.send(b"SUB > 1\r\n")
        assert await listener.ping() == []
        surplus = await Client.open(server)
        await surplus.send(b'CONNECT {"verbose":false}\r\nPUB a 1\r\nx\r\nPING\r\n')
        assert (await surplus.rest()).endswith(EXCEEDED)
        assert await listener.ping() == []


async def test_no_connection_at_all() -> None:
    async with serving(max_connections=0) as server, await Client.open(server) as client:
        await client.greeting()
        assert await client.rest() == EXCEEDED


async def test_unlimited_connections() -> None:
    async with serving(max_connections=-1) as server, await Client.connect(server) as client:
        assert await client.ping() == []


async def test_subscriptions_and_their_tokens() -> None:
    async with serving(max_subscriptions=2, max_subscription_tokens=2) as server:
        client = await Client.connect(server)
        await client.send(b"SUB a 1\r\nSUB a.b.c 2\r\nSUB a.b 2\r\nSUB a.* 3\r\nUNSUB 1\r\nSUB a.* 3\r\n")
        assert await client.ping() == [
            b"-ERR 'Permissions Violation for Subscription to \"a.b.c\", too many tokens'",
            b"-ERR 'maximum subscriptions exceeded'",
        ]
        assert sorted(session_of(server, client).subscriptions) == [b"2", b"3"]


@pytest.mark.parametrize("verb", [b"PUB a 11\r\n", b"PUB a r 11\r\n", b"HPUB a 2 11\r\n"])
async def test_a_payload_is_refused_before_it_arrives(verb: bytes) -> None:
    async with serving(max_payload=10) as server:
        client = await Client.connect(server, headers=True)
        await client.send(verb)
        assert await client.rest() == b"-ERR 'Maximum Payload Violation'\r\n"
        assert await close_reason(server, client) == "Maximum Message Payload Exceeded"


async def test_a_payload_that_arrived_does_not_reset_a_client_that_is_told_why() -> None:
    async with serving(max_payload=10) as server:
        client = await Client.connect(server)
        await client.send(b"PUB a 30000\r\n" + bytes(30_000))
        told = b""
        # Client.receive would take a reset for an end.
        while data := await client.loop.sock_recv(client.sock, 65536):
            told += data
        assert told == b"-ERR 'Maximum Payload Violation'\r\n"


@pytest.mark.parametrize("line", [b"SUB ", b"PUB ", b"CONNECT ", b"-ERR "])
async def test_a_line_is_refused_before_its_end_arrives(line: bytes) -> None:
    async with serving(max_control_line=100) as server:
        client = await Client.connect(server)
        await client.send(line + b"x" * 101)
        assert await client.rest() == b"-ERR 'maximum control line exceeded'\r\n"
        assert await close_reason(server, client) == "Maximum Control Line Exceeded"


# An account's


async def test_connections_of_an_account() -> None:
    async with serving(accounts=(account(limits=AccountLimits(connections=2)), account("B"))) as server:
        first, second = await Client.connect(server, **login()), await Client.connect(server, **login())
        surplus = await Client.open(server)
        await surplus.greeting()
        await surplus.introduce(**login())
        assert await surplus.rest() == b"-ERR 'maximum account active connections exceeded'\r\n"
        assert await close_reason(server, surplus) == "Maximum Account Connections Exceeded"
        other = await Client.connect(server, **login("B"))
        first.close()
        await until(lambda: len(server.service.control.tenants["A"].sessions) == 1)
        third = await Client.connect(server, **login())
        for client in (second, third, other):
            assert await client.ping() == []


async def test_ceilings_of_an_account_hold_for_each_connection() -> None:
    limits = AccountLimits(subscriptions=1, payload=10)
    async with serving(accounts=(account(limits=limits),)) as server:
        one, other = await Client.connect(server, **login()), await Client.connect(server, **login(), protocol=1)
        for client in (one, other):
            await client.send(b"SUB a 1\r\nSUB b 2\r\n")
        assert await one.ping() == [b"-ERR 'maximum subscriptions exceeded'"]
        told = await other.frames(2)
        assert json.loads(told[0][5:])["max_payload"] == 10
        assert told[1] == b"-ERR 'maximum subscriptions exceeded'"
        await one.send(b"PUB a 11\r\n")
        assert await one.rest() == b"-ERR 'Maximum Payload Violation'\r\n"
        await other.send(b"PUB a 10\r\n0123456789\r\n")
        assert await other.ping() == [b"MSG a 1 10\r\n0123456789"]


@in_every_loop
async def test_a_data_ceiling_ends_the_connection_that_passes_it() -> None:
    """natskeep's own strictness: nats-server carries this number and does nothing with it."""
    async with serving(accounts=(account(limits=AccountLimits(data=100)),)) as server:
        receiver, sender = await Client.connect(server, **login()), await Client.connect(server, **login())
        await receiver.send(b"SUB a 1\r\n")
        assert await receiver.ping() == []
        await sender.send(b"PUB a 60\r\n%b\r\n" % (b"x" * 60))
        assert await sender.ping() == []
        await sender.send(b"PUB a 60\r\n%b\r\n" % (b"x" * 60))
        assert await sender.rest() == b"-ERR 'maximum account data exceeded'\r\n"
        assert (await receiver.rest()).endswith(b"-ERR 'maximum account data exceeded'\r\n")
        for client in (sender, receiver):
            assert await close_reason(server, client) == "Maximum Account Data Exceeded"
        assert_idle(server)


@pytest.mark.parametrize("data", [0, -1])
async def test_no_data_ceiling_lets_everything_through(data: int) -> None:
    async with serving(accounts=(account(limits=AccountLimits(data=data)),)) as server:
        client = await Client.connect(server, **login())
        await client.send(b"PUB a 1000\r\n%b\r\n" % (b"x" * 1000) * 100)
        assert await client.ping() == []


# A user's


def limited(**limits: int) -> Realm:
    realm = Realm()
    for name, value in limits.items():
        setattr(realm.user.nats, name, value)
    return realm


async def test_ceilings_of_a_user() -> None:
    realm = limited(subscriptions=1, payload=10)
    async with serving(realm.options()) as server, await realm.connect(server) as client:
        assert session_of(server, client).lane.maximum_payload == 10
        await client.send(b"SUB a 1\r\nSUB b 2\r\n")
        assert await client.ping() == [b"-ERR 'maximum subscriptions exceeded'"]
        await client.send(b"PUB a 11\r\n")
        assert await client.rest() == b"-ERR 'Maximum Payload Violation'\r\n"


@pytest.mark.parametrize(("of_account", "of_user"), [(0, 20), (20, 0), (-1, 20), (20, -1), (20, 1000), (1000, 20)])
async def test_the_tightest_data_ceiling_holds(of_account: int, of_user: int) -> None:
    realm = limited(data=of_user)
    realm.account.nats.limits.data = of_account
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        await client.send(b"PUB a 20\r\n%b\r\n" % (b"x" * 20))
        assert await client.ping() == []
        await client.send(b"PUB a 1\r\nx\r\n")
        assert await client.rest() == b"-ERR 'maximum account data exceeded'\r\n"


async def test_absent_numbers_of_a_user_restrict() -> None:
    realm = Realm()
    realm.user.nats = UserClaims(subject=realm.user.subject).nats
    async with serving(realm.options()) as server:
        client = await realm.attempt(server)
        assert await client.rest() == b"-ERR 'maximum subscriptions exceeded'\r\n"
        assert await close_reason(server, client) == "Maximum Subscriptions Exceeded"


async def test_connections_of_an_account_by_its_claims() -> None:
    realm = Realm()
    realm.account.nats.limits.connections = 1
    async with serving(realm.options()) as server, await realm.connect(server) as first:
        surplus = await realm.attempt(server)
        assert await surplus.rest() == b"-ERR 'maximum account active connections exceeded'\r\n"
        assert await first.ping() == []
