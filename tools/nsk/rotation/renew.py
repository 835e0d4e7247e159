"""Signing anew with another key: users with their creds files, and activations where the imports hold them."""

from __future__ import annotations

from collections.abc import Iterator

from auth import jwt
from auth.claims import AccountClaims, Import, UserClaims
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyPair
from tools.nsk.errors import StoreError
from tools.nsk.store import Store


def resign_user(store: Store, account: str, claims: UserClaims, signer: KeyPair | None) -> str:
    """Sign a user's claims and write its creds where its key is stored; what was done, in words. Raises StoreError."""
    store.sign_user(account, claims, signer)
    if store.keystore.has_key(claims.subject):
        store.write_creds(account, claims.name)
        return f"signed user {quote(claims.name)} and wrote its creds file"
    return f"signed user {quote(claims.name)}; its creds file is to be made where its private key is"


def imports_activated_by(store: Store, key: str, account: str) -> Iterator[tuple[str, Import]]:
    """The imports, with their importers, whose activations a key signed for an account."""
    for name in store.accounts():
        if name == account:
            continue
        for item in store.account(name).nats.imports:
            if item is not None and item.token and activation_issuer(item) == key:
                yield name, item


def activation_issuer(item: Import) -> str:
    """The key that signed an import's activation; empty where it cannot be read."""
    try:
        return item.activation().issuer
    except JwtError:
        return ""


def renew_activation(owner: AccountClaims, item: Import, signer: KeyPair, *, importer: str = "") -> None:
    """Have another key sign the activation that an import holds, for the same importer unless one is named.

    Raises StoreError.
    """
    try:
        activation = item.activation()
    except JwtError as problem:
        raise StoreError(str(problem)) from None
    activation.subject = importer or activation.subject
    activation.nats.issuer_account = "" if signer.public == owner.subject else owner.subject
    try:
        item.token = jwt.encode(activation, signer)
    except JwtError as problem:
        raise StoreError(str(problem)) from None
