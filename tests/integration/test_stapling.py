"""OCSP answers that the server shows with its certificates: which, when they are renewed, and when it must not run."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL

from broker import Server
from broker.config.options import MonitorOptions, Options, TLSOptions
from broker.reload import renewal
from broker.reload.plan import ReloadError
from tests.support.authorities import LOCAL, PEM, Holder, root
from tests.support.loops import in_every_loop
from tests.support.responder import Responder
from tests.support.servers import NATSKEEP, ServerProcess
from tests.support.serving import SecureClient, serving, until
from tls.policy import CertificatePair
from tls.revocation import stapler
from tls.revocation.answers import CertificateStatus, read_answer
from tls.revocation.settings import StapleError, StapleMode, StapleSettings

ROOT = root()
ALWAYS = StapleSettings(mode=StapleMode.ALWAYS)
NEVER = StapleSettings(mode=StapleMode.NEVER)
EXIT_SECONDS = 20.0


class Place:
    """A server's files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(ROOT.certificate.public_bytes(PEM))

    def put(self, holder: Holder, name: str = "server") -> CertificatePair:
        """Puts a certificate in place of the one before."""
        new = self.directory / "new"
        new.mkdir(exist_ok=True)
        for path in holder.write(new, name):
            Path(path).replace(self.directory / Path(path).name)
        return CertificatePair(str(self.directory / f"{name}.pem"), str(self.directory / f"{name}-key.pem"))

    def tls(self, holder: Holder, **more: Any) -> TLSOptions:
        pair = self.put(holder)
        return TLSOptions(
            cert_file=pair.cert_file, key_file=pair.key_file, ca_file=str(self.ca_file), watch=0.02,
            handshake_first=True, **more,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def responder() -> Iterator[Responder]:
    with Responder().open() as made:
        yield made


def shown_at(
    port: int, name: str = "localhost", version: int = SSL.TLS1_3_VERSION
) -> tuple[x509.Certificate, bytes | None]:
    """The certificate and what is stapled to it, as a client sees them; None where the handshake fails."""
    stapled: list[bytes] = []
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    context.set_ocsp_client_callback(lambda _, staple, __: bool(stapled.append(staple)) or True)
    with socket.create_connection(("127.0.0.1", port), timeout=EXIT_SECONDS) as sock:
        sock.setblocking(True)
        connection = SSL.Connection(context, sock)
        connection.set_tlsext_host_name(name.encode())
        connection.request_ocsp()
        connection.set_connect_state()
        connection.do_handshake()
        certificate = connection.get_peer_certificate(as_cryptography=True)
        connection.close()
    assert certificate is not None
    return certificate, stapled[0] or None


async def stapled(server: Server, name: str = "localhost", version: int = SSL.TLS1_3_VERSION) -> str:
    """What is said of the certificate that a client sees; empty where nothing is."""
    port = server.port
    certificate, staple = await asyncio.to_thread(shown_at, port, name, version)
    if staple is None:
        return ""
    return read_answer(staple, certificate, ROOT.certificate, time.time()).status.value


async def seen(server: Server) -> int:
    """The serial number of the certificate that a client sees."""
    certificate, _ = await asyncio.to_thread(shown_at, server.port)
    return certificate.serial_number


def server_of(responder: Responder, **more: Any) -> Holder:
    return responder.issue(ROOT, "localhost", names=LOCAL, **more)


@in_every_loop
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_which_certificates_have_one(place: Place, responder: Responder, version: int) -> None:
    promising, plain = server_of(responder, must_staple=True), server_of(responder)
    for mode, holder, expected in (
        (StapleMode.AUTO, promising, "good"),
        (StapleMode.AUTO, plain, ""),
        (StapleMode.MUST, promising, "good"),
        (StapleMode.MUST, plain, ""),
        (StapleMode.ALWAYS, plain, "good"),
        (StapleMode.NEVER, promising, ""),
    ):
        async with serving(tls=place.tls(holder), ocsp=StapleSettings(mode=mode)) as server:
            assert await stapled(server, version=version) == expected
    assert len(responder.asked) == 3


async def test_each_certificate_has_its_own(place: Place, responder: Responder) -> None:
    first = server_of(responder, must_staple=True)
    second = responder.issue(ROOT, "other", names=[x509.DNSName("other.test")], must_staple=True)
    responder.script.revoked = {second.serial}
    tls = replace(place.tls(first), cert_file="", key_file="", certificates=(place.put(first), place.put(second, "b")))
    options = {"tls": tls, "monitor": MonitorOptions(https_port=-1)}
    async with serving(**options) as server:
        assert await stapled(server) == "good"
        assert await stapled(server, "other.test") == "revoked"
        assert await stapled(server, version=SSL.TLS1_2_VERSION) == "good"
        _, staple = await asyncio.to_thread(shown_at, server.monitor_port)
        assert staple is not None
    assert len(responder.asked) == 2


async def test_who_asks_for_none_gets_none(place: Place, responder: Responder) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(place.ca_file))
    async with serving(tls=place.tls(server_of(responder)), ocsp=ALWAYS) as server:
        client = await SecureClient.open(server)
        await client.handshake(context)
        await client.greeting()
        await client.introduce()
        assert await client.frame() == b"PONG"


