"""A user of operator mode: what its verified token says, and what that means in its account.

Both are fixed for a token and an account, and may be remembered. Everything that depends on the moment, the place or
the connection is left to auth.authenticate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from accounts.account import Account, SigningKeyScope
from accounts.compile import compile_policy
from accounts.limits import UserLimits
from accounts.permissions import InvalidPermissionError, Permissions
from accounts.policy import PolicyTable
from auth.claims import UserClaims, UserData, blocking
from auth.convert import permissions_of, user_limits_of
from auth.envelope import JwtError
from auth.errors import AuthError, AuthFailure
from auth.evidence import ConnectionType
from auth.nkey import KeyKind, is_public_key
from auth.revocation import check_times
from auth.templates import TemplateError, TemplateFacts, expand
from auth.windows import DailyWindows, Network, parse_networks

_CONNECTION_TYPES = frozenset(kind.value for kind in ConnectionType)


@dataclass(frozen=True, slots=True)
class SignedUser:
    """The claims of a user token whose own signature holds. Whether its issuer may sign it is not yet known."""

    token: str = field(repr=False)
    public_key: str
    issuer: str
    issuer_account: str
    audience: str
    name: str
    tags: tuple[str, ...]
    issued_at: int
    not_before: int
    expires_at: int
    issue: str
    """The first finding that makes the claims unusable at any time, or an empty text."""
    body: UserData = field(repr=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a user has in its account. ``connection_types`` None means all; empty ``networks`` mean everywhere."""

    account: Account
    scope: SigningKeyScope | None
    permissions: Permissions | None
    policy: PolicyTable
    limits: UserLimits
    networks: tuple[Network, ...]
    windows: DailyWindows | None
    connection_types: frozenset[str] | None
    bearer: bool
    proxy_required: bool


def read_user(token: str) -> SignedUser:
    """Read a user token and check its signature. Raises AuthError."""
    try:
        claims = UserClaims.from_token(token)
    except JwtError as problem:
        raise AuthError(AuthFailure.USER_JWT_UNREADABLE, str(problem)) from None
    if not is_public_key(claims.subject, KeyKind.USER):
        raise AuthError(AuthFailure.USER_KEY_NOT_VALID, "subject is not a user public key")
    issues = blocking(claims.validate(0.0))
    return SignedUser(
        token=token,
        public_key=claims.subject,
        issuer=claims.issuer,
        issuer_account=claims.issuer_account,
        audience=claims.audience,
        name=claims.name,
        tags=tuple(claims.nats.tags),
        issued_at=claims.issued_at,
        not_before=claims.not_before,
        expires_at=claims.expires_at,
        issue=issues[0].description if issues else "",
        body=claims.nats,
    )


def check_claims(user: SignedUser, now: float) -> None:
    """Refuse claims outside their time, and those that no time makes good. Raises AuthError."""
    if user.expires_at < 0:
        raise AuthError(AuthFailure.USER_JWT_NEVER_VALID, "expiry before 1970")
    check_times(
        now,
        not_before=user.not_before,
        expires_at=user.expires_at,
        early=AuthFailure.USER_JWT_NOT_YET_VALID,
        late=AuthFailure.USER_JWT_EXPIRED,
    )
    if user.issue:
        raise AuthError(AuthFailure.USER_JWT_HAS_ISSUES, user.issue)


def bind_user(user: SignedUser, account: Account, scope: SigningKeyScope | None) -> Binding:
    """What the user has in the account: by its own claims, or by the template of its scoped signing key.

    Raises AuthError.
    """
    body = user.body
    if scope is None:
        permissions = permissions_of(body, "user JWT")
        return Binding(
            account=account,
            scope=None,
            permissions=permissions,
            policy=_compile(permissions, account, user),
            limits=user_limits_of(body),
            networks=_networks(body.source_networks),
            windows=_windows([(window.start, window.end) for window in body.times], body.times_location),
            connection_types=_connection_types(body.allowed_connection_types),
            bearer=body.bearer_token,
            proxy_required=body.proxy_required,
        )
    if not body.is_empty:
        raise AuthError(AuthFailure.SCOPED_USER_NOT_EMPTY, "scoped users require no permissions or limits set")
    expanded = None if scope.permissions.is_empty else _expand(scope.permissions, user, account)
    return Binding(
        account=account,
        scope=scope,
        permissions=expanded,
        policy=_compile(expanded, account, user),
        limits=scope.limits,
        networks=_networks(scope.sources),
        windows=_windows([(window.start, window.end) for window in scope.times], scope.times_location),
        connection_types=_connection_types(scope.connection_types),
        bearer=scope.bearer_token,
        proxy_required=scope.proxy_required,
    )


def _expand(permissions: Permissions, user: SignedUser, account: Account) -> Permissions:
    facts = TemplateFacts(
        name=user.name,
        subject=user.public_key,
        account_name=account.display_name,
        account_subject=account.name,
        tags=user.tags,
        account_tags=account.tags,
    )
    try:
        return expand(permissions, facts)
    except TemplateError as problem:
        raise AuthError(AuthFailure.PERMISSIONS_NOT_VALID, str(problem)) from None


def _compile(permissions: Permissions | None, account: Account, user: SignedUser) -> PolicyTable:
    try:
        return compile_policy(permissions, account, user.public_key)
    except InvalidPermissionError as problem:
        raise AuthError(AuthFailure.PERMISSIONS_NOT_VALID, str(problem)) from None


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    try:
        return parse_networks(texts)
    except ValueError as problem:
        raise AuthError(AuthFailure.SOURCE_NOT_ALLOWED, str(problem)) from None


def _windows(windows: list[tuple[str, str]], location: str) -> DailyWindows | None:
    if not windows:
        return None
    try:
        return DailyWindows.parse(windows, location)
    except (ValueError, OSError, KeyError) as problem:
        raise AuthError(AuthFailure.OUTSIDE_CONNECT_TIMES, str(problem)) from None


def _connection_types(names: Iterable[str]) -> frozenset[str] | None:
    """Names that no server knows are passed over, but a list of nothing else admits nobody."""
    given = {name.upper() for name in names}
    return frozenset(given & _CONNECTION_TYPES) if given else None
