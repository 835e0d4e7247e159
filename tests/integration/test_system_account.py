"""The system account of a running server: what is answered to whom, and what tenants cannot learn or hold up."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from accounts.exports import ServiceExport
from accounts.imports import ServiceImport
from accounts.limits import AccountLimits
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from auth import jwt
from broker.app import Server
from broker.config.options import AccountOptions, Options, UserOptions
from broker.reload.plan import ReloadError
from broker.system import subjects
from broker.system.services import Services
from broker.system.turns import MOST_WAITING
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, close_reason, serving, until

_NUMBERS = count(1000)
NO_RESPONDERS = b"NATS/1.0 503\r\n"


def account(name: str, *users: str, **changes: Any) -> AccountOptions:
    return AccountOptions(name=name, users=tuple(UserOptions(user=user, password="p") for user in users), **changes)


ACCOUNTS = (account("$SYS", "s"), account("A", "a", "a2"), account("B", "b"))


async def connect(server: Server, user: str, **options: Any) -> Client:
    return await Client.connect(server, user=user, **{"pass": "p", "headers": True, "no_responders": True, **options})


async def raw(client: Client, subject: str, request: object = None, header: bytes = b"") -> bytes:
    """The frame that a request is answered with."""
    number = next(_NUMBERS)
    body = b"" if request is None else request if isinstance(request, bytes) else json.dumps(request).encode()
    sizes = f"{len(header)} {len(header) + len(body)}" if header else str(len(body))
    verb = "HPUB" if header else "PUB"
    line = f"SUB inbox.{number} {number}\r\nUNSUB {number} 1\r\n{verb} {subject} inbox.{number} {sizes}\r\n"
    await client.send(line.encode() + header + body + b"\r\n")
    return await client.frame()


async def ask(client: Client, subject: str, request: object = None) -> Any:
    """What a request is answered with."""
    frame = await raw(client, subject, request)
    return json.loads(frame.partition(b"\r\n")[2])


async def is_unanswered(client: Client, subject: str, request: object = None) -> bool:
    """Whether nobody takes a request."""
    return NO_RESPONDERS in await raw(client, subject, request)


async def is_met_with_silence(client: Client, subject: str, request: object = None) -> bool:
    """Whether a request is taken and not answered: what is asked after it is answered first."""
    number = next(_NUMBERS)
    body = b"" if request is None else json.dumps(request).encode()
    await client.send(f"SUB quiet.{number} {number}\r\nPUB {subject} quiet.{number} {len(body)}\r\n".encode() + body)
    await client.send(b"\r\n")
    answer = await raw(client, "$SYS.REQ.USER.INFO")
    await client.send(f"UNSUB {number}\r\n".encode())
    return b"quiet." not in answer and b'"user"' in answer


@in_every_loop
async def test_every_service_has_an_answer() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system = await connect(server, "s")
        await ask(system, "$SYS.REQ.USER.INFO")
        loaded = server._system
        assert loaded is not None
        assert isinstance(loaded._services, Services)
        assert set(loaded._services.handlers()) == set(subjects.services("N"))
        for name in subjects.OF_SERVERS:
            one = await ask(system, f"$SYS.REQ.SERVER.{server.identity.server_id}.{name}")
            everybody = await ask(system, f"$SYS.REQ.SERVER.PING.{name}")
            assert set(one) == set(everybody)
            assert "error" not in one


async def test_what_is_asked_while_the_services_load_is_answered_then() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system, tenant = await connect(server, "s"), await connect(server, "a")
        await system.send(b"SUB r 1\r\n" + b"PUB $SYS.REQ.SERVER.PING.IDZ r 0\r\n\r\n" * 3)
        assert [json.loads((await system.frame()).partition(b"\r\n")[2])["id"] for _ in range(3)] == [
            server.identity.server_id
        ] * 3
        assert (await ask(tenant, "$SYS.REQ.USER.INFO"))["data"]["user"] == "a"


async def test_an_account_learns_of_its_own_connections_only() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        clients = [await connect(server, user, name=user) for user in ("s", "a", "a2", "b")]
        tenant = clients[1]
        for subject in ("$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"):
            for request in ({}, {"acc": "B", "auth": True, "state": 2}, {"acc": "$SYS", "cid": clients[0].cid}):
                page = (await ask(tenant, subject, request))["data"]
                names = {one["name"] for one in page["connections"]}
                assert names == (set() if "cid" in request else {"a", "a2"})
                assert page["total"] == 2
        for request in ({}, {"accounts": ["B", "$SYS"], "include_unused": True}):
            found = (await ask(tenant, "$SYS.REQ.ACCOUNT.PING.STATZ", request))["data"]["account_statz"]
            assert [(one["acc"], one["conns"]) for one in found] == [("A", 2)]


async def test_an_account_reaches_nothing_else_of_the_system_account() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        await connect(server, "b")
        tenant = await connect(server, "a")
        asked = [subject for found in subjects.services(server.identity.server_id).values() for subject in found]
        asked += ["$SYS.REQ.ACCOUNT.B.CONNZ", "$SYS.REQ.ACCOUNT.B.STATZ"]
        asked += ["$SYS.REQ.USER.B.INFO", "$SYS.REQ.USER.A.INFO"]
        imported = {"$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.CONNZ"}
        for subject in asked:
            if subject not in imported:
                assert await is_unanswered(tenant, subject.replace("*", "B")), subject


async def test_events_stay_in_the_system_account() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        tenant = await connect(server, "a")
        await tenant.send(b"SUB > 1\r\n")
        await tenant.ping()
        (await connect(server, "a2")).close()
        (await connect(server, "b")).close()
        assert await tenant.ping() == []


async def test_an_account_named_as_everybody_learns_nothing_by_its_name() -> None:
    accounts = (*ACCOUNTS, account("PING", "x"), account("*", "star"))
    async with serving(Options(accounts=accounts)) as server:
        for user in ("x", "star"):
            client = await connect(server, user)
            for subject in ("$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO"):
                assert await is_unanswered(client, subject)


async def test_a_tenant_that_asks_for_much_does_not_hold_up_others() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        busy, other = await connect(server, "a"), await connect(server, "b")
        await ask(other, "$SYS.REQ.USER.INFO")
        await busy.send(b"SUB r 1\r\n" + b"PUB $SYS.REQ.ACCOUNT.PING.CONNZ r 0\r\n\r\n" * 1000 + b"PING\r\n")
        assert (await ask(other, "$SYS.REQ.USER.INFO"))["data"]["account"] == "B"
        assert server._system is not None
        assert server._system._services is not None
        turns = server._system._services._desk._turns
        await until(lambda: not turns._waiting)
        answers = [frame for frame in [*await busy.ping(), *await busy.ping()] if frame != b"PONG"]
        # What came beyond the ones that may wait was dropped.
        assert MOST_WAITING <= len(answers) < 1000
        assert {frame.split()[1] for frame in answers} == {b"r"}


async def test_a_page_of_a_tenant_has_its_limit() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        tenant, system = await connect(server, "a"), await connect(server, "s")
        wanted = {"limit": 1_000_000}
        assert (await ask(tenant, "$SYS.REQ.ACCOUNT.PING.CONNZ", wanted))["data"]["limit"] == 1024
        assert (await ask(system, "$SYS.REQ.ACCOUNT.A.CONNZ", wanted))["data"]["limit"] == 1_000_000


async def test_who_a_user_is() -> None:
    rights = Permissions(
        SubjectRules(allow=(Grant("foo.>"), Grant("$SYS.REQ.>"))),
        SubjectRules(deny=(Grant("zz", "q"),)),
        ResponsePermission(2, 3.5),
    )
    user = UserOptions(user="r", password="p", permissions=rights)
    accounts = (*ACCOUNTS, AccountOptions(name="R", users=(user,), limits=AccountLimits(connections=5)))
    async with serving(Options(accounts=accounts)) as server:
        restricted, free = await connect(server, "r"), await connect(server, "b")
        assert (await ask(restricted, "$SYS.REQ.USER.INFO", b"whatever"))["data"] == {
            "user": "r",
            "account": "R",
            "account_name": "R",
            "permissions": {
                "publish": {"allow": ["foo.>", "$SYS.REQ.>"]},
                "subscribe": {"deny": ["zz q"]},
                "responses": {"max": 2, "ttl": 3_500_000_000},
            },
        }
        assert b"foo.\\u003e" in await raw(restricted, "$SYS.REQ.USER.INFO")
        assert (await ask(free, "$SYS.REQ.USER.INFO"))["data"] == {"user": "b", "account": "B", "account_name": "B"}


async def test_subscribers_are_counted_in_the_account_that_asks() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system, tenant = await connect(server, "s"), await connect(server, "a")
        await tenant.send(b"SUB foo.a 1\r\nSUB foo.* q 2\r\nSUB other 3\r\n")
        await tenant.ping()
        await system.send(b"SUB foo.a 1\r\n")
        wanted = [
            ("$SYS.DEBUG.SUBSCRIBERS", b"foo.a", 1),
            ("$SYS.DEBUG.SUBSCRIBERS", b"foo.a q", 0),
            ("$SYS.DEBUG.SUBSCRIBERS", b"", 0),
            ("$SYS.REQ.ACCOUNT.NSUBS", {"acc": "A", "subject": "foo.a"}, 2),
            ("$SYS.REQ.ACCOUNT.NSUBS", {"acc": "A", "subject": "foo.>"}, 2),
            ("$SYS.REQ.ACCOUNT.NSUBS", {"acc": "A", "subject": "foo.*", "queue": "q"}, 1),
        ]
        for subject, request, number in wanted:
            assert await ask(system, subject, request) == number, request


async def test_answers_in_pieces_that_have_their_own_rules() -> None:
    async with serving(Options(accounts=ACCOUNTS, server_name="S1")) as server:
        system = await connect(server, "s")
        await connect(server, "a")
        server_id = server.identity.server_id
        assert await ask(system, "$SYS.REQ.SERVER.PING.IDZ", b"garbage") == {
            "name": "S1", "host": "127.0.0.1", "id": server_id,
        }
        assert list(await ask(system, "$SYS.REQ.SERVER.PING")) == ["server", "statsz"]
        nobody = await ask(system, "$SYS.REQ.ACCOUNT.ZZ.CONNZ")
        assert (nobody["data"]["server_id"], nobody["data"]["connections"]) == ("", None)
        assert (await ask(system, "$SYS.REQ.ACCOUNT.A.CONNS"))["conns"] == 1
        for subject, request in (
            ("$SYS.REQ.ACCOUNT.ZZ.STATZ", None),
            ("$SYS.REQ.ACCOUNT.ZZ.CONNS", None),
            ("$SYS.REQ.ACCOUNT.A.CONNS", {"acc": "B"}),
            (f"$SYS.REQ.SERVER.{server_id}.KICK", None),
            ("$SYS.REQ.SERVER.PING.VARZ", {"server_name": "other"}),
        ):
            assert await is_met_with_silence(system, subject, request), subject
        empty = await ask(system, "$SYS.REQ.ACCOUNT.ZZ.STATZ", {"include_unused": True})
        assert empty["data"]["account_statz"] == []
        healthy = await ask(system, "$SYS.REQ.SERVER.PING.HEALTHZ")
        assert healthy["data"] == {"status": "ok", "status_code": 200}


@pytest.mark.parametrize(
    ("subject", "request_", "error", "has_data"),
    [
        ("SERVER.PING.CONNZ", b"{", {"code": 400, "description": "unexpected end of JSON input"}, False),
        ("SERVER.PING.CONNZ", {"sort": "zz"}, {"code": 500, "description": "invalid sorting option: zz"}, True),
        ("ACCOUNT.ZZ.INFO", None, {"code": 500, "description": "Account ZZ does not exist"}, True),
        ("ACCOUNT.A.JSZ", None, {"code": 500, "description": "jetstream not enabled"}, True),
        ("SERVER.ID.KICK", {"cid": 99}, {"code": 500, "description": "no such client or leafnode id"}, False),
        ("SERVER.ID.LDM", {"cid": 99}, {"code": 500, "description": "no such client id"}, False),
        (
            "SERVER.ID.RELOAD",
            None,
            {"code": 500, "description": "can only reload config when a file is provided using -c or --config"},
            False,
        ),
    ],
)
async def test_errors(subject: str, request_: object, error: object, has_data: bool) -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system = await connect(server, "s")
        found = await ask(system, f"$SYS.REQ.{subject.replace('ID', server.identity.server_id)}", request_)
        assert found["error"] == error
        assert found.get("data", "absent") == (None if has_data else "absent")


async def test_a_client_that_is_kicked_is_told_by_its_reason() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system, tenant = await connect(server, "s"), await connect(server, "a")
        subject = f"$SYS.REQ.SERVER.{server.identity.server_id}.KICK"
        assert list(await ask(system, subject, {"cid": tenant.cid})) == ["server"]
        assert await close_reason(server, tenant) == "Kicked"


async def test_an_old_client_cannot_be_sent_away() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system, old = await connect(server, "s"), await connect(server, "a", protocol=0)
        found = await ask(system, f"$SYS.REQ.SERVER.{server.identity.server_id}.LDM", {"cid": old.cid})
        assert found["error"]["description"].startswith("client does not support Lame Duck Mode")


async def test_a_reload_that_is_asked_for() -> None:
    reloads = 0

    async def reload() -> None:
        nonlocal reloads
        reloads += 1
        if reloads == 2:
            raise ReloadError("no such file")

    async with serving(Options(accounts=ACCOUNTS)) as server:
        server.reload_again = reload
        system = await connect(server, "s")
        subject = f"$SYS.REQ.SERVER.{server.identity.server_id}.RELOAD"
        assert list(await ask(system, subject)) == ["server"]
        assert (await ask(system, subject))["error"] == {"code": 500, "description": "no such file"}


async def test_a_system_account_that_nobody_declares_stays_when_the_configuration_changes() -> None:
    options = Options(accounts=(account("A", "a"),))
    async with serving(options) as server:
        await server.reload(replace(server.options, accounts=(account("A", "a"), account("B", "b"))))
        tenant = await connect(server, "b")
        assert (await ask(tenant, "$SYS.REQ.USER.INFO"))["data"]["account"] == "B"
        assert (await ask(tenant, "$SYS.REQ.ACCOUNT.PING.CONNZ"))["data"]["num_connections"] == 1


async def test_a_server_that_ends_says_so() -> None:
    async with serving(Options(accounts=ACCOUNTS)) as server:
        system = await connect(server, "s")
        await system.send(b"SUB $SYS.SERVER.*.SHUTDOWN 1\r\n")
        await system.ping()
        await server.stop()
        rest = await system.rest()
        head, _, body = rest.partition(b"\r\n")
        assert head.startswith(f"MSG $SYS.SERVER.{server.identity.server_id}.SHUTDOWN 1 ".encode())
        assert json.loads(body)["id"] == server.identity.server_id


async def test_without_a_system_account_nobody_answers() -> None:
    accounts = (account("A", "a"),)
    async with serving(Options(accounts=accounts, no_system_account=True)) as server:
        tenant = await connect(server, "a")
        for subject in ("$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ"):
            assert await is_unanswered(tenant, subject)
        assert "$SYS" not in server.service.control.tenants


async def test_another_account_can_be_the_system_account() -> None:
    accounts = (account("OPS", "s"), account("$SYS", "x"), account("A", "a"))
    async with serving(Options(accounts=accounts, system_account="OPS")) as server:
        system, plain = await connect(server, "s"), await connect(server, "x")
        assert (await ask(system, "$SYS.REQ.SERVER.PING.VARZ"))["data"]["system_account"] == "OPS"
        assert await is_unanswered(plain, "$SYS.REQ.SERVER.PING.VARZ")
        assert (await ask(plain, "$SYS.REQ.USER.INFO"))["data"]["account"] == "$SYS"


class Operator:
    """An operator with a system account, and an account with a user."""

    def __init__(self) -> None:
        self.acme = Realm()
        self.system = self.acme.neighbour("SYS")

    def options(self) -> Options:
        return self.acme.options(self.system, system_account=self.system.account_key.public)

    async def push(self, client: Client, payload: bytes, name: str = "") -> Any:
        subject = f"$SYS.REQ.ACCOUNT.{name or self.acme.account_key.public}.CLAIMS.UPDATE"
        return await ask(client, subject, payload)


async def test_claims_that_are_pushed_hold_at_once() -> None:
    operator = Operator()
    acme, key = operator.acme, operator.acme.account_key.public
    async with serving(operator.options()) as server:
        system = await operator.system.connect(server, headers=True)
        assert (await operator.push(system, acme.account_token().encode()))["data"] == {
            "account": key, "code": 200, "message": "jwt update skipped",
        }
        kept, gone = await acme.connect(server), await acme.connect(server)
        acme.account.nats.limits.connections = 1
        assert (await operator.push(system, acme.account_token().encode()))["data"]["message"] == "jwt updated"
        assert await close_reason(server, gone) == "Maximum Account Connections Exceeded"
        assert await kept.ping() == []
        old = f"$SYS.ACCOUNT.{key}.CLAIMS.UPDATE"
        assert (await ask(system, old, acme.account_token().encode()))["data"]["message"] == "jwt updated"


async def test_claims_that_are_not_taken() -> None:
    operator = Operator()
    acme, key = operator.acme, operator.acme.account_key.public
    stranger = Realm()
    stranger.account = acme.account
    forged = jwt.encode(acme.account, stranger.operator_key).encode()
    async with serving(operator.options()) as server:
        system = await operator.system.connect(server, headers=True)
        client = await acme.connect(server)
        foreign = operator.system.account_token().encode()
        for payload, description in (
            (b"", "jwt update error - request body is empty"),
            (b"garbage", "jwt update resulted in error - expected 3 chunks"),
            (foreign, "jwt update resulted in error - subject does not match jwt content"),
        ):
            assert (await operator.push(system, payload))["error"] == {
                "account": key, "code": 500, "description": description,
            }
        refused = await operator.push(system, forged)
        assert "is signed by" in refused["error"]["description"]
        assert await client.ping() == []


async def test_a_user_of_a_jwt_is_shown_by_its_key_and_names() -> None:
    operator = Operator()
    async with serving(operator.options()) as server:
        client = await operator.acme.connect(server, headers=True)
        found = (await ask(client, "$SYS.REQ.USER.INFO"))["data"]
        assert found == {
            "user": operator.acme.user_key.public,
            "account": operator.acme.account_key.public,
            "account_name": "ACME",
            "user_name": "bob",
        }


async def test_what_the_system_account_exports_is_answered_to_whoever_imports_it() -> None:
    shared = ("$SYS.REQ.SERVER.PING.VARZ", "$SYS.DEBUG.SUBSCRIBERS")
    accounts = (
        account("$SYS", "s", exports=tuple(ServiceExport(subject=one, accounts=frozenset({"A"})) for one in shared)),
        account("A", "a", imports=tuple(ServiceImport(account="$SYS", subject=one) for one in shared)),
        account("B", "b"),
    )
    async with serving(Options(accounts=accounts, server_name="S1")) as server:
        monitor, other = await connect(server, "a"), await connect(server, "b")
        assert (await ask(monitor, shared[0]))["data"]["server_name"] == "S1"
        await monitor.send(b"SUB foo 1\r\nSUB foo q 2\r\n")
        await other.send(b"SUB foo 1\r\n")
        assert await other.ping() == []
        assert await ask(monitor, shared[1], b"foo") == 2
        assert await ask(monitor, shared[1], b"foo q") == 1
        assert await is_unanswered(other, shared[0])