# The start


async def test_no_answer_at_the_start(place: Place, responder: Responder) -> None:
    responder.script.status = 500
    tls = place.tls(server_of(responder))
    with pytest.raises(StapleError, match=r"bad OCSP status update for .*server\.pem.: .*\[500\]; see that"):
        async with serving(tls=tls, ocsp=ALWAYS):
            pass
    async with serving(tls=tls) as server:
        assert await stapled(server) == ""


async def test_an_answer_of_before(place: Place, responder: Responder) -> None:
    options: dict[str, Any] = {
        "tls": place.tls(server_of(responder)), "ocsp": ALWAYS, "store_dir": str(place.directory)
    }
    async with serving(**options):
        pass
    responder.script.status = 500
    async with serving(**options) as server:
        assert await stapled(server) == "good"
    assert len(responder.asked) == 1


async def test_an_authority_that_nobody_knows(place: Place, responder: Responder) -> None:
    tls = replace(place.tls(server_of(responder)), ca_file="")
    with pytest.raises(StapleError, match="needs the certificate of its issuer, CN=Test Root"):
        async with serving(tls=tls, ocsp=ALWAYS):
            pass


def test_a_process_with_a_revoked_certificate(place: Place, responder: Responder) -> None:
    holder = server_of(responder, must_staple=True)
    tls = place.tls(holder)
    (place.directory / "server.conf").write_text(
        f'listen: "127.0.0.1:-1"\nocsp {{ mode: must }}\n'
        f'tls {{ cert_file: "{tls.cert_file}", key_file: "{tls.key_file}", ca_file: "{tls.ca_file}" }}\n'
    )
    responder.script.until = datetime.timedelta(seconds=2)
    with ServerProcess(NATSKEEP, ["-c", "server.conf"], place.directory, preforked=True) as process:
        assert process.wait_until_ready()
        responder.script.revoked = {holder.serial}
        assert process.wait_until_exit(EXIT_SECONDS) == 0
        assert "[FTL] found OCSP status for certificate at" in process.output
        assert "Server Exiting.." in process.output
    with ServerProcess(NATSKEEP, ["-c", "server.conf"], place.directory, preforked=True) as process:
        assert process.wait_until_exit(EXIT_SECONDS) == 1
        assert "server.pem': revoked; replace the certificate" in process.output
        assert "Listening for client connections" not in process.output


# While it runs


