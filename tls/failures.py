"""What can go wrong with TLS while the server runs."""

from __future__ import annotations


class HandshakeError(Exception):
    """A handshake that failed; the text says why, in the words of the TLS library."""
