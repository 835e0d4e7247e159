"""Auth callout with a service of nats-py: who it admits, what it is asked, and everything that may go wrong with it."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounts.exports import StreamExport
from accounts.imports import StreamImport
from auth import jwt
from auth.claims import UserClaims, UserScope
from auth.nkey import KeyKind, KeyPair, encode_public
from broker import Options, Server
from broker.audit.verify import entries
from broker.config.options import (
    AccountOptions,
    AuditOptions,
    AuthorizationOptions,
    CalloutOptions,
    LoggingOptions,
    ResolverKind,
    UserOptions,
)
from broker.control import delegation
from broker.log import TRACE, TRACES
from tests.support.callout import (
    CURVE,
    ISSUER,
    OTHER_ISSUER,
    SUBJECT,
    Asked,
    Decide,
    Service,
    admit,
    keep_silent,
    refuse,
    service,
)
from tests.support.estate import Estate, lookup
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, close_reason, serving, session_of, until

VIOLATION = b"-ERR 'Authorization Violation'\r\n"
CALLOUT = CalloutOptions(issuer=ISSUER.public, account="AUTH", users=("auth",), break_glass=("fire",))


def options(*, timeout: float | None = None, **callout: Any) -> Options:
    """Accounts for the service, for its users and for one more, and a user who needs no service."""
    return Options(
        accounts=(
            AccountOptions(name="AUTH", users=(UserOptions(user="auth", password="pw"),)),
            AccountOptions(name="APP", users=(UserOptions(user="fixed", password="pw"),)),
            AccountOptions(name="OTHER"),
            AccountOptions(name="SYS", users=(UserOptions(user="fire", password="pw"),)),
        ),
        system_account="SYS",
        authorization=AuthorizationOptions(timeout=timeout, callout=replace(CALLOUT, **callout)),
    )


@asynccontextmanager
async def answering(decide: Decide = admit, **changes: Any) -> AsyncIterator[tuple[Server, Service]]:
    """A server and a service that answers for it."""
    async with serving(options(**changes)) as server, service(server.url, decide) as made:
        yield server, made


async def attempt(server: Server, user: str = "bob", **fields: Any) -> Client:
    """A client that has sent CONNECT and PING, whatever comes of it."""
    client = await Client.open(server)
    await client.greeting()
    await client.introduce(**({"user": user, "pass": "secret"} | fields))
    return client


async def login(server: Server, user: str = "bob", **fields: Any) -> Client:
    """A client that was admitted."""
    client = await attempt(server, user, **fields)
    assert await client.frame() == b"PONG"
    return client


async def assert_refused(server: Server, caplog: pytest.LogCaptureFixture, why: str, **fields: Any) -> None:
    """The client learns that it was refused; the log learns why, and no secret."""
    caplog.clear()
    client = await attempt(server, **fields)
    assert await client.rest() == VIOLATION
    assert await close_reason(server, client) == "Authentication Failure"
    errors = [record.getMessage() for record in caplog.records if "authentication error" in record.getMessage()]
    assert len(errors) == 1, errors
    assert why in errors[0]
    assert "denial" in errors[0]
    assert "secret" not in caplog.text
    assert "eyJ" not in caplog.text


@in_every_loop
async def test_a_service_admits_and_places() -> None:
    async with answering() as (server, asked):
        bob = await login(server)
        principal = session_of(server, bob).principal
        assert principal is not None
        assert (principal.account.name, principal.user, principal.method) == ("APP", "bob", "callout")
        fixed = await login(server, "fixed", **{"pass": "pw"})
        await fixed.send(b"SUB greet 1\r\n")
        assert await fixed.ping() == []
        await bob.send(b"PUB greet 2\r\nhi\r\n")
        assert await fixed.frame() == b"MSG greet 1 2\r\nhi"
        assert [one.user for one in asked.asked] == ["bob"]


@in_every_loop
async def test_words_after_connect_wait_for_the_answer() -> None:
    async with answering() as (server, _):
        client = await Client.open(server)
        await client.greeting()
        await client.send(b'CONNECT {"verbose":false,"user":"bob"}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n')
        assert await client.frames(2) == [b"MSG a 1 1\r\nx", b"PONG"]


@in_every_loop
async def test_what_the_service_is_told() -> None:
    async with answering(xkey=CURVE.public) as (server, made):
        before = time.time()
        client = await login(server, name="program", lang="c", version="3", protocol=1)
        [asked] = made.asked
        claims = asked.claims
        assert (claims.issuer, claims.subject) == (server.identity.server_id, ISSUER.public)
        assert claims.audience == "nats-authorization-request"
        assert before + 1 <= claims.expires_at <= time.time() + 3
        data = claims.nats
        assert (data.server_id.id, data.server_id.xkey) == (server.identity.server_id, server.identity.curve.public)
        assert (data.client_info.id, data.client_info.user) == (client.cid, "bob")
        assert (data.client_info.kind, data.client_info.type) == ("Client", "nats")
        assert (data.connect_opts.user, data.connect_opts.password) == ("bob", "secret")
        assert (data.connect_opts.name, data.connect_opts.lang, data.connect_opts.version) == ("program", "c", "3")
        assert data.client_tls is None
        assert "secret" not in repr(claims)


@in_every_loop
async def test_static_users_are_never_asked_about(caplog: pytest.LogCaptureFixture) -> None:
    async with answering() as (server, made):
        await login(server, "fixed", **{"pass": "pw"})
        await assert_refused(server, caplog, "Password does not match", user="fixed")
        await assert_refused(server, caplog, "Password does not match", user="fire")
        assert made.asked == []


@in_every_loop
async def test_break_glass_works_without_the_service(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(options(break_glass=("fire",))) as server:
        await assert_refused(server, caplog, "Auth callout has no service: AUTH")
        fire = await login(server, "fire", **{"pass": "pw"})
        assert session_of(server, fire).principal is not None
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert any("break-glass user authenticated by password" in warning for warning in warnings)


async def answer_nothing(asked: Asked) -> bytes:
    return b""


async def answer_garbage(asked: Asked) -> bytes:
    return b"\xff\x00garbage"


async def answer_for_another(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(subject=KeyPair.generate(KeyKind.USER).public))


async def answer_another_server(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(audience=KeyPair.generate(KeyKind.SERVER).public))


async def answer_expired(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(expires_at=int(time.time()) - 5))


async def answer_for_a_strange_account(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(issuer_account=OTHER_ISSUER.public))


async def answer_by_another(asked: Asked) -> bytes:
    return replace(asked, signer=OTHER_ISSUER).sealed(asked.admitting())


async def user_by_another(asked: Asked) -> bytes:
    return asked.sealed(replace(asked, user_signer=OTHER_ISSUER).admitting())


async def user_of_another_login(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(subject=KeyPair.generate(KeyKind.USER).public)))


async def user_expired(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(expires_at=int(time.time()) - 5)))


async def user_never_valid(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(expires_at=-1)))


async def user_nowhere(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(audience="")))


async def user_in_no_account(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(audience="NONE")))


async def user_in_the_system(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(audience="SYS")))


async def user_with_issuer_account(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(issuer_account=ISSUER.public)))


async def user_for_websockets(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(allowed_connection_types=["WEBSOCKET"])))


async def user_from_elsewhere(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(source_networks=["10.0.0.0/8"])))


async def user_through_a_proxy(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting(asked.claimed_user(proxy_required=True)))


async def no_user_at_all(asked: Asked) -> bytes:
    return asked.sealed(asked.admitting("nothing"))


@pytest.mark.parametrize(
    ("decide", "why"),
    [
        (refuse, "Auth callout denied: no such user"),
        (answer_nothing, "Auth callout denied: no reason supplied"),
        (answer_garbage, "Auth callout answer is not valid"),
        (answer_for_another, "the answer is about another login"),
        (answer_another_server, "the answer is for another server"),
        (answer_expired, "claim is expired"),
        (answer_for_a_strange_account, "the answer is issued for account"),
        (answer_by_another, "the answer is signed by"),
        (user_by_another, "its user JWT is signed by"),
        (user_of_another_login, "expected user"),
        (user_expired, "Auth callout user is not valid: User JWT no longer valid"),
        (user_never_valid, "Auth callout user is not valid: User JWT no longer valid"),
        (user_nowhere, "its audience names no account"),
        (user_in_no_account, "NONE"),
        (user_in_the_system, "Auth callout account is not allowed: SYS"),
        (user_with_issuer_account, "issuer_account means something with an operator only"),
        (user_for_websockets, "Connection type not allowed"),
        (user_from_elsewhere, "Bad src Ip"),
        (user_through_a_proxy, "Proxy is required"),
        (no_user_at_all, "Auth callout user is not valid"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@in_every_loop
async def test_what_is_wrong_with_an_answer_is_a_refusal(
    decide: Decide, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(decide) as (server, made):
        await assert_refused(server, caplog, why)
        assert len(made.asked) == 1
        made.decide = admit
        await login(server)


@in_every_loop
async def test_answers_in_the_clear_are_refused_where_requests_are_encrypted(caplog: pytest.LogCaptureFixture) -> None:
    async def in_the_clear(asked: Asked) -> bytes:
        return replace(asked, server_key="").sealed(asked.admitting())

    async with answering(in_the_clear, xkey=CURVE.public) as (server, made):
        await assert_refused(server, caplog, "the answer is not encrypted as it must be")
        made.decide = admit
        await login(server)


@in_every_loop
async def test_allowed_accounts_are_the_only_ones(caplog: pytest.LogCaptureFixture) -> None:
    async def elsewhere(asked: Asked) -> bytes:
        return asked.sealed(asked.admitting(asked.claimed_user(audience=asked.user)))

    async with answering(elsewhere, allowed_accounts=("APP", "SYS")) as (server, _):
        for name in ("APP", "SYS", "AUTH"):
            client = await login(server, name)
            principal = session_of(server, client).principal
            assert principal is not None
            assert principal.account.name == name
        await assert_refused(server, caplog, "Auth callout account is not allowed: OTHER", user="OTHER")


@in_every_loop
async def test_silence_is_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    async with answering(keep_silent, timeout=0.2) as (server, made):
        begun = time.monotonic()
        await assert_refused(server, caplog, "Auth callout did not answer in time")
        assert time.monotonic() - begun >= 0.2
        assert len(made.asked) == 1
        assert len(server.service.control.desk) == 0


@in_every_loop
async def test_late_and_double_answers_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Asked] = []

    async def keep(asked: Asked) -> None:
        kept.append(asked)

    async with answering(keep, timeout=0.2) as (server, made):
        await assert_refused(server, caplog, "did not answer in time")
        late = kept[0].sealed(kept[0].admitting())
        await kept[0].message.respond(late)

        async def twice(asked: Asked) -> bytes:
            await asked.message.respond(asked.sealed(asked.admitting()))
            return asked.sealed(asked.answer(error="changed my mind"))

        made.decide = twice
        client = await login(server)
        assert await client.ping() == []

        async def replay(asked: Asked) -> bytes:
            return late

        made.decide = replay
        await assert_refused(server, caplog, "the answer is about another login")


@in_every_loop
async def test_a_service_that_dies_with_the_request(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(options(timeout=0.3)) as server:
        begun = asyncio.Event()

        async def die(asked: Asked) -> None:
            begun.set()

        async with service(server.url, die):
            client = await attempt(server)
            await begun.wait()
        assert await client.rest() == VIOLATION
        assert "did not answer in time" in caplog.text
        await assert_refused(server, caplog, "Auth callout has no service")
        async with service(server.url):
            await login(server)


@in_every_loop
async def test_clients_that_go_meanwhile_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with answering(keep_silent, timeout=0.2) as (server, made):
        client = await attempt(server)
        await until(lambda: len(made.asked) == 1)
        client.reset()
        await until(lambda: len(server.service.control.desk) == 0)
        await until(lambda: client.cid not in server.service.connections)


@in_every_loop
async def test_clients_that_go_make_room_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks and leaves must not keep a place for as long as the service may take."""
    monkeypatch.setattr(delegation, "IN_FLIGHT", 1)

    async def decide(asked: Asked) -> bytes | None:
        return None if asked.user.startswith("left") else asked.sealed(asked.admitting())

    async with answering(decide, timeout=60.0) as (server, made):
        leaving = [await attempt(server, f"left{number}") for number in range(3)]
        await until(lambda: len(made.asked) == 1 and len(server.service.control.desk) == 3)
        staying = await attempt(server, "stays")
        await until(lambda: len(server.service.control.desk) == 4)
        for client in leaving:
            client.reset()
        assert await staying.frame() == b"PONG"
        assert len(server.service.control.desk) == 0


