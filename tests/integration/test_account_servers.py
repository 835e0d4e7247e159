"""Accounts that are fetched when they are first used: from an account server, or into a cache from other servers."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from auth.claims import Export, Import
from auth.nkey import KeyKind, KeyPair
from auth.settings import SettingsError
from broker.config.options import Options, ResolverKind, ResolverOptions
from broker.resolver.fetcher import FetchError
from broker.resolver.url import UrlSource
from tests.support.certificates import make_certificates
from tests.support.estate import LIST, UPDATE, Estate, ask, lookup, push, request
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import PATIENCE, Client, serving, session_of, until
from tls.policy import TLSSettings

VIOLATION = b"-ERR 'Authorization Violation'"
CERTIFICATE = {"cert_file": "server", "key_file": "server-key", "ca_file": "ca"}
REVOKED = b"-ERR 'User Authentication Revoked'\r\n"


def stored(directory: Path) -> list[str]:
    """The accounts that lie in a directory."""
    return sorted(path.stem for path in directory.iterdir())


@dataclass
class AccountServer:
    """An account server that answers as a test says."""

    answers: dict[str, Callable[[], Awaitable[web.StreamResponse]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    base: int = 200

    def has(self, realm: Realm) -> None:
        """Answers with the account's JWT as it stands now."""
        token = realm.account_token()

        async def answer() -> web.StreamResponse:
            return web.Response(text=token)

        self.answers[realm.account_key.public] = answer

    async def answer(self, asked: web.Request) -> web.StreamResponse:
        name = asked.match_info["name"]
        self.asked.append(name)
        if not name:
            return web.Response(status=self.base)
        found = self.answers.get(name)
        return web.Response(status=404) if found is None else await found()

    def options(self, estate: Estate, *realms: Realm, **changes: Any) -> Options:
        for realm in (estate.system, *realms):
            self.has(realm)
        resolver = ResolverOptions(ResolverKind.URL, url=self.url, **changes)
        return replace(estate.options(ResolverKind.URL), resolver=resolver)


