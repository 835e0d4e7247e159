"""Verified claims become the plain data that accounts decide with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from accounts.account import Account, SigningKeyScope, TimeWindow, TraceDestination
from accounts.callout import Callout
from accounts.grants import InvalidGrantError, parse_named_grant
from accounts.grants import permissions_of as permissions_of_grants
from accounts.limits import EVERY_TIER, AccountLimits, JetStreamLimits, UserLimits
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from auth.claims import (
    AccountClaims,
    ExternalAuthorization,
    OperatorLimits,
    Permission,
    UserPermissionLimits,
    UserScope,
)
from auth.claims import Permissions as ClaimedPermissions
from auth.claims.extension import AccountExtension, UserExtension
from auth.templates import split_entry

_NANOSECONDS = 1_000_000_000


def permissions_of(claimed: ClaimedPermissions, origin: str) -> Permissions | None:
    """The permissions that claims hold, or None when they hold none: empty lists count as none."""
    if claimed.has_no_permissions:
        return None
    responses = claimed.responses
    publish, subscribe = _named_by(claimed)
    return Permissions(
        publish=_rules(claimed.publish, f"{origin} pub", publish, queues=False),
        subscribe=_rules(claimed.subscribe, f"{origin} sub", subscribe, queues=True),
        responses=None if responses is None else ResponsePermission(responses.maximum, responses.ttl / _NANOSECONDS),
    )


def _named_by(claimed: ClaimedPermissions) -> tuple[dict[str, str], dict[str, str]]:
    """The grant that each allow for publishing and for subscribing came from, as far as claims name any."""
    extension = claimed.natskeep if isinstance(claimed, UserPermissionLimits) else None
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for text in [] if extension is None else extension.grants:
        try:
            grants = permissions_of_grants([parse_named_grant(text)])
        except InvalidGrantError:
            continue
        for names, rules in zip(found, (grants.publish, grants.subscribe), strict=True):
            for one in rules.allow:
                names.setdefault(str(one), f", {one.origin}")
    return found


def _rules(permission: Permission, origin: str, named: dict[str, str], *, queues: bool) -> SubjectRules:
    return SubjectRules(
        tuple(_grant(entry, f"{origin}.allow{named.get(entry, '')}", queues) for entry in permission.allow),
        tuple(_grant(entry, f"{origin}.deny", queues) for entry in permission.deny),
    )


def _grant(entry: str, origin: str, queues: bool) -> Grant:
    subject, queue = split_entry(entry) if queues else (entry, None)
    return Grant(subject, queue, origin)


def user_limits_of(claimed: UserPermissionLimits) -> UserLimits:
    """The ceilings of a user."""
    rates = claimed.natskeep or UserExtension()
    return UserLimits(claimed.subscriptions, claimed.payload, claimed.data, rates.message_rate, rates.byte_rate)


def account_limits_of(claimed: OperatorLimits, rates: AccountExtension) -> AccountLimits:
    """The ceilings and rates of an account."""
    return AccountLimits(
        subscriptions=claimed.subscriptions,
        payload=claimed.payload,
        data=claimed.data,
        connections=claimed.connections,
        leafnodes=claimed.leafnodes,
        imports=claimed.imports,
        exports=claimed.exports,
        wildcard_exports=claimed.wildcard_exports,
        disallow_bearer=claimed.disallow_bearer,
        message_rate=rates.message_rate,
        byte_rate=rates.byte_rate,
    )


def jetstream_of(claimed: OperatorLimits) -> dict[str, JetStreamLimits]:
    """What an account's streams may take, by tier; flat limits do not count where there are tiers."""
    if not claimed.is_jetstream_enabled:
        return {}
    tiers = claimed.tiered_limits or {EVERY_TIER: claimed.jetstream}
    return {
        tier: JetStreamLimits(
            memory=limits.memory_storage,
            disk=limits.disk_storage,
            streams=limits.streams,
            consumers=limits.consumers,
            max_ack_pending=limits.max_ack_pending,
            memory_max_stream_bytes=limits.memory_max_stream_bytes,
            disk_max_stream_bytes=limits.disk_max_stream_bytes,
            max_bytes_required=limits.max_bytes_required,
        )
        for tier, limits in tiers.items()
    }


def scope_of(claimed: UserScope) -> SigningKeyScope:
    """What a scoped signing key gives, its templates not yet expanded."""
    template = claimed.template
    role = f" ({claimed.role})" if claimed.role else ""
    return SigningKeyScope(
        role=claimed.role,
        description=claimed.description,
        permissions=permissions_of(template, f"signing key {claimed.key}{role}") or Permissions(),
        limits=user_limits_of(template),
        sources=tuple(template.source_networks),
        times=tuple(TimeWindow(window.start, window.end) for window in template.times),
        times_location=template.times_location,
        bearer_token=template.bearer_token,
        proxy_required=template.proxy_required,
        connection_types=tuple(template.allowed_connection_types),
    )


def callout_of(account: str, claimed: ExternalAuthorization) -> Callout | None:
    """The service of an account that decides about logins; None where no users of it are named."""
    if not claimed.is_enabled:
        return None
    return Callout(
        issuer=account,
        users=frozenset(claimed.auth_users),
        allowed_accounts=frozenset(claimed.allowed_accounts),
        xkey=claimed.xkey,
    )


def account_of(claims: AccountClaims, *, is_system: bool) -> Account:
    """The account that claims describe."""
    data = claims.nats
    extension = data.natskeep or AccountExtension()
    signing_keys: dict[str, SigningKeyScope | None] = {}
    for item in data.signing_keys:
        if isinstance(item, UserScope):
            signing_keys[item.key] = scope_of(item)
        else:
            signing_keys[item] = None
    origin = f"account JWT {claims.token_id or claims.subject}"
    crossings: dict[str, Any] = {}
    if data.exports or data.imports or data.mappings:
        # Most servers have accounts that cross nothing, and spare the memory of the code for it.
        crossings = import_module("auth.exchange").crossings_of(data, origin)._asdict()
    return Account(
        name=claims.subject,
        display_name=claims.name,
        limits=account_limits_of(data.limits, extension),
        sender_identity=extension.sender_identity,
        trace=None if data.trace is None else TraceDestination(data.trace.destination, data.trace.sampling or 100),
        default_permissions=permissions_of(data.default_permissions, "account default_permissions"),
        is_system=is_system,
        expires_at=claims.expires_at or None,
        not_before=claims.not_before or None,
        issuer=claims.issuer,
        signing_keys=signing_keys,
        revocations=data.revocations,
        tags=tuple(data.tags),
        origin=origin,
        callout=callout_of(claims.subject, data.authorization),
        jetstream=jetstream_of(data.limits),
        **crossings,
    )