@in_every_loop
async def test_a_flood_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "IN_FLIGHT", 4)
    gate = asyncio.Event()
    most = 0

    async def slowly(asked: Asked) -> bytes:
        nonlocal most
        most = max(most, server.service.control.desk.in_flight)
        await gate.wait()
        return asked.sealed(asked.admitting())

    async with serving(options(timeout=10.0)) as server, service(server.url, slowly) as made:
        clients = [await attempt(server, f"user{number}") for number in range(50)]
        desk = server.service.control.desk
        await until(lambda: len(desk) == 50 and len(made.asked) >= 1)
        assert desk.in_flight == 4
        # Who is not asked about does not wait for those who are.
        await login(server, "fire", **{"pass": "pw"})
        gate.set()
        for client in clients:
            assert await client.frame() == b"PONG"
        assert most == 4
        assert len(desk) == 0


@in_every_loop
async def test_who_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "IN_FLIGHT", 1)
    at_work: list[int] = []

    async def watch(asked: Asked) -> None:
        at_work.append(server.service.control.desk.in_flight)

    async with serving(options(timeout=0.3)) as server, service(server.url, watch):
        clients = [await attempt(server, f"user{number}") for number in range(5)]
        for client in clients:
            assert await client.rest() == VIOLATION
        assert len(server.service.control.desk) == 0
        assert max(at_work) == 1


