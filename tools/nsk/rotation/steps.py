"""The steps of a rotation after its beginning. Each may be done again without harm, and leaves its record behind."""

from __future__ import annotations

import time
from collections.abc import Iterator

from auth.claims import UserScope
from auth.gojson import quote
from auth.nkey import KeyPair
from tools.nsk.errors import StoreError
from tools.nsk.rotation import identity
from tools.nsk.rotation.records import Book, Kind, Rotation, Stage
from tools.nsk.rotation.renew import activation_issuer, imports_activated_by, renew_activation, resign_user
from tools.nsk.store import Store


def adopt(store: Store, rotation: Rotation, *, force: bool = False) -> list[str]:
    """Have the new key sign whatever the old one signed, and say what was done. Raises StoreError.

    With ``force``, a user who has got another key meanwhile keeps that.
    """
    done: list[str] = []
    changed: list[str] = []
    match rotation.kind:
        case Kind.USER:
            done += _adopt_user(store, rotation, force=force)
        case Kind.SIGNING_KEY:
            done += _adopt_signing_key(store, rotation, changed)
        case Kind.ACCOUNT:
            done += identity.adopt(store, rotation, changed)
        case Kind.OPERATOR | Kind.OPERATOR_SIGNING_KEY:
            done += _adopt_operator(store, rotation, changed)
    rotation.stage = Stage.ADOPTED
    _note(store, rotation, changed)
    return done


def retire(store: Store, rotation: Rotation) -> list[str]:
    """Take the old key out of the claims, and say what was done. Raises StoreError."""
    done: list[str] = []
    changed: list[str] = []
    match rotation.kind:
        case Kind.USER:
            owner = store.account(rotation.account)
            owner.revoke(rotation.old, int(time.time()))
            owner.nats.authorization.auth_users = [
                user for user in owner.nats.authorization.auth_users if user != rotation.old
            ]
            store.sign_account(owner)
            changed.append(rotation.account)
            done.append(f"revoked the old key {rotation.old}")
        case Kind.SIGNING_KEY if not rotation.old_stays:
            owner = store.account(rotation.account)
            owner.remove_signing_key(rotation.old)
            store.sign_account(owner)
            changed.append(rotation.account)
            done.append(f"removed the signing key {rotation.old} from account {quote(rotation.account)}")
        case Kind.ACCOUNT:
            done += identity.retire(store, rotation, changed)
        case Kind.OPERATOR | Kind.OPERATOR_SIGNING_KEY if not rotation.old_stays:
            operator = store.operator()
            operator.nats.signing_keys = [key for key in operator.nats.signing_keys if key != rotation.old]
            store.sign_operator(operator)
            done.append(f"removed the key {rotation.old} from operator {quote(store.name)}")
    rotation.stage = Stage.RETIRED
    _note(store, rotation, changed)
    return done


def finish(store: Store, rotation: Rotation) -> list[str]:
    """End a rotation whose old key no server takes any more: forget it, and its seed unless that is to stay."""
    done: list[str] = []
    if rotation.kind is Kind.ACCOUNT:
        done += identity.finish(store, rotation)
    elif not (rotation.keep_key or rotation.old_stays) and store.keystore.remove_key(rotation.old):
        done.append(f"deleted the private key of {rotation.old}")
    if rotation.old_stays and rotation.kind.is_operators and not store.operator().nats.strict_signing_key_usage:
        done.append(
            "the operator's identity signs no accounts any more: 'nsk edit operator --require-signing-keys' has "
            "servers insist on that, and its private key can be kept elsewhere"
        )
    Book(store).finish(rotation)
    return done


def new_pair(store: Store, rotation: Rotation) -> KeyPair:
    """The new key with its seed. Raises StoreError."""
    return store.identity_signer(rotation.new)


def _note(store: Store, rotation: Rotation, changed: list[str]) -> None:
    rotation.unpushed = sorted({*rotation.unpushed, *changed})
    Book(store).save(rotation)


def _adopt_user(store: Store, rotation: Rotation, *, force: bool) -> Iterator[str]:
    account, user = rotation.account, rotation.user
    if not store.has_user(account, user):
        yield f"user {quote(user)} is not in the store any more"
        return
    claims = store.user(account, user)
    if claims.subject not in (rotation.old, rotation.new):
        if force:
            yield f"user {quote(user)} keeps the key {claims.subject} that it has meanwhile"
            return
        raise StoreError(
            f"user {quote(user)} has the key {claims.subject}, which rotation {rotation.id} knows nothing of: "
            f"end it with 'nsk rotate retire {rotation.id} --force'"
        )
    claims.subject = rotation.new
    yield resign_user(store, account, claims, None)


def _adopt_signing_key(store: Store, rotation: Rotation, changed: list[str]) -> Iterator[str]:
    account, pair = rotation.account, new_pair(store, rotation)
    owner = store.account(account)
    for name in store.users(account):
        claims = store.user(account, name)
        if claims.issuer == rotation.old:
            yield resign_user(store, account, claims, pair)
    if isinstance(owner.signing_key(rotation.new), UserScope):
        # Servers refuse activations that a scoped key signed, so there is none to keep in force.
        return
    importers = sorted({name for name, _ in imports_activated_by(store, rotation.old, account)})
    for name in importers:
        importer = store.account(name)
        for item in importer.nats.imports:
            if item is not None and item.token and activation_issuer(item) == rotation.old:
                renew_activation(owner, item, pair)
                yield f"renewed the activation of {quote(item.subject)} for account {quote(name)}"
        store.sign_account(importer)
        changed.append(name)


def _adopt_operator(store: Store, rotation: Rotation, changed: list[str]) -> Iterator[str]:
    pair = new_pair(store, rotation)
    if rotation.new not in store.operator_signers():
        yield "the operator's identity signs no accounts, since it requires signing keys"
        return
    for name in store.accounts():
        claims = store.account(name)
        if claims.issuer == rotation.old:
            store.sign_account(claims, pair)
            changed.append(name)
            yield f"signed account {quote(name)}"
