"""What can go wrong with TLS while the server runs."""

from __future__ import annotations


class HandshakeError(Exception):
    """A handshake that failed; the text says why, in the words of the TLS library."""


class PeerRefusedError(HandshakeError):
    """A peer whose certificates are valid and were refused all the same, for a reason that the judge of them gave."""

    def __init__(self, reason: object) -> None:
        super().__init__("the certificate was refused")
        self.reason = reason
