"""Whoever is told of sessions that come to accounts and leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.x509 import Certificate

    from accounts.account import Account
    from broker.session.session import Session
    from broker.wire.errors import CloseReason


class Observer:
    """Is told, and does nothing. What is told must not raise: a session is half way from one state to another."""

    def bound(self, session: Session, account: Account) -> None:
        """The session belongs to the account from now on."""

    def unbound(self, session: Session, account: Account) -> None:
        """The session belongs to the account no longer: it ends, or authenticates anew."""

    def ended(self, session: Session, account: Account | None, reason: CloseReason) -> None:
        """The session is over; `account` is what it belonged to at last, None where it was in none."""

    def peer_invalid(self, chain: Sequence[Certificate], at_fault: Certificate, reason: str, kind: str) -> None:
        """A certificate in the chain of a peer was refused by OCSP for that reason, and the peer with it.

        ``chain`` begins with the peer's own; ``kind`` is what the peer is.
        """

    def traced(self, account: str, destination: str, build: Callable[[object], object], accepts: str) -> None:
        """A message of the account was traced; `build` makes the event for the subject `destination` there.

        It is given the server's own facts. `accepts` are the encodings that the sender accepts, empty for none.
        """
