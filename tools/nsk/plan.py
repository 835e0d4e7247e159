"""Makes a plan of two sides: what running servers hold, and what the store wants them to hold.

Both sides become worlds of accounts as a server sees them, and every verdict is read off these: whom servers admit,
what the policy tables allow, which imports are in force. Nothing here reads claims a second time. ``Plan.id`` is a hash
of both sides, so that a plan that was looked at can be told from one that is stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from accounts.account import Account
from accounts.difference import Loss, losses
from accounts.flow import World
from accounts.imports import Import
from accounts.limits import UNLIMITED
from accounts.policy import PolicyTable
from auth.claims import AccountClaims, OperatorClaims
from auth.envelope import JwtError
from tools.nsk.plan_model import (
    AccountChange,
    Connection,
    Deed,
    GrantChange,
    Holdings,
    ImportChange,
    LiveChange,
    LostSubscription,
    Plan,
    State,
    Stranger,
    TermChange,
    UserChange,
    Wanted,
)
from tools.nsk.plan_terms import account_terms, other_claims, user_terms
from tools.nsk.scene import RefusedError, Scene, scene_of_tokens, who_of

if TYPE_CHECKING:
    from auth.user import Binding, SignedUser

_ID_DIGITS = 20


def make_plan(held: Holdings, wanted: Wanted, now: float, *, url: str = "") -> Plan:
    """What pushing would change, at a time in Unix seconds."""
    return _Maker(held, wanted, now).plan(url)


def plan_id(held: Holdings, wanted: Wanted) -> str:
    """What names the plan of these two sides."""
    digest = hashlib.sha256()
    for token in sorted(held.operators):
        digest.update(f"operator {token}\n".encode())
    for public, token in sorted(held.tokens.items()):
        digest.update(f"held {public} {token}\n".encode())
    for public, token in sorted(wanted.tokens.items()):
        digest.update(f"push {public} {token}\n".encode())
    for public in sorted(wanted.removed):
        digest.update(f"remove {public}\n".encode())
    return digest.hexdigest()[:_ID_DIGITS]


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A user whom servers admit."""

    user: SignedUser
    binding: Binding

    @property
    def policy(self) -> PolicyTable:
        return self.binding.policy


class _Side:
    """One side, and what is asked of it again and again."""

    def __init__(self, scene: Scene) -> None:
        self.world = scene.world
        self._scene = scene
        self._users: dict[str, _Admitted | str] = {}
        split = (text.removeprefix("account ").partition(": ") for text in scene.unusable)
        self.reasons: dict[str, str] = {public: reason for public, _, reason in split}
        """Why accounts cannot be used, by public key."""

    def account(self, public: str) -> Account | None:
        """An account that servers use."""
        return self.world.accounts.get(public)

    def user(self, token: str) -> _Admitted | str:
        """The user of a JWT, or why no server admits it."""
        if token not in self._users:
            self._users[token] = self._user(token)
        return self._users[token]

    def _user(self, token: str) -> _Admitted | str:
        try:
            user, binding = self._scene.appraised(token)
        except RefusedError as problem:
            return str(problem)
        closed_by = who_of(user, binding).closed_by
        if closed_by:
            return f"nothing fits the limit of {' and of '.join(closed_by)}"
        return _Admitted(user, binding)


