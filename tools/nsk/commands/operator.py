"""``add operator`` and ``edit operator``."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from auth.claims import JetStreamLimits, OperatorClaims
from auth.claims.base import VERSION
from auth.claims.operator import service_url_problem
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair
from tools.nsk.cli import Command
from tools.nsk.download import read_source
from tools.nsk.edits import TAG_FLAGS, TIME_FLAGS, SigningKeys, edit_tags, edit_times, refuse_new_issues, times
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, boolean, strings, text
from tools.nsk.names import given_or_random
from tools.nsk.provision import SYSTEM_ACCOUNT, add_system_account, create_operator, import_operator
from tools.nsk.report import Report
from tools.nsk.results import OperatorResult, operator_result
from tools.nsk.session import Session
from tools.nsk.store import Store, check_name

_WELL_KNOWN = {"synadia": "https://api.synadia.io/jwt/v1/operator"}
_VARIABLE = re.compile(r"NSC_(.+)_OPERATOR", re.IGNORECASE)
_OLD_JWT = (
    "the operator jwt (v1) is incompatible this version of {program} - ask whoever made it for one of version 2, "
    "or run `{program} upgrade-jwt` where the operator's key is"
)


def _add(session: Session, flags: Flags) -> OperatorResult:
    source = flags.text("url")
    if flags.boolean("force") and not source:
        raise NskError("force only works with -u")
    if source:
        return _import(session, flags, source)
    start, expiry = times(flags)
    name = check_name(given_or_random(flags.name()), "operator")
    key = _identity(session)
    signing_key = KeyPair.generate(KeyKind.OPERATOR) if flags.boolean("generate-signing-key") else None
    report = Report()
    environment = session.environment
    if Store.exists(session.store_root, name):
        report.error(f"operator named {name} exists already please inspect and use --force to overwrite")
        session.finish(report)
    store = create_operator(
        session.store_root,
        name,
        session.keystore,
        key=key,
        not_before=start,
        expires_at=expiry,
        signing_key=signing_key,
    )
    claims = store.operator()
    if key is None:
        report.ok(f"generated and stored operator key {quote(claims.subject)}")
    report.ok(f"added operator {quote(name)}")
    report.ok("When running your own nats-server, make sure they run at least version 2.2.0")
    if signing_key is not None:
        report.ok(f"created operator signing key: {signing_key.public}")
    if flags.boolean("sys"):
        made = add_system_account(store, operator_key=key, signer=signing_key)
        report.ok(f"created system_account: name:{made.account.name} id:{made.account.subject}")
        report.ok(f"created system account user: name:{made.user.name} id:{made.user.subject}")
        report.ok(f"system account user creds file stored in {session.display(made.creds)}")
    system = SYSTEM_ACCOUNT if flags.boolean("sys") else ""
    environment.remember(store_root=session.store_root, operator=name, account=system)
    session.finish(report)
    return operator_result(store.operator())


def _identity(session: Session) -> KeyPair | None:
    if not session.private_key:
        return None
    pair = session.key_pair(session.private_key)
    if pair is None:
        raise NskError("a key is required")
    if pair.kind is not KeyKind.OPERATOR:
        raise NskError("specified key is not a valid operator nkey")
    return pair


def _import(session: Session, flags: Flags, source: str) -> OperatorResult:
    location = _location(session, source)
    try:
        token = parse_decorated_jwt(read_source(session, location))
    except FileNotFoundError as error:
        raise NskError(f"error reading `{location}`: open {error.filename}: no such file or directory") from None
    except NskError as error:
        raise NskError(f"error reading `{location}`: {error.text}") from None
    try:
        claims = OperatorClaims.from_token(token)
    except JwtError as error:
        raise NskError(f"error importing operator jwt: {error}") from None
    if claims.nats.version != VERSION:
        raise NskError(_OLD_JWT.format(program=session.output.program))
    if flags.boolean("sys"):
        raise NskError("importing an operator is not compatible with system account generation")
    name = flags.name() or _well_known_name(session, location) or claims.name
    report = Report()
    force = flags.boolean("force")
    if Store.exists(session.store_root, name) and not force:
        report.error(f"operator named {name} exists already please inspect and use --force to overwrite")
        session.finish(report)
    store = import_operator(session.store_root, name, session.keystore, token, report, force=force)
    session.environment.enter(store.name)
    report.ok(f"imported operator {quote(store.name)}")
    report.ok("When running your own nats-server, make sure they run at least version 2.2.0")
    session.finish(report)
    return operator_result(claims)


def _operators(session: Session) -> dict[str, str]:
    """The well-known operators, and those that the environment names, with their URLs."""
    variables = session.environment.variables
    named = ((_VARIABLE.fullmatch(variable), url) for variable, url in variables.items())
    return {**{match[1]: url for match, url in named if match}, **_WELL_KNOWN}


def well_known_url(session: Session, name: str) -> str | None:
    """Where an operator with a well-known name is found, in whatever case the name is written."""
    found = (url for known, url in _operators(session).items() if known.lower() == name.lower())
    return next(found, None)


def _location(session: Session, source: str) -> str:
    if urlsplit(source).scheme or session.environment.absolute(source).exists():
        return source
    return well_known_url(session, source) or source


def _well_known_name(session: Session, location: str) -> str:
    """The well-known name of the operator whose host a URL names, if there is one."""
    host = urlsplit(location).hostname
    if not host:
        return ""
    return next((name for name, url in _operators(session).items() if urlsplit(url).hostname == host), "")


ADD = Command(
    "operator",
    "Add an operator",
    _add,
    (
        text("name", "n", "operator name"),
        text("url", "u", "import from a jwt server url, file, or well known operator"),
        boolean("generate-signing-key", "", "generate a signing key with the operator"),
        boolean("sys", "s", "generate system account with the operator (if specified will be signed with signing key)"),
        boolean("force", "", "on import, overwrite existing when already present"),
        *TIME_FLAGS,
    ),
    arguments=(0, 1),
    changes=True,
    result=OperatorResult,
)


def _edit(session: Session, flags: Flags) -> OperatorResult:
    store = session.store
    if not flags.given(*_EDITS):
        raise NskError("specify an edit option", show_usage=True)
    claims = store.operator()
    before = claims.validate()
    signer = session.signer(KeyKind.OPERATOR)
    keys = SigningKeys(session, flags.strings("sk"), KeyKind.OPERATOR)
    report = Report()
    for key in keys.public:
        if key not in claims.nats.signing_keys:
            claims.nats.signing_keys.append(key)
        report.ok(f"added signing key {quote(key)}")
    for key in flags.strings("rm-sk"):
        claims.nats.signing_keys = [other for other in claims.nats.signing_keys if other != key]
        report.ok(f"removed signing key {quote(key)}")
    edit_times(flags, claims, report)
    edit_tags(flags, claims.nats.tags, report)
    _edit_urls(flags, claims, report)
    _edit_system_account(session, flags, claims, report)
    if flags.given("require-signing-keys"):
        strict = flags.boolean("require-signing-keys")
        if strict:
            _check_strict(store, claims)
        if claims.nats.strict_signing_key_usage != strict:
            claims.nats.strict_signing_key_usage = strict
            report.ok(f"strict signing key usage set to: {str(strict).lower()}")
    refuse_new_issues(claims, before)
    keys.store()
    store.sign_operator(claims, signer)
    report.ok(f"edited operator {quote(store.name)}")
    session.finish(report)
    return operator_result(claims)


def _edit_urls(flags: Flags, claims: OperatorClaims, report: Report) -> None:
    if url := flags.text("account-jwt-server-url"):
        claims.nats.account_server_url = url
        _refuse_server_url(claims)
        report.ok(f"set account jwt server url to {quote(url)}")
    if flags.boolean("rm-account-jwt-server-url"):
        claims.nats.account_server_url = ""
        report.ok("removed account server url")
    urls = claims.nats.operator_service_urls
    for url in flags.strings("service-url"):
        if problem := service_url_problem(url):
            raise NskError(problem)
        if url.lower() not in urls:
            urls.append(url.lower())
        report.ok(f"added service url {quote(url)}")
    for url in flags.strings("rm-service-url"):
        urls[:] = [other for other in urls if other != url.lower()]
        report.ok(f"removed service url {quote(url)}")


def _refuse_server_url(claims: OperatorClaims) -> None:
    try:
        claims.check_subject()
    except JwtError as error:
        raise NskError(str(error)) from None


def _edit_system_account(session: Session, flags: Flags, claims: OperatorClaims, report: Report) -> None:
    given = flags.text("system-account")
    if not given:
        return
    store = session.store
    name = store.account_with_key(given) or given
    if not store.has_account(name):
        raise NskError(f"account {given} does not exist in the current operator")
    account = store.account(name)
    limits = account.nats.limits
    if limits.is_jetstream_enabled or limits.jetstream != JetStreamLimits():
        kind = "tiered JetStream limits" if limits.tiered_limits else "JetStream limits"
        raise NskError(
            f"system accounts cannot have {kind} - "
            f'run "{session.output.program} edit account {name} --js-disable" first'
        )
    if claims.nats.system_account == account.subject:
        return
    claims.nats.system_account = account.subject
    report.ok(f"set system account {quote(account.subject)}")


def _check_strict(store: Store, claims: OperatorClaims) -> None:
    for name in store.accounts():
        account = store.account(name)
        if account.issuer not in claims.nats.signing_keys:
            raise NskError(f"account {quote(name)} needs to be issued with a signing key first")
        for user in store.users(name):
            if account.signing_key(store.user(name, user).issuer) is None:
                raise NskError(
                    f"user {quote(user)} in account {quote(name)} needs to be issued with a signing key first"
                )
    if not claims.nats.signing_keys:
        raise NskError("operator requires at least one signing key")


_EDIT_FLAGS = (
    strings("sk", "", 'signing key or keypath or the value "generate" to generate a key pair on the fly'),
    strings("rm-sk", "", "remove signing key"),
    *TIME_FLAGS,
    *TAG_FLAGS,
    text(
        "account-jwt-server-url",
        "u",
        "set account jwt server url for nsc sync (only http/https or nats service (nats/tls/ws/wss) urls "
        "supported if updating with nsc)",
    ),
    boolean("rm-account-jwt-server-url", "", "clear account server url"),
    strings(
        "service-url",
        "n",
        "add an operator service url for nsc where clients can access the NATS service "
        "(only nats/tls/ws/wss urls supported)",
        told=False,
    ),
    strings(
        "rm-service-url",
        "",
        "remove an operator service url for nsc where clients can access the NATS service "
        "(only nats/tls/ws/wss urls supported)",
        told=False,
    ),
    text("system-account", "", "set system account by account by public key or name"),
    boolean("require-signing-keys", "", "require accounts/user to be signed with a signing key"),
)
_EDITS = tuple(flag.long.removeprefix("--") for flag in _EDIT_FLAGS)
EDIT = Command("operator", "Edit the operator", _edit, _EDIT_FLAGS, changes=True, result=OperatorResult)
