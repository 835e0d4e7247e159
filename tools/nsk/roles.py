"""Roles of users: what a service, a consumer, a publisher and an administrator need, and no more than that.

A role is spelled out in a user's JWT as plain permissions, so that whoever reads the JWT sees all of it. A direction in
which a role needs nothing is denied as a whole. What a user needs beside its role is added with the flags that grant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auth.claims import Permissions, ResponsePermission
from auth.gojson import quote
from tools.nsk.errors import NskError
from tools.nsk.private_inbox import SHARED_INBOX

SUBJECT = "SUBJECT"
"""Stands for the subjects that the person names."""
EVERYTHING = ">"


@dataclass(frozen=True, slots=True)
class Role:
    """What a role may do. ``default_subject`` is taken when none is named; without one, a subject is required.

    With ``responses``, the role may answer each message it received, so many times, and within so many nanoseconds.
    """

    purpose: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    responses: int = 0
    response_ttl: int = 0
    default_subject: str = ""


ROLES = {
    "service": Role(
        "answers requests on the subjects, each once and within a minute, and publishes nothing else",
        subscribe=(SUBJECT,),
        responses=1,
        response_ttl=60 * 10**9,
    ),
    "consumer": Role("receives what is published to the subjects, and publishes nothing", subscribe=(SUBJECT,)),
    "publisher": Role("publishes to the subjects, and receives nothing", publish=(SUBJECT,)),
    "admin": Role(
        "publishes, requests, receives and answers on the subjects, which are all of the account unless some are named",
        publish=(SUBJECT,),
        subscribe=(SUBJECT, f"{SHARED_INBOX}.>"),
        responses=1,
        response_ttl=60 * 10**9,
        default_subject=EVERYTHING,
    ),
}


def find_role(name: str) -> Role:
    """The role of that name. Raises NskError."""
    role = ROLES.get(name.lower())
    if role is None:
        raise NskError(f"there is no role {quote(name)}", remedy=f"the roles are: {', '.join(ROLES)}")
    return role


def grant_role(permissions: Permissions, name: str, given: Sequence[str]) -> None:
    """Add what a role needs on the given subjects. Raises NskError.

    Entries for subscribing may name a queue after a blank, as everywhere.
    """
    role = find_role(name)
    named = list(given) or ([role.default_subject] if role.default_subject else [])
    if not named:
        raise NskError(f"the role {name.lower()} needs subjects", remedy="name them: --subject <subject>,...")
    if role.publish and (queued := next((entry for entry in named if " " in entry), None)):
        raise NskError(
            f"the role {name.lower()} publishes, and to {quote(queued)} nobody can",
            remedy="name the subject without a queue",
        )
    for wanted, permission in ((role.publish, permissions.publish), (role.subscribe, permissions.subscribe)):
        entries = {entry for item in wanted for entry in (named if item == SUBJECT else [item])}
        permission.allow = sorted({*permission.allow, *entries})
    if role.responses:
        own = permissions.responses or ResponsePermission(maximum=role.responses, ttl=role.response_ttl)
        permissions.responses = own


def close_unused(permissions: Permissions) -> None:
    """Deny the directions in which a role, with what was added to it, may do nothing.

    A user without an entry in a direction could do everything there. Where it may answer, servers take the lack of
    entries for publishing as nothing but answers, and a denial would forbid those too.
    """
    if not permissions.subscribe.allow and EVERYTHING not in permissions.subscribe.deny:
        permissions.subscribe.deny = sorted([*permissions.subscribe.deny, EVERYTHING])
    answers = permissions.responses is not None
    if not permissions.publish.allow and not answers and EVERYTHING not in permissions.publish.deny:
        permissions.publish.deny = sorted([*permissions.publish.deny, EVERYTHING])
