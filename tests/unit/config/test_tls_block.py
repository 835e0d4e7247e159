"""The ``tls`` block."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import TLSOptions
from tests.support.certificates import Certificates, make_certificates
from tls.policy import CURVES, CertificatePair
from tls.revocation.settings import PeerSettings


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def read(text: str) -> TLSOptions:
    options = read_options(parse_bytes(text.encode(), "t.conf", {})).options
    assert options.tls is not None
    return options.tls


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_options(parse_bytes(text.encode(), "t.conf", {}))
    (problem,) = caught.value.problems
    return str(problem)


def pair(certificates: Certificates, name: str = "server") -> str:
    return f'cert_file: "{certificates.directory}/{name}.pem", key_file: "{certificates.directory}/{name}-key.pem"'


def test_a_certificate_is_enough(certificates: Certificates) -> None:
    assert read(f"tls {{ {pair(certificates)} }}") == TLSOptions(
        cert_file=f"{certificates.directory}/server.pem", key_file=f"{certificates.directory}/server-key.pem"
    )


def test_everything_at_once(certificates: Certificates) -> None:
    directory = certificates.directory
    found = read(
        f"""
        tls {{
          {pair(certificates)}
          ca_file: "{directory}/ca.pem"
          verify_and_map: true
          timeout: 0.5
          min_version: "1.3"
          cipher_suites: [ TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ]
          curve_preferences: [ CurveP256 ]
          pinned_certs: [ "{certificates.pins["plain"].upper()}" ]
          connection_rate_limit: 10
          handshake_first: "200ms"
          ocsp_peer {{ verify: true, ca_timeout: 0, Allowed_Clockskew: 1.5, warn_only: true, unknown_is_good: true,
            allow_when_ca_unreachable: true, cache_ttl_when_next_update_unset: "2h" }}
          crl_files: [ a.crl, b.crl, a.crl ]
          allow_without_crl: true
        }}"""
    )
    assert found == TLSOptions(
        cert_file=f"{directory}/server.pem",
        key_file=f"{directory}/server-key.pem",
        ca_file=f"{directory}/ca.pem",
        verify=True,
        verify_and_map=True,
        timeout=0.5,
        min_version="1.3",
        cipher_suites=("TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        curve_preferences=("CurveP256",),
        pinned_certs=frozenset({certificates.pins["plain"]}),
        connection_rate_limit=10,
        handshake_first=0.2,
        ocsp_peer=PeerSettings(
            verify=True, timeout=2.0, clock_skew=1.5, warn_only=True, unknown_is_good=True, allow_when_unreachable=True,
            default_validity=7200.0,
        ),
        crl_files=("a.crl", "b.crl"),
        allow_without_crl=True,
    )


def test_several_certificates(certificates: Certificates) -> None:
    found = read(f"tls {{ certs: [ {{ {pair(certificates)} }}, {{ {pair(certificates, 'server2')} }} ] }}")
    assert [Path(entry.cert_file).name for entry in found.certificates] == ["server.pem", "server2.pem"]
    assert isinstance(found.certificates[0], CertificatePair)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("on", True), ("off", False), ('"false"', False), ("auto", 0.05), ('"AUTO_fallback"', 0.05),
        ('"0"', True), ('"0s"', True), ("70ms", 0.07),
    ],
)
def test_handshake_first(certificates: Certificates, text: str, value: bool | float) -> None:
    found = read(f"tls {{ {pair(certificates)}, first: {text} }}").handshake_first
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls: 3", 't.conf:1:0: field "tls" takes a map in braces, not an integer'),
        ("tls {}", "t.conf:1:0: TLS needs a certificate and its key; set 'cert_file' and 'key_file'"),
        ("tls { foo: 1 }", 't.conf:1:6: error parsing tls config, unknown field "foo"'),
        ('tls { cert_file: "x" }', "t.conf:1:0: missing 'key_file' in TLS configuration"),
        ('tls { key_file: "x" }', "t.conf:1:0: missing 'cert_file' in TLS configuration"),
        (
            'tls { cert_file: "none.pem", key_file: "x" }',
            "t.conf:1:0: error parsing X509 certificate/key pair: open none.pem: no such file or directory",
        ),
        ("tls { certs: 3 }", "takes a list of maps with 'cert_file' and 'key_file', not an integer"),
        ("tls { certs: [ {Cert_File: a, key_file: b} ] }", 'error parsing tls certs config, unknown field "Cert_File"'),
        (
            "tls { cert_file: a, key_file: b, certs: [ {cert_file: c, key_file: d} ] }",
            "t.conf:1:0: error parsing tls config, cannot combine 'cert_file' option with 'certs' option",
        ),
        (
            "tls { certs: [ {cert_file: c} ] }",
            "t.conf:1:16: error parsing certificates config: both 'cert_file' and 'key_file' options are required",
        ),
        ("tls { timeout: x }", "t.conf:1:6: error parsing tls config, 'timeout' time: invalid duration \"x\""),
        ("tls { first: maybe }", 't.conf:1:6: field "first"\'s value "maybe" is invalid; use true, false, auto or'),
        ('tls { first: "-1s" }', 'field "first"\'s value "-1s" is invalid'),
        ("tls { first: 3 }", "takes a boolean, auto or a duration in quotes, not an integer"),
        ("tls { min_version: 1.2 }", "t.conf:1:6: error parsing tls config: 'min_version' wrong type: 1.2; put it in"),
        ('tls { min_version: "1.1" }', "error parsing tls config: unsupported TLS version: TLS 1.1; use 1.2 or 1.3"),
        ('tls { min_version: "1.4" }', "error parsing tls config: unknown version: 1.4; use 1.2 or 1.3"),
        ("tls { cipher_suites: [] }", "t.conf:1:6: error parsing tls config, 'cipher_suites' cannot be empty"),
        ("tls { cipher_suites: [X] }", "t.conf:1:22: unrecognized cipher X; use an IANA name such as TLS_ECDHE"),
        ("tls { curve_preferences: [] }", "error parsing tls config, 'curve_preferences' cannot be empty"),
        ("tls { curve_preferences: [X] }", "t.conf:1:26: unrecognized curve preference X; use X25519MLKEM768, SecP"),
        ("tls { pinned_certs: [a] }", "t.conf:1:21: error parsing tls config, 'pinned_certs' key a does not look like"),
        ("tls { cert_store: WindowsLocalMachine }", 'field "cert_store" needs the certificate store of Windows'),
        (
            "tls { verify_cert_and_check_known_urls: true }",
            "t.conf:1:6: verify_cert_and_check_known_urls not supported in this context",
        ),
    ],
)
def test_a_mistake_is_refused(text: str, message: str) -> None:
    assert message in refusal(text)


def test_insecure_suites_must_be_meant(certificates: Certificates) -> None:
    suites = "cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]"
    assert (
        "insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: TLS_RSA_WITH"
        in refusal(f"tls {{ {pair(certificates)}, {suites} }}")
    )
    assert read(f"tls {{ {pair(certificates)}, {suites}, allow_insecure_cipher_suites: true }}").cipher_suites


def test_a_key_of_another_certificate_is_refused(certificates: Certificates) -> None:
    directory = certificates.directory
    message = refusal(f'tls {{ cert_file: "{directory}/server.pem", key_file: "{directory}/plain-key.pem" }}')
    assert message == (
        "t.conf:1:0: error parsing X509 certificate/key pair: the private key "
        f"{directory}/plain-key.pem does not belong to the certificate {directory}/server.pem"
    )


def test_which_of_several_pairs_is_wrong(certificates: Certificates) -> None:
    right, missing = pair(certificates), 'cert_file: "none.pem", key_file: "none.pem"'
    assert refusal(f"tls {{ certs: [ {{ {right} }}, {{ {missing} }} ] }}") == (
        "t.conf:1:0: error parsing X509 certificate/key pair 2/2: open none.pem: no such file or directory"
    )


@pytest.mark.parametrize("curve", CURVES)
def test_every_curve_has_its_name(certificates: Certificates, curve: str) -> None:
    assert read(f"tls {{ {pair(certificates)}, curve_preferences: [{curve}] }}").curve_preferences == (curve,)


def test_an_authority_that_is_none_is_refused(certificates: Certificates) -> None:
    directory = certificates.directory
    authority = f'ca_file: "{directory}/server-key.pem"'
    assert "failed to parse root ca certificate" in refusal(
        f"tls {{ {pair(certificates)}, {authority}, verify: true }}"
    )
    missing = f'ca_file: "{directory}/none.pem"'
    assert refusal(f"tls {{ {pair(certificates)}, {missing} }}") == (
        f"t.conf:1:0: open {directory}/none.pem: no such file or directory"
    )
