"""Contexts, tried in handshakes over memory: no sockets, so nothing waits."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.support.certificates import Certificates, make_certificates
from tls.context import client_context, server_context
from tls.identity import peer_certificate
from tls.pins import PinMismatchError, check_pin, parse_pin
from tls.policy import SECURE_SUITES, CertificatePair, TLSSettings, TLSSettingsError


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> TLSSettings:
    return TLSSettings(**_pair(certificates, "server"))


@pytest.fixture(scope="module")
def client(certificates: Certificates) -> TLSSettings:
    return TLSSettings(ca_file=str(certificates.directory / "ca.pem"))


def _pair(certificates: Certificates, name: str) -> dict[str, str]:
    directory = certificates.directory
    return {"cert_file": str(directory / f"{name}.pem"), "key_file": str(directory / f"{name}-key.pem")}


class Peers:
    """A client and a server that hand each other their bytes."""

    def __init__(
        self,
        client: ssl.SSLContext,
        server: ssl.SSLContext,
        name: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        pending: list[Callable[[], object]] = [self.client.do_handshake, self.server.do_handshake]
        while pending:
            pending = [step for step in pending if not self._done(step)]
        # The client's last flight may still be refused, and the session ticket is still to come.
        self._done(lambda: self.server.read(1))
        self._done(lambda: self.client.read(1))

    @staticmethod
    def _done(step: Callable[[], object]) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        return True


def test_both_sides_speak_the_newest_version(server: TLSSettings, client: TLSSettings) -> None:
    peers = Peers(client_context(client), server_context(server))
    assert peers.client.version() == "TLSv1.3"


@pytest.mark.parametrize("suite", sorted(set(SECURE_SUITES) - {name for name in SECURE_SUITES if "_RSA_" in name}))
def test_version_1_2_is_spoken_with_the_suite_asked_for(server: TLSSettings, client: TLSSettings, suite: str) -> None:
    dialling = client_context(replace(client, cipher_suites=(suite,)))
    dialling.maximum_version = ssl.TLSVersion.TLSv1_2
    peers = Peers(dialling, server_context(replace(server, cipher_suites=(suite,))))
    cipher = peers.server.cipher()
    assert cipher is not None
    assert (peers.server.version(), cipher[0]) == ("TLSv1.2", SECURE_SUITES[suite])


def test_by_default_1_2_has_authenticated_encryption_only(server: TLSSettings) -> None:
    names = [cipher["name"] for cipher in server_context(server).get_ciphers()]
    assert names
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_older_versions_are_never_spoken(server: TLSSettings, client: TLSSettings) -> None:
    assert server_context(server).minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context(client).minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("settings", [{"min_version": "1.3"}, {"cipher_suites": ("TLS_AES_128_GCM_SHA256",)}])
def test_version_1_3_can_be_required(server: TLSSettings, client: TLSSettings, settings: dict[str, str]) -> None:
    dialling = client_context(client)
    dialling.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Peers(dialling, server_context(replace(server, **settings)))


def test_a_session_is_resumed(server: TLSSettings, client: TLSSettings, certificates: Certificates) -> None:
    listening = server_context(replace(server, verify=True, ca_file=str(certificates.directory / "ca.pem")))
    dialling = client_context(replace(client, **_pair(certificates, "plain")))
    first = Peers(dialling, listening)
    again = Peers(dialling, listening, session=first.client.session)
    assert (first.client.session_reused, again.client.session_reused) == (False, True)
    # The identity of the client comes with the session.
    assert again.server.getpeercert(binary_form=True) == first.server.getpeercert(binary_form=True)


class TestVerification:
    @pytest.fixture
    def listening(self, server: TLSSettings, client: TLSSettings) -> ssl.SSLContext:
        return server_context(replace(server, verify=True, ca_file=client.ca_file))

    def test_a_client_of_the_authority_is_accepted(
        self, listening: ssl.SSLContext, client: TLSSettings, certificates: Certificates
    ) -> None:
        peers = Peers(client_context(replace(client, **_pair(certificates, "plain"))), listening)
        der = peers.server.getpeercert(binary_form=True)
        assert der is not None
        facts = peer_certificate(der)
        assert facts.public_key_sha256 == certificates.pins["plain"]
        check_pin(facts.public_key_sha256, {parse_pin(certificates.pins["plain"].upper())})

    def test_a_client_of_another_authority_is_refused(
        self, listening: ssl.SSLContext, client: TLSSettings, certificates: Certificates
    ) -> None:
        with pytest.raises(ssl.SSLError):
            Peers(client_context(replace(client, **_pair(certificates, "evil"))), listening)

    def test_a_client_without_certificate_is_refused(self, listening: ssl.SSLContext, client: TLSSettings) -> None:
        with pytest.raises(ssl.SSLError):
            Peers(client_context(client), listening)

    def test_a_server_is_verified_unless_insecure(self, server: TLSSettings, certificates: Certificates) -> None:
        wrong = TLSSettings(ca_file=str(certificates.directory / "otherca.pem"))
        with pytest.raises(ssl.SSLCertVerificationError):
            Peers(client_context(wrong), server_context(server))
        Peers(client_context(replace(wrong, insecure=True)), server_context(server))

    def test_the_name_of_a_server_is_verified(self, server: TLSSettings, client: TLSSettings) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            Peers(client_context(client), server_context(server), name="elsewhere.test")


def test_the_name_asked_for_chooses_the_certificate(certificates: Certificates) -> None:
    files = [CertificatePair(**_pair(certificates, name)) for name in ("server", "dns", "multi")]
    listening = server_context(TLSSettings(certificates=tuple(files)))
    dialling = client_context(TLSSettings(insecure=True))
    for name, chosen in (("m.nats.test", "multi"), ("APP.nats.test", "dns"), ("localhost", "server"), ("x", "server")):
        der = Peers(dialling, listening, name=name).client.getpeercert(binary_form=True)
        assert der is not None
        assert peer_certificate(der).public_key_sha256 == certificates.pins[chosen]


def test_one_curve_is_held_to(server: TLSSettings, client: TLSSettings) -> None:
    listening = server_context(replace(server, curve_preferences=("CurveP384", "CurveP256")))
    Peers(client_context(replace(client, curve_preferences=("CurveP384",))), listening)
    with pytest.raises(ssl.SSLError):
        Peers(client_context(replace(client, curve_preferences=("X25519",))), listening)


def test_all_curves_are_no_restriction(server: TLSSettings, client: TLSSettings) -> None:
    every = ("X25519MLKEM768", "X25519", "CurveP256", "CurveP384", "CurveP521")
    listening = server_context(replace(server, curve_preferences=every))
    for curve in ("X25519", "CurveP256"):
        Peers(client_context(replace(client, curve_preferences=(curve,))), listening)


class TestRefusals:
    def refusal(self, settings: TLSSettings) -> str:
        with pytest.raises(TLSSettingsError) as caught:
            server_context(settings)
        return str(caught.value)

    def test_without_a_certificate(self) -> None:
        assert self.refusal(TLSSettings()) == "TLS needs a certificate and its key; set 'cert_file' and 'key_file'"

    def test_a_missing_file(self, server: TLSSettings) -> None:
        what = "error parsing X509 certificate/key pair: open none.pem: no such file or directory"
        assert self.refusal(replace(server, cert_file="none.pem")) == what
        assert self.refusal(replace(server, key_file="none.pem")) == what
        assert (
            self.refusal(replace(server, ca_file="none.pem", verify=True)) == "open none.pem: no such file or directory"
        )
        assert "open a\0b: invalid path" in self.refusal(replace(server, key_file="a\0b"))

    def test_the_wrong_key(self, server: TLSSettings, certificates: Certificates) -> None:
        wrong = replace(server, key_file=_pair(certificates, "plain")["key_file"])
        assert self.refusal(wrong).endswith(f"{wrong.key_file} does not belong to the certificate {server.cert_file}")

    def test_a_key_in_place_of_the_certificate(self, server: TLSSettings) -> None:
        assert self.refusal(replace(server, cert_file=server.key_file)).endswith(
            "-key.pem holds no certificate in PEM format"
        )

    def test_a_certificate_in_place_of_the_key(self, server: TLSSettings) -> None:
        assert self.refusal(replace(server, key_file=server.cert_file)).endswith("holds no private key in PEM format")

    def test_an_encrypted_key(self, server: TLSSettings, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
        assert f"the private key {path} is encrypted; decrypt it with" in self.refusal(
            replace(server, key_file=str(path))
        )

    def test_an_authority_without_certificates(self, server: TLSSettings, tmp_path: Path) -> None:
        path = tmp_path / "ca.pem"
        path.write_text("nothing")
        assert self.refusal(replace(server, ca_file=str(path), verify=True)) == (
            f"failed to parse root ca certificate: {path} holds no certificate in PEM format"
        )

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"min_version": "1.1"}, "unsupported TLS version: 1.1; use 1.2 or 1.3"),
            ({"cipher_suites": ("X",)}, "unrecognized cipher X"),
            ({"cipher_suites": ("TLS_RSA_WITH_AES_128_CBC_SHA",)}, "insecure cipher suites configured without"),
            ({"curve_preferences": ("X",)}, "unrecognized curve preference X"),
            ({"curve_preferences": ("X25519MLKEM768",)}, "curve preference X25519MLKEM768 alone is not available"),
        ],
    )
    def test_a_name(self, server: TLSSettings, settings: dict[str, str], message: str) -> None:
        assert message in self.refusal(replace(server, **settings))

    def test_suites_that_the_library_lacks(self, server: TLSSettings) -> None:
        settings = replace(server, cipher_suites=("TLS_RSA_WITH_RC4_128_SHA",), allow_insecure_cipher_suites=True)
        assert "none of the cipher suites TLS_RSA_WITH_RC4_128_SHA is available" in self.refusal(settings)

    def test_two_ways_to_name_certificates(self, server: TLSSettings) -> None:
        both = replace(server, certificates=(CertificatePair(server.cert_file, server.key_file),))
        assert "cannot combine 'cert_file' option with 'certs' option" in self.refusal(both)


class TestPins:
    def test_without_pins_everyone_passes(self) -> None:
        check_pin(None, ())
        check_pin("a" * 64, frozenset())

    @pytest.mark.parametrize("digest", [None, "b" * 64])
    def test_others_are_refused(self, digest: str | None) -> None:
        with pytest.raises(PinMismatchError):
            check_pin(digest, {"a" * 64})

    @pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "g" * 64, "a" * 64 + "\n"])
    def test_what_is_no_digest_is_refused(self, text: str) -> None:
        with pytest.raises(TLSSettingsError, match="does not look like hex-encoded sha256"):
            parse_pin(text)
