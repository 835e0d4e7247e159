"""The identity of an account: its public key is the account, so another key is another account beside the old one.

Both live until the old one has no connections any more. What cannot be seamless is said by ``LIMITS``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from auth.claims import AccountClaims, Import, UserScope, blocking
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.deletions import note_deletion
from tools.nsk.errors import StoreError
from tools.nsk.rotation.begin import Terms, record
from tools.nsk.rotation.records import Book, Kind, Rotation
from tools.nsk.rotation.renew import renew_activation, resign_user
from tools.nsk.store import Store

GRACE_SECONDS: Final = 60
"""How long the old account stays valid where its last JWT is used."""
LIMITS: Final = (
    "an account is its key, so this makes a second account: clients with new creds and clients with old ones "
    "do not hear each other until all have reconnected",
    "streams, consumers and stored messages of the old account stay there",
    "accounts of other operators that import from it, and subjects that hold its key, are to be changed by hand",
)


def begin_account_identity(store: Store, account: str, terms: Terms) -> tuple[Rotation, list[str]]:
    """A new account of the same name beside the old one, which the store keeps under another name.

    Returns also what is to be done by hand. Raises StoreError.
    """
    owner = store.account(account)
    if store.managed:
        raise StoreError("the operator's keys are with somebody else, who alone can sign another account")
    if owner.subject == store.operator().nats.system_account:
        raise StoreError(
            "the system account's identity stands in the operator's JWT, and no running server takes another: "
            "add a new system account and restart the servers with it"
        )
    rotation = record(store, Kind.ACCOUNT, owner.subject, KeyKind.ACCOUNT, terms, account=account)
    rotation.kept_as = _free_name(store, account)
    made = store.account(account)
    made.subject = rotation.new
    for item in owner.nats.signing_keys:
        rotation.signing_keys[item.key if isinstance(item, UserScope) else item] = _new_signing_key(store, made, item)
    notes = list(_renew_own_imports(store, made))
    users = {user: store.user_token(account, user) for user in store.users(account)}
    owner.name = rotation.kept_as
    store.delete_account(account)
    store.sign_account(owner)
    for user, token in users.items():
        store.write_user(rotation.kept_as, user, token)
    _check(made)
    store.sign_account(made)
    changed = [account, rotation.kept_as]
    for name in store.accounts():
        if name not in (account, rotation.kept_as) and _introduce(store, name, made, rotation):
            changed.append(name)
    rotation.unpushed = sorted(changed)
    Book(store).save(rotation)
    return rotation, notes


def adopt(store: Store, rotation: Rotation, changed: list[str]) -> Iterator[str]:
    """Users of the new account with the keys that they have, and services asked for there."""
    made = store.account(rotation.account)
    for user in store.users(rotation.kept_as):
        claims = store.user(rotation.kept_as, user)
        signer = rotation.signing_keys.get(claims.issuer, rotation.new)
        yield resign_user(store, rotation.account, claims, store.identity_signer(signer))
    identity = store.identity_signer(rotation.new)
    for name, importer in _others(store, rotation):
        services = [item for item in importer.nats.imports if item and item.is_service and item.account == rotation.old]
        for item in services:
            item.account = rotation.new
            if item.token:
                renew_activation(made, item, identity)
            yield f"account {quote(name)} asks the new account on {quote(item.effective_local_subject)}"
        if services:
            store.sign_account(importer)
            changed.append(name)


def retire(store: Store, rotation: Rotation, changed: list[str]) -> Iterator[str]:
    """The old account expires, and nobody imports from it any more."""
    for name, importer in _others(store, rotation):
        kept = [item for item in importer.nats.imports if item is None or item.account != rotation.old]
        allowed = [key for key in importer.nats.authorization.allowed_accounts if key != rotation.old]
        before = (len(importer.nats.imports), len(importer.nats.authorization.allowed_accounts))
        if before != (len(kept), len(allowed)):
            importer.nats.imports, importer.nats.authorization.allowed_accounts = kept, allowed
            store.sign_account(importer)
            changed.append(name)
            yield f"account {quote(name)} refers to the old account no more"
    if store.has_account(rotation.kept_as):
        old = store.account(rotation.kept_as)
        old.expires_at = int(time.time()) + GRACE_SECONDS
        store.sign_account(old)
        changed.append(rotation.kept_as)
        yield f"account {rotation.old} expires in {GRACE_SECONDS} seconds"


def finish(store: Store, rotation: Rotation) -> Iterator[str]:
    """The old account leaves the store, with its keys unless they are to stay."""
    if store.has_account(rotation.kept_as):
        store.delete_account(rotation.kept_as)
        note_deletion(store, rotation.kept_as, rotation.old)
        yield f"deleted account {quote(rotation.kept_as)}"
    if not rotation.keep_key:
        for key in (rotation.old, *rotation.signing_keys):
            if store.keystore.remove_key(key):
                yield f"deleted the private key of {key}"


def _free_name(store: Store, account: str) -> str:
    taken = {name.casefold() for name in store.accounts()}
    names = (f"{account}-old{number}" for number in ("", *map(str, range(2, 1000))))
    return next(name for name in names if name.casefold() not in taken)


def _new_signing_key(store: Store, made: AccountClaims, item: str | UserScope) -> str:
    pair = KeyPair.generate(KeyKind.ACCOUNT)
    store.keystore.store_key(pair)
    if isinstance(item, UserScope):
        found = made.signing_key(item.key)
        assert isinstance(found, UserScope)
        made.remove_signing_key(item.key)
        found.key = pair.public
        made.set_signing_key(found)
    else:
        made.remove_signing_key(item)
        made.set_signing_key(pair.public)
    return pair.public


def _renew_own_imports(store: Store, made: AccountClaims) -> Iterator[str]:
    """Have the exporters activate what the account imports for its new key. An import that nobody here can activate is
    left out, since servers would refuse the account with it."""
    kept: list[Import | None] = []
    for item in made.nats.imports:
        if item is not None and item.token:
            signer = _activation_signer(store, item.account)
            if signer is None:
                yield (
                    f"the import of {quote(item.subject)} from {item.account} was left out: no key of that account is "
                    f"stored to activate it; have it activated for {made.subject}, and add it again"
                )
                continue
            renew_activation(signer[0], item, signer[1], importer=made.subject)
        kept.append(item)
    made.nats.imports = kept


def _activation_signer(store: Store, public: str) -> tuple[AccountClaims, KeyPair] | None:
    """The exporter and a key of its that servers take on activations."""
    name = store.account_with_key(public)
    if name is None:
        return None
    exporter = store.account(name)
    keys = [exporter.subject, *(item for item in exporter.nats.signing_keys if isinstance(item, str))]
    pair = next((found for key in keys if (found := store.keystore.key(key)) is not None), None)
    return None if pair is None else (exporter, pair)


def _introduce(store: Store, name: str, made: AccountClaims, rotation: Rotation) -> bool:
    """Let another account have what it has of the old account from the new one too; whether anything changed.

    Two services cannot stand under one subject, so these move when users do.
    """
    other = store.account(name)
    identity = store.identity_signer(rotation.new)
    added: list[Import] = []
    for item in other.nats.imports:
        if item is None or item.is_service or item.account != rotation.old:
            continue
        twin = next(one for one in store.account(name).nats.imports if one == item)
        assert twin is not None
        twin.account = rotation.new
        if twin.token:
            renew_activation(made, twin, identity)
        added.append(twin)
    other.nats.imports += added
    is_changed = bool(added)
    allowed = other.nats.authorization.allowed_accounts
    if rotation.old in allowed:
        allowed.append(rotation.new)
        is_changed = True
    for export in other.nats.exports:
        if export is not None and rotation.old in export.revocations:
            export.revocations[rotation.new] = export.revocations[rotation.old]
            is_changed = True
    if is_changed:
        _check(other)
        store.sign_account(other)
    return is_changed


def _check(claims: AccountClaims) -> None:
    """Refuse claims that servers would refuse. Raises StoreError."""
    issues = blocking(claims.validate())
    if issues:
        raise StoreError(f"account {quote(claims.name)} would be refused by servers: {issues[0].description}")


def _others(store: Store, rotation: Rotation) -> Iterator[tuple[str, AccountClaims]]:
    for name in store.accounts():
        if name not in (rotation.account, rotation.kept_as):
            yield name, store.account(name)
