"""What can go wrong with TLS while the server runs, in the words that nats-server has for it.

Whoever watches logs for failed handshakes knows those words. The library's own stand where nats-server has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

NOT_TLS: Final = "tls: first record does not look like a TLS handshake"

_GENERIC: Final = frozenset({"record layer failure", "internal error"})
"""Reasons that only say where another one was met."""

_MISSING: Final = "peer did not return a certificate"
_NOT_VERIFIED: Final = "certificate verify failed"
_ALERT: Final = re.compile(r"\balert (.+)")
_WORDS: Final = {
    _MISSING: "client didn't provide a certificate",
    "unsupported protocol": "client offered only unsupported versions",
    "no shared cipher": "no cipher suite supported by both client and server",
    "no suitable key share": "no key exchanges supported by both client and server",
    "no suitable groups": "no key exchanges supported by both client and server",
    "packet length too long": "oversized record received",
    "wrong version number": "received record with unexpected version",
}
_ALERTS: Final = {
    "unknown ca": "unknown certificate authority",
    "certificate expired": "expired certificate",
    "certificate revoked": "revoked certificate",
    "certificate unknown": "unknown certificate",
    "protocol version": "protocol version not supported",
    "decode error": "error decoding message",
    "decrypt error": "error decrypting message",
    "bad record mac": "bad record MAC",
    "insufficient security": "insufficient security level",
    "user cancelled": "user canceled",
}
"""Names of alerts that nats-server calls otherwise (RFC 8446, section 6)."""

_UNKNOWN_AUTHORITY: Final = "certificate signed by unknown authority"
_ENDED: Final = "certificate has expired"
_NOT_BEGUN: Final = "certificate is not yet valid"
_VERIFICATIONS: Final = {
    "unable to get local issuer certificate": _UNKNOWN_AUTHORITY,
    "unable to get issuer certificate": _UNKNOWN_AUTHORITY,
    "unable to verify the first certificate": _UNKNOWN_AUTHORITY,
    "self-signed certificate": _UNKNOWN_AUTHORITY,
    "self-signed certificate in certificate chain": _UNKNOWN_AUTHORITY,
    "unsuitable certificate purpose": "certificate specifies an incompatible key usage",
}


class HandshakeError(Exception):
    """A handshake that failed; the text says why."""


class PeerRefusedError(HandshakeError):
    """A peer whose certificates are valid and were refused all the same, for a reason that the judge of them gave."""

    def __init__(self, reason: object) -> None:
        super().__init__("the certificate was refused")
        self.reason = reason


class UnverifiedPeerError(HandshakeError):
    """A peer whose certificate could not be verified, or that showed none."""

    def __init__(self, why: str, subject: str = "") -> None:
        super().__init__(why)
        self.subject = subject
        """Whose certificate it is, as RFC 4514 writes it, not verified; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The certificate at which verification failed. Nothing of it is verified."""

    subject: str
    """As RFC 4514 writes it."""
    sha256: str
    """Of the certificate, in hex."""
    begins: datetime
    ends: datetime


def handshake_error(
    reasons: Sequence[str], verification: str, culprit: Culprit | None, now: datetime
) -> HandshakeError:
    """What the library met, the first reason first, as an error.

    `verification` is what was wrong with the certificate, where that was it, and `culprit` which certificate.
    """
    reason = next((one for one in reasons if one not in _GENERIC), "no valid handshake")
    if reason == _NOT_VERIFIED:
        return _not_verified(verification, culprit, now)
    if reason == _MISSING:
        return UnverifiedPeerError(f"tls: {_WORDS[reason]}")
    alert = _ALERT.search(reason)
    if alert:
        return HandshakeError(f"remote error: tls: {_ALERTS.get(alert[1], alert[1])}")
    return HandshakeError(NOT_TLS if reason.endswith(" request") else f"tls: {_WORDS.get(reason, reason)}")


def _not_verified(verification: str, culprit: Culprit | None, now: datetime) -> UnverifiedPeerError:
    why = _VERIFICATIONS.get(verification, verification)
    if culprit is None:
        return UnverifiedPeerError(f"tls: failed to verify certificate: x509: {why}")
    if verification.startswith((_ENDED, _NOT_BEGUN)):
        is_over = now > culprit.ends
        limit = culprit.ends if is_over else culprit.begins
        why = (
            f"certificate has expired or is not yet valid: current time {_stamp(now)} is "
            f"{'after' if is_over else 'before'} {_stamp(limit)}"
        )
    whose = f"({culprit.subject} SHA-256: {culprit.sha256})"
    return UnverifiedPeerError(f"tls: failed to verify certificate: x509: {why} {whose}", culprit.subject)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
