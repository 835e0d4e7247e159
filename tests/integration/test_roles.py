"""Users with roles against natskeep: each can do what its role is for, and nothing beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NoReply

from accounts.subject import contains
from broker import Server
from broker.config.load import load
from tools.nsk.__main__ import main
from tools.nsk.keystore import KeyStore
from tools.nsk.private_inbox import inbox_prefix
from tools.nsk.resolver_config import memory_resolver
from tools.nsk.store import Store

SECONDS = 20.0
SUBJECT = "orders.>"
USERS = {
    "service": ("--role", "service", "--subject", SUBJECT),
    "consumer": ("--role", "consumer", "--subject", SUBJECT),
    "publisher": ("--role", "publisher", "--subject", SUBJECT),
    "admin": ("--role", "admin"),
    "clerk": ("--role", "admin", "--subject", SUBJECT),
    "al.ice": ("--role", "publisher", "--subject", SUBJECT, "--private-inbox"),
    "al": ("--role", "publisher", "--subject", SUBJECT, "--private-inbox"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One user of each role, made by the tool."""
    home = tmp_path_factory.mktemp("store")

    def run(*words: str) -> None:
        assert main(["-H", str(home), *words]) == 0, words

    run("add", "operator", "O", "--sys")
    run("add", "account", "A")
    for name, flags in USERS.items():
        run("add", "user", name, *flags)
    return Store.open(home, "O", KeyStore(home))


@pytest.fixture
async def server(store: Store, tmp_path: Path) -> AsyncIterator[Server]:
    path = tmp_path / "server.conf"
    path.write_text(memory_resolver(store))
    async with Server(replace(load(str(path)).options, host="127.0.0.1", port=-1)) as server:
        yield server


class User:
    """A connected user, and what the server refused it."""

    def __init__(self) -> None:
        self.client = Client()
        self.refusals: asyncio.Queue[str] = asyncio.Queue()

    async def told(self, error: Exception) -> None:
        """nats-py reports a refusal."""
        await self.refusals.put(str(error).lower())

    async def may_publish(self, subject: str) -> bool:
        """Whether a publish is taken; the answer to a flush comes behind the refusal."""
        await self.client.publish(subject, b"x")
        return await self._unrefused()

    async def may_subscribe(self, subject: str) -> bool:
        """Whether a subscription is taken."""
        await self.client.subscribe(subject)
        return await self._unrefused()

    async def _unrefused(self) -> bool:
        await self.client.flush(round(SECONDS))
        if self.refusals.empty():
            return True
        assert "permissions violation" in self.refusals.get_nowait()
        return False


@asynccontextmanager
async def connected(server: Server, store: Store, *names: str) -> AsyncIterator[list[User]]:
    async with AsyncExitStack() as stack:
        users = []
        for name in names:
            user = User()
            prefix = inbox_prefix(store.user("A", name)) or "_INBOX"
            await user.client.connect(
                server.url,
                user_credentials=str(store.creds_path("A", name)),
                error_cb=user.told,
                inbox_prefix=prefix,
                allow_reconnect=False,
            )
            stack.push_async_callback(user.client.close)
            users.append(user)
        yield users


ASKED = (
    "orders.new",
    "orders.new.big",
    "invoices.x",
    "_INBOX.x",
    "_INBOX_al.x",
    "_INBOX_al.ice.x",
    "_INBOX_al%2Eice.x",
)


@pytest.mark.parametrize(
    ("name", "publishes", "subscribes"),
    [
        ("service", (), (SUBJECT,)),
        ("consumer", (), (SUBJECT,)),
        ("publisher", (SUBJECT,), ()),
        ("admin", (">",), (">",)),
        ("clerk", (SUBJECT,), (SUBJECT, "_INBOX.>")),
        ("al", (SUBJECT,), ("_INBOX_al.>",)),
        ("al.ice", (SUBJECT,), ("_INBOX_al%2Eice.>",)),
    ],
)
async def test_a_role_can_do_what_it_is_for_and_no_more(
    server: Server, store: Store, name: str, publishes: tuple[str, ...], subscribes: tuple[str, ...]
) -> None:
    async with connected(server, store, name) as (user,):
        for subject in (*ASKED, SUBJECT, "_INBOX.>", ">"):
            allowed = any(contains(pattern, subject) for pattern in subscribes)
            assert await user.may_subscribe(subject) is allowed, f"subscribe {subject}"
        for subject in ASKED:
            allowed = any(contains(pattern, subject) for pattern in publishes)
            assert await user.may_publish(subject) is allowed, f"publish {subject}"


async def test_a_service_answers_each_request_once(server: Server, store: Store) -> None:
    async with connected(server, store, "service", "admin") as (service, admin):

        async def answer(message: Msg) -> None:
            await message.respond(b"done")
            await message.respond(b"again")

        await service.client.subscribe("orders.new", cb=answer)
        await service.client.flush()
        reply = await admin.client.request("orders.new", b"", timeout=SECONDS)
        assert reply.data == b"done"
        assert "permissions violation" in await asyncio.wait_for(service.refusals.get(), SECONDS)


async def test_replies_to_a_private_inbox_reach_its_user_only(server: Server, store: Store) -> None:
    async with connected(server, store, "al.ice", "al", "service") as (alice, al, service):

        async def answer(message: Msg) -> None:
            await message.respond(b"secret")

        await service.client.subscribe("orders.new", cb=answer)
        await service.client.flush()
        overheard = await al.client.subscribe("_INBOX_al.>")
        await al.client.flush()
        reply = await alice.client.request("orders.new", b"", timeout=SECONDS)
        assert reply.data == b"secret"
        await al.client.flush()
        with pytest.raises(NoReply):
            await overheard.next_msg(timeout=0.01)


async def test_a_client_needs_the_prefix_of_its_private_inbox(server: Server, store: Store) -> None:
    refusals: asyncio.Queue[str] = asyncio.Queue()

    async def told(error: Exception) -> None:
        await refusals.put(str(error).lower())

    client = await nats.connect(
        server.url, user_credentials=str(store.creds_path("A", "al")), error_cb=told, allow_reconnect=False
    )
    asking = asyncio.ensure_future(client.request("orders.new", b"", timeout=SECONDS))
    assert "permissions violation for subscription" in await asyncio.wait_for(refusals.get(), SECONDS)
    asking.cancel()
    await client.close()
