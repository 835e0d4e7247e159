"""What a running server says of its clients: may they, why, and who would hear it."""

from __future__ import annotations

import pytest

from accounts.permissions import Grant, Permissions, SubjectRules
from auth.claims.exchange import Export, Import
from broker.config.options import AuthorizationOptions, UserOptions
from tests.support.realm import Realm
from tests.support.serving import Client, serving

WEB = UserOptions(
    user="web",
    password="p",
    permissions=Permissions(publish=SubjectRules(allow=(Grant("orders.>", origin="server.conf:3"),))),
    origin="server.conf:3",
)


async def test_the_verdict_is_what_the_client_meets_and_names_the_rule() -> None:
    async with serving(authorization=AuthorizationOptions(users=(WEB,))) as server:
        client = await Client.connect(server, user="web", **{"pass": "p"})
        allowed = server.explain_publish(client.cid, "orders.new")
        assert allowed.allowed
        assert allowed.rule is not None
        assert allowed.rule.origin == "server.conf:3"
        denied = server.explain_publish(client.cid, "invoices.new")
        assert not denied.allowed
        await client.send(b"PUB orders.new 0\r\n\r\nPUB invoices.new 0\r\n\r\n")
        assert await client.ping() == [b"-ERR 'Permissions Violation for Publish to \"invoices.new\"'"]
        assert server.explain_subscribe(client.cid, ">").allowed
        with pytest.raises(ValueError, match="not a valid subject"):
            server.explain_subscribe(client.cid, "a..b")
        with pytest.raises(KeyError):
            server.explain_publish(client.cid + 1, "a")


async def test_who_would_hear_it_is_told_across_accounts_as_they_are_now() -> None:
    exporter = Realm()
    exporter.account.nats.exports.append(Export(subject="st.*", type="stream"))
    importer = exporter.neighbour("GLOBEX")
    importer.account.nats.imports.append(
        Import(subject="st.*", account=exporter.account_key.public, type="stream", local_subject="got.$1")
    )
    async with serving(exporter.options(importer)) as server:
        one, _ = await exporter.connect(server), await importer.connect(server)
        own, other = exporter.account_key.public, importer.account_key.public
        told = server.explain_publish(one.cid, "st.a").receivers
        assert [(receiver.account, receiver.subject) for receiver in told] == [(own, "st.a"), (other, "got.a")]
        exporter.account.nats.exports.clear()
        server.update_account(exporter.account_token())
        told = server.explain_publish(one.cid, "st.a").receivers
        assert [receiver.account for receiver in told] == [own]
        # A client that has not said who it is is in no account.
        stranger = await Client.open(server)
        await stranger.greeting()
        with pytest.raises(ValueError, match="in no account"):
            server.explain_publish(stranger.cid, "st.a")
