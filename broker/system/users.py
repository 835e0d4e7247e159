"""What a user is told of itself: who it is, in which account, what it may do and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broker.session.record import shown_user
from broker.wire.values import nanoseconds, readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accounts.permissions import Grant, Permissions, SubjectRules
    from auth.principal import Principal
    from broker.session.session import Session


class Rules(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One direction."""

    allow: list[str] = msgspec.field(default_factory=list)
    deny: list[str] = msgspec.field(default_factory=list)


class Responses(msgspec.Struct, kw_only=True):
    """How many answers a request permits, within how many nanoseconds; below 0 without limit."""

    max: int
    ttl: int


class Rights(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the user may say and hear."""

    publish: Rules
    subscribe: Rules
    responses: Responses | None = None


class UserInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One user. ``expires`` are nanoseconds from now, in whole seconds."""

    user: str
    account: str
    account_name: str = ""
    user_name: str = ""
    permissions: Rights | None = None
    expires: int = 0


def user_info(session: Session, principal: Principal, now: float) -> UserInfo:
    """The user of a session at a Unix time."""
    account = principal.account
    permissions = principal.permissions if principal.permissions is not None else account.default_permissions
    left = 0.0 if principal.expires_at is None else max(principal.expires_at - now, 0.0)
    return UserInfo(
        user=readable(shown_user(principal, session.connect)),
        account=readable(account.name),
        account_name=readable(account.label),
        user_name=readable(principal.user_name),
        permissions=None if permissions is None or permissions.is_empty else _rights(permissions),
        expires=nanoseconds(int(left)),
    )


def _rights(permissions: Permissions) -> Rights:
    responses = permissions.responses
    return Rights(
        publish=_rules(permissions.publish),
        subscribe=_rules(permissions.subscribe),
        responses=None
        if responses is None
        else Responses(max=responses.max_messages, ttl=nanoseconds(responses.expires)),
    )


def _rules(rules: SubjectRules) -> Rules:
    return Rules(allow=_written(rules.allow), deny=_written(rules.deny))


def _written(grants: Iterable[Grant]) -> list[str]:
    return [readable(str(grant)) for grant in grants]
