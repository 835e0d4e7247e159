"""Logins that somebody else decides: what is handed over, and how the answer of an auth callout is read.

Without I/O. Everything about an answer is checked, and anything wrong with it is a refusal: its encryption, its
signature and signer, its times, the server and the login that it is for, and then the user JWT inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from accounts.account import Account
from accounts.callout import Callout
from auth.claims import AuthorizationResponseClaims
from auth.envelope import JwtError
from auth.errors import AuthError, AuthFailure
from auth.nkey import KeyPair, NKeyError
from auth.user import SignedUser, check_claims, read_user

LONGEST_REASON: Final = 512
"""Characters of a service's own words that the log gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """A login that the configuration leaves to somebody else.

    ``account`` is that of the callout service with its ``callout``; both are None where a function of the embedding
    program decides. ``token`` is the user JWT that led there in operator mode, with ``public_key``, ``name`` and
    ``tags`` of its user. ``proxy_key`` is the trusted proxy that the client came through.
    """

    account: Account | None = None
    callout: Callout | None = None
    proxy_key: str | None = None
    token: str = field(default="", repr=False)
    public_key: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an answer must fit: the callout, the server's id and curve key, and the user key made for this login."""

    callout: Callout
    server_id: str
    curve: KeyPair = field(repr=False)
    user_key: str


def read_answer(
    payload: bytes, question: Question, check_signer: Callable[[str], object], now: float
) -> SignedUser:
    """The user that a callout's answer admits, at a time in Unix seconds.

    ``check_signer`` raises AuthError for a key that may not sign for the callout. Raises AuthError.
    """
    if not payload:
        raise AuthError(AuthFailure.CALLOUT_DENIED, "no reason supplied")
    claims = _read_claims(_opened(payload, question), now)
    if claims.subject != question.user_key:
        raise _wrong("the answer is about another login")
    if claims.audience != question.server_id:
        raise _wrong("the answer is for another server")
    if claims.nats.issuer_account not in ("", question.callout.issuer):
        raise _wrong(f"the answer is issued for account {claims.nats.issuer_account}")
    try:
        check_signer(claims.issuer)
    except AuthError as problem:
        raise _wrong(f"the answer is signed by {claims.issuer}: {problem}") from None
    if claims.nats.error:
        raise AuthError(AuthFailure.CALLOUT_DENIED, claims.nats.error[:LONGEST_REASON])
    return _read_user(claims.nats.jwt, question.user_key, now)


def _opened(payload: bytes, question: Question) -> str:
    """The token of an answer, which is encrypted where the request was. Raises AuthError."""
    if question.callout.xkey:
        try:
            payload = question.curve.open(payload, question.callout.xkey)
        except NKeyError as problem:
            raise _wrong(f"the answer is not encrypted as it must be: {problem}") from None
    try:
        return payload.decode("ascii")
    except UnicodeDecodeError:
        raise _wrong("the answer is no JWT") from None


def _read_claims(token: str, now: float) -> AuthorizationResponseClaims:
    try:
        claims = AuthorizationResponseClaims.from_token(token)
    except JwtError as problem:
        raise _wrong(str(problem)) from None
    issues = claims.validate(now)
    if issues:
        raise _wrong(issues[0].description)
    return claims


def _read_user(token: str, user_key: str, now: float) -> SignedUser:
    try:
        user = read_user(token)
        check_claims(user, now)
    except AuthError as problem:
        raise AuthError(AuthFailure.CALLOUT_USER_NOT_VALID, str(problem)) from None
    if user.public_key != user_key:
        raise AuthError(AuthFailure.CALLOUT_USER_NOT_VALID, f"expected user {user_key}, not {user.public_key}")
    return user


def _wrong(reason: str) -> AuthError:
    return AuthError(AuthFailure.CALLOUT_ANSWER_NOT_VALID, reason)


def placement(user: SignedUser, delegation: Delegation, *, operator_mode: bool) -> str:
    """The name of the account that a user is to be put in, which may still be one that he must not be put in.

    With an operator it is the account that issued the user. Without one the issuer is that of the configuration, and
    the audience of the user JWT names the account. Raises AuthError.
    """
    if operator_mode:
        return user.issuer_account
    callout = delegation.callout
    if callout is None or user.issuer != callout.issuer:
        raise AuthError(AuthFailure.CALLOUT_USER_NOT_VALID, f"its user JWT is signed by {user.issuer}")
    if user.body.issuer_account:
        raise AuthError(AuthFailure.CALLOUT_USER_NOT_VALID, "issuer_account means something with an operator only")
    if not user.audience:
        raise AuthError(AuthFailure.CALLOUT_USER_NOT_VALID, "its audience names no account")
    return user.audience


def check_placement(account: Account, service: Account, callout: Callout) -> None:
    """Refuses an account that the service may not put users in. Raises AuthError."""
    if account.name == service.name or callout.permits(account.name, is_system=account.is_system):
        return
    raise AuthError(AuthFailure.CALLOUT_ACCOUNT_NOT_ALLOWED, f"{account.name} for the service in {service.name}")
