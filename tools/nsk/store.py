"""The store: an operator, its accounts and their users as files of JWTs, in nsc's layout.

    <root>/<operator>/.nsc, <operator>.jwt
    <root>/<operator>/accounts/<account>/<account>.jwt
    <root>/<operator>/accounts/<account>/users/<user>.jwt

Seeds and creds files lie apart, in the keystore. ``Store`` is what the commands work on and what other programs
import; ``tools.nsk.provision`` creates operators, accounts and users with it.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from auth.claims import AccountClaims, Claims, OperatorClaims, UserClaims
from auth.creds import CredsError, format_creds
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair, is_public_key
from tools.nsk.environment import ACCOUNTS, STORE_INFO
from tools.nsk.errors import StoreError
from tools.nsk.issuer import UserIssuer, encoded
from tools.nsk.keystore import KeyStore
from tools.nsk.remedies import meant
from tools.nsk.transaction import settle

ClaimsT = TypeVar("ClaimsT", bound=Claims)

JWT_SUFFIX = ".jwt"
_USERS = "users"


def check_name(name: str, what: str) -> str:
    """A name without surrounding blanks that can be a file's name. Raises StoreError."""
    name = name.strip()
    if not name:
        raise StoreError(f"{what} name is required", show_usage=what != "account")
    if "/" in name or "\\" in name:
        raise StoreError("name cannot contain '/' or '\\'", show_usage=True)
    if name.startswith(".") or not name.isprintable():
        raise StoreError(f"{what} name {quote(name)} cannot be the name of a file", show_usage=True)
    return name


