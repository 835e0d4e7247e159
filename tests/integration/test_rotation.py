"""Keys are rotated on a running broker while messages flow: none is lost, none comes twice, and the old keys end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from auth import jwt
from auth.claims import ActivationClaims, Export, Import
from tests.support.serving import PATIENCE, until
from tests.support.shop import Shop, is_refused, open_shop, running
from tools.nsk.live import LiveServers
from tools.nsk.remote import Access
from tools.nsk.rotation.records import Book
from tools.nsk.store import Store


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shop:
    return open_shop(tmp_path, capsys, monkeypatch)


async def rotate(shop: Shop, *words: str) -> list[dict[str, Any]]:
    """Run a ``rotate`` command; the rotations that it tells of."""
    found: list[dict[str, Any]] = (await shop.ask("rotate", *words))["rotations"]
    return found


@dataclass
class Flow:
    """Numbered requests, each sent once as soon as the one before it was answered, and what the answerers saw."""

    asker: Client
    seen: list[int] = field(default_factory=list)
    sent: int = 0
    between: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a request is under way; whoever has it finds nothing in flight."""
    stopped: bool = False

    async def answer(self, message: Msg) -> None:
        self.seen.append(int(message.data))
        await message.respond(message.data)

    async def listen(self, client: Client) -> Client:
        """Have a client answer as one of the group."""
        await client.subscribe("count", "workers", cb=self.answer)
        await client.flush()
        return client

    async def run(self) -> None:
        while not self.stopped:
            async with self.between:
                self.sent += 1
                reply = await self.asker.request("count", str(self.sent).encode(), timeout=PATIENCE)
                assert int(reply.data) == self.sent

    async def goes_on(self) -> None:
        """Wait until some more requests have been answered."""
        target = len(self.seen) + 20
        await until(lambda: len(self.seen) >= target)


@asynccontextmanager
async def flowing(shop: Shop) -> AsyncIterator[tuple[Flow, list[Client]]]:
    """Messages that flow all the time, and the clients to close: the asker first, then those that answer."""
    clients = [await shop.client("asks")]
    flow = Flow(clients[0])
    clients.append(await flow.listen(await shop.client("answers")))
    task = asyncio.create_task(flow.run())
    try:
        await flow.goes_on()
        yield flow, clients
        await flow.goes_on()
    finally:
        flow.stopped = True
        await asyncio.wait_for(task, PATIENCE)
        for client in clients:
            await client.close()
    assert flow.seen == list(range(1, flow.sent + 1))


async def test_a_signing_key(shop: Shop) -> None:
    old_creds = shop.store.creds("A", "asks")
    async with running(shop), flowing(shop) as (flow, clients):
        [begun] = await rotate(shop, "signing-key", "-a", "A")
        assert begun["stage"] == "adopted"
        assert len(begun["live"]) == 2
        await flow.goes_on()
        [same] = await rotate(shop, "continue")
        assert "the old key is used by" in same["waiting"]
        # Those that answer take turns; the new one is there before the old one has finished.
        fresh = await flow.listen(await shop.client("answers"))
        await clients[1].drain()
        clients[1] = fresh
        assert len((await rotate(shop, "status"))[0]["live"]) == 1
        # The one that asks comes back by itself, with the creds file as it is now.
        async with flow.between:
            await shop.kick("A", shop.store.user("A", "asks").subject)
            await until(lambda: clients[0].stats["reconnects"] == 1 and clients[0].is_connected)
        await flow.goes_on()
        assert (await rotate(shop, "status"))[0]["live"] == []
        [over] = await rotate(shop, "continue")
        assert over["stage"] == "over"
        await flow.goes_on()
        assert await is_refused(shop, old_creds)
        assert not await is_refused(shop, shop.store.creds("A", "asks"))
        assert clients[1].stats["reconnects"] == 0
    assert begun["old"] not in shop.store.account("A").nats.signing_keys
    assert not shop.store.keystore.has_key(begun["old"])
    assert Book(shop.store).rotations() == []


