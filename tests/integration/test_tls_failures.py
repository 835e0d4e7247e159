"""Every handshake that fails, at every listener: what the client sees, what the log and the trail say, what is left.

The words of the log are those that nats-server 2.14.5 has for the same, unless the row says otherwise.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from broker import Server
from broker.config.options import MonitorOptions, TLSOptions, WebSocketOptions
from broker.core.records import Records
from broker.net.channel import Channel
from broker.net.connection import Connection
from broker.net.stream import SecuredStream
from broker.session.session import Session
from tests.integration.test_monitor import ask
from tests.support.certificates import LOCAL, Certificates, make_certificates
from tests.support.loops import in_every_loop
from tests.support.serving import Client, SecureClient, connect_line, serving, until
from tls.engine import ServerConnection
from tools.nsk.pki.issue import Revoked, Role, issue_crl

BRIEF: Final = 0.05
"""Seconds for a handshake that never comes to an end."""

REQUEST: Final = b"GET /varz HTTP/1.1\r\nHost: localhost\r\n\r\n"
IN_THE_CLEAR: Final = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
STAMP: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
DENIAL: Final = r" - denial (?P<denial>[0-9a-f]{8})"
HEX: Final = r"[0-9a-f]{64}"
NOTES: Final = re.compile("Client connection created|Starting TLS client connection handshake|Failed pinned cert test")

KINDS: Final = (Channel, Connection, Records, SecuredStream, ServerConnection, Session)
"""What a connection is made of."""

ENDED: Final = "Client connection closed: TLS Handshake Failure"
ENDS: Final = {"client": ENDED, "first": ENDED, "websocket": ENDED, "monitoring": "TLS handshake error"}
"""The line after which nothing more is said of a connection."""

NATS: Final = ("client", "first", "websocket")
"""Listeners that may ask for certificates of clients: in the classic way, with the handshake first, and WebSocket."""

EVERYWHERE: Final = (*NATS, "monitoring")


class Tap(Client):
    """Keeps all that comes off the wire."""

    heard = b""

    async def receive(self) -> bytes:
        data = await super().receive()
        self.heard += data
        return data


class TappedClient(SecureClient, Tap):
    """A client of any listener."""

    async def finish(self) -> bytes:
        """What comes until the end of the stream beside TLS."""
        data = b""
        while piece := await Tap.receive(self):
            data += piece
        return data


PORTS: Final[Mapping[str, Callable[[Server], int]]] = {
    "client": lambda server: server.port,
    "first": lambda server: server.port,
    "websocket": lambda server: server.websocket_port,
    "monitoring": lambda server: server.monitor_port,
}


async def dial(server: Server, listener: str) -> TappedClient:
    """A connection at the point where a handshake is expected."""
    made = type("Dialled", (TappedClient,), {"port_of": staticmethod(PORTS[listener])})
    client: TappedClient = await made.open(server)
    if listener == "client":
        assert (await client.clear_frame()).startswith(b"INFO {")
        client.heard = b""
    return client


Act = Callable[[TappedClient, Certificates], Awaitable[str]]


def shaking(
    certificate: str = "",
    *,
    authority: str = "ca",
    hostname: str = "localhost",
    version: ssl.TLSVersion | None = None,
    change: Callable[[ssl.SSLContext], None] | None = None,
) -> Act:
    """A client that shakes hands; what it sees of that, and of what it says then."""

    async def act(client: TappedClient, certificates: Certificates) -> str:
        directory = certificates.directory
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(directory / f"{authority}.pem")
        if certificate:
            context.load_cert_chain(directory / f"{certificate}.pem", directory / f"{certificate}-key.pem")
        if version is not None:
            context.maximum_version = version
        if change is not None:
            change(context)
        client.hostname = hostname
        try:
            await client.handshake(context)
            # With TLS 1.3 a client believes that it is through before the server has looked at its certificate.
            with contextlib.suppress(ConnectionError):
                await client.send(connect_line() + b"SUB > 1\r\nPING\r\n")
            assert await client.rest() == b""
        except ssl.SSLCertVerificationError as error:
            await client.raw_send(client.outgoing.read())
            seen = f"refuses: {error.verify_message}"
        except ssl.SSLError as error:
            seen = "alert: " + (error.reason or "").partition("ALERT_")[2]
        except EOFError:
            return "cut"
        else:
            return "end"
        # Nothing but an alert may follow, and then the end.
        await client.finish()
        return seen

    return act


def saying(data: bytes) -> Act:
    """A client that sends something, and reads to the end."""

    async def act(client: TappedClient, _: Certificates) -> str:
        await client.raw_send(data)
        return "clear: " + (await client.finish()).decode("latin-1")

    return act


def leaving(count: int, how: Callable[[Client], None], *, garbage: bytes = b"") -> Act:
    """A client that sends a part of its ClientHello, and goes, or says something else."""

    async def act(client: TappedClient, certificates: Certificates) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificates.directory / "ca.pem")
        await client.raw_send(client.begin(context)[:count] + garbage)
        how(client)
        return "gone"

    return act


async def dangling(client: TappedClient, certificates: Certificates) -> str:
    """A client that stops in the midst of its ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.directory / "ca.pem")
    await client.raw_send(client.begin(context)[:100])
    return "clear: " + (await client.finish()).decode("latin-1")


