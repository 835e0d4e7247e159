"""``add account``, ``edit account`` and ``delete account``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from auth.claims import AccountClaims, MessageTrace, Permissions
from auth.claims.base import has_wildcards
from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk import extension, jetstream
from tools.nsk.cli import Command
from tools.nsk.commands.user import NO_REVOKE_FLAG, remove_user, revoke_users, revokes, tell_revoked
from tools.nsk.deletions import note_deletion
from tools.nsk.edits import TAG_FLAGS, TIME_FLAGS, SigningKeys, edit_tags, edit_times, refuse_new_issues, times
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, number, strings, text
from tools.nsk.managed import submit
from tools.nsk.names import given_or_random
from tools.nsk.permissions import edit_permissions, permission_flags, removal_flags
from tools.nsk.provision import create_account
from tools.nsk.report import Report
from tools.nsk.results import AccountResult, DeletedAccount, DeletedUser, account_result
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name
from tools.nsk.subjects import refuse_unless_subject

_GRACE = timedelta(minutes=1)
"""How long a deleted account stays valid where its last JWT is used."""
_TRACE_SUBJECT = "trace.messages"


def _add(session: Session, flags: Flags) -> AccountResult:
    store = session.store
    name = check_name(given_or_random(flags.name()), "account")
    start, expiry = times(flags)
    report = Report()
    permissions = Permissions()
    edit_permissions(flags, permissions, report)
    public_key = ""
    if given := flags.text("public-key"):
        public_key = session.public_key(given) or ""
        if not public_key:
            raise NskError("a key is required")
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    if signer is not None and signer.kind is KeyKind.OPERATOR and signer.public not in store.operator_signers():
        raise NskError("invalid account signer", remedy=f"servers refuse accounts that {signer.public} signs")
    claims = create_account(
        store,
        name,
        public_key=public_key,
        not_before=start,
        expires_at=expiry,
        default_permissions=permissions,
        signer=signer,
    )
    if not public_key:
        report.ok(f"generated and stored account key {quote(claims.subject)}")
    if submit(store, claims, report):
        session.environment.remember(account=name)
        report.ok(f"added account {quote(name)}")
    session.finish(report)
    return account_result(store, store.account(name))


ADD = Command(
    "account",
    "Add an account",
    _add,
    (
        text("name", "n", "account name"),
        text("public-key", "k", "public key identifying the account"),
        *TIME_FLAGS,
        *permission_flags("default permissions"),
    ),
    arguments=(0, 1),
    changes=True,
    result=AccountResult,
)


def _edit(session: Session, flags: Flags) -> AccountResult:
    store = session.store
    if not flags.given(*_EDITS):
        raise NskError("specify an edit option", show_usage=True)
    name = session.account_name(flags.name())
    claims = store.account(name)
    before = claims.validate()
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    keys = SigningKeys(session, flags.strings("sk"), KeyKind.ACCOUNT)
    is_system = claims.subject == store.operator().nats.system_account
    report = Report()
    for key in keys.public:
        if claims.signing_key(key) is None:
            claims.set_signing_key(key)
        report.ok(f"added signing key {quote(key)}")
    for key in flags.strings("rm-sk"):
        claims.remove_signing_key(key)
        report.ok(f"removed signing key {quote(key)}")
    edit_times(flags, claims, report)
    edit_tags(flags, claims.nats.tags, report)
    _edit_limits(store, name, flags, claims, report)
    claims.nats.natskeep = extension.edit_account(flags, claims.nats.natskeep, report)
    jetstream.edit(flags, claims.nats.limits, report, is_system=is_system)
    for flag, field, label in (("description", "description", "description"), ("info-url", "info_url", "info url")):
        if flags.given(flag):
            setattr(claims.nats, field, flags.text(flag))
            report.ok(f"changed {label} to {quote(flags.text(flag))}")
    edit_permissions(flags, claims.nats.default_permissions, report, removal=True)
    _edit_trace(flags, claims, report)
    refuse_new_issues(claims, before)
    keys.store()
    store.sign_account(claims, signer)
    submit(store, claims, report)
    report.ok(f"edited account {quote(name)}")
    session.finish(report)
    return account_result(store, store.account(name))


def _edit_limits(store: Store, name: str, flags: Flags, claims: AccountClaims, report: Report) -> None:
    limits = claims.nats.limits
    for flag, field, words in (
        ("conns", "connections", "max connections to {}"),
        ("leaf-conns", "leafnodes", "leaf node connections to {}"),
        ("data", "data", "max data to {} bytes"),
        ("exports", "exports", "max exports to {}"),
        ("wildcard-exports", "wildcard_exports", "wild card exports to {}"),
        ("disallow-bearer", "disallow_bearer", "disallow bearer to {}"),
        ("imports", "imports", "max imports to {}"),
        ("payload", "payload", "max payload size to {}"),
        ("subscriptions", "subscriptions", "max subscriptions to {}"),
    ):
        if not flags.given(flag):
            continue
        if isinstance(getattr(limits, field), bool):
            setattr(limits, field, flags.boolean(flag))
            report.ok(f"changed {words.format(str(flags.boolean(flag)).lower())}")
        else:
            setattr(limits, field, flags.number(flag))
            report.ok(f"changed {words.format(flags.number(flag))}")
    if limits.disallow_bearer and flags.given("disallow-bearer"):
        for user in store.users(name):
            if store.user(name, user).nats.bearer_token:
                raise NskError(
                    f"user {quote(user)} in account {quote(name)} uses bearer token (needs to be deleted/changed first)"
                )


def _edit_trace(flags: Flags, claims: AccountClaims, report: Report) -> None:
    if not flags.given("trace-context-subject", "trace-context-sampling"):
        return
    subject = flags.text("trace-context-subject") if flags.given("trace-context-subject") else ""
    if flags.given("trace-context-subject") and not subject:
        claims.nats.trace = None
        report.ok("disabled trace context")
        return
    if subject:
        refuse_unless_subject(subject)
    if has_wildcards(subject):
        raise NskError(f"tracing subjects cannot contain wildcards: {quote(subject)}")
    sampling = flags.number("trace-context-sampling")
    if not 0 <= sampling <= 100:
        raise NskError("tracing sampling rate must be between 1-100")
    if not subject and claims.nats.trace is None:
        raise NskError("trace-context-sampling requires a subject", remedy="add --trace-context-subject <subject>")
    trace = claims.nats.trace = claims.nats.trace or MessageTrace(destination=subject)
    if subject:
        trace.destination = subject
        report.ok(f"changed trace context subject to {quote(subject)}")
    if flags.given("trace-context-sampling"):
        trace.sampling = sampling
        report.ok(f"changed trace context sampling to {sampling}%")


_EDIT_FLAGS = (
    number("conns", "set maximum active connections for the account (-1 is unlimited)"),
    number("leaf-conns", "set maximum active leaf node connections for the account (-1 is unlimited)", 0),
    number("exports", "set maximum number of exports for the account (-1 is unlimited)"),
    number("imports", "set maximum number of imports for the account (-1 is unlimited)"),
    number("subscriptions", "set maximum subscription for the account (-1 is unlimited)"),
    number("payload", "set maximum message payload in bytes for the account (-1 is unlimited)"),
    number("data", "set maximum data in bytes for the account (-1 is unlimited)"),
    boolean("wildcard-exports", "", "exports can contain wildcards", default=True),
    boolean("disallow-bearer", "", "require user jwt to not be bearer token"),
    *jetstream.FLAGS,
    strings("sk", "", 'signing key or keypath or the value "generate" to generate a key pair on the fly'),
    strings("rm-sk", "", "remove signing key"),
    *TIME_FLAGS,
    *TAG_FLAGS,
    text("description", "", "Description for this account"),
    text("info-url", "", "Link for more info on this account"),
    text(
        "trace-context-subject",
        "",
        'sets the subject where w3c trace context information is sent. Set to "" to disable',
        default=_TRACE_SUBJECT,
    ),
    number("trace-context-sampling", "set the trace context sampling rate (1-100) - 0 default is 100", 0),
    *permission_flags("default permissions"),
    *removal_flags("default permissions"),
    *extension.ACCOUNT_FLAGS,
)
_EDITS = tuple(flag.long.removeprefix("--") for flag in _EDIT_FLAGS)
EDIT = Command(
    "account",
    "Edit an account",
    _edit,
    (text("name", "n", "account to edit"), *_EDIT_FLAGS),
    arguments=(0, 1),
    changes=True,
    result=AccountResult,
)


def _delete(session: Session, flags: Flags) -> DeletedAccount:
    store = session.store
    name = session.account_name(flags.name())
    if store.managed and not flags.boolean("force"):
        raise NskError(
            "managed accounts may require the account JWT or nkeys to cancel a service, specify the --force to override"
        )
    claims = store.account(name)
    users = {user: store.user(name, user) for user in store.users(name)}
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    report = Report()
    # The expired JWT is signed and submitted before anything is removed: without a key to sign with, or when the
    # account server does not take it, nothing happens.
    revoke = revokes(flags, by_default=True)
    revoked = revoke_users(claims, users.values()) if revoke else set()
    claims.expires_at = int((datetime.now(UTC) + _GRACE).timestamp())
    store.sign_account(claims, signer)
    submitted = Report()
    if not submit(store, claims, submitted, keep=False):
        session.finish(submitted)
    for user, held in users.items():
        entry = report.section(f"user {user} [{held.subject}]")
        if revoke:
            tell_revoked(entry, held, revoked)
        remove_user(store, name, user, flags, entry)
    report.children += submitted.children
    report.ok(f"expired account {quote(name)}")
    if flags.boolean("rm-nkey"):
        _remove_keys(session, claims, report)
    store.delete_account(name)
    if not session.output.compatible:
        note_deletion(store, name, claims.subject)
    report.ok("deleted account")
    report.ok("deleted account directory")
    url = store.operator().nats.account_server_url
    if url and not url.startswith(("http:", "https:")) and not session.output.compatible:
        report.warn(
            f"servers go on with what they hold of it, revoked users included, until they forget it: "
            f"{session.output.program} push --account-removal {claims.subject}"
        )
    session.finish(report)
    gone = [DeletedUser(user, held.subject) for user, held in users.items()]
    return DeletedAccount(name, claims.subject, gone, revoke)


def _remove_keys(session: Session, claims: AccountClaims, report: Report) -> None:
    for key in claims.signing_key_names():
        removed = session.keystore.remove_key(key)
        report.ok(f"deleted signing key {quote(key)}" if removed else f"signing key {quote(key)} is not stored")
    if session.keystore.remove_key(claims.subject):
        report.ok(f"deleted privated key {quote(claims.subject)}")
    else:
        report.ok(f"private key {quote(claims.subject)} is not stored")


DELETE = Command(
    "account",
    "Delete an account and associated users",
    _delete,
    (
        text("name", "n", "name of account to delete"),
        boolean("revoke", "R", "revoke users before deleting", default=True),
        NO_REVOKE_FLAG,
        boolean("rm-nkey", "D", "delete user keys"),
        boolean("rm-creds", "C", "delete users creds"),
        boolean("force", "F", "managed accounts must supply --force"),
    ),
    arguments=(0, 1),
    examples="nsk delete account -n name\nnsk delete account -i\n",
    usage_on_error=True,
    changes=True,
    result=DeletedAccount,
)
