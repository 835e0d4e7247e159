"""An account that changed while it was in use: its live sessions are held to what it says now, at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from auth.errors import AuthError, AuthFailure
from broker.control import audit
from broker.control.review import close_surplus, review
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.control.control import Control


def update_account(control: Control, token: str) -> Account:
    """Puts another JWT of an account in place and applies it to everything alive; returns the account as it is now.

    Raises AuthError for a token that no trusted operator signed or that has blocking findings, and where there are no
    operators; then nothing has changed.
    """
    trust = control.authenticator.trust
    if trust is None:
        raise AuthError(AuthFailure.ACCOUNT_NOT_TRUSTED, "the server trusts no operator")
    account = trust.update(token)
    account_changed(control, account.name)
    return account


def account_changed(control: Control, name: str) -> int:
    """Applies the account claims of now to everything alive; returns how many sessions were closed.

    What crosses its wall is compiled again, here and where others depend on it. Each session is verified anew: one
    whose user is revoked, whose signing key is gone or whose account has ended is closed, and one that may do less
    loses just the subscriptions that it may not have any more.
    """
    control.wiring.refresh((name,))
    tenant = control.tenants.get(name)
    if tenant is None:
        return 0
    closed = 0
    for session in sorted(tenant.sessions, key=lambda one: one.cid):
        principal = session.principal
        if principal is None:
            continue
        try:
            verified = control.authenticator.recheck(principal, time.time())
        except AuthError as error:
            audit.authentication_failed(session, error)
            session.fail(error.client_text, CloseReason(error.closed_reason), log="")
            closed += 1
            continue
        review(control, session, verified)
    before = len(tenant.sessions)
    close_surplus(control, (tenant,))
    return closed + before - len(tenant.sessions)
