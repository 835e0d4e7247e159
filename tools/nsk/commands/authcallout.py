"""``edit authcallout``: who decides for an account whom it lets in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from auth.claims import ExternalAuthorization
from auth.gojson import quote
from auth.nkey import KeyKind, is_public_key
from tools.nsk import exchange
from tools.nsk.cli import Command
from tools.nsk.edits import GENERATE, SigningKeys
from tools.nsk.errors import NskError
from tools.nsk.flags import STRINGS, Flag, Flags, boolean, text
from tools.nsk.managed import submit
from tools.nsk.report import Report
from tools.nsk.session import Session

_ANY: Final = "*"
_EDITS: Final = ("auth-user", "rm-auth-user", "allowed-account", "rm-allowed-account", "curve", "rm-curve")


@dataclass(frozen=True, slots=True)
class CalloutResult:
    """The auth callout of an account, after what the command did."""

    account: Annotated[str, "the account's name"]
    auth_users: Annotated[
        list[str], "the public keys of the users that decide, and are let in without; none: no callout"
    ]
    allowed_accounts: Annotated[list[str], "the accounts into which others may be let, by public key; * is any"]
    curve: Annotated[str | None, "the public key that requests are encrypted for, else null"]


def _edit(session: Session, flags: Flags) -> CalloutResult:
    store = session.store
    if not flags.given("disable", *_EDITS):
        raise NskError("please specify some options")
    if flags.boolean("disable") and flags.given(*_EDITS):
        raise NskError("--disable is exclusive of all other options")
    account = session.working_account(flags.text("account") or flags.name("account"))
    change = exchange.Change(store, account)
    signer = session.signer(KeyKind.OPERATOR, KeyKind.ACCOUNT)
    lines: list[str] = []
    curve = _Curve(session, flags.text("curve"))
    if flags.boolean("disable"):
        change.claims.nats.authorization = ExternalAuthorization()
        lines.append("removed external authorization configuration")
    else:
        _change(session, change.claims.nats.authorization, flags, curve, lines)
    claims = change.sign(signer, keep_issuer=True)
    curve.store()
    report = Report()
    submit(store, claims, report)
    for line in lines:
        report.ok(line)
    session.finish(report)
    found = claims.nats.authorization
    return CalloutResult(account, list(found.auth_users), list(found.allowed_accounts), found.xkey or None)


def _change(
    session: Session, authorization: ExternalAuthorization, flags: Flags, curve: _Curve, lines: list[str]
) -> None:
    users, accounts = authorization.auth_users, authorization.allowed_accounts
    added_users = _keys(session, flags.strings("auth-user"), KeyKind.USER)
    removed_users = _keys(session, flags.strings("rm-auth-user"), KeyKind.USER)
    added_accounts = _keys(session, flags.strings("allowed-account"), KeyKind.ACCOUNT)
    removed_accounts = _keys(session, flags.strings("rm-allowed-account"), KeyKind.ACCOUNT)
    lines += _add(users, added_users, "user")
    lines += _remove(users, removed_users, "user")
    lines += _add(accounts, added_accounts, "account")
    lines += _remove(accounts, removed_accounts, "account")
    if flags.boolean("rm-curve"):
        old, authorization.xkey = authorization.xkey, ""
        nothing = "remove curve key didn't do anything as the curve key was not set"
        lines.append(f"removed {old} curve key" if old else nothing)
    if curve.public:
        authorization.xkey = curve.public
        lines.append(f"set curve key {curve.public}")


def _add(keys: list[str], added: Iterable[str], what: str) -> list[str]:
    lines = []
    for key in added:
        if key in keys:
            lines.append(f"skipped adding {what} {quote(key)} - as it's already set")
            continue
        keys.append(key)
        lines.append(f"added {what} {quote(key)}")
    return lines


def _remove(keys: list[str], removed: Iterable[str], what: str) -> list[str]:
    lines = []
    for key in removed:
        if key not in keys:
            lines.append(f"skipping {what} {quote(key)} - as it's not currently set")
            continue
        keys.remove(key)
        lines.append(f"deleted {what} {quote(key)}")
    return lines


def _keys(session: Session, given: list[str], kind: KeyKind) -> list[str]:
    """The public keys that texts stand for; ``*`` stays. Raises NskError."""
    keys = []
    for text_ in given:
        public = text_ if text_ == _ANY else session.public_key(text_)
        if public is None or (public != _ANY and not is_public_key(public, kind)):
            # A seed of the wrong kind is told by its public key.
            raise NskError(f"{quote(public or text_)} is not a valid {kind.label} key")
        keys.append(public)
    return keys


class _Curve:
    """The key that requests are to be encrypted for; one that is generated is stored when the edit succeeds."""

    def __init__(self, session: Session, given: str) -> None:
        """Raises NskError."""
        self.public = ""
        self._generated: SigningKeys | None = None
        if given == GENERATE:
            self._generated = SigningKeys(session, [given], KeyKind.CURVE)
            self.public = self._generated.public[0]
        elif given:
            public = session.public_key(given)
            if public is None:
                raise NskError("a curve key is required")
            if not is_public_key(public, KeyKind.CURVE):
                raise NskError(f"invalid {KeyKind.CURVE.label} curve key {quote(public)}")
            self.public = public

    def store(self) -> None:
        """Put a generated key into the keystore."""
        if self._generated is not None:
            self._generated.store()


def _keys_flag(name: str, description: str) -> Flag:
    return Flag(name, "", description, kind=STRINGS, multiple=True)


EDIT = Command(
    "authcallout",
    "Edit an account authorization callout",
    _edit,
    (
        text("account", "a", "account name"),
        _keys_flag(
            "allowed-account",
            "adds an account public key that the authorization service can bind authorized users to "
            "(specify '*' to allow any account that the service can generate users for)",
        ),
        _keys_flag(
            "auth-user",
            "adds a user public key that bypasses the authorization callout and is used by the authorization service "
            "itself",
        ),
        text(
            "curve",
            "x",
            'curve key or keypath or the value "generate" to generate a curve encryption target key on the fly',
        ),
        boolean("disable", "", "disable external authorization"),
        _keys_flag(
            "rm-allowed-account",
            "removes an account public key or the '*' wildcard that the authorization service can bind authorized "
            "users to",
        ),
        _keys_flag(
            "rm-auth-user",
            "removes a user public key that bypasses the authorization callout and is used by the authorization "
            "service itself",
        ),
        boolean("rm-curve", "", "remove curve encryption target"),
    ),
    arguments=(0, 1),
    changes=True,
    result=CalloutResult,
)
