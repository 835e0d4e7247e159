"""Accounts that nsk lets export, import and map: servers load them whole, and messages go where they are to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import nats
import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target, targets
from tools.nsk.__main__ import main

Result = TypeVar("Result")

SECONDS = 20.0
MESSAGES = 200


async def within(work: Awaitable[Result]) -> Result:
    return await asyncio.wait_for(work, SECONDS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SHOP offers prices to everybody and stock to whom it lets; DESK takes both, LATE has a revoked activation."""
    home = tmp_path_factory.mktemp("home")

    def nsk(*words: str) -> None:
        assert main(["-H", str(home), *words]) == 0, words

    nsk("add", "operator", "O", "--sys")
    for account in ("SHOP", "DESK", "LATE"):
        nsk("add", "account", account)
        nsk("add", "user", "u", "-a", account)
    nsk("edit", "account", "SHOP", "--sk", "generate")
    nsk("add", "export", "-a", "SHOP", "-s", "prices.>")
    nsk("add", "export", "-a", "SHOP", "-s", "stock.*", "--service", "--private")
    nsk("add", "mapping", "-a", "SHOP", "-f", "raw.*", "-t", "prices.$1", "--weight", "75")
    nsk("add", "mapping", "-a", "SHOP", "-f", "raw.*", "-t", "slow.{{wildcard(1)}}", "--weight", "25")
    nsk("add", "import", "-a", "DESK", "--src-account", "SHOP", "--remote-subject", "prices.*", "-s", "seen.$1")
    for account in ("DESK", "LATE"):
        token = str(home / f"{account}.tok")
        nsk("generate", "activation", "-a", "SHOP", "-s", "stock.main", "-t", account, "-o", token)
        nsk("add", "import", "-a", account, "--token", token, "--local-subject", "ask")
    nsk("revocations", "add_activation", "-a", "SHOP", "--service", "-t", "LATE")
    nsk("validate", "-A")
    nsk("generate", "config", "--mem-resolver", "--config-file", str(home / "server.conf"))
    return home


@pytest.fixture(scope="module", params=targets(), ids=lambda target: target.name)
def url(request: pytest.FixtureRequest, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server serves what nsk generated."""
    target: Target = request.param
    directory, port = tmp_path_factory.mktemp("server"), reserve_port()
    words = ["-c", str(home / "server.conf"), "-a", "127.0.0.1", "-p", str(port)]
    with ServerProcess(target, words, directory) as server:
        assert server.wait_until_ready(), server.output
        yield f"nats://127.0.0.1:{port}"


@pytest.fixture
async def client(url: str, home: Path) -> AsyncIterator[Callable[[str], Awaitable[Client]]]:
    async with AsyncExitStack() as stack:

        async def connect(account: str) -> Client:
            creds = home / "creds" / "O" / account / "u.creds"
            connected = await within(nats.connect(url, user_credentials=str(creds), allow_reconnect=False))
            stack.push_async_callback(connected.close)
            return connected

        yield connect


async def test_a_public_stream_and_its_renaming(client: Callable[[str], Awaitable[Client]]) -> None:
    shop, desk = await client("SHOP"), await client("DESK")
    seen = await desk.subscribe("seen.*")
    await within(desk.flush())
    await shop.publish("prices.tea", b"3")
    message = await seen.next_msg(SECONDS)
    assert (message.subject, message.data) == ("seen.tea", b"3")


async def test_a_mapping_gives_each_target_its_share(client: Callable[[str], Awaitable[Client]]) -> None:
    shop, desk = await client("SHOP"), await client("DESK")
    seen = await desk.subscribe("seen.*")
    slow = await shop.subscribe("slow.*")
    await within(desk.flush())
    await within(shop.flush())
    for _ in range(MESSAGES):
        await shop.publish("raw.tea", b"3")
    await within(shop.flush())
    await within(desk.flush())
    assert seen.pending_msgs + slow.pending_msgs == MESSAGES
    assert MESSAGES / 2 < seen.pending_msgs < MESSAGES
    assert (await slow.next_msg(SECONDS)).subject == "slow.tea"


async def test_a_private_service_with_an_activation(client: Callable[[str], Awaitable[Client]]) -> None:
    shop, desk = await client("SHOP"), await client("DESK")
    stock = await shop.subscribe("stock.main")
    await within(shop.flush())
    asked = asyncio.create_task(desk.request("ask", b"tea", SECONDS))
    request = await stock.next_msg(SECONDS)
    assert request.data == b"tea"
    await request.respond(b"12")
    assert (await within(asked)).data == b"12"


async def test_a_revoked_activation_opens_nothing(client: Callable[[str], Awaitable[Client]]) -> None:
    shop, late = await client("SHOP"), await client("LATE")
    stock = await shop.subscribe("stock.main")
    await within(shop.flush())
    with pytest.raises(NoRespondersError):
        await late.request("ask", b"tea", SECONDS)
    await within(shop.flush())
    assert stock.pending_msgs == 0
