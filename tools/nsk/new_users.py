"""What the flags of ``add user``, or the columns of a file of users, say about a new user."""

from __future__ import annotations

from auth.claims import UNLIMITED, Permissions, UserPermissionLimits, add_tags
from auth.gojson import quote
from tools.nsk.edits import TIME_FLAGS, times
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, strings, text
from tools.nsk.grants import GRANT_FLAG, add_grants, read_grants, tell_grants
from tools.nsk.issuer import UserIssuer
from tools.nsk.permissions import add_networks, edit_permissions, permission_flags
from tools.nsk.private_inbox import grant_private_inbox
from tools.nsk.provision import UserPlan
from tools.nsk.report import Report
from tools.nsk.roles import ROLES, close_unused, grant_role
from tools.nsk.values import format_duration

PRIVATE_INBOX_FLAG = boolean(
    "private-inbox", "", "receive replies below _INBOX_<user>. only, where no other user reads them", beyond=True
)
_PERMISSION_FLAGS = permission_flags("permissions")
_ROLE_FLAGS = (
    text("role", "", f"grant what a role needs, and no more: {', '.join(ROLES)}", beyond=True),
    strings("subject", "", "subjects of the role", beyond=True),
    GRANT_FLAG,
)
NEW_USER_FLAGS = (
    boolean("bearer", "", "no connect challenge required for user"),
    strings("tag", "", "tags for user"),
    strings("source-network", "", "source network for connection"),
    *TIME_FLAGS,
    *_PERMISSION_FLAGS,
    *_ROLE_FLAGS,
    PRIVATE_INBOX_FLAG,
)
_LIMITING = (
    "bearer",
    "source-network",
    *(flag.long.removeprefix("--") for flag in (*_PERMISSION_FLAGS, *_ROLE_FLAGS, PRIVATE_INBOX_FLAG)),
)


def plan_user(flags: Flags, name: str, issuer: UserIssuer, report: Report, *, public_key: str = "") -> UserPlan:
    """The user that the flags describe. What they grant is put into the report. Raises NskError."""
    start, expiry = times(flags)
    tags: list[str] = []
    add_tags(tags, flags.strings("tag"))
    if flags.boolean("bearer") and issuer.owner.nats.limits.disallow_bearer:
        raise NskError(f"account {quote(issuer.account)} forbids the use of bearer token")
    return UserPlan(name, public_key, start, expiry, tuple(sorted(tags)), _limits(flags, name, issuer, report))


def _limits(flags: Flags, name: str, issuer: UserIssuer, report: Report) -> UserPermissionLimits | None:
    """The limits that the flags describe, or None when there is none of them."""
    if not flags.given(*_LIMITING):
        return None
    role, grants = flags.text("role"), read_grants(flags.strings("grant"))
    if issuer.scope is not None and (role or grants or flags.boolean("private-inbox")):
        what = "--role" if role else "--grant" if grants else "--private-inbox"
        raise NskError(
            f"{what} cannot be given together with the scoped signing key {issuer.signer.public}: "
            f"its role {quote(issuer.scope.role)} decides what its users may do",
            remedy=f"leave {what} out, or sign with another key: -K <key>",
        )
    if flags.strings("subject") and not role:
        raise NskError("--subject names the subjects of a role", remedy=f"add --role {'|'.join(ROLES)}")
    limits = UserPermissionLimits(
        subscriptions=UNLIMITED, data=UNLIMITED, payload=UNLIMITED, bearer_token=flags.boolean("bearer")
    )
    edit_permissions(flags, limits, report)
    add_networks(flags, limits, Report())
    granted = Report()
    if role:
        grant_role(limits, role, flags.strings("subject"))
    add_grants(limits, grants)
    tell_grants(grants, granted)
    if flags.boolean("private-inbox"):
        grant_private_inbox(limits, name)
    if role:
        close_unused(limits)
    if role or grants or flags.boolean("private-inbox"):
        tell_permissions(limits, granted)
        report.children[:] = granted.children
    for issue in limits.issues():
        raise NskError(f"{issue.description}: servers would refuse the JWT, so the user was not added")
    return limits


def tell_permissions(permissions: Permissions, report: Report) -> None:
    """Say what permissions grant and deny."""
    for label, entries in (
        ("pub", permissions.publish.allow),
        ("deny pub", permissions.publish.deny),
        ("sub", permissions.subscribe.allow),
        ("deny sub", permissions.subscribe.deny),
    ):
        for entry in entries:
            report.ok(f"added {label} {quote(entry)}")
    if permissions.responses is not None:
        report.ok(f"set max responses to {permissions.responses.maximum}")
        if permissions.responses.ttl:
            report.ok(f"set response ttl to {format_duration(permissions.responses.ttl)}")
