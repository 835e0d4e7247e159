"""User claims: what one user of an account may do, from where, when and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from auth.claims.base import UNLIMITED, Claims, Issue, error
from auth.claims.permissions import UserPermissionLimits, split_source_networks
from auth.nkey import KeyKind, is_public_key


class UserData(UserPermissionLimits, omit_defaults=True, kw_only=True):
    """The ``nats`` section of user claims."""

    issuer_account: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    type: str = ""
    version: int = 0


class UserClaims(Claims, omit_defaults=True, kw_only=True):
    """Claims about a user, signed by its account or one of the account's signing keys."""

    type_name: ClassVar[str] = "user"
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = (KeyKind.ACCOUNT,)
    subject_kind: ClassVar[KeyKind | None] = KeyKind.USER
    subject_error: ClassVar[str] = "expected subject to be user public key"
    type_error: ClassVar[str] = "not user claim"

    nats: UserData = msgspec.field(default_factory=UserData)

    @classmethod
    def new(cls, subject: str, *, scoped: bool = False) -> UserClaims:
        """Fresh claims for a user's public key: without limits, or with nothing set at all for a scoped user."""
        limit = 0 if scoped else UNLIMITED
        return cls(subject=subject, nats=UserData(subscriptions=limit, data=limit, payload=limit))

    @classmethod
    def migrate_v1(cls, nats: dict[str, Any]) -> None:
        """In version 1 an absent limit meant none."""
        nats.pop("max", None)
        for limit in ("subs", "data", "payload"):
            nats.setdefault(limit, UNLIMITED)

    @classmethod
    def prepare(cls, nats: dict[str, Any]) -> None:
        """Source networks may be one text."""
        split_source_networks(nats)

    @property
    def issuer_account(self) -> str:
        """The account that the user belongs to: the issuer, unless a signing key issued the claims for it."""
        return self.nats.issuer_account or self.issuer

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding."""
        return [*self.time_issues(now), *self._own_issues()]

    def _own_issues(self) -> Iterator[Issue]:
        yield from self.nats.issues()
        if self.nats.issuer_account and not is_public_key(self.nats.issuer_account, KeyKind.ACCOUNT):
            yield error("account_id is not an account public key")
