"""What certificates say about their holders."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tls.identity import CertificateFormatError, peer_certificate

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject: x509.Name, names: list[x509.GeneralName] | None = None, key: Key = EC_KEY) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def test_names_keep_the_order_of_the_certificate() -> None:
    subject = x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "test")]),
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Örg")]),
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Unit"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "www, nats"),
                ]
            ),
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.PSEUDONYM, "p")]),
        ]
    )
    names: list[x509.GeneralName] = [
        x509.DNSName("b.test"),
        x509.RFC822Name("b@nats.test"),
        x509.DNSName("a.test"),
        x509.UniformResourceIdentifier("spiffe://nats.test/app"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.RFC822Name("a@nats.test"),
    ]
    facts = peer_certificate(certificate(subject, names))
    assert facts.dns_names == ("b.test", "a.test")
    assert facts.emails == ("b@nats.test", "a@nats.test")
    assert facts.uris == ("spiffe://nats.test/app",)
    assert [dict(name) for name in facts.subject] == [
        {"DC": "test"},
        {"O": "Örg"},
        {"OU": "Unit", "CN": "www, nats"},
        {"2.5.4.65": "p"},
    ]
    assert facts.not_after == NOW + datetime.timedelta(days=1)


def test_a_certificate_may_name_nobody() -> None:
    facts = peer_certificate(certificate(x509.Name([])))
    assert (facts.subject, facts.emails, facts.dns_names, facts.uris) == ((), (), (), ())


@pytest.mark.parametrize(
    "generate",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_the_digest_is_that_of_the_public_key_info(generate: Callable[[], Key]) -> None:
    key = generate()
    expected = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    facts = peer_certificate(certificate(x509.Name([]), key=key))
    assert facts.public_key_sha256 == hashlib.sha256(expected).hexdigest()


COMMON_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
DER = certificate(COMMON_NAME, [x509.DNSName("a.test"), x509.RFC822Name("a@nats.test")])


@given(st.data())
def test_a_damaged_certificate_gives_facts_or_an_error(data: st.DataObject) -> None:
    der = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        peer_certificate(bytes(der))
    except CertificateFormatError:
        return


UNKNOWN_VERSION = DER[:11] + b"\x01" + DER[12:]


@pytest.mark.parametrize("der", [b"", b"0", b"x" * 100, UNKNOWN_VERSION], ids=["empty", "0", "x", "version"])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(CertificateFormatError):
        peer_certificate(der)
