"""Clients over the Unix socket: who they are by their process, what is told of them, and what reloads do to them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import ssl
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auth.evidence import LocalPeer
from auth.settings import SettingsError
from broker import Server
from broker.config.errors import ConfigError
from broker.config.options import AuthorizationOptions, MonitorOptions, TLSOptions, UnixOptions, UserOptions
from broker.monitor.connections import ConnzOptions, Listed, connz
from broker.net import unix
from broker.net.listener import ListenError
from broker.reload.plan import ReloadError
from tests.support.certificates import Certificates, make_certificates
from tests.support.loops import in_every_loop
from tests.support.realm import Realm
from tests.support.serving import Client, SecureClient, close_reason, connect_line, serving, session_of

VIOLATION = b"-ERR 'Authorization Violation'\r\n"
ME = f"unix:uid={os.getuid()}"
NAME = f"unix:user={pwd.getpwuid(os.getuid()).pw_name}"
STRANGER = LocalPeer(uid=os.getuid() + 1, gid=1, pid=1)


def mode_of(path: Path) -> int:
    """Who may connect."""
    return stat.S_IMODE(path.lstat().st_mode)


def names_beside(path: Path) -> set[str]:
    """What lies in the directory."""
    return {entry.name for entry in path.parent.iterdir()}


class LocalClient(Client):
    """A client of the Unix socket."""

    @classmethod
    def address_of(cls, server: Server) -> str:
        return server.options.unix.path


class SecureLocalClient(SecureClient):
    """The same with TLS."""

    @classmethod
    def address_of(cls, server: Server) -> str:
        return server.options.unix.path


@pytest.fixture
def path() -> Iterator[Path]:
    """Where the socket is to be; the paths of tests' own directories are too long for one."""
    with tempfile.TemporaryDirectory(prefix="nk") as directory:
        yield Path(directory) / "n.sock"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def tls(certificates: Certificates, **changes: Any) -> TLSOptions:
    directory = certificates.directory
    return TLSOptions(cert_file=str(directory / "server.pem"), key_file=str(directory / "server-key.pem"), **changes)


def trusting(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(certificates.directory / "ca.pem"))
    return context


def users(*names: str, **fields: Any) -> AuthorizationOptions:
    return AuthorizationOptions(users=tuple(UserOptions(user=name, **fields) for name in names), declared=True)


def mapped(path: Path, *names: str, **fields: Any) -> dict[str, Any]:
    return {"unix": UnixOptions(path=str(path), verify_and_map=True), "authorization": users(*names, **fields)}


async def refused(server: Server, **login: Any) -> None:
    """A client of the socket is not let in."""
    client = await LocalClient.open(server)
    await client.greeting()
    await client.introduce(**login)
    assert await client.rest() == VIOLATION


# Being served


@in_every_loop
async def test_both_ways_lead_to_one_server(path: Path) -> None:
    async with serving(unix=UnixOptions(path=str(path))) as server:
        assert mode_of(path) == 0o600
        near, far = await LocalClient.connect(server), await Client.connect(server)
        assert "client_ip" not in near.info
        await near.send(b"SUB a 1\r\n")
        assert await near.ping() == []
        await far.send(b"PUB a 2\r\nhi\r\n")
        assert await far.ping() == []
        assert await near.frame() == b"MSG a 1 2\r\nhi"
        payload = bytes(1024 * 1024)
        await far.send(b"SUB b 1\r\n")
        assert await far.ping() == []
        await near.send(b"PUB b %d\r\n%b\r\n" % (len(payload), payload))
        assert (await far.frame()).endswith(payload)
    assert names_beside(path) == set()


async def test_streams_of_asyncio_reach_it(path: Path) -> None:
    async with serving(unix=UnixOptions(path=str(path))):
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert (await reader.readline()).startswith(b"INFO {")
        writer.write(connect_line() + b"PING\r\n")
        assert await reader.readline() == b"PONG\r\n"
        writer.close()
        await writer.wait_closed()


async def test_a_taken_path_is_no_start(path: Path) -> None:
    async with serving(unix=UnixOptions(path=str(path))) as first:
        with pytest.raises(ListenError, match="another server has it"):
            async with serving(unix=UnixOptions(path=str(path))):
                pass
        async with await LocalClient.connect(first) as client:
            assert await client.ping() == []


async def test_a_lame_duck_leaves_the_path_to_another(path: Path) -> None:
    options = {"unix": UnixOptions(path=str(path)), "lame_duck_grace_period": 0.0, "lame_duck_duration": 0.001}
    async with serving(**options) as server:
        client = await LocalClient.connect(server, protocol=1)
        server.begin_lame_duck()
        while not json.loads((await client.frame())[5:]).get("ldm"):
            pass
        assert names_beside(path) == set()
        async with serving(unix=UnixOptions(path=str(path))) as other:
            await server.wait()
            async with await LocalClient.connect(other) as second:
                assert await second.ping() == []
        assert await close_reason(server, client) == "Server Shutdown"


# Who they are


