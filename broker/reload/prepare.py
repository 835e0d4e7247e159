"""Everything that can fail about a new configuration, done beside the running one without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auth.resolver.directory import DirectoryResolver
from broker.checked import check
from broker.config.options import ResolverKind
from broker.reload.plan import ReloadError, ReloadPlan, plan_reload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auth.authenticate import Authenticator
    from auth.resolver.directory import Survey
    from auth.standing import Standing
    from broker.config.options import Options
    from tls.served import Served


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that is checked and built, ready to take the place of the running one."""

    options: Options
    plan: ReloadPlan
    earlier: Authenticator
    """Whom the sessions of now were admitted by."""
    authenticator: Authenticator
    standing: Standing
    changed_accounts: frozenset[str] | None
    """Accounts of the configuration that are not what they were; None where accounts are known by their JWTs."""
    served: Mapping[str, Served]
    """What each listener with TLS is to show."""
    directory: Survey | None = None
    """What is to be seen in the directory of account JWTs where there is one."""


def prepare(old: Options, new: Options, earlier: Authenticator, serving: Mapping[str, Served]) -> Prepared:
    """Checks and builds a configuration; may run in a thread. ``serving`` is what listeners show until then.

    Raises ReloadError for what needs a restart, ConfigError, auth.settings.SettingsError and
    tls.policy.TLSSettingsError for what no server could start with.
    """
    resolver = earlier.trust.resolver if earlier.trust is not None and _goes_on(old, new) else None
    checked = check(new, resolver, serving)
    plan = plan_reload(old, new)
    plan.check()
    authenticator = checked.authenticator
    if authenticator.system_account != earlier.system_account:
        raise ReloadError("config reload does not support another system account, as the operators name it")
    directory = resolver.survey() if isinstance(resolver, DirectoryResolver) else None
    altered = frozenset() if directory is None else frozenset(directory.now)
    standing = authenticator.standing_since(earlier, altered)
    for name in new.resolver_preload if resolver is None else frozenset(resolver.loaded()) - altered:
        # What is verified here is remembered, and need not be verified in the loop.
        authenticator.account(name)
    changed = None
    if authenticator.trust is None:
        changed = (authenticator.account_names | earlier.account_names) - standing.accounts
    return Prepared(new, plan, earlier, authenticator, standing, changed, checked.served, directory)


def _goes_on(old: Options, new: Options) -> bool:
    """Whether accounts come from the same place as before, other than from the configuration itself."""
    before, after = old.resolver, new.resolver
    if before is None or after is None or after.kind is ResolverKind.MEMORY:
        return False
    return (before.kind, before.url, before.directory) == (after.kind, after.url, after.directory)
