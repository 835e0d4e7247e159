"""Another configuration in a running server: who stays untouched, who is trimmed or closed, what a refusal leaves."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from accounts.limits import AccountLimits
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from broker.app import Server
from broker.config.options import (
    AccountOptions,
    AuthorizationOptions,
    LoggingOptions,
    MonitorOptions,
    Options,
    TLSOptions,
    UserOptions,
)
from broker.reload.plan import ReloadError
from broker.reload.preview import SessionSnapshot
from broker.reload.running import RunningError, running_sessions
from tests.support.certificates import Certificates, make_certificates
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, SecureClient, close_reason, serving, session_of, until

VIOLATION = b"-ERR 'Authorization Violation'\r\n"
RELOADS = 1000


def grants(*subjects: str) -> tuple[Grant, ...]:
    return tuple(map(Grant, subjects))


def user(name: str, password: str = "p", **fields: Any) -> UserOptions:
    return UserOptions(user=name, password=password, **fields)


def users(*entries: UserOptions) -> AuthorizationOptions:
    return AuthorizationOptions(users=entries)


def login(name: str, password: str = "p") -> dict[str, str]:
    return {"user": name, "pass": password}


async def reload(server: Server, **changes: Any) -> None:
    await server.reload(replace(server.options, **changes))


# Who stays, and who goes


@in_every_loop
async def test_only_those_go_whose_user_is_gone_or_changed() -> None:
    start = users(user("stays"), user("goes"), user("changes"))
    async with serving(authorization=start) as server:
        stays, goes, changes = [await Client.connect(server, **login(name)) for name in ("stays", "goes", "changes")]
        await stays.send(b"SUB a 1\r\nPUB a 3\r\nh")
        await reload(server, authorization=users(user("new"), user("changes", "other"), user("stays", origin="x:9")))
        assert await goes.rest() == b""
        assert await close_reason(server, goes) == "Client Closed"
        assert await changes.rest() == VIOLATION
        assert await close_reason(server, changes) == "Authentication Failure"
        await stays.send(b"ey\r\n")
        assert await stays.ping() == [b"MSG a 1 3\r\nhey"]
        async with await Client.connect(server, **login("new")) as new:
            assert await new.ping() == []


async def test_a_user_who_moved_and_an_account_that_is_gone_end_in_silence() -> None:
    one, two = (AccountOptions(name=name, users=(user(name.lower()),)) for name in "AB")
    async with serving(accounts=(one, two)) as server:
        first, second = [await Client.connect(server, **login(name)) for name in "ab"]
        moved = AccountOptions(name="C", users=(user("a"),))
        await reload(server, accounts=(moved,))
        assert await first.rest() == await second.rest() == b""
        assert await close_reason(server, first) == await close_reason(server, second) == "Client Closed"
        assert "A" not in server.service.control.tenants
        async with await Client.connect(server, **login("a")) as client:
            assert session_of(server, client).principal.account.name == "C"


async def test_authentication_switched_on_and_off() -> None:
    async with serving() as server:
        nobody, named = await Client.connect(server), await Client.connect(server, **login("bob"))
        mute = await Client.open(server)
        await mute.greeting()
        await reload(server, authorization=users(user("bob")))
        assert await nobody.rest() == VIOLATION
        assert await mute.rest() == VIOLATION
        assert await named.ping() == []
        async with await Client.open(server) as client:
            assert (await client.greeting())["auth_required"]
        await reload(server, authorization=AuthorizationOptions())
        assert await named.rest() == b""
        async with await Client.connect(server) as client:
            assert "auth_required" not in client.info


async def test_a_single_user_outlives_changes_that_are_none_of_his() -> None:
    async with serving(authorization=AuthorizationOptions(user="bob", password="p")) as server:
        client = await Client.connect(server, **login("bob"))
        await reload(server, max_payload=100)
        assert await client.ping() == []
        await reload(server, authorization=AuthorizationOptions(user="bob", password="q"))
        assert await client.rest() == b""


async def test_changed_hashes_are_compared_aside() -> None:
    def hashed(password: bytes) -> str:
        return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()

    start = users(user("same", hashed(b"p")), user("again", hashed(b"p")), user("other", hashed(b"p")))
    async with serving(authorization=start) as server:
        same, again, other = [await Client.connect(server, **login(name)) for name in ("same", "again", "other")]
        after = users(start.users[0], user("again", hashed(b"p")), user("other", hashed(b"q")))
        await reload(server, authorization=after)
        assert await other.rest() == VIOLATION
        assert await same.ping() == await again.ping() == []


async def test_a_login_that_was_being_compared_is_judged_by_the_new_users() -> None:
    stored = bcrypt.hashpw(b"p", bcrypt.gensalt(11)).decode()
    async with serving(authorization=users(user("bob", stored))) as server:
        client = await Client.open(server)
        await client.greeting()
        await client.introduce(**login("bob"))
        session = session_of(server, client)
        await until(lambda: session.state.value == "verifying")
        await reload(server, authorization=users(user("al")))
        assert await client.rest() == VIOLATION


# What they may


async def test_new_permissions_trim_filter_and_keep_what_was_counted() -> None:
    async with serving(authorization=users(user("a"), user("b"))) as server:
        a, b = [await Client.connect(server, **login(name)) for name in "ab"]
        await a.send(b"SUB x.> 1\r\nSUB x.y 2\r\nSUB x.y q 3\r\nSUB z 4\r\nUNSUB 4 3\r\nPUB z 1\r\n1\r\n")
        assert await a.ping() == [b"MSG z 4 1\r\n1"]
        # Plans that others have kept must hear of the new filters.
        for _ in range(3):
            await b.send(b"PUB x.y 1\r\n-\r\nPUB x.z 1\r\n-\r\n")
            assert await b.ping() == []
        assert len(await a.ping()) == 12
        narrow = Permissions(subscribe=SubjectRules(deny=grants("x.y")), publish=SubjectRules(deny=grants("no")))
        await reload(server, authorization=users(user("a", permissions=narrow), user("b")))
        text = "Permissions Violation for Subscription to \"x.y\""
        assert set(await a.ping()) == {
            f"-ERR '{text} (sid \"2\")'".encode(), f"-ERR '{text} using queue \"q\" (sid \"3\")'".encode()
        }
        await b.send(b"PUB x.y 1\r\n-\r\nPUB x.z 1\r\n+\r\n" + b"PUB z 1\r\n2\r\n" * 3)
        assert await b.ping() == []
        await a.send(b"PUB no 0\r\n\r\n")
        assert await a.ping() == [
            b"MSG x.z 1 1\r\n+", b"MSG z 4 1\r\n2", b"MSG z 4 1\r\n2",
            b"-ERR 'Permissions Violation for Publish to \"no\"'",
        ]
        await reload(server, authorization=users(user("a"), user("b")))
        await b.send(b"PUB x.y 1\r\n-\r\n")
        assert await b.ping() == []
        assert await a.ping() == [b"MSG x.y 1 1\r\n-"]


async def test_an_open_reply_subject_stays_open_where_the_policy_is_the_same() -> None:
    permissions = Permissions(responses=ResponsePermission())
    start = users(user("server", permissions=permissions), user("asks"))
    async with serving(authorization=start) as server:
        answers, asks = [await Client.connect(server, **login(name)) for name in ("server", "asks")]
        await answers.send(b"SUB q 1\r\n")
        assert await answers.ping() == []
        await asks.send(b"SUB r 1\r\nPUB q r 0\r\n\r\n")
        assert await asks.ping() == []
        await reload(server, authorization=users(user("new"), *start.users))
        await answers.send(b"PUB r 2\r\nok\r\n")
        assert await answers.ping() == [b"MSG q 1 r 0\r\n"]
        assert await asks.ping() == [b"MSG r 1 2\r\nok"]


async def test_the_newest_go_where_an_account_or_the_server_takes_fewer() -> None:
    account = AccountOptions(name="A", users=(user("a"),))
    async with serving(accounts=(account,), no_auth_user="a") as server:
        clients = [await Client.connect(server) for _ in range(4)]
        await reload(server, accounts=(replace(account, limits=AccountLimits(connections=3)),))
        assert await clients[3].rest() == b"-ERR 'maximum account active connections exceeded'\r\n"
        assert await close_reason(server, clients[3]) == "Maximum Account Connections Exceeded"
        await reload(server, max_connections=1)
        for client in clients[1:3]:
            assert await client.rest() == b"-ERR 'maximum connections exceeded'\r\n"
            assert await close_reason(server, client) == "Maximum Connections Exceeded"
        assert await clients[0].ping() == []


async def test_fewer_subscriptions() -> None:
    account = AccountOptions(name="A", users=(user("a"),))
    async with serving(accounts=(account,)) as server:
        many, few = [await Client.connect(server, **login("a")) for _ in range(2)]
        await many.send(b"SUB a 1\r\nSUB b 2\r\n")
        await few.send(b"SUB a 1\r\n")
        assert await many.ping() == await few.ping() == []
        await reload(server, accounts=(replace(account, limits=AccountLimits(subscriptions=1)),))
        assert await many.rest() == b"-ERR 'maximum subscriptions exceeded'\r\n"
        await few.send(b"SUB b 2\r\n")
        assert await few.ping() == [b"-ERR 'maximum subscriptions exceeded'"]


async def test_sizes_and_clocks_reach_open_connections() -> None:
    async with serving() as server, await Client.connect(server) as client, await Client.connect(server) as other:
        await reload(server, max_payload=5, max_control_line=64, ping_interval=7.0, ping_max=9, write_deadline=3.0)
        session = session_of(server, client)
        assert (session.liveness.interval, session.liveness.maximum) == (7.0, 9)
        assert server.service.options.write_deadline == 3.0
        await client.send(b"PUB a 6\r\n123456\r\n")
        assert await client.rest() == b"-ERR 'Maximum Payload Violation'\r\n"
        await other.send(b"SUB " + b"s" * 70 + b" 1\r\n")
        assert await other.rest() == b"-ERR 'maximum control line exceeded'\r\n"
        async with await Client.open(server) as new:
            assert (await new.greeting())["max_payload"] == 5


async def test_new_clients_are_told_another_address() -> None:
    async with serving() as server, await Client.connect(server, protocol=1) as client:
        await client.ping()
        await reload(server, client_advertise="1.2.3.4:5")
        assert await client.ping() == []
        async with await Client.open(server) as new:
            info = await new.greeting()
        assert (info["host"], info["port"]) == ("1.2.3.4", 5)


async def test_tracing_begins_and_ends_for_open_connections() -> None:
    async with serving() as server, await Client.connect(server) as client:
        await reload(server, logging=LoggingOptions(trace=True))
        assert session_of(server, client).tracer is not None
        await reload(server, logging=LoggingOptions())
        assert session_of(server, client).tracer is None


# Operator mode


def revoke(realm: Realm) -> None:
    realm.account.revoke(realm.user_key.public, realm.issued_at)


def narrow(realm: Realm) -> None:
    realm.account.nats.default_permissions.subscribe.deny.append("y")


def nothing(realm: Realm) -> None:
    realm.account.name = "another"


PRELOADS = [
    (revoke, b"-ERR 'User Authentication Revoked'\r\n"),
    (narrow, b"-ERR 'Permissions Violation for Subscription to \"y\" (sid \"1\")'\r\n"),
    (nothing, b""),
]


@pytest.mark.parametrize(("change", "told"), PRELOADS, ids=[change.__name__ for change, _ in PRELOADS])
async def test_preloaded_accounts_hold_their_live_sessions_to_what_they_say_now(change: Any, told: bytes) -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        await client.send(b"SUB y 1\r\n")
        assert await client.ping() == []
        change(realm)
        await reload(server, resolver_preload=realm.options().resolver_preload)
        if b"Revoked" in told:
            assert await client.rest() == told
        else:
            assert b"".join(frame + b"\r\n" for frame in await client.ping()) == told
            assert session_of(server, client).principal.account.display_name == realm.account.name


async def test_an_account_that_is_not_preloaded_any_more() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        await reload(server, resolver_preload={})
        assert await client.rest() == VIOLATION
        assert realm.account_key.public not in server.service.control.tenants


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def tls(certificates: Certificates, name: str = "server", **fields: Any) -> TLSOptions:
    pair = {"cert_file": str(certificates.directory / f"{name}.pem")}
    return TLSOptions(**pair, key_file=str(certificates.directory / f"{name}-key.pem"), **fields)


def client_context(certificates: Certificates, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.directory / "ca.pem"))
    context.check_hostname = False
    if name:
        context.load_cert_chain(certificates.directory / f"{name}.pem", certificates.directory / f"{name}-key.pem")
    return context


@in_every_loop
async def test_a_new_certificate_is_for_new_handshakes(certificates: Certificates) -> None:
    async with serving(tls=tls(certificates)) as server:
        old = await SecureClient.secured(server, client_context(certificates))
        await reload(server, tls=tls(certificates, "server2"))
        new = await SecureClient.secured(server, client_context(certificates))
        assert await old.ping() == await new.ping() == []
        assert old.tls.getpeercert(binary_form=True) != new.tls.getpeercert(binary_form=True)
        await reload(server, tls=None)
        assert await old.ping() == []
        async with await Client.connect(server) as clear:
            assert "tls_required" not in clear.info


async def test_a_certificate_renewed_under_its_name_is_taken(certificates: Certificates, tmp_path: Path) -> None:
    def place(name: str) -> None:
        for end in (".pem", "-key.pem"):
            (tmp_path / f"own{end}").write_bytes((certificates.directory / f"{name}{end}").read_bytes())

    place("server")
    here = Certificates(tmp_path, {})
    async with serving(tls=tls(here, "own")) as server:
        old = await SecureClient.secured(server, client_context(certificates))
        place("server2")
        await reload(server)
        new = await SecureClient.secured(server, client_context(certificates))
        assert old.tls.getpeercert(binary_form=True) != new.tls.getpeercert(binary_form=True)


async def test_connections_whose_certificate_is_not_pinned_any_more_end(certificates: Certificates) -> None:
    ca = str(certificates.directory / "ca.pem")
    async with serving(tls=tls(certificates, verify=True, ca_file=ca)) as server:
        plain, email = [
            await SecureClient.secured(server, client_context(certificates, name)) for name in ("plain", "email")
        ]
        pinned = tls(certificates, verify=True, ca_file=ca, pinned_certs=frozenset({certificates.pins["plain"]}))
        await reload(server, tls=pinned)
        assert await close_reason(server, email) == "TLS Handshake Failure"
        assert await plain.ping() == []


async def test_each_certificate_is_judged_for_itself(certificates: Certificates) -> None:
    # A user with a hash makes the verdicts come from the thread, where equal questions are asked once.
    hashed = user("bob", bcrypt.hashpw(b"p", bcrypt.gensalt(4)).decode())
    mapped = tls(certificates, verify_and_map=True, verify=True, ca_file=str(certificates.directory / "ca.pem"))
    names = ("derek@nats.test", "app.nats.test")

    def own(may: dict[str, str]) -> AccountOptions:
        entries = [user(name, "", permissions=Permissions(subscribe=SubjectRules(allow=grants(may[name]))))
                   for name in names]
        return AccountOptions(name="A", users=(hashed, *entries))

    async with serving(tls=mapped, accounts=(own(dict(zip(names, ("a", "b"), strict=True))),)) as server:
        clients = [
            await SecureClient.secured(server, client_context(certificates, name)) for name in ("email", "dns")
        ]
        await reload(server, accounts=(own(dict(zip(names, ("x", "y"), strict=True))),))
        found = [session_of(server, client).principal for client in clients]
        assert [one.user for one in found if one is not None] == list(names)
        await clients[1].send(b"SUB x 1\r\nSUB y 2\r\n")
        assert await clients[1].ping() == [b"-ERR 'Permissions Violation for Subscription to \"x\"'"]


# Told beforehand


async def test_the_sessions_of_a_running_server_are_asked_for_over_https(certificates: Certificates) -> None:
    def options(monitor: int) -> Options:
        return Options(tls=tls(certificates), monitor=MonitorOptions(https_port=monitor))

    async with serving(tls=tls(certificates), monitor=MonitorOptions(https_port=-1)) as server:
        client = await SecureClient.secured(server, client_context(certificates))
        await client.send(b"SUB a 1\r\nSUB b q 2\r\n")
        assert await client.ping() == []
        known = options(server.monitor_port)
        cid = session_of(server, client).cid
        assert await asyncio.to_thread(running_sessions, known) == [
            SessionSnapshot(cid, "$G", "", (("a", None), ("b", "q")))
        ]
        other = replace(known, tls=tls(certificates, "server2"))
        with pytest.raises(RunningError, match="does not answer"):
            await asyncio.to_thread(running_sessions, other)


# What is refused


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"max_pending": 3 << 20}, "config reload not supported for MaxPending: old=67108864, new=3145728"),
        ({"max_payload": 1 << 30}, "max_payload (1073741824) cannot be higher than max_pending (67108864)"),
        ({"no_auth_user": "x"}, 'no_auth_user: "x" not present as user or nkey in authorization block or account '
                                "configuration"),
        ({"tls": TLSOptions(cert_file="/nowhere", key_file="/nowhere")}, "/nowhere"),
    ],
)
async def test_what_is_refused_changes_nothing(
    changes: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    start = users(user("bob"))
    async with serving(authorization=start) as server, await Client.connect(server, **login("bob")) as client:
        before, authenticator = server.options, server.service.control.authenticator
        with pytest.raises(ReloadError) as caught:
            await reload(server, authorization=AuthorizationOptions(users=(user("al"),)), ping_max=9, **changes)
        assert text in str(caught.value)
        assert server.options is server.service.options is server.service.control.options is before
        assert server.service.control.authenticator is authenticator
        assert await client.ping() == []
    assert f"Failed to reload server configuration: {caught.value}" in caplog.text


async def test_what_the_process_refuses_changes_nothing() -> None:
    def adopt(old: Options, new: Options) -> None:
        raise OSError("no room")

    async with serving() as server:
        before = server.options
        with pytest.raises(ReloadError, match="no room"):
            await server.reload(replace(before, ping_max=9), adopt)
        assert server.options is before


async def test_one_reload_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving() as server:
        await asyncio.gather(*[reload(server, ping_max=number) for number in (3, 4, 5)])
        assert server.options.ping_max == 5
    assert [record.getMessage() for record in caplog.records if "ping_max" in record.getMessage()] == [
        f"Reloaded: ping_max = {number}" for number in (3, 4, 5)
    ]


# Under load


@in_every_loop
async def test_reloads_under_load_lose_nothing_of_a_user_who_stands_in_both() -> None:
    more = Permissions(publish=SubjectRules(allow=grants(">")))
    one = users(user("stays"), user("other"), user("changes"))
    two = users(user("more"), user("stays", origin="x:2"), user("changes", permissions=more))
    async with serving(authorization=one) as server:
        receiver, publisher = [await Client.connect(server, **login("stays")) for _ in range(2)]
        changing = await Client.connect(server, **login("changes"))
        await receiver.send(b"SUB a.> 1\r\n")
        assert await receiver.ping() == []
        total, done = {"a.s": 0, "a.c": 0}, False

        async def publish(client: Client, subject: str) -> None:
            while not done:
                lines = b"".join(
                    b"PUB %b %d\r\n%d\r\n" % (subject.encode(), len(str(number)), number)
                    for number in range(total[subject], total[subject] + 20)
                )
                total[subject] += 20
                # Cut inside a frame, so that a reload also meets what has arrived in part.
                await client.send(lines[: len(lines) // 2])
                await asyncio.sleep(0)
                await client.send(lines[len(lines) // 2 :])
                assert await client.ping() == []

        async def receive() -> dict[str, list[int]]:
            found: dict[str, list[int]] = {"a.s": [], "a.c": []}
            while True:
                frame = await receiver.frame()
                if frame == b"PONG":
                    return found
                line, payload = frame.split(b"\r\n")
                found[line.split()[1].decode()].append(int(payload))

        received = asyncio.create_task(receive())
        load = [asyncio.create_task(publish(publisher, "a.s")), asyncio.create_task(publish(changing, "a.c"))]
        for number in range(RELOADS):
            await reload(server, authorization=one if number % 2 else two)
        done = True
        await asyncio.gather(*load)
        await receiver.send(b"PING\r\n")
        found = await received
        for subject, count in total.items():
            assert count
            assert found[subject] == list(range(count))
