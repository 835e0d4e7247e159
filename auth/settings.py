"""What the verifier is told: one frozen picture of operators, accounts, users and keys, refused when it contradicts
itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from accounts.account import GLOBAL_ACCOUNT, Account
from accounts.callout import EVERY_ACCOUNT
from accounts.limits import UserLimits
from accounts.permissions import Grant, InvalidPermissionError, Permissions
from auth.certificate import LOCAL, parse_local
from auth.claims import AccountClaims, OperatorClaims, UserClaims
from auth.claims.operator import server_version
from auth.creds import parse_decorated_jwt
from auth.envelope import JwtError
from auth.evidence import ConnectionType
from auth.gojson import quote
from auth.login import Authenticate
from auth.nkey import KeyKind, is_public_key
from auth.password import is_bcrypt
from auth.preload import VerifiedPreload
from auth.resolver import AccountResolver

_CONNECTION_TYPES: Final = frozenset(kind.value for kind in ConnectionType)


class SettingsError(ValueError):
    """Settings with which a server must not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEntry:
    """A user of the configuration with a password; plain or bcrypt, and an empty one is no password.

    ``permissions`` None takes the account's defaults; ``connection_types`` (upper case) empty means all.
    """

    name: str
    password: str = field(default="", repr=False)
    account: str = GLOBAL_ACCOUNT
    permissions: Permissions | None = None
    connection_types: frozenset[str] = frozenset()
    proxy_required: bool = False
    limits: UserLimits = field(default_factory=UserLimits)
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NkeyEntry:
    """A user of the configuration that signs the nonce with its nkey."""

    public_key: str
    account: str = GLOBAL_ACCOUNT
    permissions: Permissions | None = None
    connection_types: frozenset[str] = frozenset()
    proxy_required: bool = False
    limits: UserLimits = field(default_factory=UserLimits)
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleCredentials:
    """Who gets in without being a listed user: one user of ``$G``, one token, or nobody in particular.

    A listener may have its own; they take the place of all of the server's.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    no_auth_user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Everything that decides who gets in.

    ``operators`` are JWT texts, bare or in armour. ``accounts`` are those of the configuration by name, ``$G`` need not
    be among them. ``user`` with ``password``, or ``token``, are the single credentials of ``$G``.
    ``authorization_block`` says that the configuration has such a block, even an empty one; ``certificate_mapping``
    that some listener maps certificates to users, so that a name alone proves nothing anywhere. ``peer_mapping`` says
    that a Unix socket maps its peers, and ``system_users`` are the names of system users, by their numbers, that users
    of the configuration are known by. ``proxy_required`` holds for all users of the configuration. ``bootstraps`` opens
    the system account to users that it signed itself, as long as the resolver does not know it;
    ``needs_system_account`` says that the resolver works through it. ``server_version`` is what operators may set a
    lower bound to.

    ``callout_account`` is the account whose callout decides about who is not among the users of the configuration, and
    ``authenticate`` a function of the embedding program that does; at most one of them. ``break_glass`` are users that
    must be able to log in whatever has become of the callout.
    """

    operators: tuple[str, ...] = field(default=(), repr=False)
    trusted_keys: tuple[str, ...] = ()
    resolver: AccountResolver | None = None
    bootstraps: bool = False
    needs_system_account: bool = False
    preload: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    system_account: str = ""
    pinned_accounts: frozenset[str] = frozenset()
    default_sentinel: str = field(default="", repr=False)
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))
    users: tuple[UserEntry, ...] = ()
    nkeys: tuple[NkeyEntry, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    no_auth_user: str = ""
    websocket: SingleCredentials | None = None
    """Those of the WebSocket port, where it has its own."""
    authorization_block: bool = False
    certificate_mapping: bool = False
    peer_mapping: bool = False
    system_users: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    proxy_required: bool = False
    trusted_proxies: tuple[str, ...] = ()
    callout_account: str = ""
    break_glass: frozenset[str] = frozenset()
    authenticate: Authenticate | None = None
    server_version: str = "2.14.5"

    @property
    def is_operator_mode(self) -> bool:
        """Whether users must show a JWT."""
        return bool(self.operators or self.trusted_keys)

    @property
    def is_delegating(self) -> bool:
        """Whether somebody else decides about who is not among the users of the configuration."""
        return bool(self.callout_account) or self.authenticate is not None

    @property
    def has_plain_secrets(self) -> bool:
        """Whether a password or token stands in the clear; whoever starts the server should be told."""
        own = () if self.websocket is None else (self.websocket.password, self.websocket.token)
        secrets = (self.password, self.token, *own, *(user.password for user in self.users))
        return any(secret and not is_bcrypt(secret) for secret in secrets)


def load_operators(settings: AuthSettings) -> tuple[OperatorClaims, ...]:
    """The operators' claims, their signatures verified. Raises SettingsError."""
    loaded = []
    for text in settings.operators:
        try:
            claims = OperatorClaims.from_token(parse_decorated_jwt(text))
        except JwtError as problem:
            raise SettingsError(f"error parsing operator JWT: {problem}") from None
        if not is_public_key(claims.subject, KeyKind.OPERATOR):
            raise SettingsError("error parsing operator JWT: subject is not an operator public key")
        _check_server_version(claims, settings.server_version)
        loaded.append(claims)
    return tuple(loaded)


def resolve_system_account(settings: AuthSettings, operators: Iterable[OperatorClaims]) -> str:
    """The system account's name: as configured, or as the only operator says. Raises SettingsError."""
    operators = tuple(operators)
    claimed = {claims.nats.system_account for claims in operators if claims.nats.system_account}
    if settings.system_account:
        if claimed and settings.system_account not in claimed:
            raise SettingsError("system_account in config and operator JWT must be identical")
        return settings.system_account
    return operators[0].nats.system_account if len(operators) == 1 else ""


def load_sentinel(settings: AuthSettings) -> str:
    """The token of the default sentinel, verified, or an empty text. Raises SettingsError."""
    if not settings.default_sentinel:
        return ""
    if not settings.is_operator_mode:
        raise SettingsError("default sentinel requires operators and accounts")
    try:
        claims = UserClaims.from_token(settings.default_sentinel)
    except JwtError:
        raise SettingsError("default sentinel JWT not valid") from None
    is_scoped = bool(claims.nats.issuer_account) and claims.nats.is_empty
    if not claims.nats.bearer_token and not is_scoped:
        raise SettingsError("default sentinel must be a bearer token")
    return settings.default_sentinel


def check_settings(settings: AuthSettings) -> None:
    """Refuse contradictions. Raises SettingsError."""
    if settings.is_operator_mode:
        _check_operator_mode(settings)
    elif settings.bootstraps:
        raise SettingsError("no operator key found: an account resolver needs an operator whose accounts it may trust")
    else:
        _check_static_users(settings)
        _check_delegation(settings)
    for key in settings.trusted_proxies:
        if not any(is_public_key(key, kind) for kind in KeyKind if kind is not KeyKind.CURVE):
            raise SettingsError(f"proxy trusted key {quote(key)} is invalid")


def _check_operator_mode(settings: AuthSettings) -> None:
    if settings.peer_mapping:
        raise SettingsError("verify_and_map of a Unix socket maps to users of the configuration; operators allow none")
    if settings.operators and settings.trusted_keys:
        raise SettingsError("conflicting options for 'TrustedKeys' and 'TrustedOperators'")
    if settings.resolver is None:
        raise SettingsError("operators require an account resolver to be configured")
    if settings.accounts:
        raise SettingsError("operators do not allow Accounts to be configured directly")
    if settings.users or settings.nkeys or settings.user or settings.token:
        raise SettingsError("operators do not allow users to be configured directly")
    if settings.no_auth_user or (settings.websocket is not None and settings.websocket.no_auth_user):
        raise SettingsError("no_auth_user not compatible with Trusted Operator")
    if settings.callout_account:
        raise SettingsError("operators do not allow authorization callouts to be configured directly")
    if settings.authenticate is not None:
        raise SettingsError("operators do not allow an authenticator of the program")
    for key in settings.trusted_keys:
        if not is_public_key(key, KeyKind.OPERATOR):
            raise SettingsError(f"trusted Keys {quote(key)} are required to be a valid public operator nkey")
    for key in sorted(settings.pinned_accounts):
        if not is_public_key(key, KeyKind.ACCOUNT):
            raise SettingsError(f"pinned account key {quote(key)} is not a valid public account nkey")
    # Options that were not read from a file may hold any tokens.
    unverified = () if isinstance(settings.preload, VerifiedPreload) else settings.preload.values()
    for token in unverified:
        try:
            AccountClaims.from_token(token)
        except JwtError:
            raise SettingsError("invalid account JWT") from None


def _check_static_users(settings: AuthSettings) -> None:
    names: set[str] = set()
    for user in settings.users:
        if user.name in names:
            raise SettingsError(f"Duplicate user {quote(user.name)} detected")
        names.add(user.name)
        _check_entry(user.name, user, settings.accounts)
    keys: set[str] = set()
    for nkey in settings.nkeys:
        if not is_public_key(nkey.public_key, KeyKind.USER):
            raise SettingsError("Not a valid public nkey for a user")
        if nkey.public_key in keys:
            raise SettingsError(f"Duplicate nkey {quote(nkey.public_key)} detected")
        keys.add(nkey.public_key)
        _check_entry(nkey.public_key, nkey, settings.accounts)
    if settings.peer_mapping:
        _check_local_users(names)
    _check_no_auth_user(settings.no_auth_user, names, keys)
    if settings.websocket is not None:
        _check_no_auth_user(settings.websocket.no_auth_user, names, keys)


def _check_local_users(names: Iterable[str]) -> None:
    """Refuse names of local processes that nobody has, and a Unix socket that nobody could come by."""
    local = [name for name in names if name.startswith(LOCAL)]
    if not local:
        raise SettingsError(
            f"verify_and_map of a Unix socket needs users: name one {LOCAL}uid=1000 or {LOCAL}user=alice, say"
        )
    for name in local:
        try:
            parse_local(name)
        except ValueError as problem:
            raise SettingsError(str(problem)) from None


def _check_no_auth_user(wanted: str, names: set[str], keys: set[str]) -> None:
    if wanted and not names and not keys:
        raise SettingsError(f"no_auth_user: {quote(wanted)} present, but users/nkeys are not defined")
    if wanted and wanted not in names and wanted not in keys:
        raise SettingsError(
            f"no_auth_user: {quote(wanted)} not present as user or nkey in authorization block or account configuration"
        )


def _check_delegation(settings: AuthSettings) -> None:
    """Refuse a callout that could not work, and users of it that would not be able to log in. Raises SettingsError."""
    if not settings.callout_account:
        return
    if settings.authenticate is not None:
        raise SettingsError("an auth_callout and an authenticator of the program exclude each other")
    account = settings.accounts.get(settings.callout_account)
    if account is None or account.callout is None:
        raise SettingsError(f"auth_callout account {quote(settings.callout_account)} is not defined")
    known = {
        user.name: bool(user.password)
        or settings.certificate_mapping
        or (settings.peer_mapping and user.name.startswith(LOCAL))
        for user in settings.users
    }
    known |= dict.fromkeys((nkey.public_key for nkey in settings.nkeys), True)
    if settings.user:
        known[settings.user] = bool(settings.password)
    for name in sorted(account.callout.users):
        if name not in known:
            raise SettingsError(f"auth_callout user {quote(name)} is not a user of the configuration")
    for name in sorted(settings.break_glass):
        if not known.get(name, False):
            raise SettingsError(f"break_glass user {quote(name)} is not a user of the configuration with a secret")
    for name in sorted(account.callout.allowed_accounts - {EVERY_ACCOUNT}):
        if name not in settings.accounts:
            raise SettingsError(f"auth_callout allowed account {quote(name)} not found in configured accounts")


def _check_entry(name: str, entry: UserEntry | NkeyEntry, accounts: Mapping[str, Account]) -> None:
    if entry.account != GLOBAL_ACCOUNT and entry.account not in accounts:
        raise SettingsError(f"user {quote(name)} belongs to account {quote(entry.account)}, which is not defined")
    for kind in sorted(entry.connection_types):
        if kind not in _CONNECTION_TYPES:
            raise SettingsError(f"unknown connection type {quote(kind)}")
    permissions = entry.permissions
    if permissions is None:
        return
    try:
        permissions.validate()
    except InvalidPermissionError as problem:
        where = _invalid_list(permissions)
        raise SettingsError(f"invalid permissions for user {quote(name)}: {where}{problem}") from None


def _invalid_list(permissions: Permissions) -> str:
    """The list with the first entry that is invalid whatever list it is in."""
    lists: tuple[tuple[str, tuple[Grant, ...]], ...] = (
        ("publish allow", permissions.publish.allow),
        ("publish deny", permissions.publish.deny),
        ("subscribe allow", permissions.subscribe.allow),
        ("subscribe deny", permissions.subscribe.deny),
    )
    for label, grants in lists:
        for grant in grants:
            try:
                grant.validate()
            except InvalidPermissionError:
                return f"{label}: "
    return ""


def _check_server_version(operator: OperatorClaims, running: str) -> None:
    if not operator.nats.assert_server_version:
        return
    try:
        expected = server_version(operator.nats.assert_server_version)
    except ValueError as problem:
        raise SettingsError(f"operator {operator.subject} assert server version error: {problem}") from None
    actual = server_version(running)
    for part, wanted, found in zip(("major", "minor", "update"), expected, actual, strict=True):
        if wanted > found:
            raise SettingsError(
                f"operator {operator.subject} expected {part} version {wanted} > server {part} version {found}"
            )
        if wanted < found:
            return
