"""Accounts of JWTs that export and import: what crosses, until when, and what a change of claims does to sessions."""

from __future__ import annotations

import re
import time

import pytest

from auth.claims.exchange import Export, Import
from auth.claims.extension import AccountExtension
from auth.errors import AuthError
from broker.app import Server
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, close_reason, serving


def exporting(*exports: Export) -> Realm:
    realm = Realm()
    realm.account.nats.exports.extend(exports)
    return realm


def importing(exporter: Realm, *imports: Import) -> Realm:
    realm = exporter.neighbour("GLOBEX")
    for one in imports:
        one.account = exporter.account_key.public
        realm.account.nats.imports.append(one)
    return realm


async def pair(server: Server, exporter: Realm, importer: Realm) -> tuple[Client, Client]:
    return await exporter.connect(server, headers=True), await importer.connect(server, headers=True)


async def hears(exporter: Client, importer: Client, subject: str) -> list[bytes]:
    await exporter.send(f"PUB {subject} 1\r\nx\r\n".encode())
    assert await exporter.ping() == []
    return await importer.ping()


@in_every_loop
async def test_public_streams_and_services_cross() -> None:
    exporter = exporting(Export(subject="st.>", type="stream"), Export(subject="svc", type="service"))
    importer = importing(
        exporter,
        Import(subject="st.*", type="stream", local_subject="got.$1"),
        Import(subject="svc", type="service", local_subject="ask"),
    )
    async with serving(exporter.options(importer)) as server:
        one, two = await pair(server, exporter, importer)
        await two.send(b"SUB got.> 1\r\nSUB inbox 2\r\n")
        await one.send(b"SUB svc 3\r\n")
        assert await one.ping() == await two.ping() == []
        assert await hears(one, two, "st.a") == [b"MSG got.a 1 1\r\nx"]
        await two.send(b"PUB ask inbox 2\r\nhi\r\n")
        request = await one.frame()
        found = re.match(rb'HMSG svc 3 (_R_\.\S+) .*"acc":"(A\w+)".*hi$', request, re.DOTALL)
        assert found is not None, request
        assert found[2].decode() == importer.account_key.public
        await one.send(b"PUB %b 2\r\nho\r\n" % found[1])
        assert await two.frame() == b"MSG inbox 2 2\r\nho"


async def test_an_activation_ends_in_its_second_even_where_it_grants_more_than_is_imported() -> None:
    exporter = exporting(Export(subject="priv.>", type="stream", token_required=True))
    importer = importing(exporter, Import(subject="priv.a", type="stream"))
    ends = int(time.time()) + 2
    importer.account.nats.imports[0].token = exporter.activation(importer, "priv.>", expires_at=ends)
    async with serving(exporter.options(importer)) as server:
        one, two = await pair(server, exporter, importer)
        await two.send(b"SUB priv.a 1\r\n")
        assert await two.ping() == []
        heard = 0
        while await hears(one, two, "priv.a"):
            heard += 1
            assert time.time() < ends + 1
        assert heard
        assert time.time() >= ends
        assert server.service.control.tenants[exporter.account_key.public].namespace.shadows == 0


async def test_without_an_activation_nothing_crosses_and_the_account_works() -> None:
    exporter = exporting(
        Export(subject="priv.>", type="stream", token_required=True),
        Export(subject="svc", type="service", token_required=True),
    )
    importer = importing(exporter, Import(subject="priv.a", type="stream"), Import(subject="svc", type="service"))
    async with serving(exporter.options(importer)) as server:
        one, two = await exporter.connect(server), await importer.connect(server, headers=True, no_responders=True)
        await two.send(b"SUB priv.a 1\r\nSUB own 2\r\nSUB r 3\r\n")
        await one.send(b"SUB svc 1\r\n")
        assert await one.ping() == await two.ping() == []
        assert await hears(one, two, "priv.a") == []
        await two.send(b"PUB own 1\r\ny\r\nPUB svc r 1\r\nx\r\n")
        own, unheard = await two.frames(2)
        assert own == b"MSG own 2 1\r\ny"
        assert b"503" in unheard


async def test_a_revoked_activation_ends_at_once_and_comes_back_with_a_newer_one() -> None:
    exporter = exporting(Export(subject="priv.>", type="stream", token_required=True))
    importer = importing(exporter, Import(subject="priv.a", type="stream"))
    importer.account.nats.imports[0].token = exporter.activation(importer, "priv.a")
    async with serving(exporter.options(importer)) as server:
        one, two = await pair(server, exporter, importer)
        await two.send(b"SUB priv.* 1\r\n")
        assert await two.ping() == []
        assert await hears(one, two, "priv.a")
        export = exporter.account.nats.exports[0]
        assert export is not None
        export.revocations[importer.account_key.public] = exporter.issued_at
        server.update_account(exporter.account_token())
        assert await hears(one, two, "priv.a") == []
        exporter.issued_at += 1
        importer.account.nats.imports[0].token = exporter.activation(importer, "priv.a")
        server.update_account(importer.account_token())
        assert await hears(one, two, "priv.a")


async def test_an_export_that_goes_closes_the_way_and_leaves_everybody_connected() -> None:
    exporter = exporting(Export(subject="st", type="stream"), Export(subject="other", type="stream"))
    importer = importing(exporter, Import(subject="st", type="stream"), Import(subject="other", type="stream"))
    async with serving(exporter.options(importer)) as server:
        one, two = await pair(server, exporter, importer)
        await two.send(b"SUB > 1\r\n")
        assert await two.ping() == []
        exporter.account.nats.exports[:] = [Export(subject="other", type="stream")]
        server.update_account(exporter.account_token())
        assert await hears(one, two, "st") == []
        assert await hears(one, two, "other") == [b"MSG other 1 1\r\nx"]


async def test_a_revoked_user_and_a_smaller_limit_take_just_what_lost_its_ground() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        first, second = await realm.connect(server), await realm.connect(server)
        realm.account.nats.limits.connections = 1
        server.update_account(realm.account_token())
        assert await second.rest() == b"-ERR 'maximum account active connections exceeded'\r\n"
        assert await first.ping() == []
        realm.account.revoke(realm.user_key.public)
        server.update_account(realm.account_token())
        assert b"-ERR" in await first.rest()
        assert await close_reason(server, first) == "Credentials Revoked"


async def test_a_token_that_nobody_trusts_changes_nothing() -> None:
    exporter = exporting(Export(subject="st", type="stream"))
    importer = importing(exporter, Import(subject="st", type="stream"))
    stranger = Realm()
    stranger.account_key = exporter.account_key
    stranger.account.subject = exporter.account_key.public
    async with serving(exporter.options(importer)) as server:
        one, two = await pair(server, exporter, importer)
        await two.send(b"SUB st 1\r\n")
        assert await two.ping() == []
        with pytest.raises(AuthError):
            server.update_account(stranger.account_token())
        assert await hears(one, two, "st")
    async with serving() as server:
        with pytest.raises(AuthError):
            server.update_account(exporter.account_token())


async def test_rates_of_claims_hold() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        await client.send(b"SUB a 1\r\nPUB a 0\r\n\r\n")
        assert await client.ping() == [b"MSG a 1 0\r\n"]
        realm.account.nats.natskeep = AccountExtension(message_rate=5)
        server.update_account(realm.account_token())
        begin = time.monotonic()
        await client.send(b"PUB a 0\r\n\r\n" * 10)
        assert len(await client.frames(10)) == 10
        assert await client.ping() == []
        assert time.monotonic() - begin > 0.5