class Store:
    """The JWTs of one operator and of everything below it."""

    def __init__(self, directory: Path, keystore: KeyStore, *, managed: bool = False) -> None:
        self.directory = directory
        self.keystore = keystore
        self.files = keystore.files
        self.managed = managed
        """Whether somebody else holds the operator's key, so that accounts sign themselves."""

    @classmethod
    def create(cls, root: Path, name: str, keystore: KeyStore, *, managed: bool = False) -> Store:
        """The directories of a new operator, without its JWT. Raises StoreError when the name is taken."""
        directory = root / check_name(name, "operator")
        if keystore.files.is_file(directory / STORE_INFO):
            raise StoreError(f"operator named {name} exists already please inspect and use --force to overwrite")
        keystore.files.make_directory(directory / ACCOUNTS)
        store = cls(directory, keystore, managed=managed)
        store._write_info()
        return store

    @classmethod
    def open(cls, root: Path, name: str, keystore: KeyStore) -> Store:
        """An existing operator. Raises StoreError when there is none of that name in the root.

        What an interrupted program left half done is finished first.
        """
        directory = root / name
        info = directory / STORE_INFO
        if not keystore.files.in_transaction:
            settle((root, keystore.directory))
        text = keystore.files.read(info)
        if text is None:
            raise StoreError(f"`{directory}` is not a valid data directory: stat {info}: no such file or directory")
        try:
            managed = json.loads(text).get("managed", False)
        except (ValueError, AttributeError):
            raise StoreError(f"`{info}` cannot be read: it is not a JSON object") from None
        return cls(directory, keystore, managed=managed is True)

    @staticmethod
    def exists(root: Path, name: str) -> bool:
        """Whether the root holds an operator of that name."""
        return (root / name / STORE_INFO).is_file()

    def _write_info(self) -> None:
        info = {"managed": self.managed, "name": self.name, "kind": "operator", "version": "1"}
        self.files.write(self.directory / STORE_INFO, json.dumps(info, separators=(",", ":"), ensure_ascii=False))

    def set_managed(self, managed: bool) -> None:
        """Note whether somebody else holds the operator's key."""
        self.managed = managed
        self._write_info()

    @property
    def name(self) -> str:
        """The operator's name, which is the directory's."""
        return self.directory.name

    @property
    def root(self) -> Path:
        """The directory that holds this operator beside others."""
        return self.directory.parent

    def transaction(self) -> AbstractContextManager[None]:
        """Make all changes inside the block together, while other programs wait. Reads inside it see them.

        When the block raises, nothing was changed; a crash leaves the state before the block or after it.
        """
        return self.files.transaction(self.root, self.keystore.directory)

    # The operator.

    @property
    def operator_path(self) -> Path:
        """The file of the operator's JWT."""
        return self.directory / f"{self.name}{JWT_SUFFIX}"

    def operator_token(self) -> str:
        """The operator's JWT. Raises StoreError when there is none."""
        token = self._read(self.operator_path)
        if token is None:
            raise StoreError(f"operator {quote(self.name)} has no JWT: `{self.operator_path}` does not exist")
        return token

    def operator(self) -> OperatorClaims:
        """The operator's claims. Raises StoreError."""
        return _decoded(OperatorClaims, self.operator_token())

    def write_operator(self, token: str) -> None:
        """Store the operator's JWT."""
        self.files.write(self.operator_path, token)

    # Accounts.

    def account_directory(self, account: str) -> Path:
        """Where an account's files lie."""
        return self.directory / ACCOUNTS / account

    def account_path(self, account: str) -> Path:
        """The file of an account's JWT."""
        return self.account_directory(account) / f"{account}{JWT_SUFFIX}"

    def accounts(self) -> list[str]:
        """The names of the accounts, sorted."""
        directory = self.directory / ACCOUNTS
        return [name for name in self.files.names(directory) if self.files.is_directory(directory / name)]

    def has_account(self, account: str) -> bool:
        """Whether there is an account of that name."""
        return bool(account) and self.files.is_file(self.account_path(account))

    def account_token(self, account: str) -> str:
        """An account's JWT. Raises StoreError when there is none."""
        token = self._read(self.account_path(account)) if account else None
        if token is None:
            raise StoreError(
                f"account {account} does not exist in the current operator", remedy=meant(account, self.accounts())
            )
        return token

    def account_tokens(self) -> dict[str, str]:
        """All accounts' JWTs by public key. Raises StoreError for one that cannot be read."""
        return {self.account(name).subject: self.account_token(name) for name in self.accounts()}

    def account(self, account: str) -> AccountClaims:
        """An account's claims. Raises StoreError."""
        return _decoded(AccountClaims, self.account_token(account))

    def account_name(self, name_or_key: str) -> str:
        """The name of the account with a name or public key. Raises StoreError when there is none."""
        if self.has_account(name_or_key):
            return name_or_key
        if is_public_key(name_or_key, KeyKind.ACCOUNT):
            name = self.account_with_key(name_or_key)
            if name is None:
                raise StoreError(f"no account found with public key {name_or_key}")
            return name
        raise self.unknown_account(name_or_key)

    def unknown_account(self, account: str) -> StoreError:
        """The error for an account that this operator does not have."""
        return StoreError(
            f"{quote(account)} not in accounts for operator {quote(self.name)} in `{self.root}`",
            remedy=meant(account, self.accounts()),
        )

    def account_with_key(self, public: str) -> str | None:
        """The name of the account with a public key. Accounts that cannot be read are passed over."""
        for name in self.accounts():
            try:
                if self.account(name).subject == public:
                    return name
            except StoreError:
                continue
        return None

    def write_account(self, account: str, token: str) -> None:
        """Store an account's JWT."""
        self.files.write(self.account_path(account), token)

    def delete_account(self, account: str) -> None:
        """Remove an account's JWT and its users' JWTs."""
        self.files.remove_tree(self.account_directory(account))

    # Users.

    def user_path(self, account: str, user: str) -> Path:
        """The file of a user's JWT."""
        return self.account_directory(account) / _USERS / f"{user}{JWT_SUFFIX}"

    def users(self, account: str) -> list[str]:
        """The names of an account's users, sorted."""
        names = self.files.names(self.account_directory(account) / _USERS)
        return sorted(name.removesuffix(JWT_SUFFIX) for name in names if name.endswith(JWT_SUFFIX))

    def has_user(self, account: str, user: str) -> bool:
        """Whether the account has a user of that name."""
        return bool(user) and self.files.is_file(self.user_path(account, user))

    def user_token(self, account: str, user: str) -> str:
        """A user's JWT. Raises StoreError when there is none."""
        token = self._read(self.user_path(account, user)) if user else None
        if token is None:
            raise StoreError(
                f"user {user} does not exist in the current account", remedy=meant(user, self.users(account))
            )
        return token

    def user(self, account: str, user: str) -> UserClaims:
        """A user's claims. Raises StoreError."""
        return _decoded(UserClaims, self.user_token(account, user))

    def write_user(self, account: str, user: str, token: str) -> None:
        """Store a user's JWT."""
        self.files.write(self.user_path(account, user), token)

    def delete_user(self, account: str, user: str) -> None:
        """Remove a user's JWT; key and creds are the keystore's."""
        self.files.remove(self.user_path(account, user))

    # Records that this tool keeps beside the operator's JWT, in hidden files that nsc passes over.

    def record_path(self, name: str) -> Path:
        """The file of a record."""
        return self.directory / name

    def record(self, name: str) -> str | None:
        """A record, or None when there never was one."""
        return self._read(self.record_path(name))

    def write_record(self, name: str, text: str) -> None:
        """Store a record."""
        self.files.write(self.record_path(name), text)

    # Signing.

    def operator_signer(self, *, preferred: str = "") -> KeyPair:
        """The key that signs accounts: the operator's, unless signing keys are required; then the first one stored.

        In a managed store without such a key there is none. Raises StoreError.
        """
        return self.first_stored(self.operator_signers(), preferred)

    def operator_signers(self) -> list[str]:
        """The keys whose signature servers accept on an account, in the order in which they are tried."""
        return list(self.operator().trusted_keys())

    def account_signers(self, claims: AccountClaims) -> list[str]:
        """The keys whose signature servers accept on an account's user, in the order in which they are tried."""
        keys = claims.signing_key_names()
        if not self.operator().nats.strict_signing_key_usage:
            return [claims.subject, *keys]
        if not keys:
            raise StoreError("unable to issue users when operator requires signing keys and the account has none")
        return keys

    def account_signer(self, claims: AccountClaims, *, preferred: str = "") -> KeyPair:
        """The key that signs an account's users, like ``operator_signer``. Raises StoreError."""
        return self.first_stored(self.account_signers(claims), preferred)

    def identity_signer(self, public: str) -> KeyPair:
        """The key pair of an identity, from the keystore. Raises StoreError."""
        return self.first_stored([public])

    def first_stored(self, candidates: list[str], preferred: str = "") -> KeyPair:
        """The first key whose seed is stored, the preferred one if it is among them. Raises StoreError."""
        if preferred in candidates:
            candidates = [preferred, *(key for key in candidates if key != preferred)]
        for public in candidates:
            if (pair := self.keystore.key(public)) is not None:
                return pair
        raise StoreError(
            f"unable to resolve any of the following signing keys in the keystore: {', '.join(candidates)}"
        )

    def sign_operator(self, claims: OperatorClaims, signer: KeyPair | None = None) -> str:
        """Sign and store the operator's claims, with its own key when none is given. Raises StoreError."""
        signer = signer or self.identity_signer(claims.subject)
        if signer.public not in (claims.subject, *claims.nats.signing_keys):
            raise StoreError(f"key {signer.public} does not sign for operator {quote(self.name)}")
        token = encoded(claims, signer)
        self.write_operator(token)
        return token

    def sign_account(self, claims: AccountClaims, signer: KeyPair | None = None, *, keep_issuer: bool = True) -> str:
        """Sign and store an account's claims under their name.

        Without a signer an operator key does, the one that signed before when ``keep_issuer``, else the first that is
        stored; in a managed store that has none, the account's own. Raises StoreError for a key whose signature no
        server would accept.
        """
        signer = signer or self._account_issuer(claims, claims.issuer if keep_issuer else "")
        own = self.managed and signer.public == claims.subject
        if not own and signer.public not in self.operator_signers():
            raise StoreError(
                f"key {signer.public} does not sign for operator {quote(self.name)}: servers would refuse the account"
            )
        token = encoded(claims, signer)
        self.write_account(claims.name, token)
        return token

    def _account_issuer(self, claims: AccountClaims, preferred: str) -> KeyPair:
        try:
            return self.operator_signer(preferred=preferred)
        except StoreError:
            if not self.managed:
                raise
            return self.identity_signer(claims.subject)

    def sign_user(self, account: str, claims: UserClaims, signer: KeyPair | None = None) -> str:
        """Sign and store a user's claims below an account.

        Without a signer a stored key of the account does. Raises StoreError for a key that does not sign for the
        account, and when a scoped signing key is to sign claims that grant or limit something themselves.
        """
        return UserIssuer(self, account, signer, preferred=claims.issuer).sign(claims)

    # Credentials.

    def creds(self, account: str, user: str) -> str:
        """The text of a user's creds file. Raises StoreError when the user's seed is not stored."""
        pair = self.keystore.key(self.user(account, user).subject)
        if pair is None:
            raise StoreError(f"the private key of user {quote(user)} is not in the keystore")
        return creds_text(self.user_token(account, user), pair)

    def write_creds(self, account: str, user: str) -> Path:
        """Write a user's creds file into the keystore. Raises StoreError."""
        return self.keystore.write_creds(self.name, account, user, self.creds(account, user))

    def creds_path(self, account: str, user: str) -> Path:
        """Where the keystore has a user's creds file, or would."""
        return self.keystore.creds_path(self.name, account, user)

    def _read(self, path: Path) -> str | None:
        try:
            text = self.files.read(path)
        except UnicodeDecodeError:
            raise StoreError(f"`{path}` is not a JWT") from None
        return None if text is None else text.strip()


def _decoded(kind: type[ClaimsT], token: str) -> ClaimsT:
    try:
        return kind.from_token(token)
    except JwtError as error:
        raise StoreError(str(error)) from None


def creds_text(token: str, pair: KeyPair) -> str:
    """The text of a creds file. Raises StoreError when the key is not that of the JWT."""
    try:
        return format_creds(token, pair.seed)
    except (CredsError, JwtError) as error:
        raise StoreError(str(error)) from None