class _Maker:
    def __init__(self, held: Holdings, wanted: Wanted, now: float) -> None:
        self._held, self._wanted, self._now = held, wanted, now
        self._before = self._side(held.tokens)
        kept = {public: token for public, token in held.tokens.items() if public not in wanted.removed}
        target = self._side({**kept, **wanted.tokens})
        # What servers refuse stays as it was.
        self._refused = {public: target.reasons[public] for public in wanted.tokens if public in target.reasons}
        taken = {public: token for public, token in wanted.tokens.items() if public not in self._refused}
        self._after = self._side({**kept, **taken}) if self._refused else target
        self._losses: dict[tuple[str, str], tuple[Loss, ...]] = {}

    def _side(self, tokens: Mapping[str, str]) -> _Side:
        operators = [OperatorClaims.from_token(token) for token in self._held.operators]
        return _Side(scene_of_tokens(operators, tokens, self._now, system_account=self._held.system_account))

    def plan(self, url: str) -> Plan:
        everyone = dict.fromkeys((*self._wanted.tokens, *self._wanted.removed, *self._held.tokens))
        changes = [change for public in everyone if not (change := self._account(public)).is_empty]
        changes.sort(key=lambda change: (change.account, change.public_key))
        return Plan(
            id=plan_id(self._held, self._wanted),
            url=url,
            push=sorted(self._label(public) for public in self._wanted.tokens),
            remove=sorted(self._wanted.removed),
            accounts=changes,
            notes=list(self._held.notes),
            breaks=any(change.breaks for change in changes),
            only_on_servers=[
                Stranger(self._label(public), public, moment) for public, moment in self._wanted.strangers.items()
            ],
        )

    def _label(self, public: str) -> str:
        for tokens in (self._wanted.tokens, self._held.tokens):
            claims = _claims(tokens.get(public, ""))
            if claims is not None and claims.name:
                return claims.name
        return public

    # One account.

    def _account(self, public: str) -> AccountChange:
        before, after = self._before.account(public), self._after.account(public)
        old, new = self._held.tokens.get(public), self._wanted.tokens.get(public)
        removed = public in self._wanted.removed and old is not None
        deed = Deed.REMOVE if removed else Deed.NONE if new in (None, old) else Deed.ADD if old is None else Deed.CHANGE
        refused = self._refused.get(public, "")
        terms: list[TermChange] = []
        users: list[UserChange] = []
        live: list[LiveChange] = []
        notes: list[str] = []
        if deed is not Deed.NONE:
            terms = list(account_terms(before, after)) if before is not None and after is not None else []
            users = list(self._users(public))
            live = list(self._live(public, after))
            notes = list(self._notes(public, before, after))
        imports = list(self._imports(public))
        meaning = bool(terms or users or live or imports or refused or notes)
        if deed is Deed.CHANGE and not meaning:
            deed = Deed.REFRESH
        return AccountChange(
            account=self._label(public),
            public_key=public,
            deed=deed,
            refused=refused,
            terms=terms,
            imports=imports,
            users=users,
            live=live,
            notes=notes,
            breaks=bool(refused)
            or deed is Deed.REMOVE
            or (before is not None and after is None)
            or bool(live)
            or any(term.breaks for term in terms)
            or any(one.breaks for one in imports)
            or any(user.breaks for user in users),
        )

    def _notes(self, public: str, before: Account | None, after: Account | None) -> Iterator[str]:
        old, new = _claims(self._held.tokens.get(public, "")), _claims(self._wanted.tokens.get(public, ""))
        if old is not None and new is not None:
            if old.issued_at > new.issued_at:
                yield "the servers' claims are newer than those of the store: pull them, or they are overwritten"
            if others := other_claims(old, new):
                yield f"other claims differ: {', '.join(others)}"
        if before is None and public in self._held.tokens:
            yield f"servers do not use what they hold of it: {self._before.reasons.get(public, '')}"
        if after is not None:
            known = set(before.findings) if before is not None else set()
            yield from (f"passed over: {finding}" for finding in after.findings if finding not in known)

    # Imports.

    def _imports(self, public: str) -> Iterator[ImportChange]:
        before, after = _import_states(self._before.world, public), _import_states(self._after.world, public)
        for key in sorted({*before, *after}):
            (old, was), (new, will) = (states.get(key, (State.ABSENT, "")) for states in (before, after))
            if old is new and was == will:
                continue
            kind, exporter, subject, local = key
            label = self._after.world.label(exporter)
            label = self._before.world.label(exporter) if label == exporter else label
            yield ImportChange(kind, label, subject, local, old, new, will or was)

    # Users.

    def _users(self, public: str) -> Iterator[UserChange]:
        seen: set[str] = set()
        known = [(user.token, user.name, True) for user in self._wanted.users if user.account == public]
        known += [(each.token, "", False) for each in self._held.connections if each.account == public and each.token]
        for token, name, stored in known:
            if token not in seen:
                seen.add(token)
                change = self._user(token, name, stored=stored)
                if change is not None:
                    yield change

    def _user(self, token: str, name: str, *, stored: bool) -> UserChange | None:
        before, after = self._before.user(token), self._after.user(token)
        known = after if isinstance(before, str) else before
        if isinstance(known, str):
            return None
        found = UserChange(name or known.user.name, known.user.public_key, stored, "", "", [], [], [])
        if isinstance(after, str):
            return replace(found, refused_after=after)
        if isinstance(before, str):
            return replace(found, refused_before=before)
        lost, gained = self._grants(before.policy, after.policy), self._grants(after.policy, before.policy)
        terms = list(user_terms(before.binding, after.binding))
        return replace(found, lost=lost, gained=gained, terms=terms) if lost or gained or terms else None

    def _grants(self, before: PolicyTable, after: PolicyTable) -> list[GrantChange]:
        key = before.fingerprint, after.fingerprint
        if key not in self._losses:
            self._losses[key] = losses(before, after)
        return [
            GrantChange(loss.action.value, loss.subject, loss.queue, loss.example, loss.reason)
            for loss in self._losses[key]
        ]

    # Live connections.

    def _live(self, public: str, after: Account | None) -> Iterator[LiveChange]:
        ours = [each for each in self._held.connections if each.account == public]
        ceiling = UNLIMITED if after is None else after.limits.connections
        surplus = {
            (each.server, each.cid)
            for server in {each.server for each in ours}
            for each in _newest_above(ceiling, (each for each in ours if each.server == server))
        }
        for each in ours:
            change = self._connection(each, after, is_surplus=(each.server, each.cid) in surplus)
            if change.closed or change.subscriptions:
                yield change

    def _connection(self, each: Connection, after: Account | None, *, is_surplus: bool) -> LiveChange:
        found = LiveChange(each.server, each.cid, each.client, each.user, "", [])
        if after is None:
            return replace(found, closed="the account would be gone")
        before, will = self._before.user(each.token), self._after.user(each.token)
        if isinstance(will, str):
            return replace(found, closed=will)
        if is_surplus:
            return replace(found, closed=f"the account may have {after.limits.connections} connections")
        ceiling = after.limits.subscriptions
        if ceiling != UNLIMITED and len(each.subscriptions) > ceiling:
            return replace(found, closed=f"a connection may have {ceiling} subscriptions")
        return replace(found, subscriptions=list(_lost_subscriptions(each, before, will)))


