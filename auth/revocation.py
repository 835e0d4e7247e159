"""Revoked users, and times before and after which claims do not hold."""

from __future__ import annotations

from accounts.account import Account
from auth.errors import AuthError, AuthFailure


def check_revocation(account: Account, user_key: str, issued_at: int) -> None:
    """Refuse claims that the account has revoked, those of the very second included. Raises AuthError."""
    if account.is_revoked(user_key, issued_at):
        raise AuthError(AuthFailure.USER_REVOKED, user_key)


def check_times(
    now: float,
    *,
    not_before: int | None,
    expires_at: int | None,
    early: AuthFailure,
    late: AuthFailure,
    detail: str = "",
) -> None:
    """Refuse claims outside their time. Times are Unix seconds; None and 0 mean not set. Raises AuthError."""
    if expires_at and now >= expires_at:
        raise AuthError(late, detail or "claim is expired")
    if not_before and now < not_before:
        raise AuthError(early, detail or "claim is not yet valid")
