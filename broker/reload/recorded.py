"""What a reload means for accounts and keys, for the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts.changes import changes, revoked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accounts.account import Account
    from broker.config.options import Options
    from broker.control.audit import Trail
    from broker.reload.prepare import Prepared


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What is other than before about one account."""

    account: str
    changes: tuple[str, ...]
    revoked: tuple[str, ...]


def account_changes(prepared: Prepared, old: Options) -> list[AccountChange]:
    """Every account that a configuration changes, by name. Looks at all of them, so it belongs into a thread."""
    found = []
    for name in sorted(_names(prepared, old)):
        before, after = _states(prepared, name)
        listed = changes(before, after)
        if listed:
            found.append(AccountChange(name, listed, revoked(before, after)))
    return found


def _states(prepared: Prepared, name: str) -> tuple[Account | None, Account | None]:
    """An account as it is, and as it will be."""
    survey, trust = prepared.directory, prepared.authenticator.trust
    if survey is None or trust is None:
        return prepared.earlier.account(name), prepared.authenticator.account(name)
    return trust.usable(survey.before[name], name), trust.usable(survey.now[name], name)


def _names(prepared: Prepared, old: Options) -> Iterable[str]:
    if prepared.directory is not None:
        return prepared.directory.now
    if prepared.changed_accounts is not None:
        return prepared.changed_accounts
    earlier, later = old.resolver_preload, prepared.options.resolver_preload
    return {name for name in earlier.keys() | later.keys() if earlier.get(name) != later.get(name)}


def record(trail: Trail, prepared: Prepared, old: Options, found: Iterable[AccountChange]) -> None:
    """Writes down that a configuration is in place, and what it changed."""
    trail.reloaded(change.line for change in prepared.plan.changes)
    before, after = prepared.earlier.trust, prepared.authenticator.trust
    if before is not None and after is not None:
        trail.keys_rotated(after.trusted_keys - before.trusted_keys, before.trusted_keys - after.trusted_keys)
    for change in found:
        trail.account_changed(change.account, change.changes, change.revoked, cause="reload")