@in_every_loop
async def test_the_limits_of_the_user_hold() -> None:
    async def limited(asked: Asked) -> bytes:
        user = asked.claimed_user(expires_at=int(time.time()) + 2, tags=["team:red"])
        user.nats.publish.deny, user.nats.subscriptions = ["no.>"], 1
        return asked.sealed(asked.admitting(user))

    async with answering(limited) as (server, _):
        client = await login(server)
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.tags == ("team:red",)
        await client.send(b"PUB no.way 0\r\n\r\nSUB a 1\r\nSUB b 2\r\n")
        assert await client.frames(2) == [
            b"-ERR 'Permissions Violation for Publish to \"no.way\"'",
            b"-ERR 'maximum subscriptions exceeded'",
        ]
        assert await client.rest() == b"-ERR 'User Authentication Expired'\r\n"


@in_every_loop
async def test_nobody_else_hears_or_forges_requests() -> None:
    async def nearby(asked: Asked) -> bytes:
        return asked.sealed(asked.admitting(asked.claimed_user(audience="AUTH")))

    async with answering(nearby) as (server, made):
        spy = await login(server, "spy")
        await spy.send(b"SUB > 1\r\nSUB $SYS.REQ.USER.AUTH 2\r\nPUB $SYS.REQ.USER.AUTH r 0\r\n\r\n")
        assert await spy.ping() == [
            b"-ERR 'Permissions Violation for Subscription to \"$SYS.REQ.USER.AUTH\"'",
            b"-ERR 'Permissions Violation for Publish to \"$SYS.REQ.USER.AUTH\"'",
        ]
        await login(server, "bob")
        assert await spy.ping() == []
        assert [asked.user for asked in made.asked] == ["spy", "bob"]


