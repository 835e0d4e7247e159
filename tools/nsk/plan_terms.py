"""What two versions of an account, or of what a user has in it, say differently: limits, keys, exports, mappings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from accounts.account import Account
from accounts.exports import Export
from accounts.limits import UNLIMITED, AccountLimits, UserLimits
from accounts.mapping import SubjectMapping
from accounts.permissions import ResponsePermission
from auth.claims import AccountClaims
from auth.user import Binding
from tools.nsk.plan_model import TermChange

_COMPARED: Final = frozenset({
    "imports", "exports", "signing_keys", "revocations", "default_permissions", "mappings", "type", "version",
    "subs", "data", "payload", "wildcards", "disallow_bearer", "conn", "leaf", "natskeep",
})  # fmt: skip
"""Parts of the claims that are compared by what they mean; ``imports`` and ``exports`` stand for lists and limits."""


def account_terms(before: Account, after: Account) -> Iterator[TermChange]:
    """Everything but imports and what users may do."""
    yield from _limits(before.limits, after.limits)
    yield from _moment("expires", before.expires_at, after.expires_at, is_less=_is_earlier)
    yield from _moment("begins", before.not_before, after.not_before, is_less=_is_later)
    yield from _keys(before, after)
    yield from _revocations(before, after)
    yield from _exports(before, after)
    yield from _mappings(before.mappings, after.mappings)
    if before.sender_identity != after.sender_identity:
        yield TermChange("sender identity", _shown(before.sender_identity), _shown(after.sender_identity), False)


def user_terms(before: Binding, after: Binding) -> Iterator[TermChange]:
    """Everything but permissions."""
    yield from _limits(before.limits, after.limits)
    networks = tuple(", ".join(map(str, each.networks)) or "everywhere" for each in (before, after))
    if networks[0] != networks[1]:
        fewer = bool(after.networks) and (not before.networks or not set(before.networks) <= set(after.networks))
        yield TermChange("source networks", networks[0], networks[1], fewer)
    if before.windows != after.windows:
        yield TermChange("times of day", _shown(before.windows), _shown(after.windows), after.windows is not None)
    if before.connection_types != after.connection_types:
        types = [
            "all" if each.connection_types is None else ", ".join(sorted(each.connection_types))
            for each in (before, after)
        ]
        fewer = after.connection_types is not None and (
            before.connection_types is None or not before.connection_types <= after.connection_types
        )
        yield TermChange("connection types", types[0], types[1], fewer)
    if before.bearer != after.bearer:
        yield TermChange("bearer token", _shown(before.bearer), _shown(after.bearer), not after.bearer)
    if before.proxy_required != after.proxy_required:
        yield TermChange(
            "proxy required", _shown(before.proxy_required), _shown(after.proxy_required), after.proxy_required
        )
    yield from _responses(before.policy.responses, after.policy.responses, is_open=not after.policy.publish_is_closed)


def other_claims(before: AccountClaims, after: AccountClaims) -> list[str]:
    """Parts of the claims that nothing else here compares, by name."""
    old, new = (msgspec.to_builtins(claims.nats) for claims in (before, after))
    found = _unequal(old, new) + _unequal(old.get("limits", {}), new.get("limits", {}))
    return sorted({*found, *(["name"] if before.name != after.name else [])} - {"limits"})


def _unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **after} if name not in _COMPARED and before.get(name) != after.get(name)]


# Limits.


def _limits(before: AccountLimits | UserLimits, after: AccountLimits | UserLimits) -> Iterator[TermChange]:
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            name = field.name.replace("_", " ")
            yield TermChange(f"limit of {name}", _shown(old), _shown(new), _is_lower(field.name, old, new))


def _is_lower(name: str, before: int, after: int) -> bool:
    if name == "disallow_bearer":
        return bool(after)
    if name == "wildcard_exports":
        return not after
    return after != UNLIMITED and (before == UNLIMITED or max(after, 0) < max(before, 0))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == UNLIMITED:
        return "unlimited"
    return "none" if value is None else str(value)


def _moment(
    name: str, before: int | None, after: int | None, *, is_less: Callable[[int | None, int | None], bool]
) -> Iterator[TermChange]:
    if before != after:
        yield TermChange(name, _date(before), _date(after), is_less(before, after))


def _is_earlier(before: int | None, after: int | None) -> bool:
    return after is not None and (before is None or after < before)


def _is_later(before: int | None, after: int | None) -> bool:
    return after is not None and (before is None or after > before)


def _date(moment: int | None) -> str:
    return "never" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _responses(
    before: ResponsePermission | None, after: ResponsePermission | None, *, is_open: bool
) -> Iterator[TermChange]:
    if before == after:
        return
    shown = [
        "none" if each is None else f"{_shown(each.max_messages)} within {each.expires:g} s" for each in (before, after)
    ]
    fewer = before is not None and (
        (after is None and not is_open) or (after is not None and (_is_fewer(before, after)))
    )
    yield TermChange("responses", shown[0], shown[1], fewer)


def _is_fewer(before: ResponsePermission, after: ResponsePermission) -> bool:
    pairs = ((before.max_messages, after.max_messages), (before.expires, after.expires))
    return any(new >= 0 and (old < 0 or new < old) for old, new in pairs)


# What stands in lists.


def _keys(before: Account, after: Account) -> Iterator[TermChange]:
    for key in sorted({*before.signing_keys, *after.signing_keys}):
        states = [_key_state(account, key) for account in (before, after)]
        if key in before.signing_keys and key in after.signing_keys:
            if before.signing_keys[key] != after.signing_keys[key]:
                yield TermChange(f"signing key {key}", states[0], f"{states[1]}, another scope", False)
        else:
            yield TermChange(f"signing key {key}", states[0], states[1], key not in after.signing_keys)


def _key_state(account: Account, key: str) -> str:
    if key not in account.signing_keys:
        return "no"
    scope = account.signing_keys[key]
    return "yes" if scope is None else f"role {scope.role}" if scope.role else "scoped"


def _revocations(before: Account, after: Account) -> Iterator[TermChange]:
    for key in sorted({*before.revocations, *after.revocations}):
        old, new = before.revocations.get(key), after.revocations.get(key)
        if old != new:
            name = "revocation of all users" if key == "*" else f"revocation of user {key}"
            yield TermChange(name, _until(old), _until(new), new is not None and (old is None or new > old))


def _until(moment: int | None) -> str:
    return "none" if moment is None else f"issued until {_date(moment)}"


def _exports(before: Account, after: Account) -> Iterator[TermChange]:
    old, new = ({(export.kind, export.subject): export for export in each.exports} for each in (before, after))
    for kind, subject in sorted({*old, *new}):
        name = f"{kind} export {subject}"
        one, other = old.get((kind, subject)), new.get((kind, subject))
        if one is None or other is None:
            yield TermChange(name, "no" if one is None else "yes", "no" if other is None else "yes", False)
        elif changed := _changed_fields(one, other):
            yield TermChange(
                name,
                ", ".join(f"{field} {getattr(one, field)}" for field in changed),
                ", ".join(f"{field} {getattr(other, field)}" for field in changed),
                False,
            )


def _changed_fields(one: Export, other: Export) -> list[str]:
    return [
        field.name
        for field in dataclasses.fields(one)
        if field.name != "origin" and getattr(one, field.name) != getattr(other, field.name)
    ]


def _mappings(before: tuple[SubjectMapping, ...], after: tuple[SubjectMapping, ...]) -> Iterator[TermChange]:
    old, new = ({mapping.source: mapping for mapping in each} for each in (before, after))
    for source in sorted({*old, *new}):
        shown = [_destinations(each.get(source)) for each in (old, new)]
        if shown[0] != shown[1]:
            # Whoever listens where the messages went so far misses them.
            yield TermChange(f"mapping of {source}", shown[0], shown[1], True)


def _destinations(mapping: SubjectMapping | None) -> str:
    if mapping is None:
        return "none"
    return ", ".join(
        f"{each.subject} {each.weight}%" + (f" in {each.cluster}" if each.cluster else "")
        for each in mapping.destinations
    )
