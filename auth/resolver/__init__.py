"""Where account claims come from."""

from __future__ import annotations

from typing import Protocol


class AccountResolver(Protocol):
    """Finds the token of an account by its public key."""

    def lookup(self, name: str) -> str | None:
        """The token that is known right now, without waiting, or None. It is not verified."""

    def store(self, name: str, token: str) -> None:
        """Keep a token for an account in place of the one before. Whoever calls has verified it.

        Raises StoreError where it cannot be kept; the one before then holds.
        """

    def forget(self, name: str) -> None:
        """Have the token of an account read again when it is next asked for, where it can be."""

    def loaded(self) -> list[str]:
        """The accounts whose tokens are held in memory."""

    def __contains__(self, name: object) -> bool:
        """Whether the account has been asked for, and its token is held in memory."""


class StoreError(Exception):
    """A token cannot be kept, or not be removed; the text says why, and never holds the token."""
