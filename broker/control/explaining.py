"""Why a connected client may or may not do something, and who would receive it: read off the tables of this moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from accounts.explain import Explanation, Who, explain_publish, explain_subscribe
from accounts.flow import World

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.control.control import Control
    from broker.session.session import Session


def may_publish(control: Control, session: Session, subject: str) -> Explanation:
    """Whether the client of an active session may publish to a subject, and who would receive that.

    Raises ValueError for what is no subject, and for a session that is in no account.
    """
    return explain_publish(_world(control), _who(session), subject)


def may_subscribe(control: Control, session: Session, subject: str, queue: str | None = None) -> Explanation:
    """Whether the client of an active session may subscribe, and whose messages it would hear.

    Raises ValueError for what is no subject, and for a session that is in no account.
    """
    return explain_subscribe(_world(control), _who(session), subject, queue)


def _world(control: Control) -> World:
    """The accounts that somebody uses, and those that they depend on."""
    names = set(control.tenants)
    for tenant in control.tenants.values():
        if tenant.exchange is not None:
            names |= tenant.exchange.consulted
    found: list[Account] = []
    for name in sorted(names):
        account = control.account(name)
        if account is not None:
            found.append(account)
    return World(found, time.time(), system=control.system_account)


def _who(session: Session) -> Who:
    principal = session.principal
    if principal is None or session.tenant is None:
        raise ValueError("the connection is in no account")
    signer = principal.issuer_key or ""
    return Who(
        name=principal.user or "a client without a name",
        account=principal.account,
        policy=principal.policy,
        limits=principal.limits,
        signing_key="" if signer == principal.account.name else signer,
        role="" if principal.scope is None else principal.scope.role,
    )
