"""The quickstart as a newcomer meets it: two commands, a broker, and lines to paste that do what they say."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from tests.support.ports import reserve_port
from tests.support.servers import ROOT, ServerProcess, Target

QUICKSTART = Target("quickstart", (sys.executable, "-m", "tools.command", "quickstart"))
ENDS = "Ctrl-C stops the broker"
"""The guide's last paragraph: when it is there, all of it is."""
EXIT_SECONDS = 20.0
COMMAND_SECONDS = 30.0
MESSAGE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """A quickstart that serves, in the directory that a newcomer is in."""

    process: ServerProcess
    here: Path
    port: int

    @property
    def demo(self) -> Path:
        return self.here / "natskeep-demo"

    def commands(self, verb: str) -> list[list[str]]:
        """The printed commands with a verb of ``nsk tool``."""
        lines = [line.strip() for line in self.process.output.splitlines() if line.startswith("  ")]
        return [shlex.split(line) for line in lines if f" tool {verb} " in line]

    def paste(self, words: list[str]) -> str:
        """What a printed command that ends by itself prints."""
        result = subprocess.run(
            words,
            cwd=self.here,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(self.here / "home")},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
        )
        return result.stdout + result.stderr

    @asynccontextmanager
    async def client(self, account: str) -> AsyncIterator[Client]:
        """nats-py, connected as an account's user."""
        client = await nats.connect(
            f"tls://127.0.0.1:{self.port}",
            tls=ssl.create_default_context(cafile=str(self.demo / "tls" / "ca.pem")),
            user_credentials=str(self.demo / "nsk" / "creds" / "demo" / account / "app.creds"),
            allow_reconnect=False,
        )
        try:
            yield client
        finally:
            await client.close()


def quickstart(here: Path, *words: str) -> ServerProcess:
    return ServerProcess(QUICKSTART, words, here)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    here = tmp_path_factory.mktemp("newcomer")
    port = reserve_port()
    with quickstart(here, "--port", str(port), "--http_port", str(reserve_port())) as process:
        assert process.wait_for(ENDS), process.output
        yield Running(process, here, port)


# What is printed works.


def test_it_says_where_everything_is(running: Running) -> None:
    output = running.process.output
    assert f"on tls://127.0.0.1:{running.port}" in output
    assert f"cd {running.here}" in output
    paths = re.findall(r"^  made +.*  (\S+)$", output, re.MULTILINE)
    assert len(paths) == 6
    assert all((running.here / path).is_file() for path in paths)
    assert not re.search(r"BEGIN|\bS[UAO][A-Z2-7]{50,}|eyJ", output)


def test_the_listener_sees_its_own_account_only(running: Running) -> None:
    [listen] = running.commands("sub")
    as_acme, as_globex = running.commands("pub")
    with ServerProcess(Target("sub", tuple(listen)), [], running.here) as listener:
        assert listener.wait_for("Listening on"), listener.output
        assert "Published" in running.paste(as_globex)
        assert "Published" in running.paste(as_acme)
        assert listener.wait_for("from ACME"), listener.output
        assert "GLOBEX" not in listener.output
        listener.send_signal(signal.SIGINT)
        assert listener.wait_until_exit(EXIT_SECONDS) == 0
        assert "Traceback" not in listener.output


def test_requests_are_answered(running: Running) -> None:
    [reply] = running.commands("reply")
    [ask] = running.commands("req")
    with ServerProcess(Target("reply", tuple(reply)), [], running.here) as responder:
        assert responder.wait_for("listening on"), responder.output
        assert "here it is" in running.paste(ask)
        assert "please" in responder.output


def test_the_account_tool_works_on_the_store(running: Running) -> None:
    output = running.paste([sys.executable, "-m", "tools.nsk", "-H", "natskeep-demo/nsk", "list", "accounts"])
    assert all(name in output for name in ("ACME", "GLOBEX", "SYS"))


def test_the_documented_program_talks(running: Running) -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text()
    example = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    assert "tls://127.0.0.1:4222" in example[1]
    program = example[1].replace(":4222", f":{running.port}")
    assert "from a program\n" in running.paste([sys.executable, "-c", program])


