"""What a user's token is worth apart from one connection: all that is checked of the token itself and of its chain."""

from __future__ import annotations

from auth.errors import AuthError, AuthFailure
from auth.revocation import check_revocation
from auth.trust import TrustedOperators
from auth.user import Binding, SignedUser, bind_user, check_claims, read_user


def appraise(trust: TrustedOperators, token: str, now: float) -> tuple[SignedUser, Binding]:
    """The user of a token and what it has in its account, at a time in Unix seconds.

    Where it connects from, when of day, and whether it holds its key is not looked at. Raises AuthError with the reason
    for which :mod:`auth.authenticate` would refuse it everywhere.
    """
    user = read_user(token)
    check_claims(user, now)
    account = trust.account(user.issuer_account)
    binding = bind_user(user, account, trust.user_scope(account, user.issuer))
    trust.check_account_times(account, now)
    if binding.bearer and account.limits.disallow_bearer:
        raise AuthError(AuthFailure.BEARER_NOT_ALLOWED, account.name)
    check_revocation(account, user.public_key, user.issued_at)
    return user, binding
