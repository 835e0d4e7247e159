"""What a reload would do, told before it is done: to keys, to users and their sessions, to subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from accounts.policy import PolicyTable
from auth.authenticate import Authenticator
from auth.errors import AuthError
from auth.resolver import StoreError
from auth.resolver.directory import DirectoryResolver
from auth.settings import SettingsError
from broker.checked import listeners
from broker.config.options import Options, ResolverKind, TLSOptions
from broker.config.validate import validate
from broker.reload.plan import ReloadPlan, plan_reload
from broker.settings import auth_settings
from tls.policy import TLSSettingsError
from tls.served import Served, serve

_BEARER: Final = "token"
"""What whoever shows the single token is called here."""
_REDACTED: Final = "[REDACTED]"
"""What monitoring calls him."""


class Effect(Enum):
    """What becomes of a user's sessions."""

    GONE = "sessions close: the user is gone"
    MOVED = "sessions close: the user belongs to another account"
    PROOF = "sessions close unless they gave what the password is now"
    RIGHTS = "permissions change: subscriptions that they do not allow go"


@dataclass(frozen=True, slots=True)
class UserEffect:
    """One user of the configuration that is not what it was."""

    account: str
    user: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session as it is, without its secrets."""

    cid: int
    account: str
    user: str
    subscriptions: tuple[tuple[str, str | None], ...] = ()
    """Subjects and queues."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a reload would change."""

    plan: ReloadPlan
    users: tuple[UserEffect, ...] = ()
    accounts: tuple[str, ...] = ()
    """Accounts with new limits, or another token: their sessions are judged again."""
    closing: tuple[int, ...] = ()
    """Sessions that would close, by connection."""
    going: tuple[tuple[int, str, str | None], ...] = ()
    """Subscriptions that would go: connection, subject and queue."""
    sessions: tuple[SessionSnapshot, ...] = ()
    """All sessions that were looked at."""
    certificates: tuple[str, ...] = ()
    """Why certificates cannot take the place of those that the files of before hold."""

    @property
    def is_refused(self) -> bool:
        """Whether the reload would be."""
        return bool(self.plan.refused or self.certificates)

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        if self.is_refused:
            yield "The reload would be refused:"
            yield from (f"  {change.refusal}" for change in self.plan.refused)
            yield from (f"  {problem}" for problem in self.certificates)
        if self.plan.changes:
            yield "Keys:"
            yield from (f"  {change.line}" for change in self.plan.changes)
        if self.accounts:
            yield "Accounts whose sessions are judged again:"
            yield from (f"  {name}" for name in self.accounts)
        if self.users:
            yield "Users:"
            yield from (f"  {one.account}/{one.user}: {one.effect.value}" for one in self.users)
        owners = {session.cid: f"{session.account}/{session.user}" for session in self.sessions}
        if self.closing:
            yield "Sessions that would close:"
            yield from (f"  cid {cid}, {owners[cid]}" for cid in self.closing)
        if self.going:
            yield "Subscriptions that would go:"
            for cid, subject, queue in self.going:
                yield f"  cid {cid}, {owners[cid]}: {subject}{'' if queue is None else f' {queue}'}"
        if not (self.is_refused or self.plan.changes or self.accounts or self.users):
            yield "Nothing would change."


def preview(old: Options, new: Options, sessions: Iterable[SessionSnapshot] = ()) -> Preview:
    """What a reload from the one configuration to the other would do to users, and to the sessions that are given.

    Raises ConfigError and auth.settings.SettingsError for options that no server takes.
    """
    validate(new)
    earlier, later = _authenticator(old), _authenticator(new)
    users = tuple(_user_effects(old, new, earlier, later))
    standing = later.standing_since(earlier)
    known = set(old.resolver_preload) | {account.name for account in old.accounts}
    effects = {one.user: one.effect for one in users}
    # What an account server would answer is not known here.
    is_elsewhere = new.resolver is not None and new.resolver.kind is ResolverKind.URL
    begins_to_ask = later.required and not earlier.required
    closing, going = [], []
    looked_at = tuple(sessions)
    for session in looked_at:
        effect = effects.get(_BEARER if session.user == _REDACTED else session.user)
        closes = effect in {Effect.GONE, Effect.MOVED, Effect.PROOF} or (begins_to_ask and not session.user)
        closes = closes or (effect is None and _loses_callout(old, session, earlier, later))
        if closes or (not is_elsewhere and later.account(session.account) is None):
            closing.append(session.cid)
        elif effect is Effect.RIGHTS:
            table = later.policy_of(session.user) or PolicyTable()
            going += [(session.cid, *one) for one in session.subscriptions if not table.decide_subscribe(*one).allowed]
    return Preview(
        plan_reload(old, new),
        users,
        tuple(sorted(known - standing.accounts)),
        tuple(closing),
        tuple(going),
        looked_at,
        tuple(dict.fromkeys(_certificate_problems(old, new))),
    )


def _certificate_problems(old: Options, new: Options) -> Iterator[str]:
    earlier = listeners(old)
    for name, tls in listeners(new).items():
        try:
            serve(tls, _served(earlier.get(name)))
        except TLSSettingsError as error:
            yield str(error)


def _served(tls: TLSOptions | None) -> Served | None:
    """What the files of a listener hold, which a running server may not show any more; None where it is unusable."""
    try:
        return None if tls is None else serve(tls)
    except TLSSettingsError:
        return None


def _loses_callout(old: Options, session: SessionSnapshot, earlier: Authenticator, later: Authenticator) -> bool:
    """Whether a session that only a callout can have admitted may not stay."""
    callout, account = old.authorization.callout, later.account(session.account)
    if callout is None or account is None or earlier.account_of(session.user) or session.user == old.authorization.user:
        return False
    try:
        later.check_admitted(account, callout.account, earlier)
    except AuthError:
        return True
    return bool(later.account_of(session.user))


def _authenticator(options: Options) -> Authenticator:
    """The verifier of a server with these options, which has read its directory of account JWTs if it has one."""
    authenticator = Authenticator(auth_settings(options))
    trust = authenticator.trust
    if trust is not None and isinstance(trust.resolver, DirectoryResolver):
        try:
            trust.resolver.look(options.resolver_preload)
        except StoreError as error:
            raise SettingsError(str(error)) from None
    return authenticator


def _user_effects(old: Options, new: Options, earlier: Authenticator, later: Authenticator) -> Iterator[UserEffect]:
    single = old.authorization.user
    names = set(earlier.user_names) | ({single} if single else set())
    for name in sorted(names):
        account = earlier.account_of(name) or "$G"
        effect = None
        if name not in later.user_names and name != new.authorization.user:
            effect = Effect.GONE
        elif (later.account_of(name) or "$G") != account:
            effect = Effect.MOVED
        elif not later.has_same_secret(name, earlier):
            effect = Effect.PROOF
        elif _fingerprint(later.policy_of(name)) != _fingerprint(earlier.policy_of(name)):
            effect = Effect.RIGHTS
        if effect is not None:
            yield UserEffect(account, name, effect)
    if old.authorization.token and new.authorization.token != old.authorization.token:
        yield UserEffect("$G", _BEARER, Effect.PROOF)


def _fingerprint(table: PolicyTable | None) -> str:
    """A single user has no table of its own: it may do everything."""
    return "" if table is None else table.fingerprint
