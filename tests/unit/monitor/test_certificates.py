"""What is shown of certificates, versions and cipher suites."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from broker.monitor.certificates import describe
from tests.support.certificates import make_certificates
from tls.names import suite_name, version_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("new", "new"),
    ],
)
def test_cipher_suites_have_iana_names(name: str, shown: str) -> None:
    assert suite_name(name) == shown


def test_versions() -> None:
    assert [version_name(name) for name in ("TLSv1.2", "TLSv1.3", "TLSv2")] == ["1.2", "1.3", "TLSv2"]


def test_peer(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    pem = (tmp_path / "dn.pem").read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    found = describe(der)
    assert found.subject == "CN=www.nats.test,OU=Unit,O=Org"
    assert found.spki_sha256 == certificates.pins["dn"]
    assert found.cert_sha256 == hashlib.sha256(der).hexdigest()


def test_peer_that_cannot_be_read() -> None:
    assert describe(b"\x30\x00").subject == ""
