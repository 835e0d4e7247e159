"""The development CA and its server certificate: what they are good for, and when they are made anew."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tools.nsk.pki.folder import Folder
from tools.quickstart.certificates import Outcome, ensure_certificates

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def files(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "tls")
    assert ensure_certificates(made, NOW) == (Outcome.MADE, Outcome.MADE)
    return made


def handshake(files: Folder, host: str) -> None:
    """A handshake in memory, with every check that the client's library has. Raises ssl.SSLError."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate_path("server"), files.key_path("server"))
    client_context = ssl.create_default_context(cafile=str(files.certificate_path("ca")))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    done = 0
    while done < 2:
        done = 0
        for side in (client, server):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_clients_that_trust_the_ca_reach_this_machine(host: str, files: Folder) -> None:
    handshake(files, host)


def test_and_no_other_host(files: Folder) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, "example.org")


def test_even_the_key_of_the_ca_poses_as_no_other_host(files: Folder, tmp_path: Path) -> None:
    """The name constraints hold whoever signs with the key."""
    authority = x509.load_pem_x509_certificate(files.certificate_path("ca").read_bytes())
    genuine = x509.load_pem_x509_certificate(files.certificate_path("server").read_bytes())
    signer = private_key(files.key_path("ca"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(genuine.subject)
        .issuer_name(authority.subject)
        .public_key(genuine.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.org")]), critical=False)
    )
    for extension in genuine.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    forged = Folder(tmp_path / "forged")
    forged.directory.mkdir()
    forged.certificate_path("ca").write_bytes(files.certificate_path("ca").read_bytes())
    forged.key_path("server").write_bytes(files.key_path("server").read_bytes())
    forged.certificate_path("server").write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(forged, "example.org")


def test_extensions_follow_the_standard(files: Folder) -> None:
    authority = x509.load_pem_x509_certificate(files.certificate_path("ca").read_bytes()).extensions
    server = x509.load_pem_x509_certificate(files.certificate_path("server").read_bytes()).extensions
    constraints = authority.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    constraints = server.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    for extensions, signs in ((authority, True), (server, False)):
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert (usage.value.key_cert_sign, usage.value.digital_signature) == (signs, not signs)
    identifier = authority.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert server.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == identifier


def test_they_are_reused(files: Folder) -> None:
    before = contents(files)
    assert ensure_certificates(files, NOW + DAY) == (Outcome.REUSED, Outcome.REUSED)
    assert contents(files) == before


def test_a_server_certificate_is_renewed_before_it_expires(files: Folder) -> None:
    before = contents(files)
    assert ensure_certificates(files, NOW + 370 * DAY) == (Outcome.REUSED, Outcome.RENEWED)
    after = contents(files)
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    assert after[3] != before[3]


def test_a_ca_is_renewed_before_it_expires(files: Folder) -> None:
    assert ensure_certificates(files, NOW + 3640 * DAY) == (Outcome.RENEWED, Outcome.RENEWED)


def test_certificates_of_the_future_are_renewed(files: Folder) -> None:
    assert ensure_certificates(files, NOW - DAY) == (Outcome.RENEWED, Outcome.RENEWED)
    assert ensure_certificates(files, NOW - DAY) == (Outcome.REUSED, Outcome.REUSED)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"])
def test_what_is_lost_or_damaged_is_made_anew(name: str, damage: bytes | None, files: Folder) -> None:
    path = files.directory / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    outcome = Outcome.RENEWED if name.startswith("ca") else Outcome.REUSED
    assert ensure_certificates(files, NOW) == (outcome, Outcome.RENEWED)
    handshake(files, "localhost")


def test_a_key_of_another_certificate_is_noticed(files: Folder) -> None:
    files.key_path("server").write_bytes(files.key_path("ca").read_bytes())
    assert ensure_certificates(files, NOW) == (Outcome.REUSED, Outcome.RENEWED)


def test_files_are_for_their_owner_alone(files: Folder) -> None:
    assert files.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files.directory.iterdir()} == {0o600}


def contents(files: Folder) -> list[bytes]:
    return [
        path.read_bytes() for name in ("ca", "server") for path in (files.certificate_path(name), files.key_path(name))
    ]


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
