"""The live accounts by name, under a generation that grows with every change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from accounts.account import Account


class Registry:
    """The accounts that exist now. Not safe for use by several threads; it belongs to one event loop.

    ``generation`` starts at 0 and grows by one with each change, so what was compiled under another one is stale.
    At most one account is the system account.
    """

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts: dict[str, Account] = {}
        self._generation = 0
        self._generations: dict[str, int] = {}
        for account in accounts:
            self.install(account)

    @property
    def generation(self) -> int:
        """The number of the last change."""
        return self._generation

    @property
    def system_account(self) -> Account | None:
        """The account that is marked as the system account, if there is one."""
        return next((account for account in self._accounts.values() if account.is_system), None)

    def install(self, account: Account) -> int:
        """Add ``account``, or put it in the place of the one with its name; return the generation now.

        An account equal to the present one changes nothing. Raises ``ValueError`` for a second system account.
        """
        if self._accounts.get(account.name) == account:
            return self._generation
        system = self.system_account
        if account.is_system and system is not None and system.name != account.name:
            raise ValueError(
                f"account {account.label!r} cannot be the system account: {system.label!r} is; remove that one first"
            )
        self._generation += 1
        self._accounts[account.name] = account
        self._generations[account.name] = self._generation
        return self._generation

    def remove(self, name: str) -> Account | None:
        """Remove the account called ``name`` and return it, or None where there is no such account."""
        account = self._accounts.pop(name, None)
        if account is not None:
            self._generation += 1
            del self._generations[name]
        return account

    def account(self, name: str) -> Account | None:
        """Return the account called ``name`` (in operator mode its public key), or None."""
        return self._accounts.get(name)

    def generation_of(self, name: str) -> int:
        """Return the generation under which ``name`` was last installed; raises ``KeyError`` for an unknown account."""
        return self._generations[name]

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._accounts.values()))

    def __len__(self) -> int:
        return len(self._accounts)

    def __contains__(self, name: object) -> bool:
        return name in self._accounts
