"""``add user``, ``edit user`` and ``delete user``."""

from __future__ import annotations

from collections.abc import Container, Iterable

from auth.claims import UNLIMITED, AccountClaims, UserClaims, UserPermissionLimits, UserScope
from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk.cli import Command
from tools.nsk.contexts import write_context
from tools.nsk.edits import TAG_FLAGS, TIME_FLAGS, edit_tags, edit_times, refuse_new_issues
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, strings, text
from tools.nsk.issuer import UserIssuer
from tools.nsk.manuals import ADD_USER, EDIT_USER
from tools.nsk.names import given_or_random
from tools.nsk.new_users import NEW_USER_FLAGS, PRIVATE_INBOX_FLAG, plan_user
from tools.nsk.permissions import USER_LIMIT_FLAGS, edit_limits
from tools.nsk.private_inbox import grant_private_inbox, inbox_prefix, withdraw_private_inbox
from tools.nsk.provision import issue_user
from tools.nsk.remedies import meant, one_of
from tools.nsk.report import Report
from tools.nsk.results import DeletedUser, DeletedUsers, UserResult, user_result
from tools.nsk.rotation.records import Book
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name

PRIVATE_INBOX = PRIVATE_INBOX_FLAG.long.removeprefix("--")
_OWN_LIMITS = tuple(flag.long.removeprefix("--") for flag in (*USER_LIMIT_FLAGS, PRIVATE_INBOX_FLAG))


def _add(session: Session, flags: Flags) -> UserResult:
    store = session.store
    account = session.account_name(flags.text("account"))
    name = check_name(given_or_random(flags.name()), "user")
    if store.has_user(account, name):
        raise NskError(f"the user {quote(name)} already exists")
    public_key = ""
    if given := flags.text("public-key"):
        public_key = session.public_key(given) or ""
        if not public_key:
            raise NskError("invalid user key")
    issuer = UserIssuer(store, account, session.signer(KeyKind.ACCOUNT, account=store.account(account)))
    report = Report()
    plan = plan_user(flags, name, issuer, report, public_key=public_key)
    if issuer.scope is not None and plan.limits is not None:
        _refuse_own_limits(report)
        session.finish(report)
    user = issue_user(issuer, plan)
    if not public_key:
        report.ok(f"generated and stored user key {quote(user.claims.subject)}")
    write_creds(session, store, account, user.claims, report)
    report.ok(f"added user {quote(name)} to account {quote(account)}")
    session.finish(report)
    return user_result(store, account, user.claims)


def write_creds(session: Session, store: Store, account: str, claims: UserClaims, report: Report) -> None:
    """Write the creds file of a user whose key is stored, and the context beside it when the inbox is private."""
    if session.keystore.has_key(claims.subject):
        path = store.write_creds(account, claims.name)
        report.ok(f"generated user creds file {session.display(path)}")
    else:
        report.ok("skipped generating creds file - user private key is not available")
    if (context := write_context(store, account, claims)) is not None:
        report.ok(f"generated context with the inbox prefix {inbox_prefix(claims)} {session.display(context)}")


ADD = Command(
    "user",
    "Add an user to the account",
    _add,
    (
        text("name", "n", "name to assign the user"),
        text("account", "a", "account name"),
        text("public-key", "k", "public key identifying the user"),
        *NEW_USER_FLAGS,
    ),
    arguments=(0, 1),
    examples=ADD_USER,
    changes=True,
    result=UserResult,
)


def _edit(session: Session, flags: Flags) -> UserResult:
    store = session.store
    if not flags.given(*_EDITS):
        raise NskError("specify an edit option", show_usage=True)
    account = session.account_name(flags.text("account"))
    owner = store.account(account)
    name = session.user_name(account, flags.name())
    if not store.has_user(account, name):
        raise NskError(f"user {quote(name)} not found", remedy=meant(name, store.users(account)))
    claims = store.user(account, name)
    before = claims.validate()
    signer = session.signer(KeyKind.ACCOUNT, account=owner) or store.account_signer(owner, preferred=claims.issuer)
    _check_bearer(flags, owner)
    report = Report()
    edit_times(flags, claims, report)
    edit_tags(flags, claims.nats.tags, report)
    edit_limits(flags, claims.nats, report)
    if flags.given(PRIVATE_INBOX):
        _edit_inbox(flags, claims, report)
    if isinstance(owner.signing_key(signer.public), UserScope):
        _check_scoped(flags, claims, report)
    if not report.failed:
        refuse_new_issues(claims, before)
        store.sign_user(account, claims, signer)
        write_creds(session, store, account, claims, report)
        report.ok(f"edited user {quote(name)}")
    session.finish(report)
    return user_result(store, account, store.user(account, name))


def _check_bearer(flags: Flags, owner: AccountClaims) -> None:
    if flags.boolean("bearer") and owner.nats.limits.disallow_bearer:
        raise NskError("account disallows bearer token")


def _edit_inbox(flags: Flags, claims: UserClaims, report: Report) -> None:
    if not flags.boolean(PRIVATE_INBOX):
        taken = withdraw_private_inbox(claims.nats, claims.name)
        report.ok("the inbox is no longer private" if taken else "the inbox was not private")
        return
    removed = grant_private_inbox(claims.nats, claims.name)
    for entry in removed:
        report.ok(f"removed sub {quote(entry)}")
    report.ok(f"added sub {quote(f'{inbox_prefix(claims)}.>')}")