@contextmanager
def account_server(context: ssl.SSLContext | None = None) -> Iterator[AccountServer]:
    """An account server with a loop of its own, so that what it leaves behind is not taken for the broker's."""
    made = AccountServer()
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_get("/jwt/v1/accounts/{name:.*}", made.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        host, port = runner.addresses[0][:2]
        made.url = f"http{'s' if context else ''}://{host}:{port}/jwt/v1/accounts"
        ready.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield made
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(PATIENCE)
        loop.close()


# An account server


@in_every_loop
async def test_an_account_is_fetched_when_it_is_first_used() -> None:
    estate = Estate()
    with account_server() as accounts:
        async with serving(accounts.options(estate, estate.realm)) as server:
            client = await estate.realm.connect(server)
            assert await client.ping() == []
            again = await estate.realm.connect(server)
            assert await again.ping() == []
            assert accounts.asked.count(estate.name) == 1
            assert accounts.asked[0] == ""


@in_every_loop
async def test_many_logins_share_one_fetch() -> None:
    estate = Estate()
    with account_server() as accounts:
        async with serving(accounts.options(estate, estate.realm)) as server:
            go_on = threading.Event()
            token = estate.realm.account_token()

            async def slow() -> web.StreamResponse:
                await asyncio.to_thread(go_on.wait, PATIENCE)
                return web.Response(text=token)

            accounts.answers[estate.name] = slow
            clients = [await estate.realm.attempt(server) for _ in range(20)]
            await until(lambda: estate.name in accounts.asked)
            # Who waits holds up nobody else.
            assert await (await estate.system.connect(server)).ping() == []
            clients.pop().close()
            go_on.set()
            assert {await client.frame() for client in clients} == {b"PONG"}
            assert accounts.asked.count(estate.name) == 1


def untrusted(estate: Estate) -> str:
    return replace(estate.realm, operator_key=KeyPair.generate(KeyKind.OPERATOR)).account_token()


def expired(estate: Estate) -> str:
    estate.realm.account.expires_at = int(time.time()) - 10
    return estate.realm.account_token()


BAD = {
    "signature": (lambda estate: estate.realm.account_token()[:-4] + "AAAA", "signature verification"),
    "operator": (untrusted, "not signed by trusted operator"),
    "account": (lambda estate: estate.other.account_token(), f"is about {'A'}"),
    "expired": (expired, "has expired"),
    "html": (lambda estate: "<html>Not found</html>", "expected 3 chunks"),
    "empty": (lambda estate: "", "expected 3 chunks"),
    "huge": (lambda estate: "x" * (1024 * 1024 + 1), "more than 1048576 bytes"),
    "not ASCII": (lambda estate: "é", "what came is not ASCII"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_an_account_server_must_not_answer(case: str, caplog: pytest.LogCaptureFixture) -> None:
    make, why = BAD[case]
    estate = Estate()
    body = make(estate)

    async def answer() -> web.StreamResponse:
        return web.Response(text=body)

    with account_server() as accounts:
        async with serving(accounts.options(estate)) as server:
            accounts.answers[estate.name] = answer
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
            assert estate.name not in server.service.control.tenants
            # A second try so soon asks nobody.
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
            assert accounts.asked.count(estate.name) == 1
    assert f"Account fetch failed: {estate.name}: " in caplog.text
    assert why in caplog.text


async def test_an_account_that_there_is_not(caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    with account_server() as accounts:
        async with serving(accounts.options(estate)) as server:
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
    assert f'could not fetch <"{accounts.url}/{estate.name}">: 404 Not Found' in caplog.text


@in_every_loop
async def test_an_account_server_that_does_not_answer_in_time(caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    never = threading.Event()

    async def silent() -> web.StreamResponse:
        await asyncio.to_thread(never.wait, PATIENCE)
        return web.Response()

    with account_server() as accounts:
        async with serving(accounts.options(estate, timeout=0.2)) as server:
            accounts.answers[estate.name] = silent
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
            never.set()
    assert f"Account fetch failed: {estate.name}: fetching jwt timed out" in caplog.text


async def test_an_account_server_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    with account_server() as accounts:
        options = accounts.options(estate)
        async with serving(options) as server:
            resolver = server.options.resolver
            assert resolver is not None
            await server.reload(replace(server.options, max_payload=4096))
            accounts.answers.clear()
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
    with pytest.raises(SettingsError, match=r'could not fetch <"http://127\.0\.0\.1:'):
        async with serving(options):
            pass


async def test_a_server_does_not_start_without_its_account_server() -> None:
    estate = Estate()
    with account_server() as accounts:
        accounts.base = 500
        with pytest.raises(SettingsError, match=r'could not fetch <"http.*/jwt/v1/accounts/">: 500 Internal'):
            async with serving(accounts.options(estate)):
                pass


async def test_a_server_of_several_operators_must_know_its_system_account(tmp_path: Path) -> None:
    estate, second = Estate(), Estate()
    second.realm.operator.nats.system_account = ""
    options = estate.options(ResolverKind.FULL, tmp_path)
    both = replace(
        options,
        operators=(*options.operators, *second.options(ResolverKind.FULL).operators),
        system_account=estate.system.account_key.public,
    )
    with pytest.raises(SettingsError, match="the account resolver does not know the system account A"):
        async with serving(both):
            pass
    (tmp_path / f"{estate.system.account_key.public}.jwt").write_text(estate.system.account_token())
    async with serving(both) as server:
        assert await (await estate.administrator(server)).ping() == []


async def test_no_password_of_an_account_server_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    with account_server() as accounts:
        accounts.url = accounts.url.replace("//", "//me:s3cr3t@")
        options = accounts.options(estate)
        async with serving(options) as server:
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
        accounts.base = 403
        with pytest.raises(SettingsError) as caught:
            async with serving(options):
                pass
    assert "s3cr3t" not in caplog.text + str(caught.value) + repr(options)
    assert "//…@127.0.0.1" in caplog.text


async def test_https_is_verified_by_resolver_tls(tmp_path: Path) -> None:
    estate = Estate()
    made = make_certificates(tmp_path)
    files = {name: str(made.directory / f"{file}.pem") for name, file in CERTIFICATE.items()}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert_file"], files["key_file"])
    with account_server(context) as accounts:
        options = replace(accounts.options(estate, estate.realm), resolver_tls=TLSSettings(ca_file=files["ca_file"]))
        async with serving(options) as server:
            assert await (await estate.realm.connect(server)).ping() == []
        with pytest.raises(SettingsError, match="certificate not trusted"):
            async with serving(replace(options, resolver_tls=None)):
                pass


async def test_an_insecure_resolver_tls_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    directory = make_certificates(tmp_path).directory
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server-key.pem")
    with account_server(context) as accounts:
        options = replace(accounts.options(estate, estate.realm), resolver_tls=TLSSettings(insecure=True))
        async with serving(options) as server:
            assert await (await estate.realm.connect(server)).ping() == []
    (warning,) = [one for one in caplog.records if "will not be verified. DO NOT USE IN PRODUCTION!" in one.message]
    assert warning.levelname == "WARNING"
    assert warning.message.startswith("TLS certificate chain and hostname of account servers")


@in_every_loop
async def test_exporters_come_with_who_imports_from_them() -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    third = realm.neighbour("THIRD")
    realm.account.nats.imports = [
        Import(subject="help", account=other.account_key.public, type="service"),
        Import(subject="news", account=third.account_key.public, type="stream"),
    ]
    other.account.nats.exports = [Export(subject="help", type="service")]
    with account_server() as accounts:
        async with serving(accounts.options(estate, realm, other)) as server:
            helper = await other.connect(server)
            await helper.send(b"SUB help 1\r\n")
            assert await helper.ping() == []
            client = await realm.connect(server)
            await client.send(b"SUB r 1\r\nPUB help r 2\r\nhi\r\n")
            assert (await helper.frame()).endswith(b"\r\nhi")
            assert third.account_key.public in accounts.asked


@in_every_loop
async def test_an_expired_account_is_fetched_again() -> None:
    estate = Estate()
    realm = estate.realm
    realm.account.expires_at = int(time.time()) + 2
    with account_server() as accounts:
        async with serving(accounts.options(estate, realm)) as server:
            client = await realm.connect(server)
            assert await client.rest() == b"-ERR 'Account Authentication Expired'\r\n"
            realm.account.expires_at = 0
            accounts.has(realm)
            assert await (await realm.connect(server)).ping() == []


async def test_pushes_reach_accounts_in_use_alone() -> None:
    estate = Estate()
    realm = estate.realm
    with account_server() as accounts:
        async with serving(accounts.options(estate, realm)) as server:
            admin = await estate.administrator(server)
            subject = f"$SYS.REQ.ACCOUNT.{estate.name}.CLAIMS.UPDATE"
            skipped = await ask(admin, subject, realm.account_token())
            assert skipped["data"]["message"] == "jwt update skipped"
            client = await realm.connect(server)
            realm.account.nats.revocations[realm.user_key.public] = int(time.time())
            assert (await ask(admin, subject, realm.account_token()))["data"]["message"] == "jwt updated"
            assert await client.rest() == REVOKED


# A cache


async def peer_of(estate: Estate, server: Any) -> Client:
    """A client that plays a server with a full resolver."""
    peer = await estate.administrator(server)
    await peer.send(f"SUB {lookup('*')} 1\r\n".encode())
    assert await peer.ping() == []
    return peer


async def give(peer: Client, realm: Realm) -> None:
    """Answers the next question with the JWT of an account."""
    question = (await peer.frame()).split()
    assert question[1] == lookup(realm.account_key.public).encode()
    token = realm.account_token().encode()
    await peer.send(b"PUB %b %d\r\n%b\r\n" % (question[3], len(token), token))


@in_every_loop
async def test_a_cache_keeps_what_is_used(tmp_path: Path) -> None:
    estate = Estate()
    realm, other = estate.realm, estate.other
    options = estate.options(ResolverKind.CACHE, tmp_path, estate.system, limit=2)
    async with serving(options) as server:
        peer = await peer_of(estate, server)
        # What nobody uses is not taken.
        assert await push(peer, realm.account_token()) == {
            "account": estate.name, "code": 200, "message": "jwt update cache skipped",
        }  # fmt: skip
        client = await realm.attempt(server)
        await give(peer, realm)
        assert await client.frame() == b"PONG"
        assert (tmp_path / f"{estate.name}.jwt").read_text() == realm.account_token()
        realm.account.name = "RENAMED"
        assert (await push(peer, realm.account_token()))["message"] == "jwt updated cache"
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.account.display_name == "RENAMED"
        # There is room for two: the system account was not asked for the longest.
        second = await other.attempt(server)
        await give(peer, other)
        assert await second.frame() == b"PONG"
        assert stored(tmp_path) == sorted([estate.name, other.account_key.public])
        assert (await ask(peer, LIST))["data"] == sorted([estate.name, other.account_key.public])
        assert await peer.ping() == []


async def test_a_cache_refuses_in_its_own_words(tmp_path: Path) -> None:
    estate = Estate()
    async with serving(estate.options(ResolverKind.CACHE, tmp_path, estate.system)) as server:
        peer = await estate.administrator(server)
        assert (await push(peer, "x")).startswith("jwt update cache resulted in error - ")
        estate.system.account.nats.exports = [Export(subject="a..b", type="stream")]
        answer = await push(peer, estate.system.account_token())
        assert answer.startswith("jwt update cache validation failed - validation errors: [")
        # Whoever asks for everything is not answered by a cache.
        await peer.send(f"SUB r 9\r\nPUB {lookup(estate.name)} r 0\r\n\r\n".encode())
        assert b"NATS/1.0 503" in await peer.frame()


async def test_a_cache_forgets_what_nobody_asks_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    estate = Estate()
    with caplog.at_level(logging.DEBUG, "natskeep.resolver"):
        async with serving(estate.options(ResolverKind.CACHE, tmp_path, estate.system, ttl=0.1)) as server:
            admin = await estate.administrator(server)
            await until(lambda: "the time of its JWT is over" in caplog.text)
            assert stored(tmp_path) == []
            # Whoever is in an account stays, and others may still come.
            assert await admin.ping() == []
            assert await (await estate.system.connect(server)).ping() == []


async def test_an_expired_jwt_leaves_a_full_directory(tmp_path: Path) -> None:
    estate = Estate()
    realm = estate.realm
    async with serving(estate.full(tmp_path)) as server:
        admin = await estate.administrator(server)
        realm.account.expires_at = int(time.time()) + 1
        assert (await push(admin, realm.account_token()))["code"] == 200
        supply = server._supply
        assert supply is not None
        assert supply.keeper is not None
        index = supply.keeper.resolver.index
        await until(lambda: not index.is_current(estate.name))
        assert (await ask(admin, LIST))["data"] == [estate.system.account_key.public]
        assert await request(admin, lookup(estate.name)) == b""
        await supply.keeper.sweep()
        assert stored(tmp_path) == [estate.system.account_key.public]


async def test_a_directory_needs_a_system_account(tmp_path: Path) -> None:
    estate = Estate()
    estate.realm.operator.nats.system_account = ""
    with pytest.raises(SettingsError, match="the system account needs to be specified"):
        async with serving(estate.options(ResolverKind.FULL, tmp_path)):
            pass


async def test_pinned_accounts_are_the_only_ones_looked_for() -> None:
    estate = Estate()
    with account_server() as accounts:
        pinned = frozenset({estate.other.account_key.public})
        options = replace(accounts.options(estate, estate.realm), resolver_pinned_accounts=pinned)
        async with serving(options) as server:
            assert VIOLATION in await (await estate.realm.attempt(server)).rest()
        assert estate.name not in accounts.asked


async def test_a_user_whose_token_does_not_hold_makes_nobody_ask() -> None:
    estate = Estate()
    with account_server() as accounts:
        async with serving(accounts.options(estate, estate.realm)) as server:
            client = await Client.open(server)
            await client.greeting()
            proof = estate.realm.proof(client)
            await client.introduce(**proof | {"jwt": proof["jwt"][:-4] + "AAAA"})
            assert VIOLATION in await client.rest()
            assert estate.name not in accounts.asked
            assert UPDATE not in accounts.asked


async def test_no_part_of_a_password_is_told() -> None:
    source = UrlSource("http://user:first@second@127.0.0.1:1/jwt", None)
    try:
        with pytest.raises(FetchError) as caught:
            await source.fetch("")
    finally:
        await source.close()
    assert "//…@127.0.0.1:1/jwt" in str(caught.value)
    assert "second" not in str(caught.value)
