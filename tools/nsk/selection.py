"""Which keys a command is about: those of the operator, of accounts and of users, as flags choose them.

``list keys`` shows them and ``export keys`` writes them to files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from auth.nkey import KeyKind, public_key_kind
from tools.nsk.errors import StoreError
from tools.nsk.flags import Flags
from tools.nsk.keystore import KeyStore
from tools.nsk.session import Session
from tools.nsk.store import Store


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what it belongs to. ``depth`` is 0 for the operator, 1 for accounts, 2 for users."""

    name: str
    public: str
    depth: int
    kind: KeyKind
    token: str = ""
    """The JWT of the entity whose identity the key is; none for its other keys."""
    parent: str = ""
    is_signing_key: bool = False
    is_encryption_key: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Kinds of keys, and what they are to belong to."""

    operator: bool = True
    accounts: bool = True
    users: bool = True
    curves: bool = True
    account: str = ""
    """The only account whose keys are looked at, when one is named."""
    user: str = ""
    """The only user, when one is named."""
    key: str = ""
    """The only key, when one is named."""
    part: str = ""
    """What a public key must contain."""

    @classmethod
    def of(cls, session: Session, flags: Flags, *, curves: str) -> Selection:
        """What the flags ask for; ``curves`` is the name of the switch for curve keys.

        Without a kind, these are the keys of the operator and of the current account, if there is one.
        """
        kinds = ("operator", "accounts", "users", curves)
        everything, named = flags.boolean("all"), flags.given(*kinds)
        operator, accounts, users, curve = (everything or flags.boolean(kind) or not named for kind in kinds)
        current = "" if everything or named else session.environment.account
        return cls(
            operator,
            accounts,
            users,
            accounts or curve,
            account=flags.text("account") or current,
            user=flags.text("user"),
            part=flags.text("filter").upper(),
        )

    def keys(self, store: Store) -> list[Key]:
        """The keys that the JWTs name, in the order of the tree. Raises StoreError."""
        return [key for key in self._tree(store) if self._takes(key)]

    def _takes(self, key: Key) -> bool:
        return self.part in key.public and self.key in ("", key.public)

    def _tree(self, store: Store) -> Iterator[Key]:
        operator = store.operator()
        if self.operator:
            yield Key(store.name, operator.subject, 0, KeyKind.OPERATOR, store.operator_token())
            for public in sorted(operator.nats.signing_keys):
                yield Key(store.name, public, 0, KeyKind.OPERATOR, is_signing_key=True)
        for name in self._accounts(store):
            yield from self._of_account(store, name, operator.subject)

    def _accounts(self, store: Store) -> list[str]:
        if not self.account:
            return store.accounts()
        store.account_token(self.account)
        return [self.account]

    def _of_account(self, store: Store, name: str, operator: str) -> Iterator[Key]:
        account = store.account(name)
        identity = Key(name, account.subject, 1, KeyKind.ACCOUNT, store.account_token(name), operator)
        if self.accounts:
            yield identity
            for public in account.signing_key_names():
                yield replace(identity, public=public, token="", parent="", is_signing_key=True)
        if self.curves and (xkey := account.nats.authorization.xkey):
            yield replace(identity, public=xkey, token="", parent="", is_encryption_key=True)
        if self.users:
            for user in self._users(store, name):
                token = store.user_token(name, user)
                yield Key(user, store.user(name, user).subject, 2, KeyKind.USER, token, account.subject)

    def _users(self, store: Store, account: str) -> list[str]:
        users = store.users(account)
        if not self.user:
            return users
        if self.account and self.user not in users:
            raise StoreError(f"user {self.user} does not exist in the current account")
        return [user for user in users if user == self.user]

    def unreferenced(self, store: Store | None, keystore: KeyStore) -> list[Key]:
        """The stored keys of the chosen kinds to which nothing in the selection refers. Raises StoreError."""
        known = {key.public for key in self._tree(store)} if store else set()
        found = []
        for public in keystore.public_keys():
            kind = public_key_kind(public)
            if kind is not None and public not in known and self._wants(kind):
                found.append(Key("?", public, 0, kind))
        return [key for key in found if self._takes(key)]

    def _wants(self, kind: KeyKind) -> bool:
        wanted = {KeyKind.OPERATOR: self.operator, KeyKind.ACCOUNT: self.accounts, KeyKind.USER: self.users}
        return wanted.get(kind, self.curves)