def test_the_readme_shows_what_is_printed(running: Running) -> None:
    """All but the port and the directory, which are this run's own."""
    printed = running.process.output.replace(f":{running.port}", ":4222").replace(str(running.here), "/srv/natskeep")
    printed = re.sub(r"http://127.0.0.1:\d+", "http://127.0.0.1:8222", printed)
    printed = re.sub(r"^  .*( tool )", r"  .venv/bin/nsk\1", printed, flags=re.MULTILINE)
    shown = (ROOT / "README.md").read_text()
    block = re.search(r"^```\n(  made .*?)^```", shown, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert set(block[1].splitlines()) <= set(printed.splitlines())


# The accounts are sealed.

SUBJECTS = ["hello", "hello.world", "a.b.c.d", "_INBOX.x", "$SYS.REQ.SERVER.PING", "$JS.API.INFO", "$G", "ACME.x", "*x"]


@pytest.mark.parametrize(("talker", "listener"), [("ACME", "GLOBEX"), ("GLOBEX", "ACME")])
async def test_nothing_crosses_the_wall(talker: str, listener: str, running: Running) -> None:
    seen: list[str] = []

    async def note(message: Msg) -> None:
        seen.append(message.subject)

    async with running.client(talker) as speaking, running.client(listener) as hearing, running.client(talker) as own:
        for subject in (">", "hello.>", "*.*"):
            await hearing.subscribe(subject, cb=note)
        await hearing.subscribe(">", queue="workers", cb=note)
        witness = await own.subscribe(">")
        await hearing.flush()
        await own.flush()
        for subject in SUBJECTS:
            await speaking.publish(subject, b"secret", reply="answer.here", headers={"k": "v"})
        await speaking.flush()
        received = [(await witness.next_msg(MESSAGE_SECONDS)).subject for _ in SUBJECTS]
        assert received == SUBJECTS
        # What was sent before is delivered before, so after this message nothing more can come.
        done = asyncio.Event()

        async def end(_: Msg) -> None:
            done.set()

        await hearing.subscribe("end.of.test", cb=end)
        await hearing.publish("end.of.test")
        async with asyncio.timeout(MESSAGE_SECONDS):
            await done.wait()
        assert set(seen) == {"end.of.test"}


async def test_requests_find_nobody_in_another_account(running: Running) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"yes")

    async with running.client("ACME") as acme, running.client("GLOBEX") as globex:
        await acme.subscribe("help", cb=answer)
        await acme.flush()
        with pytest.raises(NoRespondersError):
            await globex.request("help", b"", timeout=MESSAGE_SECONDS)
        assert (await acme.request("help", b"", timeout=MESSAGE_SECONDS)).data == b"yes"


async def test_without_credentials_nobody_enters(running: Running) -> None:
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await nats.connect(
            f"tls://127.0.0.1:{running.port}",
            tls=ssl.create_default_context(cafile=str(running.demo / "tls" / "ca.pem")),
            allow_reconnect=False,
        )


# Stopping, starting again, and what can be in the way.


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_interrupted_and_started_again(tmp_path: Path) -> None:
    port, http_port = reserve_port(), reserve_port()
    words = ["--port", str(port), "--http_port", str(http_port)]
    with quickstart(tmp_path, *words) as process:
        assert process.wait_for(ENDS), process.output
        client = await nats.connect(
            f"tls://127.0.0.1:{port}",
            tls=ssl.create_default_context(cafile=str(tmp_path / "natskeep-demo" / "tls" / "ca.pem")),
            user_credentials=str(tmp_path / "natskeep-demo" / "nsk" / "creds" / "demo" / "ACME" / "app.creds"),
            allow_reconnect=False,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait_until_exit(EXIT_SECONDS) == 0
        await client.close()
        assert "Traceback" not in process.output
    files = contents(tmp_path)
    with quickstart(tmp_path) as process:
        assert process.wait_for(ENDS), process.output
        assert f"on tls://127.0.0.1:{port}" in process.output
        assert len(re.findall(r"^  reused ", process.output, re.MULTILINE)) == 6
        process.send_signal(signal.SIGTERM)
        assert process.wait_until_exit(EXIT_SECONDS) == 0
    assert contents(tmp_path) == files
    other = reserve_port()
    with quickstart(tmp_path, "--port", str(other)) as process:
        assert process.wait_for(ENDS), process.output
        assert f"server.conf has the port {port}; {other} holds for this run" in process.output
        assert f"on tls://127.0.0.1:{other}" in process.output


@pytest.mark.parametrize("flag", ["--port", "--http_port"])
def test_a_taken_port(flag: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        other = "--http_port" if flag == "--port" else "--port"
        with quickstart(tmp_path, "--directory", "my demo", flag, str(taken), other, "-1") as process:
            assert process.wait_until_exit(EXIT_SECONDS) == 1
    assert f"port {taken} of 127.0.0.1 is taken by another program" in process.output
    ports = {flag: taken + 1, other: -1}
    words = f"--port {ports['--port']} --http_port {ports['--http_port']}"
    assert f"quickstart --directory 'my demo' {words}\n" in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--zz"], "natskeep: flag provided but not defined: -zz"),
        (["demo"], 'natskeep: unexpected word: "demo"'),
        (["--directory", "taken"], "holds other files and no demo; choose another with --directory"),
        (["--directory", "/dev/null/x"], "natskeep: /dev/null"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").touch()
    with quickstart(tmp_path, *words) as process:
        assert process.wait_until_exit(EXIT_SECONDS) == 1
    assert text in process.output
    assert "Traceback" not in process.output


def test_a_spoilt_configuration_is_named(tmp_path: Path) -> None:
    words = ["--port", "-1", "--http_port", "-1"]
    with quickstart(tmp_path, *words) as process:
        assert process.wait_for(ENDS), process.output
    (tmp_path / "natskeep-demo" / "server.conf").write_text("porr: 1\n")
    with quickstart(tmp_path, *words) as process:
        assert process.wait_until_exit(EXIT_SECONDS) == 1
    assert 'server.conf:1:0: unknown field "porr"' in process.output
    assert "Mend natskeep-demo/server.conf, or remove it" in process.output


def test_help(tmp_path: Path) -> None:
    with quickstart(tmp_path, "--help") as process:
        assert process.wait_until_exit(EXIT_SECONDS) == 0
    assert "Usage: natskeep quickstart [options]" in process.output
    assert list(tmp_path.iterdir()) == []
