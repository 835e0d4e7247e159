"""A server inside somebody else's loop: it comes and goes without leaving a task, a socket, a thread or a file."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
import uvloop

from broker import Options, Server
from broker.checked import check
from broker.config.options import MonitorOptions, TLSOptions
from broker.net.listener import ListenError
from tests.support.certificates import Certificates, make_certificates

Main = Callable[[], Coroutine[Any, Any, None]]
OPTIONS = Options(host="127.0.0.1", port=-1)
MESSAGE_SECONDS = 10.0
README = Path(__file__).resolve().parents[2] / "README.md"

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Main], None]:
    """Runs a coroutine in a loop of one kind, in an empty working directory that must stay so."""

    def run_main(main: Main) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())
        assert list(tmp_path.iterdir()) == []

    monkeypatch.chdir(tmp_path)
    return run_main


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def open_files() -> dict[str, str]:
    """What the process has open, by descriptor."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[entry] = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            # The descriptor of the listing itself.
            continue
    return found


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Checks that what happens inside leaves nothing behind."""
    # The first server and the first client of a loop let it open what it keeps for itself.
    async with Server(OPTIONS) as server:
        await exchange(server)
    gc.collect()
    tasks, files, threads = asyncio.all_tasks(), open_files(), threading.enumerate()
    yield
    gc.collect()
    assert asyncio.all_tasks() == tasks
    assert open_files() == files
    assert [thread for thread in threading.enumerate() if thread not in threads] == []


async def exchange(server: Server, context: ssl.SSLContext | None = None) -> None:
    """One message from a client to itself."""
    client = await nats.connect(server.url, tls=context, allow_reconnect=False)
    subscription = await client.subscribe("hello")
    await client.publish("hello", b"world")
    assert (await subscription.next_msg(MESSAGE_SECONDS)).data == b"world"
    await client.close()


def test_it_listens_on_a_free_port_and_frees_it(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            async with Server(OPTIONS) as server:
                assert server.is_ready
                assert server.url == f"nats://127.0.0.1:{server.port}"
                await exchange(server)
            assert not server.is_ready
            with socket.create_server(("127.0.0.1", server.port)):
                pass

    run(main)


def test_one_after_the_other_on_the_same_port(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            async with Server(OPTIONS) as first:
                await exchange(first)
            async with Server(Options(host="127.0.0.1", port=first.port)) as second:
                assert second.port == first.port
                await exchange(second)

    run(main)


def test_two_at_a_time_are_two(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left(), Server(OPTIONS) as first, Server(OPTIONS) as second:
            assert first.port != second.port
            here = await nats.connect(first.url, allow_reconnect=False)
            there = await nats.connect(second.url, allow_reconnect=False)
            subscription = await there.subscribe(">")
            await there.flush()
            await here.publish("hello", b"first")
            await here.flush()
            await there.publish("hello", b"second")
            assert (await subscription.next_msg(MESSAGE_SECONDS)).data == b"second"
            await here.close()
            await there.close()

    run(main)


def test_connected_clients_are_let_go(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            gone = asyncio.Event()

            async def note() -> None:
                gone.set()

            async with Server(OPTIONS) as server:
                client = await nats.connect(server.url, allow_reconnect=False, closed_cb=note)
                await client.subscribe(">")
                await client.flush()
                # One that never says CONNECT is let go as well.
                silent = socket.create_connection(("127.0.0.1", server.port))
            async with asyncio.timeout(MESSAGE_SECONDS):
                await gone.wait()
            await client.close()
            silent.close()

    run(main)


def test_with_tls(run: Callable[[Main], None], certificates: Certificates) -> None:
    directory = certificates.directory
    tls = TLSOptions(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"))

    async def main() -> None:
        async with nothing_left(), Server(Options(host="127.0.0.1", port=-1, tls=tls)) as server:
            assert server.url == f"tls://127.0.0.1:{server.port}"
            await exchange(server, ssl.create_default_context(cafile=str(directory / "ca.pem")))
            silent = socket.create_connection(("127.0.0.1", server.port))
            silent.close()

    run(main)


def test_with_monitoring(run: Callable[[Main], None]) -> None:
    options = Options(host="127.0.0.1", port=-1, monitor=MonitorOptions(port=-1))

    async def main() -> None:
        # What is imported for monitoring stays imported.
        async with Server(options):
            pass
        async with nothing_left(), Server(options) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.monitor_port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
            writer.close()
            await writer.wait_closed()

    run(main)


def test_an_error_inside_the_block_ends_the_server(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            with pytest.raises(ZeroDivisionError):
                async with Server(OPTIONS) as server:
                    raise ZeroDivisionError
            assert not server.is_ready

    run(main)


def test_a_cancelled_block_ends_the_server(run: Callable[[Main], None]) -> None:
    async def serve(ready: asyncio.Future[Server]) -> None:
        async with Server(OPTIONS) as server:
            ready.set_result(server)
            await server.wait()

    async def main() -> None:
        async with nothing_left():
            ready: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(serve(ready))
            server = await ready
            await exchange(server)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not server.is_ready

    run(main)


@pytest.mark.parametrize("which", ["clients", "monitoring"])
def test_a_start_that_fails_leaves_nothing(which: str, run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            with socket.create_server(("127.0.0.1", 0)) as holder:
                taken = holder.getsockname()[1]
                options = (
                    Options(host="127.0.0.1", port=taken)
                    if which == "clients"
                    else Options(host="127.0.0.1", port=-1, monitor=MonitorOptions(port=taken))
                )
                with pytest.raises(ListenError, match=f"127.0.0.1:{taken}: bind: address already in use"):
                    async with Server(options):
                        raise AssertionError("it started")

    run(main)


def test_stop_may_be_called_twice(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            server = Server(OPTIONS)
            await server.start()
            await server.stop()
            await server.stop()
            await server.wait()

    run(main)


def test_a_lame_duck_ends_by_itself(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with nothing_left():
            options = Options(host="127.0.0.1", port=-1, lame_duck_duration=0.02, lame_duck_grace_period=0.01)
            async with Server(options) as server:
                client = await nats.connect(server.url, allow_reconnect=False)
                server.begin_lame_duck()
                async with asyncio.timeout(MESSAGE_SECONDS):
                    await server.wait()
                await client.close()

    run(main)


@pytest.mark.parametrize("document", ["README.md", "docs/auth-callout.md"])
def test_the_example_of_a_document(document: str, tmp_path: Path) -> None:
    """The first example of Python with output prints what stands below it."""
    text = (README.parent / document).read_text()
    example = re.search(r"^```python\n([^`]*?)^```\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    result = subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(README.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (result.stdout, list(tmp_path.iterdir())) == (example[2], [])


async def test_what_has_been_checked_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = check(OPTIONS)

    def never(options: Options) -> None:
        raise AssertionError(options)

    monkeypatch.setattr("broker.app.check", never)
    async with Server(checked=checked) as server:
        assert server.service.control.authenticator is checked.authenticator
    with pytest.raises(AssertionError):
        await Server(Options(host="127.0.0.1", port=-1, ping_max=3), checked=checked).start()
