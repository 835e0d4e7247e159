"""The words for handshakes that failed, from those of the library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tls.failures import NOT_TLS, Culprit, UnverifiedPeerError, handshake_error

NOW = datetime(2026, 5, 4, 3, 2, 1, 999, UTC)
DAY = timedelta(days=1)
CULPRIT = Culprit("CN=web,O=Shop", "ab" * 32, NOW - DAY, NOW + DAY)
WHOSE = f"(CN=web,O=Shop SHA-256: {'ab' * 32})"


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        (["unsupported protocol"], "tls: client offered only unsupported versions"),
        (["no shared cipher"], "tls: no cipher suite supported by both client and server"),
        (["no suitable key share"], "tls: no key exchanges supported by both client and server"),
        (["tlsv1 alert unknown ca"], "remote error: tls: unknown certificate authority"),
        (["ssl/tls alert certificate expired"], "remote error: tls: expired certificate"),
        (["sslv3 alert certificate revoked"], "remote error: tls: revoked certificate"),
        (["tls alert bad certificate"], "remote error: tls: bad certificate"),
        (["tlsv1 alert internal error"], "remote error: tls: internal error"),
        (["http request"], NOT_TLS),
        (["https proxy request"], NOT_TLS),
        (["record layer failure", "packet length too long"], "tls: oversized record received"),
        (["wrong version number", "record layer failure"], "tls: received record with unexpected version"),
        (["something new"], "tls: something new"),
        (["internal error"], "tls: no valid handshake"),
        ([], "tls: no valid handshake"),
    ],
)
def test_failures(reasons: list[str], text: str) -> None:
    error = handshake_error(reasons, "", None, NOW)
    assert str(error) == text
    assert not isinstance(error, UnverifiedPeerError)


@pytest.mark.parametrize(
    ("verification", "culprit", "text"),
    [
        ("unable to get local issuer certificate", CULPRIT, f"certificate signed by unknown authority {WHOSE}"),
        ("self-signed certificate", CULPRIT, f"certificate signed by unknown authority {WHOSE}"),
        ("unsuitable certificate purpose", CULPRIT, f"certificate specifies an incompatible key usage {WHOSE}"),
        ("certificate has expired", Culprit("CN=web,O=Shop", "ab" * 32, NOW - DAY, NOW - DAY / 2),
         "certificate has expired or is not yet valid: current time 2026-05-04T03:02:01Z is after "
         f"2026-05-03T15:02:01Z {WHOSE}"),
        ("certificate is not yet valid or the system clock is incorrect",
         Culprit("CN=web,O=Shop", "ab" * 32, NOW + DAY, NOW + 2 * DAY),
         "certificate has expired or is not yet valid: current time 2026-05-04T03:02:01Z is before "
         f"2026-05-05T03:02:01Z {WHOSE}"),
        ("certificate has expired", None, "certificate has expired"),
        ("EE certificate key too weak", CULPRIT, f"EE certificate key too weak {WHOSE}"),
    ],
)  # fmt: skip
def test_certificates(verification: str, culprit: Culprit | None, text: str) -> None:
    error = handshake_error(["certificate verify failed"], verification, culprit, NOW)
    assert str(error) == f"tls: failed to verify certificate: x509: {text}"
    assert isinstance(error, UnverifiedPeerError)
    assert error.subject == ("CN=web,O=Shop" if culprit else "")


def test_no_certificate() -> None:
    error = handshake_error(["peer did not return a certificate"], "", None, NOW)
    assert str(error) == "tls: client didn't provide a certificate"
    assert isinstance(error, UnverifiedPeerError)
