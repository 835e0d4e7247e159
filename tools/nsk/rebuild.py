"""A project tree made anew from what a collection of JWTs and seeds holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from auth.claims import AccountClaims, UserClaims
from auth.gojson import quote
from auth.nkey import KeyPair
from tools.nsk.collection import Collection, Found, FoundAccount, FoundOperator
from tools.nsk.errors import StoreError
from tools.nsk.keystore import KeyStore
from tools.nsk.report import Report
from tools.nsk.store import Store, check_name
from tools.nsk.transaction import Files

OPERATORS = "operators"
KEYS = "keys"


@dataclass(slots=True)
class Counts:
    """How much was stored."""

    operators: int = 0
    accounts: int = 0
    users: int = 0
    keys: int = 0


class Rebuilder:
    """Writes operators, their accounts and users, and their seeds and creds files below a directory.

    What cannot be stored is an error in the report; the rest is stored nevertheless.
    """

    def __init__(self, collection: Collection, directory: Path, files: Files) -> None:
        self._collection = collection
        self._root = directory / OPERATORS
        self._keystore = KeyStore(directory / KEYS, files=files)
        self.counts = Counts()

    def rebuild(self, report: Report) -> None:
        """Write everything."""
        for found in self._collection.operators.values():
            section = report.section(f"operator {found.claims.name} [{found.claims.subject}]")
            try:
                self._operator(found, section)
            except StoreError as error:
                section.error(error.text)

    def _operator(self, found: FoundOperator, report: Report) -> None:
        name, keys = check_name(found.claims.name, "operator"), [found.claims.subject, *found.claims.nats.signing_keys]
        if self._keystore.files.names(self._root / name):
            raise StoreError(f"error creating store: operator {quote(name)} already exists in `{self._root}`")
        managed = not any(key in self._collection.seeds for key in keys)
        store = Store.create(self._root, name, self._keystore, managed=managed)
        store.write_operator(found.token)
        self.counts.operators += 1
        self._keys(keys, report)
        report.ok("stored operator")
        for account in found.accounts.values():
            section = report.section(f"account {account.claims.name} [{account.claims.subject}]")
            self._account(store, account, section, report)

    def _account(self, store: Store, found: FoundAccount, report: Report, operator: Report) -> None:
        claims = found.claims
        try:
            name = check_name(claims.name, "account")
            if store.has_account(name):
                raise StoreError(f"another account is named {quote(name)}")
        except StoreError as error:
            report.error(f"error storing: {error.text}")
            return
        store.write_account(name, found.token)
        report.ok("stored account")
        self.counts.accounts += 1
        self._keys([claims.subject, *claims.signing_key_names()], operator)
        for user in found.users.values():
            section = report.section(f"user {user.claims.name} [{user.claims.subject}]")
            try:
                self._user(store, claims, user, section, operator)
            except StoreError as error:
                section.error(f"error storing user: {error.text}")

    def _user(
        self, store: Store, account: AccountClaims, found: Found[UserClaims], report: Report, operator: Report
    ) -> None:
        name = check_name(found.claims.name, "user")
        if not account.did_sign(found.claims):
            raise StoreError(f"account with public key {quote(found.claims.issuer)} is not in the store")
        if store.has_user(account.name, name):
            raise StoreError(f"another user is named {quote(name)}")
        store.write_user(account.name, name, found.token)
        self.counts.users += 1
        if found.claims.subject in self._collection.seeds:
            self._keys([found.claims.subject], operator)
            report.ok(f"stored creds file {store.write_creds(account.name, name)}")

    def _keys(self, keys: list[str], report: Report) -> None:
        for public in keys:
            pair: KeyPair | None = self._collection.seeds.get(public)
            if pair is not None:
                self._keystore.store_key(pair)
                report.ok(f"stored key {public}")
                self.counts.keys += 1