async def test_a_user(shop: Shop) -> None:
    old_creds = shop.store.creds("A", "asks")
    async with running(shop), flowing(shop) as (flow, clients):
        [begun] = await rotate(shop, "user", "-a", "A", "asks")
        assert begun["stage"] == "adopted"
        assert len(begun["live"]) == 1
        assert not await is_refused(shop, old_creds)
        await flow.goes_on()
        async with flow.between:
            await shop.kick("A", begun["old"])
            await until(lambda: clients[0].stats["reconnects"] == 1 and clients[0].is_connected)
        [over] = await rotate(shop, "continue", begun["id"][:4])
        assert over["stage"] == "over"
        await flow.goes_on()
        assert await is_refused(shop, old_creds)
        assert clients[0].stats["reconnects"] == 1
        assert clients[1].stats["reconnects"] == 0
    assert begun["old"] in shop.store.account("A").nats.revocations
    assert shop.store.user("A", "asks").subject == begun["new"]


@pytest.mark.parametrize("words", [(), ("--identity",)])
async def test_an_operator(shop: Shop, words: tuple[str, ...]) -> None:
    async with running(shop) as server, flowing(shop) as (flow, clients):
        [begun] = await rotate(shop, "operator", *words)
        assert begun["stage"] == "issued"
        assert "reload" in begun["waiting"]
        await server.reload(shop.options(server.options))
        await flow.goes_on()
        # The identity of an operator without signing keys stays what it is when it gets its first one.
        [done] = await rotate(shop, "continue")
        if words:
            assert done["stage"] == "retired"
            assert "reload" in done["waiting"]
            await server.reload(shop.options(server.options))
            [done] = await rotate(shop, "continue")
        assert done["stage"] == "over"
        await flow.goes_on()
        assert {shop.store.account(name).issuer for name in shop.store.accounts()} == {begun["new"]}
        [trusted] = await asyncio.to_thread(LiveServers(shop.store, Access(url=shop.url)).trust)
        assert (begun["old"] in trusted.keys) is not bool(words)
        assert not await is_refused(shop, shop.store.creds("A", "asks"))
        assert [client.stats["reconnects"] for client in clients] == [0, 0]


async def test_a_second_operator_signing_key(shop: Shop) -> None:
    shop.now("edit", "operator", "--sk", "generate")
    [old] = shop.store.operator().nats.signing_keys
    for name in shop.store.accounts():
        shop.now("edit", "account", name, "--tag", "x", "-K", old)
    shop.now("edit", "operator", "--require-signing-keys", "-K", shop.store.operator().subject)
    async with running(shop) as server, flowing(shop) as (flow, clients):
        await rotate(shop, "operator")
        for stage in ("retired", "over"):
            await server.reload(shop.options(server.options))
            await flow.goes_on()
            [done] = await rotate(shop, "continue")
            assert done["stage"] == stage
        assert [client.stats["reconnects"] for client in clients] == [0, 0]
    assert shop.store.operator().nats.signing_keys == [done["new"]]


async def test_whoever_still_uses_an_old_key_at_its_date_is_disconnected(shop: Shop) -> None:
    async with running(shop):
        client = await shop.client("asks", allow_reconnect=False)
        await rotate(shop, "signing-key", "-a", "A", "--retire-after", "2020-01-01")
        [over] = await rotate(shop, "continue")
        assert over["stage"] == "over"
        await until(lambda: client.is_closed)


async def test_an_account_without_signing_keys_gets_one(shop: Shop) -> None:
    shop.now("add", "account", "C")
    shop.now("add", "user", "-a", "C", "u")
    async with running(shop):
        client = await shop.client("u", "C")
        [begun] = await rotate(shop, "account", "C")
        assert begun["old"] == shop.store.account("C").subject
        assert len(begun["live"]) == 1
        await client.close()
        [over] = await rotate(shop, "continue")
        assert over["stage"] == "over"
        client = await shop.client("u", "C")
        await client.close()
    assert shop.store.user("C", "u").issuer == begun["new"]
    assert shop.store.keystore.has_key(begun["old"])