@in_every_loop
@pytest.mark.parametrize("name", [ME, NAME])
async def test_a_process_is_the_user_that_it_belongs_to(path: Path, name: str) -> None:
    """Whatever it calls itself."""
    async with serving(**mapped(path, name, "unix:uid=4294967294", "bob")) as server:
        for login in ({}, {"user": "bob"}, {"user": "nobody", "pass": "x"}):
            async with await LocalClient.connect(server, **login) as client:
                principal = session_of(server, client).principal
                assert principal is not None
                assert (principal.user, principal.method.value) == (name, "unix_peer")


async def test_anybody_else_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another user, or of whom the system tells nothing; with a password, too, that is right."""
    for peer in (STRANGER, None):
        monkeypatch.setattr(unix, "peer_of", lambda _, peer=peer: peer)
        async with serving(**mapped(path, ME, "bob", password="secret")) as server:
            await refused(server)
            await refused(server, user="bob", **{"pass": "secret"})
            await refused(server, user=ME, **{"pass": "secret"})
            async with await Client.connect(server, user="bob", **{"pass": "secret"}) as client:
                assert await client.ping() == []


async def test_its_name_opens_no_other_door(path: Path) -> None:
    """A user without a password is known by its process alone, also where no socket maps anybody."""
    for changes in (mapped(path, ME), {"authorization": users(ME)}):
        async with serving(**changes) as server:
            client = await Client.open(server)
            await client.greeting()
            await client.introduce(user=ME)
            assert await client.rest() == VIOLATION


async def test_without_a_map_clients_log_in_as_everywhere(path: Path) -> None:
    changes = {"unix": UnixOptions(path=str(path)), "authorization": users("bob", password="secret")}
    async with serving(**changes) as server:
        await refused(server)
        async with await LocalClient.connect(server, user="bob", **{"pass": "secret"}) as client:
            assert await client.ping() == []


@pytest.mark.parametrize("networks", [[], ["0.0.0.0/0", "::/0"]])
async def test_who_may_come_from_networks_comes_from_none_here(path: Path, networks: list[str]) -> None:
    """A JWT that names networks asks for an address, and there is none: not even all networks hold one."""
    realm = Realm()
    realm.user.nats.source_networks = networks
    async with serving(realm.options(unix=UnixOptions(path=str(path)))) as server:
        client = await LocalClient.open(server)
        await client.greeting()
        await client.introduce(**realm.proof(client))
        if networks:
            assert await client.rest() == VIOLATION
        else:
            assert await client.frame() == b"PONG"
        async with await realm.connect(server) as far:
            assert await far.ping() == []


# What is told of them


async def test_what_monitoring_and_the_log_tell(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    changes = mapped(path, ME) | {"monitor": MonitorOptions(host="127.0.0.1", port=-1)}
    async with serving(**changes) as server:
        client = await LocalClient.connect(server, name="near")
        await client.send(b"PUB $SYS.x 1\r\nx\r\n")
        await client.ping()
        assert server._monitor is not None
        watched = server._monitor._watched
        (entry,) = connz(watched, ConnzOptions(auth=True)).connections or ()
        assert (entry.ip, entry.port, entry.type, entry.authorized_user) == ("", 0, "nats", ME)
        assert entry.unix is not None
        assert (entry.unix.path, entry.unix.uid, entry.unix.gid, entry.unix.pid) == (
            str(path), os.getuid(), os.getgid(), os.getpid(),
        )
        async with await Client.open(server) as far:
            await far.greeting()
            entries = connz(watched, ConnzOptions()).connections or ()
            assert [one.unix is None for one in entries] == [False, True]
        client.close()
        await close_reason(server, client)
        closed = connz(watched, ConnzOptions(cid=client.cid, listed=Listed.CLOSED)).connections or ()
        assert [one.unix and one.unix.uid for one in closed] == [os.getuid()]
    lines = [record.getMessage() for record in caplog.records]
    assert f"Listening for client connections on unix:{path}" in lines


async def test_a_refusal_tells_whose_process_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unix, "peer_of", lambda _: STRANGER)
    async with serving(**mapped(path, ME)) as server:
        await refused(server)
    (line,) = [record.getMessage() for record in caplog.records if "peer of the Unix socket" in record.getMessage()]
    assert line.startswith(f"unix:uid={STRANGER.uid} - cid:1 - ")
    assert f"No user for the peer of the Unix socket: uid {STRANGER.uid}" in line


# TLS


async def test_tls_only_where_it_is_asked_for(path: Path, certificates: Certificates) -> None:
    """By itself the socket is in the clear beside a port with TLS; and TLS is no matter of choice where it is on."""
    port = tls(certificates)
    async with serving(unix=UnixOptions(path=str(path)), tls=port) as server:
        client = await LocalClient.connect(server)
        assert "tls_required" not in client.info
        assert await client.ping() == []
    async with serving(unix=UnixOptions(path=str(path), tls=True), tls=port, allow_non_tls=True) as server:
        client = await LocalClient.open(server)
        assert (await client.greeting())["tls_required"] is True
        await client.introduce()
        assert await client.rest() == b""
        assert await close_reason(server, client) == "TLS Handshake Failure"
        async with await SecureLocalClient.secured(server, trusting(certificates)) as secured:
            assert await secured.ping() == []
        async with await Client.connect(server) as far:
            assert await far.ping() == []


async def test_a_certificate_counts_before_the_process(path: Path, certificates: Certificates) -> None:
    port = tls(certificates, ca_file=str(certificates.directory / "ca.pem"), verify=True, verify_and_map=True)
    context = trusting(certificates)
    context.load_cert_chain(certificates.directory / "email.pem", certificates.directory / "email-key.pem")
    async with serving(
        unix=UnixOptions(path=str(path), tls=True, verify_and_map=True), tls=port,
        authorization=users(ME, "derek@nats.test"),
    ) as server, await SecureLocalClient.secured(server, context) as client:
        principal = session_of(server, client).principal
        assert principal is not None
        assert (principal.user, principal.method.value) == ("derek@nats.test", "certificate")


# Reloads


async def reload(server: Server, **changes: Any) -> None:
    await server.reload(replace(server.options, unix=replace(server.options.unix, **changes)))


async def test_another_mode_or_path_loses_nobody(path: Path) -> None:
    async with serving(unix=UnixOptions(path=str(path))) as server:
        first, waiting = await LocalClient.connect(server), await LocalClient.open(server)
        await reload(server, mode=0o660)
        assert mode_of(path) == 0o660
        assert await first.ping() == []
        await waiting.greeting()
        second = await LocalClient.connect(server)
        moved = path.with_name("moved")
        await reload(server, path=str(moved))
        assert names_beside(path) == {"moved", "moved.lock"}
        async with await LocalClient.connect(server) as third:
            assert [await one.ping() for one in (first, second, third)] == [[], [], []]
        await reload(server, path="")
        assert names_beside(path) == set()
        assert await first.ping() == []
        await reload(server, path=str(path))
        async with await LocalClient.connect(server) as fourth:
            assert await fourth.ping() == []


async def test_a_place_that_cannot_be_had_changes_nothing(path: Path) -> None:
    taken = path.with_name("taken")
    taken.write_text("precious")
    async with serving(unix=UnixOptions(path=str(path))) as server:
        nobody = {"group": "no such group", "mode": 0o666}
        for changes in ({"path": str(taken)}, {"path": str(path / "deeper")}, nobody):
            with pytest.raises(ReloadError, match="listen unix"):
                await reload(server, **changes)
            assert mode_of(path) == 0o600
            async with await LocalClient.connect(server) as client:
                assert await client.ping() == []

        def object_to(old: object, new: object) -> None:
            raise OSError("somebody else cannot")

        other = replace(server.options, unix=UnixOptions(path=str(path), mode=0o666))
        with pytest.raises(ReloadError, match="somebody else cannot"):
            await server.reload(other, object_to)
        assert mode_of(path) == 0o600
        assert names_beside(path) == {"n.sock", "n.sock.lock", "taken"}
        async with await LocalClient.connect(server) as client:
            assert await client.ping() == []
    assert taken.read_text() == "precious"


async def test_who_was_mapped_is_judged_by_the_new_map(path: Path) -> None:
    async with serving(**mapped(path, ME, "bob", password="")) as server:
        client = await LocalClient.connect(server, user="nobody")
        await server.reload(replace(server.options, authorization=users(NAME)))
        assert await client.ping() == []
        principal = session_of(server, client).principal
        assert principal is not None
        assert principal.user == NAME
        await server.reload(replace(server.options, authorization=users("unix:uid=4294967294")))
        assert await client.rest() == VIOLATION
        await server.reload(replace(server.options, authorization=users(ME)))
        client = await LocalClient.connect(server)
        await reload(server, verify_and_map=False)
        assert await client.rest() == VIOLATION


async def test_tls_comes_with_a_reload(path: Path, certificates: Certificates) -> None:
    async with serving(unix=UnixOptions(path=str(path)), tls=tls(certificates)) as server:
        first = await LocalClient.connect(server)
        await reload(server, tls=True)
        assert await first.ping() == []
        async with await SecureLocalClient.secured(server, trusting(certificates)) as secured:
            assert await secured.ping() == []


# What no server starts with


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["bob"], "needs users: name one unix:uid=1000"),
        (["unix:user=no-such-user"], "this machine has no user no-such-user"),
        ([ME, "unix:uid=one"], "unix:uid=one is neither"),
    ],
)
async def test_contradictions(path: Path, names: list[str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        async with serving(**mapped(path, *names)):
            pass
    assert names_beside(path) == set()


async def test_tls_needs_a_certificate(path: Path) -> None:
    with pytest.raises(ConfigError, match="tls of unix needs the tls of the clients"):
        async with serving(unix=UnixOptions(path=str(path), tls=True)):
            pass


async def test_operators_map_nobody(path: Path) -> None:
    with pytest.raises(SettingsError, match="operators allow none"):
        async with serving(Realm().options(unix=UnixOptions(path=str(path), verify_and_map=True))):
            pass
