"""Contexts, tried in handshakes over memory: no sockets, so nothing waits."""

from __future__ import annotations

import gc
import ssl
import time
import warnings
import weakref
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

import tls.engine
from tests.support.certificates import Certificates, make_certificates
from tests.support.handshakes import SHARED, Peers, offered_suites
from tls import native
from tls.certificates import encoded
from tls.context import client_context, server_context
from tls.engine import ServerContext
from tls.failures import HandshakeError
from tls.identity import peer_certificate
from tls.pins import PinMismatchError, check_pin, parse_pin
from tls.policy import SECURE_SUITES, TLS13_SUITES, CertificatePair, TLSSettings, TLSSettingsError


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


def test_both_sides_speak_the_newest_version(server: TLSSettings, client: TLSSettings) -> None:
    peers = Peers(client_context(client), server_context(server))
    assert peers.client.version() == "TLSv1.3"


@pytest.mark.parametrize("suite", sorted(set(SECURE_SUITES) - {name for name in SECURE_SUITES if "_RSA_" in name}))
def test_version_1_2_is_spoken_with_the_suite_asked_for(server: TLSSettings, client: TLSSettings, suite: str) -> None:
    dialling = client_context(replace(client, cipher_suites=(suite,)))
    dialling.maximum_version = ssl.TLSVersion.TLSv1_2
    peers = Peers(dialling, server_context(replace(server, cipher_suites=(suite,))))
    assert (peers.server.version, peers.server.suite) == ("TLSv1.2", SECURE_SUITES[suite])


def test_by_default_1_2_has_authenticated_encryption_only(server: TLSSettings) -> None:
    names = [name for name in offered_suites(server_context(server)) if name not in TLS13_SUITES]
    assert names
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_older_versions_are_never_spoken(server: TLSSettings, client: TLSSettings) -> None:
    dialling = client_context(client)
    assert dialling.minimum_version is ssl.TLSVersion.TLSv1_2
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        dialling.minimum_version = ssl.TLSVersion.TLSv1_1
        dialling.maximum_version = ssl.TLSVersion.TLSv1_1
    dialling.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(HandshakeError, match="client offered only unsupported versions"):
        Peers(dialling, server_context(server))


@pytest.mark.parametrize("settings", [{"min_version": "1.3"}, {"cipher_suites": ("TLS_AES_128_GCM_SHA256",)}])
def test_version_1_3_can_be_required(server: TLSSettings, client: TLSSettings, settings: dict[str, str]) -> None:
    dialling = client_context(client)
    dialling.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(HandshakeError, match="client offered only unsupported versions"):
        Peers(dialling, server_context(replace(server, **settings)))


class TestSessions:
    def test_keys_of_before_a_renewal_are_let_go(self, server: TLSSettings) -> None:
        first, then = server_context(server), server_context(server)
        gone = weakref.ref(first)
        del first
        gc.collect()
        assert gone() is None
        assert then.connection()

    def resumed(self, dialling: ssl.SSLContext, first: ServerContext, then: ServerContext) -> bool:
        """Whether a session of one context goes on with another."""
        began = Peers(dialling, first)
        assert not began.client.session_reused
        went_on = Peers(dialling, then, session=began.client.session)
        assert went_on.server.is_resumed is went_on.client.session_reused
        return went_on.server.is_resumed

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_session_goes_on(self, server: TLSSettings, client: TLSSettings, version: ssl.TLSVersion) -> None:
        listening, dialling = server_context(server), client_context(client)
        dialling.maximum_version = version
        assert self.resumed(dialling, listening, listening)

    def test_a_session_goes_on_after_the_certificate_was_renewed(
        self, server: TLSSettings, certificates: Certificates
    ) -> None:
        dialling = client_context(TLSSettings(insecure=True))
        renewed = server_context(replace(server, **_pair(certificates, "dns")))
        before = server_context(server)
        assert self.resumed(dialling, before, server_context(server))
        assert self.resumed(dialling, before, renewed)

    def test_a_session_ends_with_what_was_agreed_on(self, server: TLSSettings, client: TLSSettings) -> None:
        dialling = client_context(client)
        stricter = replace(server, cipher_suites=("TLS_CHACHA20_POLY1305_SHA256",))
        assert not self.resumed(dialling, server_context(server), server_context(stricter))

    def test_keys_of_tickets_are_replaced(
        self, server: TLSSettings, client: TLSSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listening, dialling = server_context(server), client_context(client)
        began = Peers(dialling, listening)
        monkeypatch.setattr(tls.engine, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 24 * 3600 + 1))
        assert not Peers(dialling, listening, session=began.client.session).server.is_resumed

    def test_whoever_shows_a_certificate_is_judged_each_time(
        self, server: TLSSettings, client: TLSSettings, certificates: Certificates
    ) -> None:
        listening = server_context(replace(server, verify=True, ca_file=client.ca_file))
        dialling = client_context(replace(client, **_pair(certificates, "plain")))
        assert not self.resumed(dialling, listening, listening)
        dialling.maximum_version = ssl.TLSVersion.TLSv1_2
        assert not self.resumed(dialling, listening, listening)