async def test_it_is_fetched_anew(
    place: Place, responder: Responder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stapler, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(stapler, "SHORTEST", 0.05)
    holder = server_of(responder)
    responder.script.until = datetime.timedelta(seconds=1)
    async with serving(tls=place.tls(holder), ocsp=StapleSettings(mode=StapleMode.AUTO)) as plain:
        assert await stapled(plain) == ""
    async with serving(tls=place.tls(holder), ocsp=ALWAYS) as server:
        assert await stapled(server) == "good"
        responder.script.status = 500
        # As soon as no answer holds, the certificate is not shown any more.
        await until(lambda: server.service.staples.problem("client") != "")
        with pytest.raises(SSL.Error):
            await asyncio.to_thread(shown_at, server.port)
        assert "no OCSP answer about the certificate in" in caplog.text
        responder.script.status = 200
        responder.script.until = datetime.timedelta(hours=1)
        await until(lambda: server.service.staples.problem("client") == "")
        assert await stapled(server) == "good"


async def test_it_stops_when_its_certificate_is_revoked(
    place: Place, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stapler, "SHORTEST", 0.05)
    holder = server_of(responder)
    responder.script.until = datetime.timedelta(seconds=1)
    options = {"tls": place.tls(holder)}
    async with serving(**options, ocsp=ALWAYS) as server:
        responder.script.revoked = {holder.serial}
        await server.wait()
    responder.script.revoked.clear()
    promising = server_of(responder, must_staple=True)
    async with serving(tls=place.tls(promising)) as server:
        responder.script.revoked = {promising.serial}
        responder.script.until = datetime.timedelta(hours=1)
        responder.asked.clear()
        await until(lambda: bool(responder.asked))
        async with asyncio.timeout(EXIT_SECONDS):
            while await stapled(server) != "revoked":
                pass
        assert server.is_ready


async def test_a_renewed_certificate_has_its_own(
    place: Place, responder: Responder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "FIRST_STAPLE_RETRY", 0.05)
    caplog.set_level(logging.INFO, "natskeep")
    first, second, third, plain = (
        *(server_of(responder, must_staple=True) for _ in range(3)), server_of(responder)
    )
    async with serving(tls=place.tls(first), store_dir=str(place.directory)) as server:
        assert await stapled(server) == "good"
        place.put(second)
        await until(lambda: server.service.certificates.standing["client"].renewals == 1)
        assert (await seen(server), await stapled(server)) == (second.serial, "good")
        # One about which nobody answers does not take the place of the one that is served.
        responder.script.status = 500
        place.put(third)
        await until(lambda: "bad OCSP status update for certificate" in caplog.text)
        assert (await seen(server), await stapled(server)) == (second.serial, "good")
        responder.script.status = 200
        await until(lambda: server.service.certificates.standing["client"].renewals == 2)
        assert (await seen(server), await stapled(server)) == (third.serial, "good")
        assert server.service.certificates.standing["client"].problem == ""
        place.put(plain)
        await until(lambda: server.service.certificates.standing["client"].renewals == 3)
        assert (await seen(server), await stapled(server)) == (plain.serial, "")
        assert server.service.staples.are_empty


async def test_a_newer_certificate_overtakes_one_that_waits(
    place: Place, responder: Responder, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = (server_of(responder, must_staple=True) for _ in range(3))
    async with serving(tls=place.tls(first)) as server:
        responder.script.status = 500
        place.put(second)
        await until(lambda: "bad OCSP status update for certificate" in caplog.text)
        responder.script.status = 200
        place.put(third)
        await until(lambda: server.service.certificates.standing["client"].renewals == 1)
        assert (await seen(server), await stapled(server)) == (third.serial, "good")


async def test_a_reload(place: Place, responder: Responder) -> None:
    holder = server_of(responder)
    tls = place.tls(holder)
    async with serving(tls=tls, ocsp=NEVER) as server:
        assert await stapled(server) == ""
        plan = await server.reload(replace(server.options, ocsp=ALWAYS))
        assert [change.line for change in plan.changes] == ["Reloaded: OCSP"]
        assert await stapled(server) == "good"
        # What is at hand is not asked for again.
        await server.reload(replace(server.options, ping_max=5))
        assert len(responder.asked) == 1
        assert await stapled(server) == "good"
        responder.script.revoked = {holder.serial}
        other = replace(ALWAYS, urls=(responder.url,))
        with pytest.raises(ReloadError, match="revoked; replace the certificate"):
            await server.reload(replace(server.options, ocsp=other))
        assert server.options.ocsp == ALWAYS
        assert await stapled(server) == "good"
        await server.reload(replace(server.options, ocsp=NEVER))
        assert await stapled(server) == ""
        assert server.service.staples.are_empty


def test_statuses_have_names() -> None:
    assert {status.value for status in CertificateStatus} == {"good", "revoked", "unknown"}
    assert Options().ocsp == StapleSettings()
