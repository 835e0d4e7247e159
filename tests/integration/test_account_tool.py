"""The account tool's small clients against natskeep: what they bring, and what they say when they are refused."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from nats.aio.msg import Msg

from auth.claims import UserPermissionLimits
from broker import Options, Server
from broker.config.load import load
from broker.config.options import TLSOptions
from tests.support.certificates import Certificates, make_certificates
from tests.support.servers import ROOT
from tools.nsk.errors import NskError
from tools.nsk.keystore import KeyStore
from tools.nsk.provision import add_system_account, create_account, create_operator, create_user
from tools.nsk.resolver_config import memory_resolver
from tools.nsk.store import Store
from tools.nsk.tool import Target, publish, request, round_trip, subscribe

Result = TypeVar("Result")

SECONDS = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An account A with a user who may do everything and one who may do little."""
    directory = tmp_path_factory.mktemp("store")
    store = create_operator(directory / "stores", "O", KeyStore(directory / "keys"))
    add_system_account(store)
    create_account(store, "A")
    create_user(store, "A", "free")
    limits = UserPermissionLimits(subscriptions=-1, data=-1, payload=-1)
    limits.publish.allow = ["Allowed.>"]
    limits.subscribe.allow = ["Allowed.>"]
    create_user(store, "A", "bound", limits=limits)
    for user in ("free", "bound"):
        store.write_creds("A", user)
    return store


