"""Certificates for tests, made afresh for every run: a CA, servers, clients, and one client of another CA."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tools.nsk.pki.issue import Pair, Request, Role, issue
from tools.nsk.pki.names import dns_name, email, ip_address, subject, uri

LOCAL: Final = (dns_name("localhost"), ip_address("127.0.0.1"))
"""The names of a server on this machine."""

CA: Final = "ca"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where ``NAME.pem`` and ``NAME-key.pem`` lie, and the SHA-256 of each certificate's public key in hex."""

    directory: Path
    pins: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict, repr=False)

    def make(
        self,
        file: str,
        name: str,
        role: Role,
        names: Sequence[x509.GeneralName] = (),
        issuer: str = CA,
        *,
        days: tuple[int, int] = (0, 30),
        key: Any = None,
    ) -> None:
        """Writes a certificate; without an issuer it signs itself. `days` are when it begins and ends, from now."""
        begins, ends = (timedelta(days=count) for count in days)
        request = Request(role, subject(name), ends - begins, tuple(names))
        pair = issue(request, self.pairs.get(issuer), key=key, now=datetime.now(UTC) + begins)
        self.pairs[file] = pair
        (self.directory / f"{file}.pem").write_text(pair.certificate_text)
        (self.directory / f"{file}-key.pem").write_text(pair.key_text)
        public = pair.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.pins[file] = hashlib.sha256(public).hexdigest()


def make_certificates(directory: Path) -> Certificates:
    """Fills ``directory``: ``ca``, the servers ``server`` and ``server2``, and clients named after what tells who
    they are: ``plain email dns uri dn multi``. ``evil`` looks like ``plain`` but another CA signed it."""
    made = Certificates(directory)
    made.make(CA, "CN=Test CA", Role.AUTHORITY, issuer="")
    made.make("otherca", "CN=Other CA", Role.AUTHORITY, issuer="")
    made.make("server", "CN=localhost", Role.SERVER, LOCAL)
    made.make("server2", "CN=second", Role.SERVER, LOCAL)
    made.make("plain", "CN=plain", Role.CLIENT)
    made.make("email", "CN=email", Role.CLIENT, [email("derek@nats.test")])
    made.make("dns", "CN=dnsuser", Role.CLIENT, [dns_name("app.nats.test")])
    made.make("uri", "CN=uriuser", Role.CLIENT, [uri("spiffe://nats.test/app")])
    made.make("dn", "CN=www.nats.test,OU=Unit,O=Org", Role.CLIENT)
    made.make("multi", "CN=multi", Role.CLIENT, [email("m@nats.test"), dns_name("m.nats.test")])
    made.make("evil", "CN=plain", Role.CLIENT, issuer="otherca")
    return made


def client_context(directory: Path) -> ssl.SSLContext:
    """A client that trusts the authority in a directory, and speaks TLS 1.3 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(directory / "ca.pem")
    return context
