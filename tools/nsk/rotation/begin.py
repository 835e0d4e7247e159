"""How rotations begin: the new key is made and stored, and stands beside the old one where servers must know both."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import msgspec

from auth.claims import AccountClaims, UserScope
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.errors import StoreError
from tools.nsk.rotation.records import Book, Kind, Rotation, Stage, new_id
from tools.nsk.store import Store

_MANAGED: Final = "the operator's keys are with somebody else, who alone can rotate them"


@dataclass(frozen=True, slots=True)
class Terms:
    """What whoever begins a rotation can choose: from when on (Unix seconds, 0 for never) the old key is retired even
    if somebody uses it, and whether its seed stays stored."""

    retire_after: int = 0
    keep_key: bool = False


def begin_user(store: Store, account: str, user: str, terms: Terms) -> Rotation:
    """A new key for a user, who keeps name, permissions and expiry. Raises StoreError."""
    owner, claims = store.account(account), store.user(account, user)
    rotation = record(store, Kind.USER, claims.subject, KeyKind.USER, terms, account=account, user=user)
    rotation.old_expires_at = claims.expires_at
    # Found out before anything is written: without a key that may sign it, the user stays as it is.
    signer = store.account_signer(owner, preferred=claims.issuer)
    if signer.public != claims.issuer and isinstance(owner.signing_key(claims.issuer), UserScope):
        raise StoreError(
            f"user {quote(user)} has its permissions from the signing key {claims.issuer}, whose private key is not "
            f"stored: bring it with 'nsk import keys', or rotate it with 'nsk rotate signing-key'"
        )
    if claims.subject in owner.nats.authorization.auth_users:
        owner.nats.authorization.auth_users.append(rotation.new)
        store.sign_account(owner)
        rotation.unpushed = [account]
    Book(store).save(rotation)
    return rotation


def begin_signing_key(store: Store, account: str, given: str, terms: Terms) -> Rotation:
    """A new signing key for an account beside one that is named by key or role, with its scope. Raises StoreError."""
    owner = store.account(account)
    old = signing_key_of(owner, given)
    rotation = record(store, Kind.SIGNING_KEY, old, KeyKind.ACCOUNT, terms, account=account)
    found = owner.signing_key(old)
    if isinstance(found, UserScope):
        scope = msgspec.convert(msgspec.to_builtins(found), UserScope)
        scope.key = rotation.new
        owner.set_signing_key(scope)
    else:
        owner.set_signing_key(rotation.new)
    return _save_account(store, owner, rotation)


def begin_account(store: Store, account: str, terms: Terms) -> list[Rotation]:
    """New keys for all that sign an account's users: each signing key, or the first one where there is none.

    Raises StoreError.
    """
    owner = store.account(account)
    keys = [item.key if isinstance(item, UserScope) else item for item in owner.nats.signing_keys]
    for key in keys or [owner.subject]:
        Book(store).refuse_second(key)
    if keys:
        return [begin_signing_key(store, account, key, terms) for key in keys]
    rotation = record(store, Kind.SIGNING_KEY, owner.subject, KeyKind.ACCOUNT, terms, account=account)
    rotation.old_stays = True
    owner.set_signing_key(rotation.new)
    return [_save_account(store, owner, rotation)]


def begin_operator(store: Store, given: str, terms: Terms) -> Rotation:
    """A new signing key for the operator beside the one that is named, or the only one; or its first.

    Raises StoreError.
    """
    if store.managed:
        raise StoreError(_MANAGED)
    operator = store.operator()
    keys = operator.nats.signing_keys
    if given and given not in keys:
        known = ", ".join(keys) or "none"
        raise StoreError(f"{given} is no signing key of operator {quote(store.name)}; there are: {known}")
    if not given and len(keys) > 1:
        known = ", ".join(keys)
        raise StoreError(f"operator {quote(store.name)} has several signing keys, name one with --sk: {known}")
    old = given or (keys[0] if keys else operator.subject)
    rotation = record(store, Kind.OPERATOR_SIGNING_KEY, old, KeyKind.OPERATOR, terms)
    rotation.old_stays = not keys
    keys.append(rotation.new)
    store.sign_operator(operator)
    Book(store).save(rotation)
    return rotation


def begin_operator_identity(store: Store, terms: Terms) -> Rotation:
    """A new identity for the operator; the old one signs accounts for as long as it takes. Raises StoreError."""
    if store.managed:
        raise StoreError(_MANAGED)
    operator = store.operator()
    store.identity_signer(operator.subject)
    rotation = record(store, Kind.OPERATOR, operator.subject, KeyKind.OPERATOR, terms)
    operator.subject = rotation.new
    if not operator.nats.strict_signing_key_usage:
        operator.nats.signing_keys.append(rotation.old)
    store.sign_operator(operator)
    Book(store).save(rotation)
    return rotation


def signing_key_of(owner: AccountClaims, given: str) -> str:
    """The signing key that is named by itself or by its role, or the only one. Raises StoreError."""
    items = owner.nats.signing_keys
    roles = {item.key: item.role for item in items if isinstance(item, UserScope)}
    keys = [item.key if isinstance(item, UserScope) else item for item in items]
    found = [key for key in keys if not given or given in (key, roles.get(key))]
    if len(found) == 1:
        return found[0]
    if not keys:
        raise StoreError(
            f"account {quote(owner.name)} has no signing key: 'nsk rotate account {owner.name}' gives it the first one"
        )
    known = ", ".join(f"{key} (role {roles[key]})" if roles.get(key) else key for key in keys)
    if not found:
        raise StoreError(f"account {quote(owner.name)} has no signing key {quote(given)}; there are: {known}")
    raise StoreError(f"account {quote(owner.name)} has several such signing keys, name one with --sk: {known}")


def record(
    store: Store, kind: Kind, old: str, key_kind: KeyKind, terms: Terms, *, account: str = "", user: str = ""
) -> Rotation:
    """The record of a rotation that begins, whose new key is stored. Raises StoreError."""
    Book(store).refuse_second(old)
    pair = KeyPair.generate(key_kind)
    store.keystore.store_key(pair)
    return Rotation(
        id=new_id(),
        kind=kind,
        stage=Stage.ISSUED,
        old=old,
        new=pair.public,
        account=account,
        user=user,
        started_at=int(time.time()),
        retire_after=terms.retire_after,
        keep_key=terms.keep_key,
    )


def _save_account(store: Store, owner: AccountClaims, rotation: Rotation) -> Rotation:
    store.sign_account(owner)
    rotation.unpushed = [owner.name]
    Book(store).save(rotation)
    return rotation