def _check_scoped(flags: Flags, claims: UserClaims, report: Report) -> None:
    """A role decides everything about its users. A user without permissions of its own may be given one."""
    limits = {field: getattr(claims.nats, field) for field in UserPermissionLimits.__struct_fields__}
    unlimited = UserPermissionLimits(subscriptions=UNLIMITED, data=UNLIMITED, payload=UNLIMITED)
    empty = UserPermissionLimits()
    if not flags.given(*_OWN_LIMITS) and UserPermissionLimits(**limits) in (empty, unlimited):
        for field in limits:
            setattr(claims.nats, field, getattr(empty, field))
    elif not claims.nats.is_empty:
        _refuse_own_limits(report)


def _refuse_own_limits(report: Report) -> None:
    report.error("scoped users require no permissions or limits set")
    report.warn("user was NOT edited as the edits conflict with signing key scope")


_EDIT_FLAGS = (*TIME_FLAGS, *TAG_FLAGS, *USER_LIMIT_FLAGS, PRIVATE_INBOX_FLAG)
_EDITS = tuple(flag.long.removeprefix("--") for flag in _EDIT_FLAGS)
EDIT = Command(
    "user",
    "Edit an user",
    _edit,
    (text("name", "n", "user name"), text("account", "a", "account name"), *_EDIT_FLAGS),
    arguments=(0, 1),
    introduction=EDIT_USER,
    changes=True,
    result=UserResult,
)


def _delete(session: Session, flags: Flags) -> DeletedUsers:
    store = session.store
    account = session.account_name(flags.text("account"))
    names = [*flags.strings("name"), *flags.arguments]
    if not names:
        raise NskError("please specify an user to delete", remedy=one_of(store.users(account)))
    users = {name: store.user(account, name) for name in names}
    revoke = revokes(flags, by_default=not session.output.compatible)
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    report = Report()
    section = report.section("delete users")
    # Revoked first: without a key to sign with, nothing is removed.
    revoked: set[str] = set()
    if revoke:
        claims = store.account(account)
        revoked = revoke_users(claims, users.values())
        for key in (key for name in users for key in Book(store).replaced(account, name)):
            claims.revoke(key)
            revoked.add(key)
        if revoked:
            store.sign_account(claims, signer)
    for name, user in users.items():
        entry = section.section(f"user {name} [{user.subject}]")
        if revoke:
            tell_revoked(entry, user, revoked)
        remove_user(store, account, name, flags, entry)
    if revoked:
        section.ok(f"edited account {quote(account)}")
    session.finish(report)
    gone = [DeletedUser(name, user.subject) for name, user in users.items()]
    return DeletedUsers(account, gone, revoke)


def revoke_users(claims: AccountClaims, users: Iterable[UserClaims]) -> set[str]:
    """Revoke what the users hold, unless a revocation of theirs covers it already. The keys that were revoked now."""
    standing = claims.nats.revocations
    keys = {user.subject for user in users if standing.get(user.subject, -1) < user.issued_at}
    for key in keys:
        claims.revoke(key)
    return keys


def tell_revoked(report: Report, user: UserClaims, revoked: Container[str]) -> None:
    """Say of a user whether it was revoked now, or before."""
    report.ok("revoked user" if user.subject in revoked else "user is already revoked")


def revokes(flags: Flags, *, by_default: bool) -> bool:
    """Whether users are revoked before they are deleted: their credentials are valid elsewhere until then.

    Raises NskError for flags that contradict each other.
    """
    if flags.boolean("no-revoke"):
        if flags.given("revoke") and flags.boolean("revoke"):
            raise NskError("--revoke and --no-revoke exclude each other", remedy="give one of them")
        return False
    return flags.boolean("revoke") if flags.given("revoke") else by_default


NO_REVOKE_FLAG = boolean(
    "no-revoke", "", "do not revoke: credentials that were given out stay valid until they expire", beyond=True
)


def remove_user(store: Store, account: str, name: str, flags: Flags, report: Report) -> None:
    """Remove a user's JWT and, as the flags ask for, key and creds. The caller has revoked what was to be revoked."""
    public = store.user(account, name).subject
    store.delete_user(account, name)
    report.ok("user deleted")
    if flags.boolean("rm-nkey"):
        removed = store.keystore.remove_key(public)
        report.ok("deleted private key" if removed else "private key is not stored")
    if flags.boolean("rm-creds"):
        removed = store.keystore.remove_creds(store.name, account, name)
        report.ok("removed creds file" if removed else "creds file is not stored")


DELETE = Command(
    "user",
    "Delete an user",
    _delete,
    (
        strings("name", "n", "name of user(s) to delete", told=False),
        text("account", "a", "account name"),
        boolean("revoke", "R", "revoke user before deleting"),
        NO_REVOKE_FLAG,
        boolean("rm-nkey", "D", "delete the user key"),
        boolean("rm-creds", "C", "delete the user creds"),
    ),
    arguments=(0, 1),
    examples="nsk delete user -n name\nnsk delete user -i",
    usage_on_error=True,
    changes=True,
    result=DeletedUsers,
)