def _lost_subscriptions(each: Connection, before: _Admitted | str, after: _Admitted) -> Iterator[LostSubscription]:
    for one in each.subscriptions:
        decision = after.policy.decide_subscribe(one.subject, one.queue)
        had = isinstance(before, str) or before.policy.decide_subscribe(one.subject, one.queue).allowed
        if had and not decision.allowed:
            yield LostSubscription(one.subject, one.queue, decision.reason)


def _newest_above(ceiling: int, connections: Iterable[Connection]) -> list[Connection]:
    if ceiling == UNLIMITED:
        return []
    return sorted(connections, key=lambda each: each.cid)[max(ceiling, 0) :]


def _import_states(world: World, public: str) -> dict[tuple[str, str, str, str], tuple[State, str]]:
    """Every import of an account, whether it is in force, and why not."""
    exchange = world.exchanges.get(public)
    if exchange is None:
        return {}
    found: dict[tuple[str, str, str, str], tuple[State, str]] = {}
    for problem in exchange.refused:
        one = problem.found
        found[one.kind, one.account, one.subject, one.local_subject] = (State.REFUSED, str(problem))
    in_force: list[Import] = [link.imported for link in exchange.streams]
    in_force += [link.imported for link in exchange.services]
    for used in in_force:
        found[used.kind, used.account, used.subject, used.local_subject] = (State.IN_FORCE, "")
    return found


@lru_cache(maxsize=4096)
def _claims(token: str) -> AccountClaims | None:
    try:
        return AccountClaims.from_token(token) if token else None
    except JwtError:
        return None


@dataclass(frozen=True, slots=True)
class EffectiveImport:
    """An import as it is."""

    kind: str
    exporter: str
    subject: str
    local_subject: str
    in_force: bool
    reason: str


def effective_imports(held: Holdings, accounts: Iterable[str], now: float) -> Iterator[tuple[str, EffectiveImport]]:
    """The imports of accounts, by public key, as servers have them that hold all this."""
    operators = [OperatorClaims.from_token(token) for token in held.operators]
    world = scene_of_tokens(operators, held.tokens, now, system_account=held.system_account).world
    for public in accounts:
        for key, (state, reason) in sorted(_import_states(world, public).items()):
            yield public, EffectiveImport(*key, state is State.IN_FORCE, reason)