class TestVerification:
    @pytest.fixture
    def listening(self, server: TLSSettings, client: TLSSettings) -> ServerContext:
        return server_context(replace(server, verify=True, ca_file=client.ca_file))

    def test_a_client_of_the_authority_is_accepted(
        self, listening: ServerContext, client: TLSSettings, certificates: Certificates
    ) -> None:
        peers = Peers(client_context(replace(client, **_pair(certificates, "plain"))), listening)
        der = peers.server.peer_certificate
        assert der is not None
        assert peers.server.verified_chain[0] == der
        assert len(peers.server.verified_chain) == 2
        facts = peer_certificate(der)
        assert facts.public_key_sha256 == certificates.pins["plain"]
        check_pin(facts.public_key_sha256, {parse_pin(certificates.pins["plain"].upper())})

    def test_a_client_of_another_authority_is_refused(
        self, listening: ServerContext, client: TLSSettings, certificates: Certificates
    ) -> None:
        with pytest.raises(HandshakeError, match="certificate signed by unknown authority"):
            Peers(client_context(replace(client, **_pair(certificates, "evil"))), listening)

    def test_a_client_without_certificate_is_refused(self, listening: ServerContext, client: TLSSettings) -> None:
        with pytest.raises(HandshakeError, match="client didn't provide a certificate"):
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


