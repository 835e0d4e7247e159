"""What ``nsk pki`` makes, in use: servers of both makes take its certificates, and clients take those of servers.

With NATSKEEP_REFERENCE=/path/to/nats-server that server, whose library is stricter than others, is tried as well.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.ports import reserve_port
from tests.support.servers import NATSKEEP, ServerProcess, Target, targets
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
    server: ServerProcess
    target: Target

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
    with staged(target, folder, tmp_path, "" if target.is_reference else 'watch: "50ms"') as made:
        yield made


@contextmanager
def staged(target: Target, folder: Folder, tmp_path: Path, more: str) -> Iterator[Stage]:
    """A server that knows all users by their certificates; ``more`` stands in its tls block besides."""
    port = reserve_port()
    users = ", ".join(f'{{ user: "{user}" }}' for user in MAPPED)
    configuration = tmp_path / "server.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{port}"\n'
        f'tls {{ cert_file: "{folder.certificate_path("server")}", key_file: "{folder.key_path("server")}"\n'
        f'  ca_file: "{folder.certificate_path("ca")}", verify_and_map: true, {more} }}\n'
        f"authorization {{ users = [ {users} ] }}\n"
    )
    with ServerProcess(target, ["-c", str(configuration)], tmp_path, preforked=True) as server:
        assert server.wait_until_ready(), server.output
        yield Stage(folder, port, server, target)


def test_every_user_is_known_by_its_certificate(stage: Stage) -> None:
    async def work() -> list[bytes]:
        return [await stage.answer(name) for name in USERS]

    assert asyncio.run(work()) == [name.encode() for name in USERS]


async def refused(stage: Stage, *names: str) -> list[bool]:
    """Whether clients with these certificates are kept out."""
    found = []
    for name in names:
        try:
            await stage.answer(name)
        except (nats.errors.Error, OSError):
            found.append(True)
        else:
            found.append(False)
    return found


def test_a_server_s_certificate_and_a_stranger_s_open_nothing(stage: Stage, tmp_path: Path) -> None:
    """One is of the CA and for servers, the other is for clients and of another CA."""
    other = make(tmp_path / "other")
    stage.folder.write("stranger", other.pair("mail"))
    assert asyncio.run(refused(stage, "server", "stranger")) == [True, True]


@pytest.mark.parametrize("words", [(), ("--intermediate",)])
def test_whom_a_crl_names_is_kept_out(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Until there is another certificate; only natskeep reads CRLs."""
    folder = make(tmp_path / "pki", *words)
    nsk("--dir", str(folder.directory), "revoke", "mail")
    files = ", ".join(f'"{folder.crl_path(issuer)}"' for issuer in folder.issuers)
    with staged(NATSKEEP, folder, tmp_path, f"crl_files: [{files}]") as stage:
        assert asyncio.run(refused(stage, "mail", "host")) == [True, False]
        nsk("--dir", str(folder.directory), "renew", "mail")
        assert asyncio.run(refused(stage, "mail")) == [False]


def shown(stage: Stage, client: str) -> bytes:
    """The certificate that the server shows, in DER."""
    with socket.create_connection(("127.0.0.1", stage.port), 30) as sock:
        while sock.recv(1) != b"\n":
            pass
        with stage.context(client).wrap_socket(sock, server_hostname="localhost") as secured:
            return secured.getpeercert(binary_form=True) or b""


def test_a_server_takes_up_what_is_renewed(stage: Stage) -> None:
    """natskeep by itself, and never a certificate without its key; nats-server when it is told to reload."""
    folder, server = stage.folder, stage.server
    old = shown(stage, "mail")
    nsk("--dir", str(folder.directory), "renew", "--all")
    if stage.target.is_reference:
        server.send_signal(signal.SIGHUP)
        assert server.wait_for("Reloaded server configuration")
    else:
        assert server.wait_for("Renewed the certificate of")
        assert "[ERR]" not in server.output
    new = shown(stage, "mail")
    assert new == folder.certificates("server")[0].public_bytes(Encoding.DER) != old
    assert asyncio.run(stage.answer("mail")) == b"mail"
