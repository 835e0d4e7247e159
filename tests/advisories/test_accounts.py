"""Published advisories about what crosses the walls of accounts: what went wrong elsewhere does not happen here."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from auth.claims.exchange import Export, Import
from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.support.brokers import Broker
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, serving


def sharing(exporter: Realm, importer: Realm, subject: str, *, kind: str = "stream", token: str = "") -> None:
    """The importer takes a subject of the exporter."""
    importer.account.nats.imports.append(
        Import(subject=subject, type=kind, account=exporter.account_key.public, token=token)
    )


async def hears(publisher: Client, listener: Client, subject: str) -> list[bytes]:
    """What the listener has got by the time that a message was published."""
    await publisher.send(f"PUB {subject} 1\r\nx\r\n".encode())
    assert await publisher.ping() == []
    return await listener.ping()


@pytest.mark.parametrize("kind", ["service", "stream"])
def test_cve_2020_28466_import_loops_of_a_configuration(kind: str) -> None:
    """Accounts whose imports led back to themselves made the server use up processor and memory until it died.

    Such a configuration is refused, whatever the length of the circle.
    """
    for length in (2, 3, 20):
        accounts: dict[str, Any] = {
            f"A{number}": {
                "exports": [{kind: "help"}],
                "imports": [{kind: {"account": f"A{(number + 1) % length}", "subject": "help"}}],
            }
            for number in range(length)
        }
        with pytest.raises(ConfigError, match="import forms a cycle"):
            read_options(parse_bytes(json.dumps({"accounts": accounts}).encode()))


@in_every_loop
async def test_cve_2022_42709_import_loops_of_jwts() -> None:
    """Holders of accounts could build the same circle out of JWTs, which nobody but the server sees together.

    The imports of the circle are not in force; the accounts are usable, and a request in one is not answered by it.
    """
    first = Realm()
    second, third = first.neighbour("B"), first.neighbour("C")
    circle = (first, second, third)
    for number, realm in enumerate(circle):
        for subject, kind in (("help", "service"), ("news", "stream")):
            realm.account.nats.exports.append(Export(subject=subject, type=kind))
            sharing(circle[(number + 1) % 3], realm, subject, kind=kind)
    async with serving(first.options(second, third)) as server:
        clients = [await realm.connect(server, headers=True, no_responders=True) for realm in circle]
        for client in clients:
            await client.send(b"SUB inbox 1\r\nSUB news 2\r\n")
            assert await client.ping() == []
        for client in clients:
            await client.send(b"PUB help inbox 1\r\n?\r\nPUB news 1\r\n!\r\n")
            status, news = await client.ping()
            assert b"NATS/1.0 503" in status
            assert news == b"MSG news 2 1\r\n!"


ALTERED: dict[str, dict[str, Any]] = {
    "for another account": {"importer": True},
    "for another subject": {"subject": "priv.other"},
    "for a service": {"kind": "service"},
    "expired": {"expires_at": int(time.time()) - 10},
}


@pytest.mark.parametrize("altered", [None, *ALTERED])
@in_every_loop
async def test_cve_2021_3127_import_tokens_are_bound(altered: str | None) -> None:
    """An import token worked for every account and every subject of the exporter: mismatches were only warned about.

    A token that says anything else than this importer, this subject and this kind lets nobody import; nor does one that
    has expired. Whoever copies another account's token gains nothing.
    """
    exporter = Realm()
    exporter.account.nats.exports.append(Export(subject="priv.*", type="stream", token_required=True))
    importer, other = exporter.neighbour("IMPORTER"), exporter.neighbour("OTHER")
    changes = dict(ALTERED.get(altered or "", {}))
    named = other if changes.pop("importer", None) else importer
    token = exporter.activation(named, changes.pop("subject", "priv.a"), changes.pop("kind", "stream"), **changes)
    sharing(exporter, importer, "priv.a", token=token)
    async with serving(exporter.options(importer, other)) as server:
        publisher = await exporter.connect(server)
        listener = await importer.attempt(server)
        answer = await listener.frame()
        if answer == b"PONG":
            await listener.send(b"SUB > 1\r\n")
            assert await listener.ping() == []
            heard = await hears(publisher, listener, "priv.a")
            assert heard == ([b"MSG priv.a 1 1\r\nx"] if altered is None else [])
        else:
            assert altered is not None
            assert answer == b"-ERR 'Authorization Violation'"


@pytest.mark.parametrize("whom", ["importer", "all"])
@in_every_loop
async def test_cve_2020_26892_revoked_activations(whom: str) -> None:
    """Revocations were compared the wrong way, so that what had been revoked or had expired went on working.

    An activation issued before its revocation lets nobody import, whether the importer is named or all are.
    """
    exporter = Realm()
    importer = exporter.neighbour("IMPORTER")
    key = "*" if whom == "all" else importer.account_key.public
    for subject, moment in (("old", exporter.issued_at + 1), ("new", exporter.issued_at - 1)):
        revoked = Export(subject=subject, type="stream", token_required=True, revocations={key: moment})
        exporter.account.nats.exports.append(revoked)
        sharing(exporter, importer, subject, token=exporter.activation(importer, subject))
    async with serving(exporter.options(importer)) as server:
        publisher, listener = await exporter.connect(server), await importer.connect(server)
        await listener.send(b"SUB > 1\r\n")
        assert await listener.ping() == []
        assert await hears(publisher, listener, "old") == []
        assert await hears(publisher, listener, "new") == [b"MSG new 1 1\r\nx"]


FORGED = [
    'Nats-Request-Info: {"acc":"SYS"}',
    'nats-request-info: {"acc":"SYS"}',
    'NATS-REQUEST-INFO:{"acc":"SYS"}',
    'Nats-Request-Info : {"acc":"SYS"}',
    'Nats-Request-Info: {"acc":"SYS"}\r\nNats-Request-Info: {"acc":"SYS"}',
    'Colour: blue\nNats-Request-Info: {"acc":"SYS"}',
]


@pytest.mark.parametrize("forged", FORGED)
def test_cve_2026_33223_request_info_cannot_be_forged(forged: str) -> None:
    """A client could send ``Nats-Request-Info`` itself, and services believed that the server had written it.

    Whatever a requester writes under that name is gone when its request reaches a service, which finds one line: the
    server's.
    """
    broker = Broker(
        "accounts { E { users = [{user: e, password: p}], exports = [{service: v}] },"
        " I { users = [{user: i, password: p}], imports = [{service: {account: E, subject: v}}] } }"
    )
    responder, requester = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB v 1\r\n")
    header = f"NATS/1.0\r\n{forged}\r\n\r\n".encode()
    requester.feed(b"HPUB v %d %d\r\n%bx\r\n" % (len(header), len(header) + 1, header))
    received = responder.said()
    assert received.startswith(b"HMSG v 1 ")
    lines = re.findall(rb"^.*request-info.*$", received, re.MULTILINE | re.IGNORECASE)
    assert len(lines) == 1
    assert json.loads(lines[0].partition(b":")[2])["acc"] == "I"
    assert b"SYS" not in received


@pytest.mark.parametrize("chosen", [{"account": "B"}, {"account": "$SYS"}, {"account": "A"}, {"new_account": True}])
def test_cve_2022_24450_the_account_is_not_chosen_by_the_client(chosen: dict[str, object]) -> None:
    """A client with valid credentials could name any account in CONNECT, the system account too, and was put into it.

    Naming one ends the connection before anything is heard.
    """
    broker = Broker("accounts { A { users = [{user: a, password: p}] }, B { users = [{user: b, password: p}] } }")
    neighbour = broker.connect("b")
    neighbour.feed(b"SUB > 1\r\n")
    client = broker.connect("a", **chosen)
    assert client.close_reason is not None
    client.feed(b"PUB secret 1\r\nx\r\n")
    assert neighbour.said() == b""