class TestGroups:
    def test_those_that_are_not_named_are_refused(self, server: TLSSettings, client: TLSSettings) -> None:
        listening = server_context(replace(server, curve_preferences=("CurveP384", "CurveP256")))
        for curve in ("CurveP384", "CurveP256"):
            Peers(client_context(replace(client, curve_preferences=(curve,))), listening)
        with pytest.raises(HandshakeError, match="no key exchanges supported"):
            Peers(client_context(replace(client, curve_preferences=("X25519",))), listening)

    def test_the_first_that_both_know_is_taken(self, server: TLSSettings, client: TLSSettings) -> None:
        listening = server_context(replace(server, curve_preferences=("CurveP521", "CurveP384")))
        assert Peers(client_context(client), listening).server.group == "secp521r1"

    def test_what_is_preferred_is_asked_for(self, server: TLSSettings) -> None:
        """A client that has begun with another group is asked to begin again."""
        assert group_of(server_context(server), "X25519:X25519MLKEM768") == "X25519MLKEM768"
        classical = server_context(replace(server, curve_preferences=("X25519", "X25519MLKEM768")))
        assert group_of(classical, "X25519MLKEM768:X25519") == "x25519"

    def test_the_hybrid_one_is_taken_where_the_client_has_it(self, server: TLSSettings) -> None:
        assert group_of(server_context(server)) == "X25519MLKEM768"
        assert group_of(server_context(replace(server, curve_preferences=("X25519MLKEM768",)))) == "X25519MLKEM768"
        assert group_of(server_context(replace(server, curve_preferences=("X25519",)))) == "x25519"

    def test_whoever_lacks_the_only_one_is_refused(self, server: TLSSettings, client: TLSSettings) -> None:
        listening = server_context(replace(server, curve_preferences=("X25519MLKEM768",)))
        with pytest.raises(HandshakeError, match="no key exchanges supported"):
            Peers(client_context(client), listening)

    def test_a_library_without_the_hybrid_one_does_without_it(
        self, server: TLSSettings, client: TLSSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_groups = native.set_groups
        monkeypatch.setattr(
            native, "set_groups", lambda context, names: "MLKEM" not in names and set_groups(context, names)
        )
        assert Peers(client_context(client), server_context(server)).server.group == "x25519"
        with pytest.raises(
            TLSSettingsError, match=r"X25519MLKEM768 is not available in OpenSSL .*; it needs OpenSSL 3\.5"
        ):
            server_context(replace(server, curve_preferences=("X25519MLKEM768", "X25519")))


class TestSuites:
    @pytest.mark.parametrize("suite", TLS13_SUITES)
    def test_those_of_1_3_are_chosen_by_name(self, server: TLSSettings, client: TLSSettings, suite: str) -> None:
        peers = Peers(client_context(client), server_context(replace(server, cipher_suites=(suite,))))
        assert (peers.server.version, peers.server.suite) == ("TLSv1.3", suite)

    def test_the_order_is_that_of_the_server(self, server: TLSSettings, client: TLSSettings) -> None:
        suites = ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256")
        for order in (suites, suites[::-1]):
            peers = Peers(client_context(client), server_context(replace(server, cipher_suites=order)))
            assert peers.server.suite == order[0]

    def test_the_quickest_safe_one_is_taken_by_default(self, server: TLSSettings, client: TLSSettings) -> None:
        assert Peers(client_context(client), server_context(server)).server.suite == "TLS_AES_128_GCM_SHA256"

    def test_suites_of_1_2_leave_those_of_1_3(self, server: TLSSettings) -> None:
        settings = replace(server, cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",))
        names = offered_suites(server_context(settings))
        assert names == [*TLS13_SUITES, "ECDHE-ECDSA-AES256-GCM-SHA384"]


class TestKinds:
    """Certificates for the same name with keys of different kinds: each client gets one that it can use."""

    SUITES = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")

    @pytest.mark.parametrize("kind", [0, 1])
    def test_a_client_gets_what_it_can_use(self, kinds: ServerContext, kind: int) -> None:
        dialling = client_context(TLSSettings(insecure=True))
        dialling.maximum_version = ssl.TLSVersion.TLSv1_2
        dialling.set_ciphers(self.SUITES[kind])
        for name in ("same.test", "other.test", None):
            peers = Peers(dialling, kinds, name=name)
            assert peers.client.getpeercert(binary_form=True) == kinds.certificates[kind].chain[0]

    @pytest.mark.parametrize("kind", [0, 1])
    def test_the_staple_is_that_of_the_certificate(self, kinds: ServerContext, kind: int) -> None:
        staple = kinds.certificates[kind].staple
        assert staple
        assert stapled(kinds, self.SUITES[kind]) == staple


class TestStaples:
    def test_whoever_asks_gets_the_newest(self, server: TLSSettings) -> None:
        listening = server_context(server)
        assert stapled(listening) == b""
        key = load_pem_private_key(Path(server.key_file).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        for _ in range(2):
            # Each is signed anew, with ECDSA, so that no two are the same.
            listening.certificates[0].staple = staple = make_staple(listening.certificates[0].chain[0], key)
            assert stapled(listening) == staple


def test_the_chain_is_sent_as_the_file_has_it(
    server: TLSSettings, client: TLSSettings, certificates: Certificates, tmp_path: Path
) -> None:
    own, authority = (certificates.directory / name for name in ("server.pem", "ca.pem"))
    both = tmp_path / "both.pem"
    both.write_bytes(own.read_bytes() + authority.read_bytes())
    listening = server_context(replace(server, cert_file=str(both)))
    assert len(listening.certificates[0].chain) == 2
    assert presented(listening) == list(listening.certificates[0].chain)


def test_a_key_may_stand_among_other_things(server: TLSSettings, client: TLSSettings, tmp_path: Path) -> None:
    path = tmp_path / "mixed.pem"
    key, certificate = Path(server.key_file).read_text(), Path(server.cert_file).read_text()
    path.write_text(f"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{certificate}{key}")
    Peers(client_context(client), server_context(replace(server, cert_file=str(path), key_file=str(path))))


def test_both_sides_are_built_on_the_same_terms(server: TLSSettings, client: TLSSettings) -> None:
    """The ssl module dials, the engine listens: what one would not speak, the other does not either."""
    for settings in ({}, {"cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)}, {"min_version": "1.3"}):
        dialling = client_context(replace(client, **settings))
        names = {cipher["name"] for cipher in dialling.get_ciphers()}
        assert names == set(offered_suites(server_context(replace(server, **settings))))
    assert client_context(replace(client, min_version="1.3")).minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    """A context with two certificates for one name, of RSA and of ECDSA, each with its staple."""
    directory = tmp_path_factory.mktemp("kinds")
    keys = (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()))
    pairs = tuple(write_pair(directory, str(number), key, "same.test") for number, key in enumerate(keys))
    context = server_context(TLSSettings(certificates=pairs))
    for certificate, key in zip(context.certificates, keys, strict=True):
        certificate.staple = make_staple(certificate.chain[0], key)
    return context


def exchanged(listening: ServerContext, dialling: SSL.Connection) -> SSL.Connection:
    """A handshake with a client of the engine's own library, which knows more than the ssl module."""
    serving = listening.connection()
    records = SHARED.records_of(serving)
    dialling.set_connect_state()
    done = [False, False]
    while not all(done):
        with suppress(SSL.WantReadError):
            dialling.do_handshake()
            done[0] = True
        with suppress(SSL.WantReadError):
            sealed = dialling.bio_read(1 << 16)
            records.feed(memoryview(sealed), len(sealed))
        done[1] = done[1] or serving.handshake()
        sealed = bytes(records.sealed())
        records.sent(len(sealed))
        if sealed:
            dialling.bio_write(sealed)
    return dialling


def group_of(listening: ServerContext, offered: str = "X25519MLKEM768:X25519") -> str | None:
    """The group that a server agrees on with a client that has these, and begins with the first."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    assert native.set_groups(context, offered)
    return exchanged(listening, SSL.Connection(context, None)).get_group_name()


def presented(listening: ServerContext) -> list[bytes]:
    """The certificates that a server sends."""
    dialling = exchanged(listening, SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None))
    return [encoded(certificate) for certificate in dialling.get_peer_cert_chain(as_cryptography=True) or ()]


def stapled(listening: ServerContext, suite: str = "") -> bytes:
    """The OCSP response that a client gets which asks for one."""
    found = []
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_ocsp_client_callback(lambda _, response, __: found.append(response) is None)
    if suite:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(suite.encode())
    dialling = SSL.Connection(context, None)
    dialling.request_ocsp()
    exchanged(listening, dialling)
    return found[0]


def make_staple(der: bytes, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A response that says of a certificate, in its own name, that it is good."""
    certificate, now = x509.load_der_x509_certificate(der), datetime.now(UTC)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate,
        issuer=certificate,
        algorithm=SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=now,
        next_update=now + timedelta(hours=1),
        revocation_time=None,
        revocation_reason=None,
    )
    response = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate).sign(key, SHA256())
    return response.public_bytes(Encoding.DER)


def write_pair(
    directory: Path, name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, host: str
) -> CertificatePair:
    """A certificate of an authority that nobody knows, and its key."""
    now = datetime.now(UTC)
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (host, "authority"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    )
    pair = CertificatePair(str(directory / f"{name}.pem"), str(directory / f"{name}.key"))
    Path(pair.cert_file).write_bytes(certificate.public_bytes(Encoding.PEM))
    Path(pair.key_file).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair


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
            ({"min_version": "1.1"}, "unsupported TLS version: TLS 1.1; use 1.2 or 1.3"),
            ({"cipher_suites": ("X",)}, "unrecognized cipher X"),
            ({"cipher_suites": ("TLS_RSA_WITH_AES_128_CBC_SHA",)}, "insecure cipher suites configured without"),
            ({"curve_preferences": ("X",)}, "unrecognized curve preference X"),
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
