"""What a change of an account means: in words, one for each thing that is other than before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from accounts.account import REVOKE_ALL, Account
from accounts.limits import UNLIMITED

_PLAIN = ("display_name", "expires_at", "not_before", "sender_identity")
_WITHOUT_ORIGIN = {"origin": ""}


def changes(before: Account | None, after: Account | None) -> tuple[str, ...]:
    """Everything in which two states of an account differ. None is an account that is not there."""
    if before is None or after is None:
        if before is after:
            return ()
        return ("account added",) if before is None else ("account removed",)
    return tuple(_changes(before, after))


def _changes(before: Account, after: Account) -> Iterator[str]:
    for name in _PLAIN:
        yield from _value(name, getattr(before, name), getattr(after, name))
    if before.issuer != after.issuer:
        yield f"signed by {after.issuer or 'nobody'} instead of {before.issuer or 'nobody'}"
    for field in fields(before.limits):
        old, new = getattr(before.limits, field.name), getattr(after.limits, field.name)
        if old != new:
            yield f"limit {field.name} {_number(old)} -> {_number(new)}"
    if before.default_permissions != after.default_permissions:
        yield "default permissions changed"
    yield from _keyed("signing key", before.signing_keys, after.signing_keys)
    yield from _revocations(before.revocations, after.revocations)
    yield from _exchanged("export", before.exports, after.exports)
    yield from _exchanged("import", before.imports, after.imports)
    yield from _exchanged("mapping", before.mappings, after.mappings)


def _value(name: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{name} {old!r} -> {new!r}"


def _number(value: object) -> str:
    return "unlimited" if value == UNLIMITED and not isinstance(value, bool) else str(value)


def _keyed(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            yield f"{what} {key} removed"
        elif key not in old:
            yield f"{what} {key} added"
        elif old[key] != new[key]:
            yield f"{what} {key}: its scope changed"


def _revocations(old: Mapping[str, int], new: Mapping[str, int]) -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        who = "all users" if key == REVOKE_ALL else key
        if key not in new:
            yield f"revocation of {who} withdrawn"
        elif old.get(key) != new[key]:
            yield f"{who} revoked for tokens issued up to {new[key]}"


def revoked(before: Account | None, after: Account | None) -> tuple[str, ...]:
    """The user keys, or ``*``, of which more tokens are revoked than before, sorted."""
    old: Mapping[str, int] = {} if before is None else before.revocations
    new: Mapping[str, int] = {} if after is None else after.revocations
    return tuple(key for key in sorted(new) if old.get(key, -1) < new[key])


def _exchanged(what: str, old: Iterable[Any], new: Iterable[Any]) -> Iterator[str]:
    """Entries are the same when all but their place is: what changed has gone and come."""
    earlier, later = [_bare(one) for one in old], [_bare(one) for one in new]
    for one in earlier:
        if one not in later:
            yield f"{what} of {_shown(one)} removed"
    for one in later:
        if one not in earlier:
            yield f"{what} of {_shown(one)} added"


def _bare(entry: Any) -> Any:
    return replace(entry, **{name: value for name, value in _WITHOUT_ORIGIN.items() if hasattr(entry, name)})


def _shown(entry: Any) -> str:
    kind = getattr(entry, "kind", "")
    subject = getattr(entry, "subject", None) or getattr(entry, "source", "")
    account = getattr(entry, "account", "")
    return " ".join(part for part in (kind, str(subject), f"from {account}" if account else "") if part)