async def test_a_traced_service_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE, TRACES)
    async with serving(replace(options(), logging=LoggingOptions(trace=True))) as server, service(server.url) as made:
        await login(server, "bob")
        [asked] = made.asked
    lines = [record.getMessage() for record in caplog.records]
    place = next(place for place, line in enumerate(lines) if "->> [MSG $SYS.REQ.USER.AUTH" in line)
    assert lines[place + 1].endswith("->> MSG_PAYLOAD: [[REDACTED]]")
    assert asked.claims.nats.connect_opts.password == "secret"
    assert "secret" not in caplog.text
    assert not [line for line in lines if "->>" in line and "eyJ" in line]


async def test_a_key_that_encrypts_nothing_is_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    small_order = encode_public(bytes(32), KeyKind.CURVE)
    async with serving(options(xkey=small_order)) as server, service(server.url) as made:
        await assert_refused(server, caplog, "nothing can be encrypted for this curve key")
        assert not made.asked


@in_every_loop
async def test_requests_cross_no_wall_whatever_is_exported() -> None:
    everything = StreamExport(subject=">")
    auth, app, *others = options().accounts
    auth = replace(auth, exports=(everything,))
    app = replace(app, imports=(StreamImport(account="AUTH", subject=">", to="there.>"),))
    async with serving(replace(options(), accounts=(auth, app, *others))) as server, service(server.url) as made:
        spy = await Client.connect(server, user="fixed", **{"pass": "pw"})
        await spy.send(b"SUB there.> 1\r\nSUB there.$SYS.REQ.USER.AUTH 2\r\nSUB there.$SYS._INBOX.> 3\r\n")
        assert await spy.ping() == []
        await login(server, "bob")
        assert [asked.user for asked in made.asked] == ["bob"]
        assert await spy.ping() == []
        neighbour = await Client.connect(server, user="auth", **{"pass": "pw"})
        await neighbour.send(b"PUB open 2\r\nhi\r\n")
        assert await neighbour.ping() == []
        assert await spy.ping() == [b"MSG there.open 1 2\r\nhi"]


