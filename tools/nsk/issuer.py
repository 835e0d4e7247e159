"""Signing users of one account: its claims are read and its key is found once, however many users are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auth import jwt
from auth.claims import Claims, UserClaims, UserScope
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyPair
from tools.nsk.errors import StoreError

if TYPE_CHECKING:
    from tools.nsk.store import Store


class UserIssuer:
    """A key of an account, and what it may sign.

    Without a signer a stored key of the account is taken, the preferred one first. Raises StoreError for a key that
    does not sign for the account.
    """

    def __init__(self, store: Store, account: str, signer: KeyPair | None = None, *, preferred: str = "") -> None:
        self.store = store
        self.account = account
        self.owner = store.account(account)
        self.signer = signer or store.account_signer(self.owner, preferred=preferred)
        self.scope: UserScope | None = None
        """The scope of the key, which then decides everything about its users."""
        if self.signer.public not in store.account_signers(self.owner):
            raise StoreError(
                f"key {self.signer.public} does not sign for account {quote(account)}: servers would refuse the user"
            )
        key = self.owner.signing_key(self.signer.public)
        if isinstance(key, UserScope):
            self.scope = key

    def sign(self, claims: UserClaims) -> str:
        """Sign and store a user's claims; the JWT.

        Raises StoreError when a scoped signing key is to sign claims that grant or limit something themselves.
        """
        if self.scope is not None and not claims.nats.is_empty:
            raise StoreError("scoped users require no permissions or limits set")
        if self.owner.nats.limits.disallow_bearer and claims.nats.bearer_token:
            raise StoreError(f"account {quote(self.account)} forbids the use of bearer token")
        claims.nats.issuer_account = "" if self.signer.public == self.owner.subject else self.owner.subject
        token = encoded(claims, self.signer)
        self.store.write_user(self.account, claims.name, token)
        return token


def encoded(claims: Claims, signer: KeyPair) -> str:
    """The JWT of claims. Raises StoreError."""
    try:
        return jwt.encode(claims, signer)
    except JwtError as error:
        raise StoreError(str(error)) from None
