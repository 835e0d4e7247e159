"""Certificates for tests, made afresh for every run: a CA, servers, clients, and one client of another CA."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tools.nsk.pki.issue import Pair, Request, Role, issue
from tools.nsk.pki.names import dns_name, email, ip_address, subject, uri

_LIFE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where ``NAME.pem`` and ``NAME-key.pem`` lie, and the SHA-256 of each certificate's public key in hex."""

    directory: Path
    pins: dict[str, str]


class _Maker:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pins: dict[str, str] = {}

    def make(
        self, file: str, name: str, role: Role, names: Sequence[x509.GeneralName] = (), issuer: Pair | None = None
    ) -> Pair:
        """Writes a certificate; without an issuer it is a CA and signs itself."""
        pair = issue(Request(role, subject(name), _LIFE, tuple(names)), issuer)
        (self.directory / f"{file}.pem").write_text(pair.certificate_text)
        (self.directory / f"{file}-key.pem").write_text(pair.key_text)
        public = pair.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.pins[file] = hashlib.sha256(public).hexdigest()
        return pair


def make_certificates(directory: Path) -> Certificates:
    """Fills ``directory``: ``ca``, the servers ``server`` and ``server2``, and clients named after what tells who
    they are: ``plain email dns uri dn multi``. ``evil`` looks like ``plain`` but another CA signed it."""
    maker = _Maker(directory)
    ca = maker.make("ca", "CN=Test CA", Role.AUTHORITY)
    other_ca = maker.make("otherca", "CN=Other CA", Role.AUTHORITY)
    host = [dns_name("localhost"), ip_address("127.0.0.1")]
    maker.make("server", "CN=localhost", Role.SERVER, host, ca)
    maker.make("server2", "CN=second", Role.SERVER, host, ca)
    maker.make("plain", "CN=plain", Role.CLIENT, (), ca)
    maker.make("email", "CN=email", Role.CLIENT, [email("derek@nats.test")], ca)
    maker.make("dns", "CN=dnsuser", Role.CLIENT, [dns_name("app.nats.test")], ca)
    maker.make("uri", "CN=uriuser", Role.CLIENT, [uri("spiffe://nats.test/app")], ca)
    maker.make("dn", "CN=www.nats.test,OU=Unit,O=Org", Role.CLIENT, (), ca)
    maker.make("multi", "CN=multi", Role.CLIENT, [email("m@nats.test"), dns_name("m.nats.test")], ca)
    maker.make("evil", "CN=plain", Role.CLIENT, (), other_ca)
    return Certificates(directory, maker.pins)