async def garbling(client: TappedClient, certificates: Certificates) -> str:
    """A client that goes on in the clear in the midst of the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.directory / "ca.pem")
    await client.last_flight(context)
    await client.raw_send(b"PING\r\n")
    await client.finish()
    return "garbled"


def only_old(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


def only_cbc(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA")


def only_p521(context: ssl.SSLContext) -> None:
    context.set_ecdh_curve("secp521r1")


@dataclass(frozen=True)
class Failure:
    """A handshake that fails."""

    name: str
    act: Act
    sees: str
    """What the client sees."""
    says: str
    """What the log says behind "TLS handshake error: ", as a regular expression."""
    tls: dict[str, Any] = field(default_factory=dict)
    """Settings of the listener; `ca_file` stands for the authority, `pinned_certs` for the pin of a certificate."""
    served: str = "server"
    level: int = logging.ERROR
    listeners: tuple[str, ...] = EVERYWHERE
    is_refusal: bool = False
    """Whether it is about who the client is, which the trail records."""


def refused(name: str, certificate: str, alert: str, says: str, **tls: Any) -> Iterator[Failure]:
    """A client certificate that does not let its holder in, under both versions of TLS."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        told = alert
        if certificate == "":
            told = "CERTIFICATE_REQUIRED" if version is ssl.TLSVersion.TLSv1_3 else "HANDSHAKE_FAILURE"
        yield Failure(
            f"{name}, {version.name}",
            shaking(certificate, version=version),
            f"alert: {told}" if told else "end",
            says,
            {"verify": True, "ca_file": "ca", **tls},
            listeners=NATS,
            is_refusal=True,
        )


NOT_VERIFIED: Final = r"tls: failed to verify certificate: x509: "
UNKNOWN: Final = NOT_VERIFIED + rf"certificate signed by unknown authority \(CN=plain SHA-256: {HEX}\)"
DATED: Final = NOT_VERIFIED + rf"certificate has expired or is not yet valid: current time {STAMP} is "
NO_TLS: Final = "tls: first record does not look like a TLS handshake"
UNSUPPORTED: Final = "tls: client offered only unsupported versions"

