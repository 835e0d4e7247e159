"""Where account claims come from."""

from __future__ import annotations

from typing import Protocol


class AccountResolver(Protocol):
    """Finds the token of an account by its public key."""

    def lookup(self, name: str) -> str | None:
        """The token that is known right now, without waiting, or None. It is not verified."""

    def store(self, name: str, token: str) -> None:
        """Keep a token for an account in place of the one before. Whoever calls has verified it."""
