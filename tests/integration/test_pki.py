"""What ``nsk pki`` makes, in use: servers of both makes take its certificates, and clients take those of servers.

With NATSKEEP_REFERENCE=/path/to/nats-server that server, whose library is stricter than others, is tried as well.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
import pytest

from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target, targets
from tools.nsk.__main__ import main
from tools.nsk.pki.folder import Folder

USERS = {
    "mail": ["--email", "mail@nats.test"],
    "host": ["--dns", "host.nats.test"],
    "spiffe": ["--uri", "spiffe://nats.test/app"],
    "name": ["--subject", "CN=name,OU=Orders,O=Example"],
    "plain": [],
}
MAPPED = ["mail@nats.test", "host.nats.test", "spiffe://nats.test/app", "CN=name,OU=Orders,O=Example", "CN=plain"]


def nsk(*words: str) -> None:
    """Runs a command that must succeed."""
    assert main(["pki", *words]) == 0


def make(directory: Path, *words: str) -> Folder:
    """A PKI with a server's certificate and one for each of the users."""
    where = ("--dir", str(directory))
    nsk(*where, "init", *words)
    nsk(*where, "server")
    for name, own in USERS.items():
        nsk(*where, "client", name, *own)
    return Folder(directory)


@dataclass
class Stage:
    """A server with certificates, which maps those of clients to users."""

    folder: Folder
    port: int

    def context(self, client: str, authority: Path | None = None) -> ssl.SSLContext:
        """The context of a client that is as strict as it can be."""
        context = ssl.create_default_context(cafile=str(authority or self.folder.certificate_path("ca")))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(self.folder.certificate_path(client), self.folder.key_path(client))
        return context

    async def answer(self, client: str) -> bytes:
        """What a client gets that sends itself a message."""
        connection = await nats.connect(
            f"tls://localhost:{self.port}",
            tls=self.context(client),
            allow_reconnect=False,
            connect_timeout=30,
        )
        try:
            subscription = await connection.subscribe("a")
            await connection.publish("a", client.encode())
            return (await subscription.next_msg(timeout=30)).data
        finally:
            await connection.close()


@pytest.fixture(params=[(), ("--intermediate",), ("--permit-dns", "localhost", "--permit-ip", "127.0.0.0/8")], ids=str)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    words: tuple[str, ...] = request.param
    if "--permit-dns" in words:
        words += ("--permit-ip", "::1/128", "--permit-dns", "nats.test")
    return make(tmp_path / "pki", *words)


@pytest.fixture(params=targets(), ids=lambda target: target.name)
def stage(request: pytest.FixtureRequest, folder: Folder, tmp_path: Path) -> Iterator[Stage]:
    target: Target = request.param
    port = reserve_port()
    users = ", ".join(f'{{ user: "{user}" }}' for user in MAPPED)
    configuration = tmp_path / "server.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{port}"\n'
        f'tls {{ cert_file: "{folder.certificate_path("server")}", key_file: "{folder.key_path("server")}"\n'
        f'  ca_file: "{folder.certificate_path("ca")}", verify_and_map: true }}\n'
        f"authorization {{ users = [ {users} ] }}\n"
    )
    with ServerProcess(target, ["-c", str(configuration)], tmp_path) as server:
        assert server.wait_until_ready(), server.output
        yield Stage(folder, port)


def test_every_user_is_known_by_its_certificate(stage: Stage) -> None:
    async def work() -> list[bytes]:
        return [await stage.answer(name) for name in USERS]

    assert asyncio.run(work()) == [name.encode() for name in USERS]


def test_a_server_s_certificate_and_a_stranger_s_open_nothing(stage: Stage, tmp_path: Path) -> None:
    """One is of the CA and for servers, the other is for clients and of another CA."""
    other = make(tmp_path / "other")
    stage.folder.write("stranger", other.pair("mail"))

    async def refused(name: str) -> bool:
        try:
            await stage.answer(name)
        except (nats.errors.Error, OSError):
            return True
        return False

    async def work() -> list[bool]:
        return [await refused(name) for name in ("server", "stranger")]

    assert asyncio.run(work()) == [True, True]