@pytest.fixture(scope="module")
def options(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Options:
    path = tmp_path_factory.mktemp("configuration") / "server.conf"
    path.write_text(memory_resolver(store))
    return replace(load(str(path)).options, host="127.0.0.1", port=-1)


@pytest.fixture
async def server(options: Options) -> AsyncIterator[Server]:
    async with Server(options) as server:
        yield server


def target(server: Server, store: Store, user: str = "free") -> Target:
    return Target([server.url], store.creds_path("A", user), timeout=SECONDS)


class Received:
    """What a subscriber got."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.ready = asyncio.Event()

    async def note(self, message: Msg) -> None:
        self.payloads.append(message.data)


async def within(work: Awaitable[Result]) -> Result:
    return await asyncio.wait_for(work, SECONDS)


async def test_what_is_published_arrives(server: Server, store: Store) -> None:
    received = Received()
    listening = asyncio.create_task(
        subscribe(target(server, store), "greet.>", received.note, maximum=3, ready=received.ready.set)
    )
    await within(received.ready.wait())
    assert await publish(target(server, store), "greet.x", b"hallo", count=3) > 0
    await within(listening)
    assert received.payloads == [b"hallo"] * 3


async def test_progress_is_told(server: Server, store: Store) -> None:
    told: list[int] = []
    await publish(target(server, store), "x", b"", count=2500, progress=told.append)
    assert told == [1000, 2000, 2500]


async def test_requests(server: Server, store: Store) -> None:
    ready = asyncio.Event()

    async def answer(message: Msg) -> None:
        await message.respond(message.data[::-1])

    answering = asyncio.create_task(
        subscribe(target(server, store), "help", answer, queue="q", maximum=2, ready=ready.set)
    )
    await within(ready.wait())
    replies = [message.data async for message in request(target(server, store), "help", b"abc", count=2)]
    assert replies == [b"cba", b"cba"]
    await within(answering)


async def test_nobody_answers(server: Server, store: Store) -> None:
    with pytest.raises(NskError, match="nats: no responders available for request"):
        await anext(request(target(server, store), "nobody", b""))


async def test_nobody_answers_in_time(server: Server, store: Store) -> None:
    silent = Received()
    task = asyncio.create_task(subscribe(target(server, store), "slow", silent.note, ready=silent.ready.set))
    await within(silent.ready.wait())
    with pytest.raises(NskError, match="request timed out"):
        await anext(request(replace(target(server, store), timeout=0.1), "slow", b""))
    task.cancel()
    await asyncio.wait({task})


async def test_the_way_there_and_back(server: Server, store: Store) -> None:
    url, seconds = await round_trip(target(server, store))
    assert url == server.url
    assert 0 < seconds < SECONDS


async def test_refusals_come_in_the_servers_words(server: Server, store: Store) -> None:
    bound = target(server, store, "bound")
    with pytest.raises(NskError) as caught:
        await publish(bound, "Not.Allowed", b"")
    assert caught.value.text == 'Permissions Violation for Publish to "Not.Allowed"'
    with pytest.raises(NskError) as caught:
        await subscribe(bound, "Not.Allowed", Received().note, queue="Q")
    assert caught.value.text == 'Permissions Violation for Subscription to "Not.Allowed" using queue "Q"'
    with pytest.raises(NskError, match=r'^Permissions Violation for Subscription to "_INBOX\.'):
        await anext(request(bound, "Allowed.x", b""))
    with pytest.raises(NskError, match="invalid subject"):
        await publish(bound, "a b", b"")


async def test_strangers_are_refused(server: Server, tmp_path: Path) -> None:
    other = create_operator(tmp_path / "stores", "X", KeyStore(tmp_path / "keys"))
    create_account(other, "A")
    create_user(other, "A", "free")
    other.write_creds("A", "free")
    with pytest.raises(NskError, match=f"^{server.url} refused: Authorization Violation$"):
        await round_trip(target(server, other))
    with pytest.raises(NskError, match="refused: Authorization Violation"):
        await round_trip(Target([server.url]))


async def test_a_server_that_goes_is_noticed(options: Options, store: Store) -> None:
    received = Received()
    async with Server(options) as server:
        task = asyncio.create_task(subscribe(target(server, store), ">", received.note, ready=received.ready.set))
        await within(received.ready.wait())
    with pytest.raises(NskError, match="closed the connection"):
        await within(task)


async def test_no_server() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(NskError, match=f"^cannot reach {url}: connection refused"):
            await round_trip(Target([url]))


async def test_tls(options: Options, store: Store, certificates: Certificates) -> None:
    files = certificates.directory
    tls = TLSOptions(cert_file=str(files / "server.pem"), key_file=str(files / "server-key.pem"))
    async with Server(replace(options, tls=tls)) as server:
        secure = replace(target(server, store), ca=files / "ca.pem")
        assert server.url.startswith("tls://")
        await round_trip(secure)
        with pytest.raises(NskError, match=r"TLS with .* failed: .*name its authority with --ca FILE"):
            await round_trip(replace(secure, ca=None))
    with pytest.raises(NskError, match="does not exist - it was to be used for TLS"):
        await round_trip(replace(secure, ca=files / "none.pem"))
    with pytest.raises(NskError, match="cannot be used for TLS"):
        await round_trip(replace(secure, ca=files / "server-key.pem"))


async def test_tls_that_is_asked_for_is_not_done_without(server: Server, store: Store) -> None:
    url = server.url.replace("nats://", "tls://")
    with pytest.raises(NskError, match="the server does not offer TLS, which tls:// demands"):
        await round_trip(replace(target(server, store), urls=[url]))


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no nkey seed found"), ("SUAAA", "no credentials file"), (None, "no such file or directory")],
)
async def test_files_that_are_no_credentials(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NskError, match=message):
        await round_trip(Target(["nats://127.0.0.1:1"], path))


def nsk(*words: str) -> subprocess.Popen[str]:
    """One command line, in an empty environment without a store."""
    return subprocess.Popen(
        [sys.executable, "-m", "tools.nsk", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = await asyncio.to_thread(process.communicate, timeout=SECONDS)
    return process.returncode, output, errors


async def test_command_lines_need_no_store(server: Server, store: Store) -> None:
    who = ["--nats", server.url, "--creds", str(store.creds_path("A", "free"))]
    listener = nsk("tool", "sub", *who, "greet.>")
    assert listener.stderr is not None
    assert await asyncio.to_thread(listener.stderr.readline) == "Listening on [greet.>]\n"
    assert await finished(nsk("tool", "pub", *who, "greet.you", "hallo")) == (
        0,
        "",
        'Published [greet.you] : "hallo"\n',
    )
    assert listener.stdout is not None
    assert await asyncio.to_thread(listener.stdout.readline) == "[#1] received on [greet.you]: 'hallo'\n"
    listener.send_signal(signal.SIGINT)
    assert await finished(listener) == (0, "", "")
    code, output, errors = await finished(nsk("tool", "rtt", *who))
    assert (code, errors) == (0, "")
    assert output.startswith(f"round trip time to [{server.url}] = ")
    code, output, errors = await finished(nsk("tool", "req", *who, "nobody", "help"))
    assert (code, output) == (1, "")
    assert "Error: nats: no responders available for request\n" in errors
