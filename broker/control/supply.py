"""What a server needs of whoever finds the accounts that it does not know yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable


class Supply(Protocol):
    """Finds accounts by their public keys, beside the loop."""

    def wants(self, name: str) -> bool:
        """Whether it is worth looking for an account now: nobody has done so a moment ago."""

    def fetch(self, name: str) -> asyncio.Future[None]:
        """Looks for an account, together with everybody else who waits for the same one.

        Done when there is nothing more to wait for, whether the account was found or not; why not stands in the log.
        """

    def want(self, names: Iterable[str]) -> None:
        """Looks for accounts without anybody waiting; what depends on them changes when they are found."""
