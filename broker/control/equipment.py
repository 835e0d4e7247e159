"""What a session carries from its account and its user into the message path: ceilings, rates, and who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from accounts.limits import UNLIMITED, AccountLimits, UserLimits, effective_data, effective_payload
from auth.principal import Method
from broker.core.meter import Meter

if TYPE_CHECKING:
    from auth.principal import Principal
    from broker.control.tenant import Tenant
    from broker.session.session import Session

SIGNATURE: Final = "Natskeep-Sender"
"""The header that tells who sent a message, where an account asks for it."""

IDLE_METERS: Final = 64
"""Meters of users that are kept though nobody is metered by them; a user that leaves and comes back finds its own."""


def equip(tenant: Tenant, session: Session, principal: Principal, server_payload: int) -> None:
    """Gives the session what server, account and user allow, and its signature."""
    set_ceilings(session, principal, server_payload)
    client, now = session.client, session.hub.now
    account = _account_meter(tenant, principal.account.limits, now)
    client.meter(account, _user_meter(tenant, principal, now))
    signs = principal.account.sender_identity
    client.introduce(signature(principal), signs, signs)


def set_ceilings(session: Session, principal: Principal, server_payload: int) -> None:
    """Gives the session what server, account and user allow in bytes."""
    account, user = principal.account.limits, principal.limits
    session.lane.maximum_payload = effective_payload(server_payload, account, user)
    session.data_ceiling = max(effective_data(account, user), 0)


def signature(principal: Principal) -> bytes:
    """The header line that tells who sends a message. JSON has no line end in itself, so it stays one line."""
    facts = {"acc": principal.account.name}
    user = "" if principal.method is Method.TOKEN else principal.lasting_name
    if user:
        facts["user"] = user
    return b"%b: %b\r\n" % (SIGNATURE.encode(), msgspec.json.encode(facts))


def _rates(limits: AccountLimits | UserLimits) -> tuple[float, float] | None:
    """Messages and bytes a second, 0 for unlimited; None where neither is limited."""
    rates = (limits.message_rate, limits.byte_rate)
    if rates == (UNLIMITED, UNLIMITED):
        return None
    messages, size = (0.0 if rate == UNLIMITED else float(max(rate, 1)) for rate in rates)
    return messages, size


def _account_meter(tenant: Tenant, limits: AccountLimits, now: float) -> Meter | None:
    rates = _rates(limits)
    if rates is None:
        tenant.meter = None
    elif tenant.meter is None:
        tenant.meter = Meter(*rates, now)
    else:
        tenant.meter.reset(*rates)
    return tenant.meter


def _user_meter(tenant: Tenant, principal: Principal, now: float) -> Meter | None:
    rates = _rates(principal.limits)
    key = (principal.method.value, principal.user)
    if rates is None:
        tenant.user_meters.pop(key, None)
        return None
    meter = tenant.user_meters.get(key)
    if meter is None:
        if len(tenant.user_meters) > 2 * len(tenant.sessions) + IDLE_METERS:
            _drop_idle_meters(tenant, now)
        meter = tenant.user_meters[key] = Meter(*rates, now)
    else:
        meter.reset(*rates)
    return meter


def _drop_idle_meters(tenant: Tenant, now: float) -> None:
    """Forgets the meters that would be full again by now: a new one is no different."""
    used = {id(session.client.user_meter) for session in tenant.sessions}
    for key, meter in list(tenant.user_meters.items()):
        if id(meter) not in used and now - meter.since > 1.0 and not meter.owed(now - 1.0):
            del tenant.user_meters[key]