FAILURES: Final = (
    # The certificate of the client
    *refused("no certificate", "", "", "tls: client didn't provide a certificate"),
    *refused("another authority", "evil", "UNKNOWN_CA", UNKNOWN),
    *refused("signed by itself", "selfsigned", "UNKNOWN_CA", UNKNOWN),
    *refused("expired", "expired", "CERTIFICATE_EXPIRED", rf"{DATED}after {STAMP} \(CN=plain SHA-256: {HEX}\)"),
    *refused("not yet valid", "early", "BAD_CERTIFICATE", rf"{DATED}before {STAMP} \(CN=plain SHA-256: {HEX}\)"),
    *refused(
        "of a server", "servers", "UNSUPPORTED_CERTIFICATE",
        NOT_VERIFIED + rf"certificate specifies an incompatible key usage \(CN=plain SHA-256: {HEX}\)",
    ),
    *refused(
        "revoked", "revoked", "BAD_CERTIFICATE", f"client certificate not accepted{DENIAL}: CN=plain: it is revoked",
        crl_files="ca.crl",
    ),
    *refused("another authority, with lists", "evil", "UNKNOWN_CA", UNKNOWN, crl_files="ca.crl"),
    *refused("not pinned", "plain", "", "certificate not pinned", pinned_certs="email"),
    Failure(
        "pinned, and none shown", shaking(), "end", "certificate not pinned", {"pinned_certs": "email"},
        listeners=NATS, is_refusal=True,
    ),
    # The certificate of the server: it is the client who refuses, and the server hears why
    Failure(
        "server of another authority", shaking(authority="otherca"),
        "refuses: unable to get local issuer certificate", "remote error: tls: unknown certificate authority",
    ),
    Failure(
        "server of another name", shaking(hostname="other.example"),
        "refuses: Hostname mismatch, certificate is not valid for 'other.example'.",
        "remote error: tls: bad certificate",
    ),
    Failure(
        "server that has expired", shaking(), "refuses: certificate has expired",
        "remote error: tls: expired certificate", served="expiredserver",
    ),
    # Versions, suites and curves. The reference says besides what the client offered.
    Failure("old versions", shaking(change=only_old), "alert: PROTOCOL_VERSION", UNSUPPORTED),
    Failure(
        "version 1.2 where 1.3 is demanded", shaking(version=ssl.TLSVersion.TLSv1_2), "alert: PROTOCOL_VERSION",
        UNSUPPORTED, {"min_version": "1.3"},
    ),
    Failure(
        "no common suite", shaking(change=only_cbc), "alert: HANDSHAKE_FAILURE",
        "tls: no cipher suite supported by both client and server",
    ),
    Failure(
        "no common curve", shaking(change=only_p521), "alert: HANDSHAKE_FAILURE",
        "tls: no key exchanges supported by both client and server", {"curve_preferences": ("X25519",)},
    ),
    # Bytes in the clear, of which the reference tells in debug logs alone
    Failure(
        "words of NATS", saying(connect_line() + b"PING\r\n"), "clear: ", NO_TLS, level=logging.DEBUG
    ),
    Failure("zeros", saying(bytes(2)), "clear: ", NO_TLS, level=logging.DEBUG),
    Failure("an alert", saying(b"\x15\x03\x01\0\x02\x02\x28"), "clear: ", NO_TLS, level=logging.DEBUG),
    Failure(
        "HTTP", saying(REQUEST), "clear: ", NO_TLS, level=logging.DEBUG, listeners=("client", "first")
    ),
    Failure(
        "HTTP where HTTPS is expected", saying(REQUEST), "clear: " + IN_THE_CLEAR.decode(),
        "client sent an HTTP request to an HTTPS server", level=logging.DEBUG, listeners=("websocket", "monitoring"),
    ),
    # What is no handshake; each maker of TLS has words of its own for that
    Failure(
        "a broken ClientHello", saying(b"\x16\x03\x01\0\x05\x01\0\0\x01\0"),
        "clear: \x15\x03\x03\0\x02\x02/", "tls: .+",
    ),
    Failure("no ClientHello", saying(b"\x16\x03\x03\0\x04junk"), "clear: \x15\x03\x03\0\x02\x02\n", "tls: .+"),
    Failure(
        "a record that is too large", saying(b"\x16\x03\x01\xff\xff" + bytes(70_000)),
        "clear: \x15\x03\x03\0\x02\x02\x16", "tls: .+",
    ),
    Failure("words in the midst", garbling, "garbled", "tls: .+"),
    # Half of a handshake
    Failure("nothing", saying(b""), "clear: ", "", {"timeout": BRIEF}, level=logging.DEBUG),
    Failure("one byte", saying(b"\x16"), "clear: ", "", {"timeout": BRIEF}, level=logging.DEBUG),
    Failure("half a ClientHello", dangling, "clear: ", "", {"timeout": BRIEF}, level=logging.DEBUG),
    Failure("a close in the midst", leaving(100, Client.close), "gone", "EOF"),
    Failure("a reset in the midst", leaving(100, Client.reset), "gone", "EOF|connection reset by peer"),
)

