"""``describe operator|account|user|jwt``: a JWT as tables, as JSON, one field of it, or as it is."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib import import_module
from typing import Any

from auth import envelope, jwt
from auth.claims import AccountClaims, ActivationClaims, GenericClaims, OperatorClaims, UserClaims
from auth.creds import decorate_jwt, parse_decorated_jwt
from auth.envelope import JwtError
from auth.gojson import dumps, quote
from auth.nkey import KeyKind, is_public_key
from tools.nsk.cli import Command
from tools.nsk.commands import DESCRIBE_FLAGS
from tools.nsk.describe import describe
from tools.nsk.errors import NskError, StoreError
from tools.nsk.files import write_file
from tools.nsk.flags import Flags, text
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store

STDOUT = "--"
OUTPUT_FLAG = text("output-file", "o", "output file, '--' is stdout", default=STDOUT)


def _operator(session: Session, flags: Flags) -> None:
    given = flags.name() or session.environment.operator
    if not given:
        raise StoreError("set an operator")
    if is_public_key(given, KeyKind.OPERATOR):
        given = _operator_with_key(session, given)
    store = session.open_store(given)
    session.check_generation(store)
    _show(session, flags, "operator", store.operator_token(), store=store)


def _operator_with_key(session: Session, public: str) -> str:
    for name in session.environment.operators():
        try:
            if session.open_store(name).operator().subject == public:
                return name
        except StoreError:
            continue
    raise StoreError(f"no operator found with public key {public}")


def _account(session: Session, flags: Flags) -> None:
    store = session.store
    if not flags.name() and not session.environment.account:
        raise NskError("an account is required", show_usage=True)
    name = session.account_name(flags.name())
    store.account(name)
    _show(session, flags, "account", store.account_token(name), store=store)


def _user(session: Session, flags: Flags) -> None:
    store = session.store
    account = session.account_name(flags.text("account"))
    name = flags.name()
    if is_public_key(name, KeyKind.USER):
        name = _user_with_key(store, account, name)
    if not name and len(store.users(account)) > 1:
        raise NskError("user is required")
    name = session.user_name(account, name)
    store.user(account, name)
    _show(session, flags, "user", store.user_token(account, name), store=store, account=account)


def _user_with_key(store: Store, account: str, public: str) -> str:
    for name in store.users(account):
        try:
            if store.user(account, name).subject == public:
                return name
        except StoreError:
            continue
    raise StoreError(f"user {public} does not exist in the current account")


def _jwt(session: Session, flags: Flags) -> None:
    source = flags.text("file")
    if not source:
        raise NskError("file is required", show_usage=True)
    try:
        # What asks the web is slow to import, and the other commands here need none of it.
        download: Any = import_module("tools.nsk.download")
        token = parse_decorated_jwt(download.read_source(session, source))
    except FileNotFoundError as error:
        raise NskError(f"stat {error.filename}: no such file or directory") from None
    store = None
    if session.environment.operator:
        try:
            store = session.store
        except StoreError:
            store = None
    _show(session, flags, "jwt", token, store=store)


def _show(session: Session, flags: Flags, what: str, token: str, *, store: Store | None, account: str = "") -> None:
    try:
        shown, final = _render(flags, token, store, account)
    except JwtError as error:
        raise NskError(str(error)) from None
    target = flags.text("output-file")
    if target == STDOUT:
        session.output.write(shown + final)
        return
    if flags.boolean("raw"):
        shown = decorate_jwt(token)
    write_file(session.environment.absolute(target), shown)
    kind = "jwt" if flags.boolean("raw") else "description"
    report = Report()
    report.ok(f"wrote {what} {kind} to `{target}`")
    session.finish(report)


def _render(flags: Flags, token: str, store: Store | None, account: str) -> tuple[str, str]:
    """The text for a file, and what goes behind it on the terminal."""
    if flags.boolean("raw"):
        return token, "\n"
    payload = envelope.open_verified(token)
    if path := flags.text("field"):
        return dumps(field(payload, path)).decode("utf-8"), "\n"
    if flags.boolean("json"):
        body = json.dumps(payload, indent=1, sort_keys=True, ensure_ascii=False, default=_number)
        return f"{body}\n", "\n"
    claims = jwt.decode(token)
    names: dict[str, str] = {}
    owner: AccountClaims | None = None
    if store is not None and not flags.boolean("long-ids"):
        names = _account_names(store)
    if store is not None and isinstance(claims, UserClaims):
        account = account or store.account_with_key(claims.issuer_account) or ""
        owner = store.account(account) if account else None
    return describe(claims, names, owner), "\n"


def _account_names(store: Store) -> dict[str, str]:
    names = {}
    for name in store.accounts():
        try:
            names[store.account(name).subject] = name
        except StoreError:
            continue
    return names


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def field(value: Any, path: str) -> Any:
    """The value at a path such as ``nats.exports[0].subject``; None when there is none. Raises NskError."""
    for part in _parts(path):
        where = f"{quote(part)} in {quote(path)}"
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list):
            if not part.isascii() or not part.isdigit():
                raise NskError(f"error parsing index: {where}")
            if int(part) >= len(value):
                raise NskError(f"index is out of bounds: {part} in {quote(path)}")
            value = value[int(part)]
        else:
            raise NskError(f"unable to extract {where} from {'<nil>' if value is None else value}")
    return value


def _parts(path: str) -> list[str]:
    parts: list[str] = []
    for segment in path.split("."):
        name, *indexes = segment.split("[")
        if name or not indexes:
            parts.append(name)
        for index in indexes:
            if not index.endswith("]"):
                raise NskError(f"bad path - unterminated index expression: {quote(segment)} in {quote(path)}")
            parts.append(index.removesuffix("]"))
    return parts


OPERATOR = Command(
    "operator",
    "Describes the operator by name or public nkey",
    _operator,
    (text("name", "n", "operator name"), OUTPUT_FLAG),
    arguments=(0, 1),
    group_flags=DESCRIBE_FLAGS,
    result=OperatorClaims,
)
ACCOUNT = Command(
    "account",
    "Describes an account by name or public nkey",
    _account,
    (text("name", "n", "account name"), OUTPUT_FLAG),
    arguments=(0, 1),
    group_flags=DESCRIBE_FLAGS,
    result=AccountClaims,
)
USER = Command(
    "user",
    "Describes a user by name or public nkey",
    _user,
    (text("name", "n", "user name"), text("account", "a", "account name"), OUTPUT_FLAG),
    arguments=(0, 1),
    group_flags=DESCRIBE_FLAGS,
    result=UserClaims,
)
JWT = Command(
    "jwt",
    "Describe a jwt/creds file",
    _jwt,
    (text("file", "f", "a token file or url to a token file"), OUTPUT_FLAG),
    group_flags=DESCRIBE_FLAGS,
    examples="nsk describe jwt -f pathorurl",
    result=OperatorClaims | AccountClaims | UserClaims | ActivationClaims | GenericClaims,
)
