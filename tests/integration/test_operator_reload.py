"""Operators that change in a running server: their keys come and go, and every account is asked who signed it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auth import jwt
from auth.nkey import KeyKind, KeyPair
from broker.app import Server
from broker.config.options import OperatorOptions
from broker.reload.plan import ReloadError
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import close_reason, serving


def with_keys(realm: Realm, *keys: KeyPair, strict: bool = False) -> OperatorOptions:
    """The operator with these signing keys."""
    realm.operator.nats.signing_keys = [key.public for key in keys]
    realm.operator.nats.strict_signing_key_usage = strict
    return OperatorOptions(jwt.encode(realm.operator, realm.operator_key))


async def reload(server: Server, realm: Realm, operator: OperatorOptions, signer: KeyPair) -> None:
    """Another JWT of the operator, and the account as this key signs it."""
    token = jwt.encode(realm.account, signer, issued_at=realm.issued_at)
    preload = {realm.account_key.public: token}
    await server.reload(replace(server.options, operators=(operator,), resolver_preload=preload))


@in_every_loop
async def test_keys_come_and_go_and_nobody_notices() -> None:
    realm, new = Realm(), KeyPair.generate(KeyKind.OPERATOR)
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        await client.send(b"SUB a 1\r\n")
        await reload(server, realm, with_keys(realm, new), realm.operator_key)
        await reload(server, realm, with_keys(realm, new), new)
        await client.send(b"PUB a 1\r\nx\r\n")
        assert await client.ping() == [b"MSG a 1 1\r\nx"]
        async with await realm.connect(server) as other:
            assert await other.ping() == []


async def test_whoever_depends_on_a_key_that_is_gone_goes() -> None:
    realm, old = Realm(), KeyPair.generate(KeyKind.OPERATOR)
    options = replace(realm.options(), operators=(with_keys(realm, old),))
    options = replace(options, resolver_preload={realm.account_key.public: jwt.encode(realm.account, old)})
    async with serving(options) as server:
        client = await realm.connect(server)
        await reload(server, realm, with_keys(realm), old)
        await client.rest()
        assert await close_reason(server, client) == "Authentication Failure"
        refused = await realm.attempt(server)
        await refused.rest()


async def test_signing_keys_may_become_required() -> None:
    realm, new = Realm(), KeyPair.generate(KeyKind.OPERATOR)
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        # The user is signed by the account itself, which no account may any more.
        await reload(server, realm, with_keys(realm, new, strict=True), new)
        await client.rest()
        assert await close_reason(server, client) == "Authentication Failure"


async def test_an_operator_that_has_expired_ends_its_accounts() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        realm.operator.expires_at = realm.issued_at + 1
        await reload(server, realm, with_keys(realm), realm.operator_key)
        await client.rest()
        assert await close_reason(server, client) == "Authentication Failure"


async def test_another_system_account_needs_a_restart() -> None:
    realm, other = Realm(), KeyPair.generate(KeyKind.ACCOUNT)
    async with serving(realm.options()) as server:
        client = await realm.connect(server)
        realm.operator.nats.system_account = other.public
        with pytest.raises(ReloadError, match="another system account"):
            await reload(server, realm, with_keys(realm), realm.operator_key)
        assert await client.ping() == []