async def test_the_signing_key_of_the_system_account(shop: Shop) -> None:
    """Where signing keys are required, what speaks to servers is signed by the very key that is rotated."""
    operator = shop.store.operator()
    shop.now("edit", "operator", "--sk", "generate")
    [key] = shop.store.operator().nats.signing_keys
    for name in ("A", "SYS"):
        shop.now("edit", "account", name, "--tag", "x", "-K", key)
    shop.now("edit", "operator", "--require-signing-keys", "-K", operator.subject)
    async with running(shop):
        for _ in range(3):
            [begun] = await rotate(shop, "signing-key", "-a", "SYS")
            assert begun["stage"] == "adopted"
            [over] = await rotate(shop, "continue")
            assert over["stage"] == "over"
    assert shop.store.user("SYS", "sys").issuer == over["new"]


async def test_the_identity_of_an_account(shop: Shop) -> None:
    shop.now("edit", "account", "A", "--tag", "x")
    shop.now("add", "account", "B")
    shop.now("add", "user", "-a", "B", "guest")
    give_and_take(shop.store)
    async with running(shop) as server:
        guest, old_client = await shop.client("guest", "B"), await shop.client("answers")
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def note(message: Msg) -> None:
            await heard.put(message.data)

        async def reply(message: Msg) -> None:
            await message.respond(b"old" if message._client is old_client else b"new")

        async def ask() -> bytes:
            return (await guest.request("help", b"", timeout=PATIENCE)).data

        await guest.subscribe("news", cb=note)
        await old_client.subscribe("help", cb=reply)
        await guest.flush()
        await old_client.flush()
        assert await ask() == b"old"
        [begun] = await rotate(shop, "account", "A", "--identity")
        # The server reads accounts from its configuration, so it knows the new one by a reload.
        assert "reads this account from its configuration" in begun["waiting"]
        await server.reload(shop.options(server.options))
        [begun] = await rotate(shop, "continue")
        assert begun["stage"] == "adopted"
        assert "is used by" in begun["waiting"]
        new_client = await shop.client("answers")
        await new_client.subscribe("help", cb=reply)
        await new_client.flush()
        for client, text in ((old_client, b"1"), (new_client, b"2")):
            await client.publish("news", text)
            assert await asyncio.wait_for(heard.get(), PATIENCE) == text
        assert await ask() == b"new"
        await old_client.close()
        [over] = await rotate(shop, "continue")
        assert over["stage"] == "over"
        assert await ask() == b"new"
        await new_client.publish("news", b"3")
        assert await asyncio.wait_for(heard.get(), PATIENCE) == b"3"
        for client in (guest, new_client):
            await client.close()
    assert shop.store.accounts() == ["A", "B", "SYS"]
    assert {item.account for item in shop.store.account("B").nats.imports if item} == {begun["new"]}


def give_and_take(store: Store) -> None:
    """B takes a stream of A, and asks a service of it that needs an activation."""
    giver, taker = store.account("A"), store.account("B")
    giver.nats.exports = [
        Export(name="news", subject="news", type="stream"),
        Export(name="help", subject="help", type="service", token_required=True),
    ]
    activation = ActivationClaims.new(taker.subject)
    activation.nats.import_subject, activation.nats.kind = "help", "service"
    signer = store.identity_signer(giver.subject)
    taker.nats.imports = [
        Import(name="news", subject="news", account=giver.subject, type="stream"),
        Import(
            name="help", subject="help", account=giver.subject, type="service", token=jwt.encode(activation, signer)
        ),
    ]
    store.sign_account(giver)
    store.sign_account(taker)
