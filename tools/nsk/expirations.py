"""When the entities of a store expire: the operator, accounts, users, and the creds files that were made for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from auth.claims import UserClaims
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from tools.nsk.errors import StoreError
from tools.nsk.store import Store
from tools.nsk.values import format_distance


@dataclass(frozen=True, slots=True)
class Expiration:
    """One entity or creds file. ``expiry`` is in Unix seconds, 0 when it never expires."""

    resource: str
    id: str
    expiry: int
    expires_soon: bool
    expired: bool

    @property
    def when(self) -> str:
        """How far away the expiry is: ``In 2 Days``, ``1 Year Ago``, ``Never``."""
        return distance(self.expiry) or "Never"

    @property
    def date(self) -> str:
        """The expiry by RFC 3339 in UTC, or nothing."""
        return rfc3339(self.expiry) if self.expiry else ""


def rfc3339(seconds: int) -> str:
    """A moment in Unix seconds as ``2026-12-01T16:17:33Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def distance(seconds: int) -> str:
    """How far a moment in Unix seconds is from now, as a title has it; nothing for 0."""
    return format_distance(seconds, time.time()).title() if seconds else ""


def expirations(store: Store, threshold: int) -> Iterator[Expiration]:
    """Everything in the store, from the operator down. What expires before the threshold, in Unix seconds, is soon.

    Raises StoreError for what cannot be read.
    """
    now = time.time()

    def entry(resource: str, public: str, expiry: int) -> Expiration:
        return Expiration(resource, public, expiry, 0 < expiry < threshold, 0 < expiry < now)

    operator = store.operator()
    yield entry(operator.name, operator.subject, operator.expires_at)
    for account in store.accounts():
        if not store.has_account(account):
            continue
        owner = store.account(account)
        yield entry(f"{operator.name}/{owner.name}", owner.subject, owner.expires_at)
        for user in store.users(account):
            claims = store.user(account, user)
            yield entry(f"{operator.name}/{owner.name}/{claims.name}", claims.subject, claims.expires_at)
            written = creds_claims(store, account, user)
            if written is not None:
                yield entry(str(store.creds_path(account, user)), written.subject, written.expires_at)


def creds_claims(store: Store, account: str, user: str) -> UserClaims | None:
    """The claims in a user's creds file, which may be older than the store's; None without such a file.

    Raises StoreError for a file that holds no user JWT.
    """
    path = store.creds_path(account, user)
    try:
        return UserClaims.from_token(parse_decorated_jwt(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (JwtError, UnicodeDecodeError) as error:
        raise StoreError(f"`{path}` is no creds file: {error}") from None