@in_every_loop
async def test_a_reload_holds_the_admitted_to_the_new_callout(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(options()) as server, service(server.url) as made:
        before = server.options
        bob = await login(server)
        await server.reload(replace(before, max_payload=100_000))
        assert await bob.ping() == []
        principal = session_of(server, bob).principal
        changed = options(allowed_accounts=("OTHER",))
        await server.reload(replace(changed, host="127.0.0.1", port=-1))
        assert principal is not None
        assert VIOLATION in await bob.rest()
        assert "Auth callout account is not allowed: APP" in caplog.text
        await assert_refused(server, caplog, "Auth callout account is not allowed: APP")
        await server.reload(before)
        carol = await login(server, "carol")
        await server.reload(replace(before, authorization=AuthorizationOptions()))
        assert VIOLATION in await carol.rest()
        await assert_refused(server, caplog, "User is not known")
        assert len(made.asked) == 3


def everything_in(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.glob("*.jsonl"))


@in_every_loop
async def test_the_ledger_tells_who_decided(tmp_path: Path) -> None:
    audited = replace(options(), audit=AuditOptions(directory=str(tmp_path)))
    async with serving(audited) as server, service(server.url) as made:
        await login(server)
        await login(server, "fire", **{"pass": "pw"})
        made.decide = refuse
        client = await attempt(server, "eve")
        assert await client.rest() == VIOLATION
    found = [entry for entry in entries(tmp_path) if entry["event"] in {"authenticated", "denied"}]
    told = [(one.get("user"), one.get("method"), one.get("delegated_by"), one.get("break_glass")) for one in found]
    assert told[:3] == [
        ("user:auth", "password", None, None),
        ("user:bob", "callout", "AUTH", None),
        ("user:fire", "password", None, True),
    ]
    assert (found[3]["claimed"], found[3]["reason"]) == ("eve", "Auth callout denied: no such user")
    assert found[3]["denial"]
    assert "secret" not in everything_in(tmp_path)


@in_every_loop
async def test_the_account_of_the_service_learns_of_logins_that_failed() -> None:
    async with answering(refuse) as (server, _):
        service_user = await login(server, "auth", **{"pass": "pw"})
        await service_user.send(b"SUB $SYS.ACCOUNT.CLIENT.AUTH.ERR 1\r\n")
        assert await service_user.ping() == []
        client = await attempt(server)
        assert await client.rest() == VIOLATION
        event = await service_user.frame()
        assert event.startswith(b"MSG $SYS.ACCOUNT.CLIENT.AUTH.ERR 1 ")
        assert b'"user":"bob"' in event
        assert b"secret" not in event


@in_every_loop
async def test_a_reload_while_somebody_waits() -> None:
    kept = asyncio.Event()
    gate = asyncio.Event()

    async def wait(asked: Asked) -> bytes:
        kept.set()
        await gate.wait()
        return asked.sealed(asked.admitting())

    async with serving(options()) as server, service(server.url, wait) as made:
        client = await attempt(server)
        await kept.wait()
        await server.reload(replace(server.options, max_payload=100_000))
        gate.set()
        # The answer was about the settings of before, so the service is asked again.
        assert await client.frame() == b"PONG"
        assert len(made.asked) == 2


# With an operator the account that the client's own JWT names has the service.


class Delegating(Realm):
    """An operator, an account with a service, and one more that it may put users in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.service_key = KeyPair.generate(KeyKind.USER)
        self.account.nats.authorization.auth_users = [self.service_key.public]
        self.user.nats.bearer_token = True
        self.target = self.neighbour("APP")
        self.account.nats.authorization.allowed_accounts = [self.target.account_key.public]

    def neighbour(self, name: str) -> Realm:
        realm = Realm(operator_key=self.operator_key, issued_at=self.issued_at)
        realm.account.name = name
        return realm

    def start(self) -> Any:
        return serving(self.options(self.target))

    def service_token(self) -> str:
        return jwt.encode(UserClaims.new(self.service_key.public), self.account_key)

    @asynccontextmanager
    async def serve(self, server: Server, decide: Decide) -> AsyncIterator[Service]:
        async with service(
            server.url,
            decide,
            user=None,
            password=None,
            user_jwt_cb=lambda: self.service_token().encode(),
            signature_cb=lambda nonce: _signature(self.service_key, nonce),
        ) as made:
            yield made

    async def admit(self, asked: Asked) -> bytes:
        return self.bent(asked).sealed(self.bent(asked).admitting(self.placed(asked)))

    def bent(self, asked: Asked) -> Asked:
        return replace(asked, signer=self.account_key, user_signer=self.target.account_key)

    def placed(self, asked: Asked) -> UserClaims:
        return asked.claimed_user(audience="")


def _signature(key: KeyPair, nonce: str) -> bytes:
    return base64.b64encode(key.sign(nonce.encode()))


@in_every_loop
async def test_an_operator_account_with_a_service(caplog: pytest.LogCaptureFixture) -> None:
    realm = Delegating()
    async with realm.start() as server, realm.serve(server, realm.admit) as made:
        client = await realm.connect(server, signed=False, user="bob")
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.account.name == realm.target.account_key.public
        assert principal.issuer_key == realm.target.account_key.public
        [asked] = made.asked
        assert asked.claims.subject == realm.account_key.public
        assert asked.claims.nats.connect_opts.jwt == realm.token()
        # A revocation reaches whom the service admitted.
        realm.target.account.revoke("*")
        server.update_account(realm.target.account_token())
        assert await client.rest() == b"-ERR 'User Authentication Revoked'\r\n"
        again = await realm.attempt(server, signed=False, user="bob")
        assert await again.rest() == VIOLATION
        assert "User authentication revoked" in caplog.text


@in_every_loop
async def test_without_its_service_an_operator_account_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    realm = Delegating()
    async with realm.start() as server, realm.serve(server, realm.admit):
        client = await realm.connect(server, signed=False)
        realm.account.nats.authorization.allowed_accounts = []
        server.update_account(realm.account_token())
        assert await client.rest() == VIOLATION
        assert "Whoever admitted the user decides no longer" in caplog.text
        refused = await realm.attempt(server, signed=False)
        assert await refused.rest() == VIOLATION
        assert "Auth callout account is not allowed" in caplog.text


def no_placement(realm: Delegating) -> None:
    realm.account.nats.authorization.allowed_accounts = []


def no_service(realm: Delegating) -> None:
    realm.account.nats.authorization.auth_users = []
    realm.account.nats.authorization.allowed_accounts = []


def revoked(realm: Delegating) -> None:
    realm.account.revoke(realm.user.subject)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (no_placement, "Auth callout account is not allowed"),
        (no_service, "Auth callout has no service"),
        (revoked, "User authentication revoked"),
    ],
)
async def test_an_answer_is_held_to_what_the_account_says_when_it_comes(
    change: Callable[[Delegating], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    realm = Delegating()
    asked_for, gate = asyncio.Event(), asyncio.Event()

    async def wait(asked: Asked) -> bytes:
        asked_for.set()
        await gate.wait()
        return await realm.admit(asked)

    async with realm.start() as server, realm.serve(server, wait):
        client = await realm.attempt(server, signed=False)
        await asked_for.wait()
        change(realm)
        server.update_account(realm.account_token())
        gate.set()
        assert await client.rest() == VIOLATION
        assert why in caplog.text


@in_every_loop
async def test_scoped_keys_of_the_account_hold_for_those_admitted() -> None:
    realm = Delegating()
    scoped = KeyPair.generate(KeyKind.ACCOUNT)
    scope = UserScope.new(scoped.public)
    scope.template.publish.allow = ["own.{{name()}}"]
    realm.target.account.nats.signing_keys = [scope]

    async def by_scope(asked: Asked) -> bytes:
        user = UserClaims.new(asked.claims.nats.user_nkey, scoped=True)
        user.name, user.nats.issuer_account = "bob", realm.target.account_key.public
        bent = replace(asked, signer=realm.account_key, user_signer=scoped)
        return bent.sealed(bent.admitting(user))

    async with realm.start() as server, realm.serve(server, by_scope):
        client = await realm.connect(server, signed=False)
        await client.send(b"PUB own.bob 0\r\n\r\nPUB own.eve 0\r\n\r\n")
        assert await client.ping() == [b"-ERR 'Permissions Violation for Publish to \"own.eve\"'"]
        # The scope goes, and with it whoever was admitted by it.
        realm.target.account.nats.signing_keys = []
        server.update_account(realm.target.account_token())
        assert await client.rest() == b""


@in_every_loop
async def test_who_may_answer_for_an_operator_account(caplog: pytest.LogCaptureFixture) -> None:
    realm = Delegating()
    signing = KeyPair.generate(KeyKind.ACCOUNT)
    realm.account.nats.signing_keys = [signing.public]
    signer = realm.target.account_key

    async def by_signer(asked: Asked) -> bytes:
        bent = replace(realm.bent(asked), signer=signer)
        return bent.sealed(bent.admitting(realm.placed(asked), issuer_account=realm.account_key.public))

    async with realm.start() as server, realm.serve(server, by_signer):
        refused = await realm.attempt(server, signed=False)
        assert await refused.rest() == VIOLATION
        assert "the answer is signed by" in caplog.text
        signer = signing
        await realm.connect(server, signed=False)


@in_every_loop
async def test_a_wrong_signature_is_no_matter_for_the_service() -> None:
    realm = Delegating()
    realm.user.nats.bearer_token = False
    async with realm.start() as server, realm.serve(server, realm.admit) as made:
        refused = await realm.attempt(server, signed=False)
        assert await refused.rest() == VIOLATION
        assert made.asked == []
        await realm.connect(server)
        assert len(made.asked) == 1


@in_every_loop
async def test_an_account_that_a_resolver_has_to_find_first(tmp_path: Path) -> None:
    realm = Delegating()
    estate = Estate(realm)
    options_of_both = estate.options(ResolverKind.FULL, tmp_path, estate.system, realm)
    async with serving(options_of_both) as server, realm.serve(server, realm.admit):
        peer = await estate.administrator(server)
        await peer.send(f"SUB {lookup('*')} 1\r\n".encode())
        assert await peer.ping() == []
        client = await realm.attempt(server, signed=False)
        question = (await peer.frame()).split()
        assert question[1] == lookup(realm.target.account_key.public).encode()
        token = realm.target.account_token().encode()
        await peer.send(b"PUB %b %d\r\n%b\r\n" % (question[3], len(token), token))
        assert await client.frame() == b"PONG"
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.account.name == realm.target.account_key.public


def test_the_subject_is_that_of_the_protocol() -> None:
    assert delegation.REQUEST_SUBJECT == SUBJECT