CASES: Final = [
    pytest.param(failure, listener, id=f"{failure.name} - {listener}")
    for failure in FAILURES
    for listener in failure.listeners
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = make_certificates(tmp_path_factory.mktemp("certificates"))
    made.make("expired", "CN=plain", Role.CLIENT, days=(-30, -1))
    made.make("early", "CN=plain", Role.CLIENT, days=(5, 30))
    made.make("servers", "CN=plain", Role.SERVER)
    made.make("selfsigned", "CN=plain", Role.CLIENT, issuer="")
    made.make("expiredserver", "CN=localhost", Role.SERVER, LOCAL, days=(-30, -1))
    made.make("revoked", "CN=plain", Role.CLIENT)
    revoked = Revoked(made.pairs["revoked"].certificate.serial_number, datetime.now(UTC))
    listed = issue_crl(made.pairs["ca"], [revoked], 1, timedelta(days=1))
    (made.directory / "ca.crl").write_bytes(listed.public_bytes(Encoding.PEM))
    return made


@asynccontextmanager
async def listening(failure: Failure, listener: str, certificates: Certificates) -> AsyncIterator[Server]:
    """A server whose listener has the settings of the failure; it is watched over HTTP, unless HTTPS is under test."""
    directory = certificates.directory
    settings = dict(failure.tls)
    if "ca_file" in settings:
        settings["ca_file"] = str(directory / "ca.pem")
    if "pinned_certs" in settings:
        settings["pinned_certs"] = frozenset({certificates.pins[settings["pinned_certs"]]})
    if "crl_files" in settings:
        settings["crl_files"] = (str(directory / settings["crl_files"]),)
    if listener == "first":
        settings["handshake_first"] = True
    served = str(directory / failure.served)
    tls = TLSOptions(cert_file=f"{served}.pem", key_file=f"{served}-key.pem", **settings)
    options: dict[str, Any] = {"monitor": MonitorOptions(host="127.0.0.1", port=-1)}
    if listener == "monitoring":
        options = {"monitor": MonitorOptions(host="127.0.0.1", https_port=-1), "tls": tls}
    elif listener == "websocket":
        options["websocket"] = WebSocketOptions(host="127.0.0.1", port=-1, tls=tls)
    else:
        options["tls"] = tls
    async with serving(**options) as server:
        if listener != "monitoring":
            assert (await ask(server, "/connz")).json["num_connections"] == 0
        yield server


def files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


@in_every_loop
@pytest.mark.parametrize(("failure", "listener"), CASES)
async def test_a_handshake_that_fails(
    failure: Failure, listener: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "natskeep")
    async with listening(failure, listener, certificates) as server:
        service = server.service
        gc.freeze()
        before = files()
        client = await dial(server, listener)
        address = "{}:{}".format(*client.sock.getsockname())
        assert await failure.act(client, certificates) == failure.sees
        client.close()
        await until(lambda: any(ENDS[listener] in text for _, text in lines(caplog, address, listener)))

        # What it was sent: no word of the server, in the clear or sealed.
        assert b"INFO" not in client.heard
        assert b"HTTP/1.1" not in client.heard

        # What the log says: so much and no more.
        *notes, (level, text) = [line for line in lines(caplog, address, listener) if line[1] != ENDS[listener]]
        expected = rf"TLS handshake error: (?:{failure.says})" if failure.says else "TLS handshake timeout"
        if listener == "monitoring":
            expected = rf"TLS handshake error from {address}: (?:{failure.says or 'timeout'})"
        if failure.is_refusal and DENIAL not in failure.says:
            expected += DENIAL
        found = re.fullmatch(expected, text)
        assert found is not None, text
        assert level == failure.level
        assert all(level == logging.DEBUG for level, _ in notes)
        assert all(NOTES.match(text) for _, text in notes)

        # What the trail has: a refusal is a decision, and all else is noise of strangers.
        trail = service.control.trail
        if failure.is_refusal:
            (denial,) = trail.latest()
            assert (denial.action, denial.id) == ("certificate", found["denial"])
            assert denial.reason in text
            assert trail.counted() == [(("", "certificate"), 1)]
        else:
            assert trail.latest() == []
            assert trail.counted() == []

        # What is left: the count, and the record of a connection that came and said nothing.
        if listener != "monitoring":
            await until(lambda: not service.connections)
            assert (await ask(server, "/connz")).json["num_connections"] == 0
            (record,) = (await ask(server, "/connz?state=closed")).json["connections"]
            assert record["reason"] == "TLS Handshake Failure"
            assert (record["in_msgs"], record["out_msgs"], record["subscriptions"]) == (0, 0, 0)
            assert not {"account", "authorized_user", "tls_version"} & set(record)
            assert (await ask(server, "/varz")).json["total_connections"] == 1
        assert (service.admission.guests, service.admission.held) == (0, 0)
        await until(lambda: files() == before)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, KINDS)]
        gc.unfreeze()


def lines(log: pytest.LogCaptureFixture, address: str, listener: str) -> list[tuple[int, str]]:
    """Level and text of each line about one address, without what names it."""
    kind = "wid" if listener == "websocket" else "cid"
    start = "monitoring: " if listener == "monitoring" else f"{address} - {kind}:1 - "
    return [
        (record.levelno, record.getMessage().removeprefix(start))
        for record in log.records
        if record.getMessage().startswith(start) and address in record.getMessage()
    ]
