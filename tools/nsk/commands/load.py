"""``load``: an operator, an account and a user from what a service gives its customers: a URL and an account's seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from auth.claims import AccountClaims, OperatorClaims
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.account_server import account_url
from tools.nsk.cli import Command
from tools.nsk.collection import seed_problem
from tools.nsk.commands.operator import well_known_url
from tools.nsk.download import read_url
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, text
from tools.nsk.managed import check_signed, submit
from tools.nsk.provision import create_user, import_operator
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name

_UNKNOWN = """\
Unable to find operator {name}

If you have used this operator, please enter:`{program} env -s /path/to/storedir`
or define the operator endpoint environment:
`NSC_<OPERATOR_NAME>_OPERATOR=http/s://host:port/jwt/v1/operator`
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What ``load`` put into the store."""

    operator: Annotated[str, "the operator's name"]
    account: Annotated[str, "the account's name"]
    user: Annotated[str, "the user's name"]
    creds_file: Annotated[str, "the user's creds file"]


@dataclass(frozen=True, slots=True)
class _Source:
    """What the flags say. ``name`` is empty when only the operator's JWT tells it."""

    url: str
    seed: str
    user: str
    name: str = ""


def _source(session: Session, flags: Flags) -> _Source:
    if not flags.text("profile"):
        return _Source(flags.text("url"), flags.text("seed"), flags.text("user"))
    profile = urlsplit(flags.text("profile"))
    name, query = profile.netloc.rpartition("@")[2].partition(":")[0], parse_qs(profile.query)
    url = well_known_url(session, name)
    if url is None:
        session.output.message(_UNKNOWN.format(name=quote(name), program=session.output.program))
        raise NskError("operator not found")
    seed, user = query.get("secret", [""])[0], query.get("user", [flags.text("user")])[0]
    return _Source(url, seed, user, name)


def _load(session: Session, flags: Flags) -> Loaded:
    environment = session.environment
    source = _source(session, flags)
    if not source.url:
        raise NskError("missing account server URL")
    report = Report()
    store = _operator(session, source, report)
    pair = _account_key(source.seed)
    claims = _account(store, pair, report)
    user = check_name(source.user, "user")
    if store.has_user(claims.name, user):
        report.warn(f"the user {quote(user)} already exists")
        path = store.creds_path(claims.name, user)
        if not path.is_file():
            raise NskError(f"user {quote(user)} credentials not found at {quote(str(path))}")
    else:
        made = create_user(store, claims.name, user, signer=pair)
        report.ok(f"generated and stored user key {quote(made.subject)}")
        path = store.write_creds(claims.name, user)
        report.ok(f"generated and stored user credentials at {quote(str(path))}")
    environment.remember(operator=store.name, account=claims.name)
    session.finish(report, keep=True)
    return Loaded(store.name, claims.name, user, str(path))


def _operator(session: Session, source: _Source, report: Report) -> Store:
    token = parse_decorated_jwt(read_url(source.url))
    try:
        operator = OperatorClaims.from_token(token)
    except JwtError as error:
        raise NskError(f"error importing operator jwt: {error}") from None
    name = check_name(source.name or operator.name, "operator")
    if not operator.nats.account_server_url:
        raise NskError(f"error importing operator {quote(name)} - it doesn't define an account server url")
    root = session.store_root
    if Store.exists(root, name):
        known = session.open_store(name).operator()
        # A JWT of the same operator that another key signed is somebody else's.
        if known.subject != operator.subject or not known.did_sign(operator):
            raise NskError(
                f"error a different operator named {quote(name)} already exists "
                "-- specify --data-dir to create at a different location"
            )
    return import_operator(root, name, session.keystore, token, report, force=True)


def _account_key(seed: str) -> KeyPair:
    if not seed.startswith("SA"):
        raise NskError("expected account seed to initialize")
    if problem := seed_problem(seed):
        raise NskError(f"failed to parse account name as an nkey: {problem}")
    pair = KeyPair.from_seed(seed)
    if pair.kind is not KeyKind.ACCOUNT:
        raise NskError("expected account seed to initialize")
    return pair


def _account(store: Store, pair: KeyPair, report: Report) -> AccountClaims:
    operator = store.operator()
    token = parse_decorated_jwt(read_url(account_url(operator.nats.account_server_url, pair.public)))
    try:
        claims = AccountClaims.from_token(token)
        check_signed(operator, pair.public, claims.name, token)
    except JwtError as error:
        raise NskError(f"the account of the seed cannot be used: {error}") from None
    check_name(claims.name, "account")
    store.keystore.store_key(pair)
    store.write_account(claims.name, token)
    submit(store, claims, report)
    return claims


LOAD = Command(
    "load",
    "load entities for an operator, account and keys",
    _load,
    (
        text("profile", "", "Profile URL to initialize NSC and NATS CLI env"),
        text("seed", "", "Seed of the account used to create users"),
        text("url", "", "URL of the account server"),
        text("user", "", "Default username", default="default"),
    ),
    arguments=(0, 8),
    usage_on_error=True,
    changes=True,
    result=Loaded,
)
