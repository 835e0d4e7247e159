"""Certificates that are renewed while a server runs: seen by new handshakes, noticed by nobody else, refused if bad."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from broker import Server
from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import load, read_options
from broker.config.options import (
    AccountOptions,
    AuditOptions,
    MonitorOptions,
    Options,
    TLSOptions,
    UserOptions,
    WebSocketOptions,
)
from broker.config.tls_block import SHORTEST_WATCH
from broker.net.certificates import CLIENT
from broker.reload.plan import ReloadError
from broker.reload.preview import preview
from tests.integration.test_ledger import told
from tests.integration.test_monitor import Reply, ask
from tests.support.authorities import DAY, LOCAL, Holder, root
from tests.support.loops import in_every_loop
from tests.support.renewals import LOCKED, Place, Volume, in_memory, move_over, renewed, trusting
from tests.support.servers import NATSKEEP, ServerProcess
from tests.support.serving import Client, SecureClient, serving, session_of, until
from tests.support.websocket import WebSocketClient

RENEWALS = 100
ROOT = root()
BETWEEN = renewed(ROOT, "Between", names=(), authority=True)
FIRST = renewed(BETWEEN)
TRUSTING = trusting(ROOT)
EVENTS = AccountOptions(name="SYS", users=(UserOptions(user="sys", password="p"),))
USERS = AccountOptions(name="A", users=(UserOptions(user="a", password="p"),))


@pytest.fixture
def directory() -> Iterator[Path]:
    with in_memory() as made:
        yield made


@pytest.fixture
def place(directory: Path) -> Place:
    made = Place(directory)
    made.put(FIRST)
    return made


def told_of(**more: Any) -> dict[str, Any]:
    """Options of a server whose system account somebody listens to."""
    return {"accounts": (EVENTS, USERS), "system_account": "SYS", "no_auth_user": "a", **more}


async def join(server: Server, context: ssl.SSLContext = TRUSTING, **options: Any) -> SecureClient:
    return await SecureClient.secured(server, context, **options)


async def shown(server: Server, context: ssl.SSLContext = TRUSTING) -> bytes:
    """The certificate that somebody sees who comes now."""
    client = await join(server, context)
    der = client.tls.getpeercert(binary_form=True)
    client.close()
    assert der is not None
    return der


class Listener:
    """A user of the system account that hears of certificates."""

    def __init__(self, client: SecureClient, server: Server) -> None:
        self.client = client
        self.subject = f"$SYS.SERVER.{server.identity.server_id}.CERTIFICATE"

    @classmethod
    async def of(cls, server: Server, context: ssl.SSLContext = TRUSTING) -> Listener:
        made = cls(await join(server, context, user="sys", **{"pass": "p"}), server)
        await made.client.send(f"SUB {made.subject} 1\r\n".encode())
        assert await made.client.ping() == []
        return made

    async def next(self) -> dict[str, Any]:
        """The next event."""
        line, _, body = (await self.client.frame()).partition(b"\r\n")
        assert line.split()[1].decode() == self.subject
        found: dict[str, Any] = json.loads(body)
        return found


def digest(holder: Holder) -> str:
    return hashlib.sha256(holder.der).hexdigest()


# Nothing is lost


async def renewals_under_load(place: Place, tls: TLSOptions, renewals: int) -> None:
    """Renews under publishers, receivers and clients that come and go; each message and each connection counts."""
    async with serving(tls=tls, **told_of()) as server:
        events = await Listener.of(server)
        receivers = [await join(server) for _ in range(2)]
        for receiver in receivers:
            await receiver.send(b"SUB load.> 1\r\n")
            assert await receiver.ping() == []
        publishers = [await join(server) for _ in range(2)]
        totals, is_done = [0, 0], False
        holders = [FIRST]
        seen: set[bytes] = set()
        staying: list[tuple[SecureClient, Holder]] = [(await join(server), FIRST)]

        async def publish(number: int) -> None:
            client = publishers[number]
            while not is_done:
                start = totals[number]
                lines = b"".join(
                    b"PUB load.%d %d\r\n%d\r\n" % (number, len(str(at)), at) for at in range(start, start + 20)
                )
                totals[number] += 20
                # Cut inside a frame, so that a renewal also meets what has arrived in part.
                await client.send(lines[: len(lines) // 2])
                await asyncio.sleep(0)
                await client.send(lines[len(lines) // 2 :])
                assert await client.ping() == []

        async def receive(client: SecureClient) -> dict[bytes, list[int]]:
            found: dict[bytes, list[int]] = {b"load.0": [], b"load.1": []}
            while True:
                frame = await client.frame()
                if frame == b"PONG":
                    return found
                line, payload = frame.split(b"\r\n")
                found[line.split()[1]].append(int(payload))

        async def come_and_go() -> int:
            for number in count():
                if is_done:
                    return number
                seen.add(await shown(server))
            raise AssertionError

        received = [asyncio.create_task(receive(client)) for client in receivers]
        load = [asyncio.create_task(publish(number)) for number in range(2)]
        passing = asyncio.create_task(come_and_go())
        for _ in range(renewals):
            new = renewed(BETWEEN)
            place.put(new)
            event = await events.next()
            assert (event["outcome"], event["listener"]) == ("renewed", "client")
            assert [one["sha256"] for one in event["certificates"]] == [digest(new)]
            client = await join(server)
            assert client.tls.getpeercert(binary_form=True) == new.der
            holders.append(new)
            staying.append((client, new))
        is_done = True
        await asyncio.gather(*load)
        passed = await passing
        for client in receivers:
            await client.send(b"PING\r\n")
        for found in await asyncio.gather(*received):
            for number, total in enumerate(totals):
                assert total
                assert found[b"load.%d" % number] == list(range(total))
        # Who came with each certificate is still there, and all that ended are those that went by themselves.
        for client, holder in staying:
            assert client.tls.getpeercert(binary_form=True) == holder.der
            assert await client.ping() == []
        assert seen <= {holder.der for holder in holders}
        assert len(seen) > 1
        assert len(server.service.connections) >= len(staying) + 5
        await until(lambda: len(server.service.closed) == passed)
        assert {record.reason for record in server.service.closed} == {"Client Closed"}
        standing = server.service.certificates.standing[CLIENT]
        assert (standing.renewals, standing.refusals, standing.problem) == (renewals, 0, "")


async def test_a_hundred_renewals_under_load_lose_no_message_and_no_connection(directory: Path) -> None:
    volume = Volume(directory)
    volume.put(FIRST)
    # Certificate and key change in one step here, so that the looks may follow each other closely.
    await renewals_under_load(volume, volume.options(watch=SHORTEST_WATCH), RENEWALS)


@in_every_loop
async def test_renewals_by_moved_files_under_load(place: Place) -> None:
    await renewals_under_load(place, place.options(), RENEWALS // 20)


# Every listener


@in_every_loop
async def test_every_listener_is_renewed(place: Place) -> None:
    tls = place.options()
    websocket = WebSocketOptions(port=-1, host="127.0.0.1", tls=tls)
    monitor = MonitorOptions(https_port=-1)
    async with serving(tls=tls, websocket=websocket, monitor=monitor, **told_of()) as server:
        events = await Listener.of(server)
        sockets = [await WebSocketClient.joined(server, tls=TRUSTING)]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.monitor_port, ssl=TRUSTING, server_hostname="localhost"
        )
        for _ in range(3):
            new = renewed(BETWEEN)
            place.put(new)
            told = [await events.next() for _ in range(3)]
            assert {event["listener"] for event in told} == {"client", "websocket", "monitoring"}
            assert {event["outcome"] for event in told} == {"renewed"}
            sockets.append(await WebSocketClient.joined(server, tls=TRUSTING))
            assert await shown(server) == sockets[-1].tls.getpeercert(binary_form=True) == new.der
            assert new.der in [await monitoring_shows(server) for _ in range(3)]
            page = (await ask(server, "/metrics", context=TRUSTING)).body.decode()
            for listener in ("client", "websocket", "monitoring"):
                assert f'natskeep_tls_renewals_total{{listener="{listener}"}} {len(sockets) - 1}\n' in page
        for one in sockets:
            assert await one.ping() == []
        # A connection to the monitoring port that was open all the time is still served.
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b'{"status":"ok"}')
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def monitoring_shows(server: Server) -> bytes:
    _, writer = await asyncio.open_connection(
        "127.0.0.1", server.monitor_port, ssl=TRUSTING, server_hostname="localhost"
    )
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return der


async def test_one_pair_of_several(directory: Path) -> None:
    places = [Place(directory / name) for name in ("one", "two")]
    holders = [renewed(BETWEEN), renewed(BETWEEN, names=[x509.DNSName("two.example")])]
    for place, holder in zip(places, holders, strict=True):
        place.directory.mkdir()
        place.put(holder)
    pairs = ", ".join(f'{{cert_file: "{one.cert_file}", key_file: "{one.key_file}"}}' for one in places)
    options = read_options(parse_bytes(f'tls {{ certs: [{pairs}], watch: "10ms" }}'.encode())).options
    async with serving(options, **told_of()) as server:
        events = await Listener.of(server)
        new = renewed(BETWEEN, names=[x509.DNSName("two.example")])
        places[1].put(new)
        event = await events.next()
        assert [one["names"] for one in event["certificates"]] == [["localhost", "127.0.0.1"], ["two.example"]]
        assert event["files"] == [str(places[1].cert_file), str(places[1].key_file)]
        assert await shown(server) == holders[0].der
        # The name of the second pair must not be lost, wherever it stood.
        places[1].put(renewed(BETWEEN))
        event = await events.next()
        assert "is not good for two.example" in event["problem"]


# What is bad is refused, and told everywhere


def unreadable(place: Place) -> None:
    if os.geteuid():
        place.key_file.chmod(0)
    else:
        # Nothing is unreadable to whoever may read everything, but a directory.
        place.key_file.unlink()
        place.key_file.mkdir()


def cut(place: Place) -> None:
    new = renewed(BETWEEN)
    move_over({place.key_file: new.key_pem()})
    with place.cert_file.open("wb") as file:
        file.write(new.chain_pem[: len(new.chain_pem) // 2])


def alone(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    move_over({place.cert_file: new.pem})


def locked(place: Place) -> None:
    new = renewed(BETWEEN)
    place.put(new)
    move_over({place.key_file: new.key_pem(LOCKED)})


BAD: dict[str, tuple[Callable[[Place], object], str]] = {
    "the key of another": (
        lambda place: move_over({place.key_file: renewed(BETWEEN).key_pem()}), "does not belong to the certificate"
    ),
    "expired": (lambda place: place.put(renewed(BETWEEN, ends=-0.5 * DAY)), "expired on"),
    "not yet valid": (lambda place: place.put(renewed(BETWEEN, begins=DAY)), "is valid from"),
    "without its chain": (alone, "append the issuer's certificate"),
    "another name": (lambda place: place.put(renewed(BETWEEN, names=LOCAL[1:])), "is not good for localhost"),
    "half-written": (cut, "ends before its end"),
    "empty": (lambda place: move_over({place.cert_file: b""}), "holds no certificate"),
    "unreadable": (unreadable, "tls.key"),
    "a locked key": (locked, "is encrypted; decrypt it with"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_bad_is_refused_and_told(place: Place, caplog: pytest.LogCaptureFixture, name: str) -> None:
    spoil, text = BAD[name]
    ledger = place.directory / "ledger"
    audit = AuditOptions(directory=str(ledger), seal_interval=0.01)
    options = told_of(monitor=MonitorOptions(port=-1), audit=audit)
    async with serving(tls=place.options(), **options) as server:
        events, client = await Listener.of(server), await join(server)
        before = server.tls_context
        spoil(place)
        event = await events.next()
        assert (event["type"], event["listener"]) == ("io.natskeep.server.advisory.v1.certificate", "client")
        assert (event["outcome"], event["certificates"][0]["sha256"]) == ("refused", digest(FIRST))
        assert text in event["problem"]
        # What was there before goes on, for those who are there and those who come.
        assert server.tls_context is before
        assert await shown(server) == FIRST.der
        assert await client.ping() == []
        await check_that_it_is_told(server, refused=True)
        (line,) = [one.getMessage() for one in caplog.records if one.name == "natskeep.tls"]
        assert line.startswith("The certificate of client connections was not renewed, the one before is served on, ")
        assert text in line
        with suppress(OSError):
            place.key_file.rmdir()
        new = renewed(BETWEEN)
        place.put(new)
        assert (await events.next())["outcome"] == "renewed"
        assert await shown(server) == new.der
        await check_that_it_is_told(server, refused=False)
    refusal, renewal = told(ledger, "certificate_refused", "certificate_renewed")
    assert (refusal["listener"], refusal["cause"]) == (renewal["listener"], renewal["cause"]) == ("client", "watch")
    assert text in str(refusal["problem"])
    assert renewal["certificates"] == [digest(new)]


async def check_that_it_is_told(server: Server, *, refused: bool) -> None:
    """By health and metrics."""
    warning = "the certificate of client connections was not renewed"
    plain, asked = await ask(server, "/healthz"), await ask(server, "/healthz?tls=1")
    detailed = await ask(server, "/healthz?tls=1&details=1")
    assert plain.status == 200
    if refused:
        assert plain.json == {
            "status": "ok", "warnings": [{"type": "CERTIFICATE", "listener": "client", "warning": warning}]
        }
        assert (asked.status, asked.json) == (503, {"status": "unavailable", "error": warning})
        found = {"status": "error", "errors": [{"type": "CERTIFICATE", "error": warning}]}
        assert (detailed.status, detailed.json) == (503, found)
    else:
        assert plain.json == asked.json == detailed.json == {"status": "ok"}
    page = (await ask(server, "/metrics")).body.decode()
    assert f'natskeep_tls_renewal_failing{{listener="client"}} {int(refused)}\n' in page
    assert 'natskeep_tls_renewal_failures_total{listener="client"} 1\n' in page
    assert f'natskeep_tls_renewals_total{{listener="client"}} {int(not refused)}\n' in page


async def test_what_was_served_comes_back(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(tls=place.options(), **told_of()) as server:
        events = await Listener.of(server)
        place.put(renewed(BETWEEN, ends=-0.5 * DAY))
        assert (await events.next())["outcome"] == "refused"
        place.put(FIRST)
        standing = server.service.certificates.standing[CLIENT]
        await until(lambda: not standing.problem)
        assert list(server.service.certificates.findings(0.0)) == []
    assert "The files of the certificate of client connections hold again what is served" in caplog.text


# Reloads do the same at once


async def test_files_are_watched_where_that_is_asked_for(place: Place) -> None:
    def options(watch: str) -> Options:
        pair = f'cert_file: "{place.cert_file}", key_file: "{place.key_file}"'
        return read_options(parse_bytes(f"tls {{ {pair}, watch: {watch} }}".encode())).options

    assert [getattr(options(word).tls, "watch", None) for word in ("true", "false", '"250ms"')] == [1.0, 0.0, 0.25]
    for word in ('"1ms"', "5", '"soon"'):
        with pytest.raises(ConfigError, match="watch"):
            options(word)
    async with serving(options("false")) as server:
        second, third = renewed(BETWEEN), renewed(BETWEEN)
        place.put(second)
        assert not watchers()
        assert await shown(server) == FIRST.der
        await server.reload(server.options)
        assert await shown(server) == second.der
        await server.reload(replace(server.options, tls=options('"10ms"').tls))
        assert len(watchers()) == 1
        place.put(third)
        served = server.service.certificates
        await until(lambda: served.standing[CLIENT].renewals == 2)
        assert await shown(server) == third.der
        await server.reload(replace(server.options, tls=options("false").tls))
        await until(lambda: not watchers())
        assert await shown(server) == third.der
    assert not watchers()


def watchers() -> list[threading.Thread]:
    """The threads that look at files."""
    return [thread for thread in threading.enumerate() if thread.name == "natskeep-certificates"]


@pytest.mark.parametrize("name", BAD)
async def test_a_reload_refuses_what_is_bad_and_tells_at_once(
    place: Place, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    spoil, text = BAD[name]
    ledger = place.directory / "ledger"
    audit = AuditOptions(directory=str(ledger), seal_interval=0.01)
    configuration = place.directory / "server.conf"
    configuration.write_text(f'tls {{ cert_file: "{place.cert_file}", key_file: "{place.key_file}", watch: false }}\n')
    async with serving(load(str(configuration)).options, audit=audit, **told_of()) as server:
        events = await Listener.of(server)
        spoil(place)
        options = server.options

        def read() -> Options:
            return replace(options, tls=load(str(configuration)).options.tls, ping_max=9)

        with pytest.raises(ReloadError, match=r"tls\.(crt|key)"):
            await server.reload(read)
        event = await events.next()
        assert (event["outcome"], event["listener"]) == ("refused", "client")
        assert text in event["problem"]
        assert (await shown(server), server.options) == (FIRST.der, options)
        standing = server.service.certificates.standing[CLIENT]
        assert (standing.refusals, text in standing.problem) == (1, True)
        with suppress(OSError):
            place.key_file.rmdir()
        new = renewed(BETWEEN)
        place.put(new)
        await server.reload(read)
        event = await events.next()
        assert (event["outcome"], event["certificates"][0]["sha256"]) == ("renewed", digest(new))
        assert (await shown(server), standing.problem, server.options.ping_max) == (new.der, "", 9)
    assert "Failed to reload server configuration" in caplog.text
    refusal, renewal = told(ledger, "certificate_refused", "certificate_renewed")
    assert (refusal["cause"], renewal["cause"]) == ("reload", "reload")


async def test_a_reload_about_something_else_does_not_fail_for_what_is_served(directory: Path) -> None:
    place = Place(directory)
    place.put(renewed(BETWEEN, ends=-0.5 * DAY))
    async with serving(tls=place.options(watch=0.0)) as server:
        await server.reload(replace(server.options, ping_max=9))
        assert server.options.ping_max == 9
        assert server.service.certificates.standing[CLIENT].renewals == 0


async def test_other_files_may_hold_fewer_names(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    (place.directory / "other").mkdir()
    other = Place(place.directory / "other")
    other.put(renewed(BETWEEN, names=LOCAL[:1]))
    async with serving(tls=place.options(watch=0.0)) as server:
        await server.reload(replace(server.options, tls=other.options(watch=0.0)))
    assert "The certificate of client connections is not good any more for 127.0.0.1" in caplog.text


def test_a_preview_tells_of_certificates_that_would_be_refused(place: Place) -> None:
    (place.directory / "other").mkdir()
    other = Place(place.directory / "other")
    other.put(renewed(BETWEEN, names=[x509.DNSName("other.example")]))
    old, new = Options(tls=place.options()), Options(tls=other.options())
    assert not preview(old, new).is_refused
    other.put(renewed(BETWEEN, ends=-0.5 * DAY))
    found = preview(old, new)
    assert found.is_refused
    (_, problem, *_) = found.lines()
    assert "expired on" in problem


def test_a_signal_renews_at_once(place: Place) -> None:
    configuration = place.directory / "server.conf"
    configuration.write_text(
        f'port: -1\ntls {{ cert_file: "{place.cert_file}", key_file: "{place.key_file}", watch: false }}\n'
    )
    with ServerProcess(NATSKEEP, ["-c", str(configuration)], place.directory, preforked=True) as server:
        assert server.wait_until_ready()
        place.put(renewed(BETWEEN))
        server.send_signal(signal.SIGHUP)
        assert server.wait_for("Reloaded server configuration")
        assert "Renewed the certificate of client connections: localhost in " in server.output
        place.put(renewed(BETWEEN, ends=-0.5 * DAY))
        server.send_signal(signal.SIGHUP)
        assert server.wait_for("The certificate of client connections was not renewed")
        assert "Failed to reload server configuration" in server.output


# Before it ends


@pytest.mark.parametrize(
    ("ends", "key", "level"),
    [(6 * DAY, "", "WARNING"), (80 * DAY, 'expiry_warning: "2000h"', "WARNING"), (-0.5 * DAY, "", "ERROR")],
)
async def test_an_end_is_told_before_it_comes(
    directory: Path, caplog: pytest.LogCaptureFixture, ends: Any, key: str, level: str
) -> None:
    place = Place(directory)
    place.put(renewed(BETWEEN, begins=ends - 90 * DAY, ends=ends))
    pair = f'cert_file: "{place.cert_file}", key_file: "{place.key_file}"'
    text = f'http: "127.0.0.1:-1"\ntls {{ {pair}, watch: "10ms", {key} }}'
    verb = "expired" if level == "ERROR" else "expires"
    anyhow = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyhow.check_hostname, anyhow.verify_mode = False, ssl.CERT_NONE
    async with serving(read_options(parse_bytes(text.encode())).options, **told_of()) as server:
        varz = (await ask(server, "/varz")).json
        end = varz["tls_cert_not_after"]
        warning = f"the certificate of client connections {verb} on {end}"
        (record,) = [one for one in caplog.records if "certificate of client" in one.getMessage()]
        assert (record.levelname, record.name) == (level, "natskeep.tls")
        assert record.getMessage() == (
            f"The certificate of client connections for localhost in {place.cert_file} {verb} on {end}; renew it"
        )
        assert (await ask(server, "/healthz")).json["warnings"][0]["warning"] == warning
        asked = await ask(server, "/healthz?tls=1")
        assert (asked.status, asked.json["error"]) == (503, warning)
        assert not_after(await ask(server, "/metrics")) == server.service.certificates.ends_at(CLIENT)
        events = await Listener.of(server, anyhow)
        asking = await join(server, anyhow, user="sys", **{"pass": "p"})
        await asking.send(b'SUB r 1\r\nPUB $SYS.REQ.SERVER.PING.HEALTHZ r 13\r\n{"tls": true}\r\n')
        assert json.loads((await asking.frame()).partition(b"\r\n")[2])["data"]["status_code"] == 503
        # Another one that ends as soon is told of, too; and one that lasts is the end of it.
        place.put(renewed(BETWEEN, begins=-89 * DAY, ends=max(ends, DAY) - DAY / 24))
        told = [(await events.next())["outcome"] for _ in range(2)]
        assert told == ["renewed", "expiring"]
        place.put(renewed(BETWEEN, ends=3000 * DAY))
        assert (await events.next())["outcome"] == "renewed"
        assert (await ask(server, "/healthz?tls=1")).json == {"status": "ok"}


def not_after(reply: Reply) -> float:
    (line,) = [
        line for line in reply.body.decode().splitlines()
        if line.startswith('natskeep_tls_certificate_not_after_seconds{listener="client",name="localhost"} ')
    ]
    return float(line.split()[-1])


async def test_what_is_still_wrong_is_said_again_each_day(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.put(renewed(BETWEEN, begins=-89 * DAY, ends=DAY))
    async with serving(tls=place.options(watch=0.0)) as server:
        renewal = server._renewal
        assert renewal is not None

        def said() -> int:
            return sum("expires on" in one.getMessage() for one in caplog.records)

        renewal._look_at_ends()
        assert said() == 1
        renewal._said = {text: at - 25 * 3600 for text, at in renewal._said.items()}
        renewal._look_at_ends()
        renewal._look_at_ends()
        assert said() == 2


# Who comes back, and whom nobody trusts any more


async def test_a_ticket_of_before_is_good_afterwards(place: Place) -> None:
    async with serving(tls=place.options(), **told_of()) as server:
        events = await Listener.of(server)
        first = await join(server)
        assert await first.ping() == []
        ticket = first.tls.session
        assert ticket is not None
        again = await resumed(server, ticket)
        assert again.tls.session_reused
        new = renewed(BETWEEN)
        place.put(new)
        await events.next()
        fresh = await resumed(server, ticket)
        assert fresh.tls.session_reused
        assert await shown(server) == new.der
        assert await first.ping() == await again.ping() == await fresh.ping() == []


async def resumed(server: Server, ticket: ssl.SSLSession, context: ssl.SSLContext = TRUSTING) -> SecureClient:
    """Comes back with a ticket."""
    client = await Resuming.open(server)
    client.ticket = ticket
    client.info = json.loads((await client.clear_frame())[5:])
    await client.handshake(context)
    await client.introduce()
    assert await client.frame() == b"PONG"
    return client


class Resuming(SecureClient):
    """A client with a ticket."""

    ticket: ssl.SSLSession

    def begin(self, context: ssl.SSLContext) -> bytes:
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost", session=self.ticket)
        assert not self.step()
        return self.outgoing.read()


async def test_an_authority_that_is_gone_lets_nobody_in_but_throws_nobody_out(place: Place) -> None:
    clients, others = root("Clients"), root("Other Clients")
    bundle = place.directory / "ca.pem"
    bundle.write_bytes(clients.pem)
    (place.directory / "own").mkdir()
    mine = trusting(ROOT, shows=renewed(clients, "me", names=()), directory=place.directory / "own")
    theirs = trusting(ROOT, shows=renewed(others, "them", names=()), directory=place.directory / "own")
    async with serving(tls=place.options(verify=True, ca_file=str(bundle)), **told_of()) as server:
        events = await Listener.of(server, mine)
        client = await join(server, mine)
        assert await client.ping() == []
        ticket = client.tls.session
        assert ticket is not None
        await (await resumed(server, ticket, mine)).ping()
        move_over({bundle: others.pem})
        event = await events.next()
        assert (event["outcome"], event["files"]) == ("renewed", [str(bundle)])
        other = await join(server, theirs)
        assert await client.ping() == await other.ping() == []
        for attempt in (join(server, mine), resumed(server, ticket, mine)):
            with pytest.raises((EOFError, ConnectionError, ssl.SSLError, AssertionError)):
                await attempt
        assert session_of(server, client).principal is not None


async def test_tls_that_is_switched_on_is_watched_from_then_on(place: Place) -> None:
    async with serving(monitor=MonitorOptions(port=-1)) as server:
        assert b"natskeep_tls" not in (await ask(server, "/metrics")).body
        await server.reload(replace(server.options, tls=place.options()))
        new = renewed(BETWEEN)
        place.put(new)
        await until(lambda: server.service.certificates.standing[CLIENT].renewals == 1)
        assert await shown(server) == new.der
        await server.reload(replace(server.options, tls=None))
        async with await Client.connect(server) as client:
            assert await client.ping() == []
        assert b"natskeep_tls" not in (await ask(server, "/metrics")).body


def test_every_file_of_a_listener_is_watched() -> None:
    tls = TLSOptions(cert_file="a", key_file="b", ca_file="c")
    assert tls.files == ("a", "b", "c")
