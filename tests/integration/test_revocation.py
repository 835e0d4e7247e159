"""Clients whose certificates are revoked: by a responder that is asked, by one that was asked, and by lists."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker import Server
from broker.config.options import (
    AccountOptions,
    AuditOptions,
    MonitorOptions,
    TLSOptions,
    UserOptions,
    WebSocketOptions,
)
from broker.reload.plan import ReloadError
from tests.integration.test_ledger import told
from tests.integration.test_monitor import ask
from tests.support.authorities import DAY, LOCAL, PEM, Holder, now, root
from tests.support.loops import in_every_loop
from tests.support.ports import reserve_port
from tests.support.responder import Responder
from tests.support.serving import SecureClient, close_reason, serving, session_of, until
from tests.support.websocket import WebSocketClient
from tls.revocation.cache import CacheStatistics
from tls.revocation.settings import CacheKind, CacheSettings, PeerSettings

ASKING = PeerSettings(verify=True)
UNCACHED = CacheSettings(kind=CacheKind.NONE)
ACCOUNTS = (
    AccountOptions(name="SYS", users=(UserOptions(user="sys", password="p"),)),
    AccountOptions(name="A", users=(UserOptions(user="a", password="p"),)),
)
FAILURE = "TLS Handshake Failure"
BAD_CERTIFICATE = "SSLV3_ALERT_BAD_CERTIFICATE"
ROOT = root()
SERVER = ROOT.issue("localhost", names=LOCAL)


class Place:
    """A server's files, and contexts for clients."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cert_file, self.key_file = SERVER.write(directory, "server")
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(ROOT.certificate.public_bytes(PEM))
        self.lists = directory / "lists.crl"

    def tls(self, **more: Any) -> TLSOptions:
        return TLSOptions(
            cert_file=self.cert_file, key_file=self.key_file, ca_file=str(self.ca_file), verify=True, **more
        )

    def options(self, *, tls: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        settings = self.tls(**({"ocsp_peer": ASKING} if tls is None else tls))
        more.setdefault("ocsp_cache", CacheSettings(directory=str(self.directory / "cache")))
        return {"tls": settings, "accounts": ACCOUNTS, "system_account": "SYS", "no_auth_user": "a", **more}

    def listing(self, *revoked: Holder, **more: Any) -> dict[str, Any]:
        """Options of a server with a list of the root."""
        self.put(*revoked)
        return self.options(tls={"crl_files": (str(self.lists),), "watch": 0.02, **more})

    def put(self, *revoked: Holder, **more: Any) -> None:
        """Puts another list in place of the one before."""
        new = self.directory / "new.crl"
        new.write_bytes(ROOT.revocations(revoked, **more))
        new.replace(self.lists)

    def context(self, holder: Holder, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        paths = holder.write(self.directory, f"client-{holder.serial}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(self.ca_file))
        context.load_cert_chain(*paths)
        context.maximum_version = version
        return context

    async def join(self, server: Server, holder: Holder, **options: Any) -> SecureClient:
        """A client that is let in."""
        return await SecureClient.secured(server, self.context(holder), **options)

    async def turned_away(
        self, server: Server, holder: Holder, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> str:
        """What a client sees of TLS that is refused; empty where the connection just ends."""
        client = await SecureClient.open(server)
        client.info = json.loads((await client.clear_frame())[5:])
        seen = ""
        try:
            await client.handshake(self.context(holder, version))
            await client.introduce()
            assert await client.rest() == b""
        except ssl.SSLError as error:
            seen = error.reason or ""
        assert await close_reason(server, client) == FAILURE
        return seen

    async def shake(
        self, server: Server, holder: Holder, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> SecureClient:
        """A client that has shaken hands, as far as it can tell."""
        client = await SecureClient.open(server)
        client.info = json.loads((await client.clear_frame())[5:])
        await client.handshake(self.context(holder, version))
        return client


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def responder() -> Iterator[Responder]:
    with Responder().open() as made:
        yield made


async def hear(server: Server, place: Place, holder: Holder, *subjects: str) -> SecureClient:
    """A user of the system account that listens."""
    client = await place.join(server, holder, user="sys", **{"pass": "p"})
    for number, subject in enumerate(subjects):
        await client.send(f"SUB {subject} {number}\r\n".encode())
    assert await client.ping() == []
    return client


def body(frame: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(frame.partition(b"\r\n")[2])
    return found


# Responders


@in_every_loop
async def test_who_is_good_and_who_is_revoked(
    place: Place, responder: Responder, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "natskeep")
    good, revoked = (responder.issue(ROOT, name) for name in ("good", "revoked"))
    responder.script.revoked = {revoked.serial}
    options = place.options(audit=AuditOptions(directory=str(tmp_path / "audit"), seal_interval=0.01))
    async with serving(**options, monitor=MonitorOptions(port=-1)) as server:
        subjects = [
            f"$SYS.SERVER.{server.identity.server_id}.OCSP.PEER.{what}" for what in ("LINK.INVALID", "CONN.REJECT")
        ]
        listener = await hear(server, place, good, *subjects)
        await place.turned_away(server, revoked)
        link, rejected = body(await listener.frame()), body(await listener.frame())
        shown = {
            "subject": "CN=revoked", "issuer": "CN=Test Root", "fingerprint": link["peer"]["fingerprint"],
            "raw": link["peer"]["raw"],
        }
        assert link["type"] == "io.nats.server.advisory.v1.ocsp_peer_link_invalid"
        assert (link["link"], link["peer"]) == (shown, shown)
        assert link["reason"] == "Invalid OCSP response status: revoked"
        assert list(link) == ["type", "id", "timestamp", "link", "peer", "server", "reason"]
        assert list(rejected) == ["type", "id", "timestamp", "kind", "peer", "server", "reason"]
        assert (rejected["kind"], rejected["peer"]) == ("Client", shown)
        assert rejected["reason"] == "client not OCSP valid"
        assert "OCSP verify fail for [CN=revoked] with CA status [revoked]" in caplog.text
        (denial,) = server.service.control.trail.latest()
        assert (denial.action, denial.target) == ("certificate", "CN=revoked")
        line = f"TLS handshake error: client not OCSP valid - denial {denial.id}: CN=revoked: Invalid OCSP response"
        assert line in caplog.text
        varz = (await ask(server, "/varz")).json
        assert varz["tls_ocsp_peer_verify"] is True
        cache = varz["ocsp_peer_cache"]
        assert cache == {
            "cache_type": "local", "cache_misses": 2, "cached_responses": 2, "cached_revoked_responses": 1,
            "cached_good_responses": 1,
        }
    entries = told(tmp_path / "audit", "denied")
    assert [(entry["action"], entry["target"], entry["reason"]) for entry in entries] == [
        ("certificate", "CN=revoked", "Invalid OCSP response status: revoked")
    ]


@in_every_loop
async def test_nothing_is_heard_before_the_answer(place: Place, responder: Responder) -> None:
    client = responder.issue(ROOT, "client")
    responder.script.gate = threading.Event()
    async with serving(**place.options()) as server:
        waiting = await place.shake(server, client)
        await waiting.send(b'CONNECT {"verbose":false}\r\nSUB early 1\r\nPUB early 2\r\nhi\r\nPING\r\n')
        await responder.question()
        session = session_of(server, waiting)
        assert not session.secured
        assert session.client.in_messages == 0
        # Who names no responder need not wait for anybody.
        other = await place.join(server, ROOT.issue("other"))
        assert await other.ping() == []
        assert not session.secured
        responder.script.gate.set()
        assert await waiting.frames(2) == [b"MSG early 1 2\r\nhi", b"PONG"]


@in_every_loop
async def test_many_at_once_ask_once(place: Place, responder: Responder) -> None:
    client = responder.issue(ROOT, "client")
    responder.script.gate = threading.Event()
    async with serving(**place.options(ocsp_cache=UNCACHED)) as server:
        crowd = [await place.shake(server, client) for _ in range(10)]
        await responder.question()
        responder.script.gate.set()
        for one in crowd:
            await one.introduce()
            assert await one.frame() == b"PONG"
        assert len(responder.asked) == 1


@in_every_loop
async def test_the_time_of_the_handshake_goes_on(place: Place, responder: Responder) -> None:
    client = responder.issue(ROOT, "client")
    responder.script.gate = threading.Event()
    async with serving(**place.options(tls={"ocsp_peer": ASKING, "timeout": 0.2})) as server:
        assert await place.turned_away(server, client) == ""
    lenient = replace(ASKING, allow_when_unreachable=True)
    async with serving(**place.options(tls={"ocsp_peer": lenient, "timeout": 0.5})) as server:
        # It is let in while there is still time for that.
        assert await (await place.join(server, client)).ping() == []


async def test_who_leaves_while_it_is_asked_about(place: Place, responder: Responder) -> None:
    client = responder.issue(ROOT, "client")
    responder.script.gate = threading.Event()
    async with serving(**place.options()) as server:
        for leave in (SecureClient.close, SecureClient.reset):
            waiting = await place.shake(server, client)
            await responder.question()
            leave(waiting)
            again = await place.shake(server, client)
            responder.script.gate.set()
            await again.introduce()
            assert await again.frame() == b"PONG"
            await until(lambda cid=waiting.cid: cid not in server.service.connections)
            responder.script.gate.clear()
            client = responder.issue(ROOT, "client")
        stuck = await place.shake(server, client)
        await responder.question()
        assert not session_of(server, stuck).secured


async def test_responders_that_are_not_there(place: Place) -> None:
    client = ROOT.issue("client", ocsp=[f"http://127.0.0.1:{reserve_port()}"])
    async with serving(**place.options()) as server:
        await place.turned_away(server, client)
        denial = server.service.control.trail.latest()[0]
        assert denial.reason == "Failed OCSP response fetch"
    for change in ({"warn_only": True}, {"allow_when_unreachable": True}):
        async with serving(**place.options(tls={"ocsp_peer": replace(ASKING, **change)})) as server:
            await place.join(server, client)


async def test_the_answers_of_before(place: Place, responder: Responder) -> None:
    good, revoked = (responder.issue(ROOT, name) for name in ("good", "revoked"))
    responder.script.revoked = {revoked.serial}
    async with serving(**place.options()) as server:
        await place.join(server, good)
        # Its handshake is over when the answer comes; the next time the answer is known before.
        assert await place.turned_away(server, revoked) == ""
        assert await place.turned_away(server, revoked) == BAD_CERTIFICATE
        assert server.service.inspection.statistics == CacheStatistics(
            "local", hits=1, misses=2, answers=2, good=1, revoked=1
        )
        assert [denial.target for denial in server.service.control.trail.latest()] == ["CN=revoked"] * 2
    asked = len(responder.asked)
    assert (place.directory / "cache" / "cache.json").exists()
    async with serving(**place.options()) as server:
        await place.join(server, good)
        await place.turned_away(server, revoked)
    assert len(responder.asked) == asked


async def test_answers_are_saved_while_it_runs(place: Place, responder: Responder) -> None:
    file = place.directory / "cache" / "cache.json"
    saving = CacheSettings(directory=str(file.parent), save_interval=0.02)
    async with serving(**place.options(ocsp_cache=saving)) as server:
        await place.join(server, responder.issue(ROOT, "client"))
        await until(file.exists)


async def test_the_websocket_port(place: Place, responder: Responder) -> None:
    good, revoked = (responder.issue(ROOT, name) for name in ("good", "revoked"))
    responder.script.revoked = {revoked.serial}
    websocket = WebSocketOptions(host="127.0.0.1", port=-1, tls=place.tls(ocsp_peer=ASKING))
    async with serving(**place.options(tls={}, websocket=websocket, monitor=MonitorOptions(port=-1))) as server:
        client = await WebSocketClient.joined(server, tls=place.context(good))
        assert await client.ping() == []
        with pytest.raises((EOFError, ssl.SSLError, ConnectionError)):
            await WebSocketClient.joined(server, tls=place.context(revoked))
        # The other port does not ask.
        await place.join(server, revoked)
        varz = (await ask(server, "/varz")).json
        assert "tls_ocsp_peer_verify" not in varz
        assert varz["websocket"]["tls_ocsp_peer_verify"] is True
        assert varz["ocsp_peer_cache"]["cached_responses"] == 2


async def test_a_reload_begins_and_ends_to_ask(place: Place, responder: Responder) -> None:
    revoked = responder.issue(ROOT, "revoked")
    responder.script.revoked = {revoked.serial}
    async with serving(**place.options(tls={"timeout": 2.0})) as server:
        inside = await place.join(server, revoked)
        asking = replace(server.options, tls=place.tls(ocsp_peer=ASKING))
        plan = await server.reload(asking)
        assert [change.line for change in plan.changes] == ["Reloaded: tls = enabled"]
        await place.turned_away(server, revoked)
        # What is open stays open: responders are asked when somebody comes.
        assert await inside.ping() == []
        plan = await server.reload(replace(asking, ocsp_cache=UNCACHED))
        assert [change.line for change in plan.changes] == ["Reloaded OCSP peer cache"]
        responder.asked.clear()
        await place.turned_away(server, revoked)
        assert len(responder.asked) == 1
        await server.reload(replace(asking, tls=place.tls()))
        await place.join(server, revoked)


# Lists


@in_every_loop
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_is_on_a_list(
    place: Place, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    good, revoked = (ROOT.issue(name) for name in ("good", "revoked"))
    async with serving(**place.listing(revoked)) as server:
        await place.join(server, good)
        assert await place.turned_away(server, revoked, version) == BAD_CERTIFICATE
        denial = server.service.control.trail.latest()[0]
        assert (denial.target, denial.reason) == ("CN=revoked", "it is revoked")
        assert f"client certificate not accepted - denial {denial.id}: CN=revoked: it is revoked" in caplog.text


async def test_a_list_that_ends(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    options = place.listing()
    place.put(since=now() - 6 * DAY, until=now() + DAY / 2)
    async with serving(**options, monitor=MonitorOptions(port=-1)) as server:
        assert "The CRL of CN=Test Root in" in caplog.text
        assert [record.levelname for record in caplog.records if "The CRL of" in record.message] == ["WARNING"]
        warning = (await ask(server, "/healthz")).json["warnings"][0]
        assert (warning["type"], warning["listener"]) == ("CERTIFICATE", "client")
        assert warning["warning"].startswith("a revocation list for client connections expires on ")
        place.put()
        await until(lambda: server.service.certificates.standing["client"].renewals == 1)
        assert "warnings" not in (await ask(server, "/healthz")).json


async def test_authorities_between(place: Place) -> None:
    between = ROOT.issue("Between", authority=True)
    client = between.issue("client")
    of_between = place.directory / "between.crl"
    of_between.write_bytes(between.revocations())
    options = place.listing()
    both = {**options, "tls": replace(options["tls"], crl_files=(str(place.lists), str(of_between)))}
    async with serving(**both) as server:
        await place.join(server, client)
    async with serving(**options) as server:
        await place.turned_away(server, client)
        assert server.service.control.trail.latest()[0].reason == "there is no CRL of CN=Between for it"
    place.put(between)
    async with serving(**both) as server:
        await place.turned_away(server, client)
        assert server.service.control.trail.latest()[0].target == "CN=Between"


async def test_a_list_that_has_ended(place: Place) -> None:
    good, revoked = (ROOT.issue(name) for name in ("good", "revoked"))
    ended = {"since": now() - 2 * DAY, "until": now() - DAY}
    options = place.listing()
    place.put(revoked, **ended)
    async with serving(**options) as server:
        await place.turned_away(server, good)
        assert "the CRL of CN=Test Root ended at" in server.service.control.trail.latest()[0].reason
        await place.turned_away(server, revoked)
    lenient = {**options, "tls": replace(options["tls"], allow_without_crl=True)}
    async with serving(**lenient) as server:
        await place.join(server, good)
        await place.turned_away(server, revoked)


@in_every_loop
async def test_another_list_closes_who_is_on_it(
    place: Place, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "natskeep")
    good, revoked = (ROOT.issue(name) for name in ("good", "revoked"))
    options = place.listing()
    options["audit"] = AuditOptions(directory=str(tmp_path / "audit"), seal_interval=0.01)
    async with serving(**options) as server:
        stays, goes, early = (
            await place.join(server, good),
            await place.join(server, revoked, user="a", **{"pass": "p"}),
            await place.shake(server, revoked),
        )
        await stays.send(b"SUB x 1\r\n")
        assert await stays.ping() == []
        place.put(revoked, number=2)
        assert await goes.frame() == b"-ERR 'User Authentication Revoked'"
        assert await goes.rest() == b""
        assert await close_reason(server, goes) == "Credentials Revoked"
        assert await early.rest() in {b"", b"-ERR 'User Authentication Revoked'\r\n"}
        await stays.send(b"PUB x 2\r\nhi\r\n")
        assert await stays.ping() == [b"MSG x 1 2\r\nhi"]
        await place.turned_away(server, revoked)
        # A list that cannot be read changes nothing.
        (place.directory / "bad.crl").write_bytes(b"nothing")
        (place.directory / "bad.crl").replace(place.lists)
        await until(lambda: "holds no CRL" in caplog.text)
        await place.turned_away(server, revoked)
        await place.join(server, good)
        place.put(number=3)
        await until(lambda: server.service.certificates.standing["client"].renewals == 2)
        await place.join(server, revoked)
    assert "Closed 2 connections whose certificates are revoked" in caplog.text
    entries = told(tmp_path / "audit", "denied")
    assert {(entry["action"], entry["target"], entry["reason"]) for entry in entries} == {
        ("certificate", "CN=revoked", "it is revoked")
    }
    # Whoever was let in is named.
    assert [entry["user"] for entry in entries if entry.get("user")] == ["user:a"]


async def test_a_reload_brings_lists(place: Place) -> None:
    good, revoked = (ROOT.issue(name) for name in ("good", "revoked"))
    listing = place.listing(revoked)["tls"]
    async with serving(**place.options(tls={"watch": 0.0})) as server:
        stays, goes = await place.join(server, good), await place.join(server, revoked)
        missing = replace(listing, crl_files=(str(place.directory / "none.crl"),))
        with pytest.raises(ReloadError, match=r"none\.crl: the CRL file cannot be read"):
            await server.reload(replace(server.options, tls=missing))
        assert await goes.ping() == []
        await server.reload(replace(server.options, tls=listing))
        assert await goes.frame() == b"-ERR 'User Authentication Revoked'"
        assert await stays.ping() == []


async def test_both_together(place: Place, responder: Responder) -> None:
    client = responder.issue(ROOT, "client")
    async with serving(**place.listing(ocsp_peer=ASKING)) as server:
        await place.join(server, client)
        responder.script.revoked = {client.serial}
    options = place.listing(client, ocsp_peer=ASKING)
    responder.asked.clear()
    async with serving(**options) as server:
        await place.turned_away(server, client)
    assert responder.asked == []


