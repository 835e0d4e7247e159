"""The user that speaks to a server's system account: a stored one, or one made for two minutes and one purpose."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from auth import jwt
from auth.claims import AccountClaims, UserClaims, UserScope
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.errors import StoreError
from tools.nsk.store import Store

LIFETIME_SECONDS: Final = 120
"""How long a temporary user lives."""


@dataclass(frozen=True, slots=True)
class SystemUser:
    """Who asks: the name of the system account, and the user's JWT and key.

    ``is_temporary`` tells that it may do exactly what it was made for.
    """

    account: str
    token: str = field(repr=False)
    pair: KeyPair = field(repr=False)
    is_temporary: bool = False


def system_user(
    store: Store,
    publish: Sequence[str],
    subscribe: str,
    *,
    account: str = "",
    user: str = "",
    program: str = "nsk",
) -> SystemUser:
    """The stored ``user`` of the system account, or else a temporary one that may do no more than is named.

    The account is the operator's system account unless another is named. Where no key is stored that may sign a
    temporary user, the first user serves whose key is. Raises StoreError.
    """
    account = store.account_name(account) if account else _system_account(store)
    claims = store.account(account)
    if not user and (signer := _signer(store, account, claims)) is not None:
        pair = KeyPair.generate(KeyKind.USER)
        made = UserClaims.new(pair.public)
        made.name = f"{program} temporary push user"
        made.expires_at = int(time.time()) + LIFETIME_SECONDS
        made.nats.publish.allow, made.nats.subscribe.allow = list(publish), [subscribe]
        made.nats.issuer_account = "" if signer.public == claims.subject else claims.subject
        return SystemUser(account, jwt.encode(made, signer), pair, is_temporary=True)
    for name in [user] if user else store.users(account):
        found = _stored(store, account, name)
        if found is not None:
            return found
    raise StoreError("no system account user with corresponding nkey found")


def _system_account(store: Store) -> str:
    public = store.operator().nats.system_account
    name = store.account_with_key(public) if public else None
    if name is None:
        raise StoreError(f'system account "{public}" not found')
    return name


def _signer(store: Store, account: str, claims: AccountClaims) -> KeyPair | None:
    """The key for temporary users; it must not be scoped, since a scope says itself what its users may do."""
    if not store.operator().nats.strict_signing_key_usage:
        return store.keystore.key(claims.subject)
    keys = claims.nats.signing_keys
    if not keys:
        raise StoreError(f"operator requires signing keys, system account {quote(account)} doesn't have signing keys'")
    free = next((key for key in keys if not isinstance(key, UserScope)), None)
    if free is None:
        raise StoreError(f"system account {quote(account)} only has scoped signing keys, specify --system-user")
    return store.keystore.key(free)


def _stored(store: Store, account: str, name: str) -> SystemUser | None:
    try:
        pair = store.keystore.key(store.user(account, name).subject)
        return None if pair is None else SystemUser(account, store.user_token(account, name), pair)
    except StoreError:
        return None
