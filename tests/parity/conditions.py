"""Situations of TLS, of limits, and of clients that are sent away."""

from __future__ import annotations

import ssl

from tests.parity.forms import FORMS
from tests.parity.questions import CONNECTIONS
from tests.parity.situations import HTTP, situation
from tests.parity.stage import Stage
from tests.support.authorities import LOCAL, PEM, root
from tests.support.responder import Responder

SYSTEM_USER = "accounts { $SYS { users: [{user: s, password: p}] }, A { users: [{user: a, password: p}] } }\n"


@situation
def secured(stage: Stage) -> None:
    """TLS with certificates of clients, and monitoring over HTTPS."""
    stage.is_secure = True
    stage.start(
        """
https: "127.0.0.1:$HTTP"
ping_interval: "300ms"
ping_max: 1000
tls {
  cert_file: "$CERTS/server.pem", key_file: "$CERTS/server-key.pem", ca_file: "$CERTS/ca.pem"
  verify: true, timeout: 3.5
}
"""
    )
    peer, gone = (stage.client(fields=FORMS["go"], tls=stage.context("plain")) for _ in range(2))
    for one in (peer, gone):
        one.until_measured()
    gone.close()
    stage.until_closed(1)
    stage.get("/varz", "/connz", "/connz?auth=1", "/connz?auth=1&state=closed")


@situation
def revoked_certificates(stage: Stage) -> None:
    """Clients whose certificates an OCSP responder knows."""
    authority, directory = root(), stage.directory
    with Responder().open() as responder:
        names = ("good", "revoked", "unknown")
        clients = {name: responder.issue(authority, name) for name in names}
        responder.script.revoked = {clients["revoked"].serial}
        responder.script.unknown = {clients["unknown"].serial}
        for name, holder in {**clients, "server": authority.issue("localhost", names=LOCAL)}.items():
            holder.write(directory, name)
        (directory / "ca.pem").write_bytes(authority.certificate.public_bytes(PEM))
        stage.start(
            HTTP
            + SYSTEM_USER
            + """
tls { cert_file: server.pem, key_file: server-key.pem, ca_file: ca.pem, verify: true, ocsp_peer: true }
websocket {
  port: -1, handshake_timeout: "5s"
  tls { cert_file: server.pem, key_file: server-key.pem, ca_file: ca.pem, verify: true, ocsp_peer: true }
}
"""
        )

        def context(name: str) -> ssl.SSLContext:
            made = ssl.create_default_context(cafile=directory / "ca.pem")
            made.load_cert_chain(directory / f"{name}.pem", directory / f"{name}-key.pem")
            return made

        system = stage.client("s", FORMS["go"], tls=context("good"))
        system.send("SUB $SYS.SERVER.*.OCSP.> 1")
        system.settle()
        for name in ("revoked", "unknown", "revoked"):
            refused = stage.open(context(name))
            refused.until_closed()
            subjects = (f"$SYS.SERVER.<id>.OCSP.PEER.{what}" for what in ("LINK.INVALID", "CONN.REJECT"))
            stage.told(system, *subjects, what=name)
        stage.get("/varz", "/healthz")
        stage.ask(system, "$SYS.REQ.SERVER.<id>.VARZ")


@situation
def mapped_certificates(stage: Stage) -> None:
    """Certificates that name the user, and TLS before anything is said."""
    stage.start(
        HTTP
        + """
ping_interval: "300ms"
ping_max: 1000
tls {
  cert_file: "$CERTS/server.pem", key_file: "$CERTS/server-key.pem", ca_file: "$CERTS/ca.pem"
  verify_and_map: true, handshake_first: true
}
accounts {
  A { users: [{user: "derek@nats.test"}, {user: "CN=plain"}] }
}
"""
    )
    peers = []
    for certificate in ("email", "plain"):
        peer = stage.open(stage.context(certificate), tls_first=True)
        peer.connect(FORMS["rust"])
        peer.until(b"PONG")
        peers.append(peer)
    for peer in peers:
        peer.until_measured()
    peers[1].close()
    stage.until_closed(1)
    stage.get("/varz", "/connz", "/connz?auth=1", "/connz?auth=1&state=any")


@situation
def limits(stage: Stage) -> None:
    """A server whose limits and times are all set, with an address for clients that is not its own."""
    stage.start(
        HTTP
        + """
client_advertise: "quay.test:4222"
max_connections: 2
max_subscriptions: 10
max_payload: 1000
max_pending: 2000
max_control_line: 512
ping_interval: "7s"
ping_max: 3
write_deadline: "3s"
lame_duck_duration: "31s"
max_traced_msg_len: 10
"""
    )
    for _ in range(2):
        stage.client()
    stage.refused()
    stage.until_closed(1)
    stage.get("/varz", "/connz?state=closed")


@situation
def gone_for_a_reason(stage: Stage) -> None:
    """Clients that stay silent, or break the rules."""
    stage.start(HTTP + 'max_payload: 60000\nping_interval: "1s"\nping_max: 1\n' + SYSTEM_USER)
    system = stage.client("s", FORMS["go"])
    system.send("SUB $SYS.ACCOUNT.A.DISCONNECT 1")
    system.settle()
    for line, what in (("PUB big 70000", "payload"), ("FOO", "operation"), ("SUB a", "arguments")):
        peer = stage.client("a", FORMS["go"])
        peer.send(line)
        peer.until_closed()
        stage.told(system, "$SYS.ACCOUNT.A.DISCONNECT", what=what)
    silent = stage.client("a", FORMS["go"])
    silent.until_measured()
    stage.told(system, "$SYS.ACCOUNT.A.DISCONNECT", what="one that is silent")
    stage.until_closed(4)
    stage.get("/varz", "/accstatz?unused=1", "/connz?state=closed&auth=1", "/connz?state=closed&sort=reason")
    stage.ask(system, "$SYS.REQ.SERVER.<id>.STATSZ")
    stage.ask(system, "$SYS.REQ.ACCOUNT.A.STATZ", {"include_unused": True})


@situation
def without_system_account(stage: Stage) -> None:
    """A server that tells nobody."""
    stage.start(HTTP + "no_system_account: true\nping_interval: \"300ms\"\nping_max: 1000\n")
    peer = stage.client(fields=FORMS["go"])
    peer.until_measured()
    stage.get("/varz", "/accountz", "/accstatz", *CONNECTIONS[:3])
    stage.ask(peer, "$SYS.REQ.USER.INFO")
