"""Traces of a running server whose accounts are JWTs: the claims that ask for them, and those that let them on."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

from auth.claims import MessageTrace
from auth.claims.exchange import Export, Import
from broker.config.options import Options
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, serving

SAMPLED = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def traced(subject: str, *headers: str) -> bytes:
    block = "".join(f"{line}\r\n" for line in ("NATS/1.0", *headers, "")).encode()
    return f"HPUB {subject} {len(block)} {len(block) + 2}\r\n".encode() + block + b"hi\r\n"


def operated(*realms: Realm) -> Options:
    """Options of a server with these accounts, and a system account beside them."""
    system = realms[0].neighbour("SYS")
    return replace(realms[0].options(*realms[1:], system), system_account=system.account_key.public)


async def event(client: Client) -> dict[str, Any]:
    """The event that the client is sent next."""
    frame = await client.frame()
    found: dict[str, Any] = json.loads(frame.partition(b"\r\n")[2])
    return found


@in_every_loop
async def test_claims_open_walls_for_traces() -> None:
    exporter = Realm()
    importer = exporter.neighbour("GLOBEX")
    source = exporter.account_key.public
    offered = Export(subject="svc", type="service", allow_trace=True)
    taken = Import(subject="st", type="stream", account=source, allow_trace=True)
    exporter.account.nats.exports += [offered, Export(subject="st", type="stream")]
    importer.account.nats.imports += [
        Import(subject="svc", type="service", account=source, local_subject="ask"), taken
    ]
    async with serving(operated(exporter, importer)) as server:
        one = await exporter.connect(server, headers=True, name="one")
        two = await importer.connect(server, headers=True, name="two")
        await one.send(b"SUB svc 1\r\nSUB tr 2\r\n")
        await two.send(b"SUB st 1\r\nSUB tr 2\r\n")
        assert await one.ping() == await two.ping() == []
        await two.send(traced("ask", "Nats-Trace-Dest: tr"))
        told = await event(two)
        assert [step["type"] for step in told["events"]] == ["in", "si", "eg"]
        assert told["events"][2] == {**told["events"][2], "name": "one", "acc": source, "sub": "svc"}
        assert told["server"]["id"] == server.identity.server_id
        assert (await one.frame()).startswith(b"HMSG svc 1 ")
        await one.send(traced("st", "Nats-Trace-Dest: tr"))
        told = await event(one)
        assert [step["type"] for step in told["events"]] == ["in", "se", "eg"]
        assert (await two.frame()).startswith(b"HMSG st 1 ")

        offered.allow_trace = taken.allow_trace = False
        server.update_account(exporter.account_token())
        server.update_account(importer.account_token())
        await two.send(traced("ask", "Nats-Trace-Dest: tr", "Nats-Trace-Only: true"))
        assert [step["type"] for step in (await event(two))["events"]] == ["in", "si"]
        await one.send(traced("st", "Nats-Trace-Dest: tr", "Nats-Trace-Only: true"))
        assert [step["type"] for step in (await event(one))["events"]] == ["in", "se"]
        assert await one.ping() == await two.ping() == []


async def test_claims_say_where_sampled_messages_are_traced() -> None:
    realm = Realm()
    realm.account.nats.trace = MessageTrace(destination="auto.trace")
    async with serving(operated(realm)) as server:
        client = await realm.connect(server, headers=True)
        await client.send(b"SUB auto.trace 1\r\n" + traced("foo", SAMPLED, "Accept-Encoding: gzip"))
        head, _, body = (await client.frame()).partition(b"\r\n\r\n")
        assert head.endswith(b"NATS/1.0\r\nContent-Encoding: gzip")
        assert json.loads(gzip.decompress(body))["events"][0]["subj"] == "foo"
        realm.account.nats.trace = None
        server.update_account(realm.account_token())
        await client.send(traced("foo", SAMPLED))
        assert await client.ping() == []


async def test_a_server_without_a_system_account_tells_nothing_and_delivers() -> None:
    realm = Realm()
    async with serving(realm.options()) as server:
        client = await realm.connect(server, headers=True)
        await client.send(b"SUB foo 1\r\nSUB tr 2\r\n" + traced("foo", "Nats-Trace-Dest: tr"))
        assert [frame.split(b" ")[1] for frame in await client.ping()] == [b"foo"]
        await client.send(traced("foo", "Nats-Trace-Dest: tr", "Nats-Trace-Only: true"))
        assert await client.ping() == []
