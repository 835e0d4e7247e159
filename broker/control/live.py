"""An account that changed while it was in use: its live sessions are held to what it says now, at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from accounts.changes import changes, revoked
from auth.envelope import JwtError, open_unverified
from auth.errors import AuthError, AuthFailure
from broker.control.review import close_surplus, review
from broker.wire.errors import CloseReason

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.control.control import Control
    from broker.control.tenant import Tenant
    from broker.session.session import Session


def update_account(control: Control, token: str, by: Session | None = None) -> Account:
    """Puts another JWT of an account in place and applies it to everything alive; returns the account as it is now.

    Raises AuthError for a token that no trusted operator signed or that has blocking findings, and where there are no
    operators; then nothing has changed. ``by`` is who asked for it, where that was a client.
    """
    trust = control.authenticator.trust
    if trust is None:
        raise AuthError(AuthFailure.ACCOUNT_NOT_TRUSTED, "the server trusts no operator")
    before = control.account(_subject(token)) if control.trail.recorder is not None else None
    account = trust.update(token)
    account_changed(control, account.name)
    record_change(control, account.name, before, account, by=by, cause="claims")
    return account


def record_change(
    control: Control, name: str, before: Account | None, after: Account | None, *, by: Session | None, cause: str
) -> None:
    """Writes down what is other than before about an account, where a ledger is kept."""
    if control.trail.recorder is not None:
        control.trail.account_changed(name, changes(before, after), revoked(before, after), by=by, cause=cause)


def _subject(token: str) -> str:
    """The account that a token is about, before anybody has checked it."""
    try:
        return str(open_unverified(token).get("sub", ""))
    except JwtError:
        return ""


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
    for session in (*sorted(tenant.sessions, key=lambda one: one.cid), *_admitted_by(control, tenant)):
        principal = session.principal
        if principal is None:
            continue
        try:
            verified = control.authenticator.recheck(principal, time.time())
        except AuthError as error:
            control.trail.authentication_failed(session, error)
            session.fail(error.client_text, CloseReason(error.closed_reason), log="")
            closed += 1
            continue
        review(control, session, verified)
    before = len(tenant.sessions)
    close_surplus(control, (tenant,))
    return closed + before - len(tenant.sessions)


def _admitted_by(control: Control, service: Tenant) -> list[Session]:
    """Sessions of other accounts that the callout of this one has admitted."""
    return [
        session
        for tenant in control.tenants.values()
        if tenant is not service
        for session in sorted(tenant.sessions, key=lambda one: one.cid)
        if session.principal is not None and session.principal.delegated_by == service.account.name
    ]
