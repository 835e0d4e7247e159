"""``edit signing-key``: give a signing key of an account a role, whose template decides what its users may do."""

from __future__ import annotations

from auth.claims import AccountClaims, UserScope
from auth.gojson import quote
from auth.nkey import KeyKind
from tools.nsk.cli import Command
from tools.nsk.edits import SigningKeys, refuse_new_issues
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, strings, text
from tools.nsk.managed import submit
from tools.nsk.manuals import EDIT_SIGNING_KEY
from tools.nsk.permissions import USER_LIMIT_FLAGS, edit_limits
from tools.nsk.report import Report
from tools.nsk.results import SigningKeyResult
from tools.nsk.session import Session


def _edit(session: Session, flags: Flags) -> SigningKeyResult:
    store = session.store
    account = session.working_account(flags.text("account"))
    claims = store.account(account)
    named = [*flags.arguments, *flags.strings("sk")] or _keys_with(claims, flags.text("role"))
    if not named:
        raise NskError("signing key is required", show_usage=True)
    if len(named) > 1:
        raise NskError("a role is that of one signing key", remedy="name one key, and run it again for each other one")
    before = claims.validate()
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    keys = SigningKeys(session, [_key_of_role(claims, named[0])], KeyKind.ACCOUNT)
    key = keys.public[0]
    found = claims.signing_key(key)
    # What a template does not mention is unlimited.
    scope = found if isinstance(found, UserScope) else UserScope(key=key)
    if flags.given("role"):
        scope.role = flags.text("role")
    if flags.given("description"):
        scope.description = flags.text("description")
    report = Report()
    edit_limits(flags, scope.template, report)
    if scope.template.bearer_token and claims.nats.limits.disallow_bearer:
        raise NskError(f"account {quote(account)} forbids the use of bearer token")
    claims.set_signing_key(scope)
    refuse_new_issues(claims, before)
    keys.store()
    store.sign_account(claims, signer)
    submit(store, claims, report)
    report.ok(f"edited signing key {quote(key)}")
    session.finish(report)
    return SigningKeyResult(account, key, scope.role, scope.description)


def _key_of_role(claims: AccountClaims, given: str) -> str:
    """The key of the role with that name, else the text itself. Raises NskError when several keys have the role."""
    keys = _keys_with(claims, given)
    if len(keys) > 1:
        raise NskError(f"role {quote(given)} has several keys, name one: {', '.join(keys)}")
    return keys[0] if keys else given


def _keys_with(claims: AccountClaims, role: str) -> list[str]:
    """The keys that have a role."""
    scopes = (item for item in claims.nats.signing_keys if isinstance(item, UserScope))
    return [scope.key for scope in scopes if role and scope.role == role]


EDIT = Command(
    "signing-key",
    "Edit a scoped signing key or promote a signing key",
    _edit,
    (
        text("account", "a", "account name"),
        strings(
            "sk", "", 'signing key or keypath or the value "generate" to generate a key pair on the fly', told=False
        ),
        text("role", "", "role associated with the signing key scope"),
        text("description", "", "user description associated with the role"),
        *USER_LIMIT_FLAGS,
    ),
    arguments=(0, 1),
    introduction=EDIT_SIGNING_KEY,
    own_examples="""\
# A role whose users may publish below their own name only:
nsk edit signing-key --account <n> --sk generate --role worker --allow-pub 'work.{{name()}}.>'
nsk add user --account <n> --name <user> -K worker""",
    changes=True,
    result=SigningKeyResult,
)
