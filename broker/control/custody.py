"""What can be asked of whoever keeps the keys of accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.session.session import Session


class CustodyError(Exception):
    """It cannot be done; the text says why and which remedy there is."""


class Custody(Protocol):
    """Changes and destroys the keys that seal what accounts have on disk; ``by`` is who asked for it."""

    async def rotate(self, account: str, by: Session | None) -> dict[str, object]:
        """Seals by another data key from now on; what is there is sealed anew beside serving. Raises CustodyError."""

    async def shred(self, account: str, by: Session | None) -> dict[str, object]:
        """Destroys the data key, and what it opened; returns the receipt. Raises CustodyError."""
