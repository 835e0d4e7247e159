"""Why a user may do something or may not: read off the tables that decide it.

The verdict is that of the policy table and of the exchange; nothing is decided here a second time. A
:class:`Change` is the fewest entries that have to be added or removed for another verdict; applied, it brings that
verdict about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from accounts.flow import Mapped, Requested, Stage, Step, Streamed, World, anything, results, spread
from accounts.limits import UNLIMITED, UserLimits, effective_payload, effective_subscriptions
from accounts.mapping import WHOLE
from accounts.permissions import quoted
from accounts.policy import BUILT_IN, RESERVED_QUEUE, Action, Decision, Effect, PolicyTable, Rule
from accounts.subject import is_valid, overlaps
from accounts.terms import Term

if TYPE_CHECKING:
    from accounts.account import Account


@dataclass(frozen=True, slots=True)
class Who:
    """A user of an account. ``policy`` is what its permissions, or the account's defaults, were compiled to.

    ``signing_key`` is the key that signed it where that is not the account's own, ``role`` that key's role where it is
    scoped. ``origin`` is where the user was declared, ``place`` where its rules are written. ``refusal`` says why no
    server admits it, empty where one does.
    """

    name: str
    account: Account
    policy: PolicyTable
    limits: UserLimits = field(default_factory=UserLimits)
    signing_key: str = ""
    role: str = ""
    origin: str = ""
    place: str = ""

    @property
    def closed_by(self) -> tuple[str, ...]:
        """The ceilings that end every connection of the user at once, since nothing fits them."""
        account, user = self.account.limits, self.limits
        ceilings = {
            "account connections": account.connections,
            "account subscriptions": account.subscriptions,
            "user subscriptions": user.subscriptions,
        }
        return tuple(name for name, limit in ceilings.items() if limit != UNLIMITED and limit <= 0)


@dataclass(frozen=True, slots=True)
class Change:
    """Rules to take out and to put in, and ceilings to raise to 1, for another verdict."""

    remove: tuple[Rule, ...] = ()
    add: tuple[Rule, ...] = ()
    ceilings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many entries change."""
        return len(self.remove) + len(self.add) + len(self.ceilings)

    def apply(self, who: Who) -> Who:
        """The user after the change."""
        rules = (*(rule for rule in who.policy.rules if rule not in self.remove), *self.add)
        account, user = who.account.limits, who.limits
        if "account connections" in self.ceilings:
            account = replace(account, connections=1)
        if "account subscriptions" in self.ceilings:
            account = replace(account, subscriptions=1)
        if "user subscriptions" in self.ceilings:
            user = replace(user, subscriptions=1)
        return replace(
            who,
            account=replace(who.account, limits=account),
            policy=PolicyTable(rules, who.policy.responses),
            limits=user,
        )

    def text(self, place: str) -> str:
        """What to do, in words; ``place`` is where rules are added."""
        where = f" to the {place}" if place else ""
        parts = [f"remove {rule}" for rule in self.remove]
        parts += [f"add {rule}{where}" for rule in self.add]
        parts += [f"raise the limit of {ceiling} to 1 at least" for ceiling in self.ceilings]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain from a user to its message: what it is, which one, and where it was declared."""

    what: str
    text: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Subscribers of ``subject`` in ``account``, and how a message comes to them; or whose messages come here.

    ``ends_at`` is the Unix second at which the way ends, None for never.
    """

    account: str
    subject: str
    links: tuple[Link, ...]
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to one question.

    ``rule`` is the one that decided, None where none did. ``change`` turns the verdict, None where no change of the
    user's rules and limits does. ``receivers`` are those of a message that may be published, with everyone subscribed
    who can be; ``senders`` those whose messages come to a subscription that may be made; ``filtered`` the rules that
    keep part of these from it.
    """

    question: str
    allowed: bool
    reason: str
    rule: Rule | None
    chain: tuple[Link, ...]
    change: Change | None
    receivers: tuple[Receiver, ...] = ()
    senders: tuple[Receiver, ...] = ()
    filtered: tuple[Rule, ...] = ()


def explain_publish(world: World, who: Who, subject: str, *, is_mapped: bool = False) -> Explanation:
    """Whether a user may publish to a subject, and who would receive that.

    Where mappings let chance choose among subjects, all of them must be allowed. With ``is_mapped`` the subject is what
    mappings have made already. Raises ValueError for what is no subject.
    """
    _check(subject)
    steps = [] if is_mapped else list(_mapped(world, who, subject))
    subjects = tuple(dict.fromkeys(made for _, made in steps)) if steps else (subject,)
    if steps and all(made is None for _, made in steps):
        subjects = ()
    decisions = {made: who.policy.decide_publish(made) for made in subjects if made is not None}
    denied = {made: decision for made, decision in decisions.items() if not decision.allowed}
    chain = [*_identity(who), *(link for step, _ in steps for link in links_of(world, (step,)))]
    decisive = next(iter((denied or decisions).values()), Decision(True, None, "mappings drop it, and nothing is left"))
    verdict, change = _judged(who, decisive, not denied, _publish_changes(who.policy, decisions))
    chain += [*_rule_link(verdict), *_payload_link(who)]
    receivers: tuple[Receiver, ...] = ()
    if verdict.allowed:
        receivers = _receivers(world, who.account.name, subject, Stage.DELIVERED if is_mapped else Stage.PUBLISHED)
    return Explanation(
        f"publish {quoted(subject)}", verdict.allowed, verdict.reason, verdict.rule, tuple(chain), change, receivers
    )


def explain_reply(who: Who, reply: str) -> Explanation:
    """Whether a user may publish with a reply subject; what is refused is built in, and nothing changes it."""
    decision = who.policy.decide_reply(reply)
    verdict, _ = _judged(who, decision, decision.allowed, None)
    chain = (*_identity(who), *_rule_link(verdict))
    asked = f"publish with reply {quoted(reply)}"
    return Explanation(asked, verdict.allowed, verdict.reason, verdict.rule, chain, None)


def explain_subscribe(world: World, who: Who, subject: str, queue: str | None = None) -> Explanation:
    """Whether a user may subscribe to a subject, as a member of a queue group where one is named, and to whom it would
    listen then. Raises ValueError for what is no subject."""
    _check(subject)
    decision = who.policy.decide_subscribe(subject, queue)
    verdict, change = _judged(who, decision, decision.allowed, _subscribe_change(who.policy, decision, subject, queue))
    chain = [*_identity(who), *_rule_link(verdict), *_subscriptions_link(who)]
    asked = f"subscribe {quoted(subject)}" + ("" if queue is None else f" queue {quoted(queue)}")
    senders: tuple[Receiver, ...] = ()
    filtered: tuple[Rule, ...] = ()
    if verdict.allowed:
        senders = _senders(world, who.account.name, subject)
        filtered = who.policy.delivery_denies_overlapping(subject, queue)
    return Explanation(
        asked, verdict.allowed, verdict.reason, verdict.rule, tuple(chain), change, (), senders, filtered
    )


def _check(subject: str) -> None:
    if not is_valid(subject):
        raise ValueError(f"{quoted(subject)} is not a valid subject")


# Verdicts and what turns them.


def _judged(who: Who, decision: Decision, allowed: bool, change: Change | None) -> tuple[Decision, Change | None]:
    """The verdict with all that stands before the rules, and the change that turns it."""
    closed = who.closed_by
    if not closed:
        return replace(decision, allowed=allowed), change
    reason = f"every connection of the user ends at once: nothing fits the limit of {' and of '.join(closed)}"
    if allowed:
        return Decision(False, None, reason), Change(ceilings=closed)
    return Decision(False, None, reason), None if change is None else replace(change, ceilings=closed)


def _publish_changes(table: PolicyTable, decisions: dict[str, Decision]) -> Change | None:
    """What allows all of the subjects, or denies one of them where all are allowed."""
    denied = [subject for subject, decision in decisions.items() if not decision.allowed]
    if not denied:
        refused = next(iter(decisions), None)
        return None if refused is None else Change(add=(Rule(Action.PUBLISH, Effect.DENY, refused),))
    remove: list[Rule] = []
    add: list[Rule] = []
    for subject in denied:
        left = table
        while (denying := left.decide_publish(subject).rule) is not None and denying.effect is Effect.DENY:
            if denying.origin == BUILT_IN:
                return None
            remove += [denying] if denying not in remove else []
            left = PolicyTable(tuple(rule for rule in left.rules if rule != denying), left.responses)
        if not left.decide_publish(subject).allowed:
            add.append(Rule(Action.PUBLISH, Effect.ALLOW, subject))
    return Change(tuple(remove), tuple(add))


def _subscribe_change(table: PolicyTable, decision: Decision, subject: str, queue: str | None) -> Change | None:
    """What turns the verdict on one subscription."""
    if queue == RESERVED_QUEUE:
        return None
    pattern = queue if queue is not None and is_valid(queue) else None
    if decision.allowed:
        return Change(add=(Rule(Action.SUBSCRIBE, Effect.DENY, subject, pattern),))
    remove: list[Rule] = []
    left = table
    while (denying := left.decide_subscribe(subject, queue).rule) is not None and denying.effect is Effect.DENY:
        if denying.origin == BUILT_IN:
            return None
        remove.append(denying)
        left = PolicyTable(tuple(rule for rule in left.rules if rule != denying), left.responses)
    if left.decide_subscribe(subject, queue).allowed:
        return Change(tuple(remove))
    touched = queue is not None and any(
        rule.queue is not None and overlaps(rule.subject, subject) for rule in left.subscribe_allow
    )
    # Where queue rules touch the subject, only one of them admits a queue.
    granted = (pattern or ">") if touched else None
    return Change(tuple(remove), (Rule(Action.SUBSCRIBE, Effect.ALLOW, subject, granted),))


# The chain.


def _identity(who: Who) -> Iterator[Link]:
    yield Link("user", who.name, who.origin)
    if who.signing_key:
        role = f", role {who.role}" if who.role else ""
        yield Link("signing key", f"{who.signing_key}{role}")
    yield Link("account", who.account.label, who.account.origin)


def _rule_link(decision: Decision) -> Iterator[Link]:
    rule = decision.rule
    if rule is None:
        yield Link("rule", decision.reason)
    else:
        entry = rule.subject if rule.queue is None else f"{rule.subject} {rule.queue}"
        yield Link("rule", f"{rule.action.value} {rule.effect.value} {quoted(entry)}", rule.origin)


def _payload_link(who: Who) -> Iterator[Link]:
    ceiling = effective_payload(UNLIMITED, who.account.limits, who.limits)
    if ceiling != UNLIMITED:
        yield Link("limit", f"messages of {ceiling} bytes at most")


def _subscriptions_link(who: Who) -> Iterator[Link]:
    ceiling = effective_subscriptions(UNLIMITED, who.account.limits, who.limits)
    if ceiling != UNLIMITED:
        yield Link("limit", f"{ceiling} subscriptions of a connection at most")


def _mapped(world: World, who: Who, subject: str) -> Iterator[tuple[Mapped, str | None]]:
    """What the mappings of the account make of a subject: each choice, with None for what is dropped."""
    mappings = world.exchanges[who.account.name].mappings
    mapping = next((mapping for mapping in mappings if mapping.matches(subject)), None)
    if mapping is None:
        return
    before = 0
    for ceiling, transform in mapping.shares(world.cluster):
        if ceiling > before:
            step = Mapped(who.account.name, mapping, transform, ceiling - before, mappings)
            if transform is None:
                yield step, None
            else:
                for made in results(transform, subject):
                    yield step, made
        before = max(before, ceiling)
    if before < WHOLE:
        yield Mapped(who.account.name, mapping, None, WHOLE - before, mappings), subject


def links_of(world: World, path: Iterable[Step]) -> Iterator[Link]:
    """The steps of a way in words."""
    for step in path:
        if isinstance(step, Mapped):
            if step.mapping is not None:
                to = "stays" if step.transform is None else f"to {quoted(step.transform.destination)}"
                share = f" for {step.share}%" if step.share < WHOLE else ""
                yield Link("mapping", f"{quoted(step.mapping.source)} {to}{share}", step.mapping.origin)
        elif isinstance(step, Streamed | Requested):
            imported, export = step.link.imported, step.link.export
            exporter, importer = world.label(imported.account), world.label(step.link.importer)
            yield Link("export", f"{export.kind} {quoted(export.subject)} of {exporter}", export.origin)
            renamed = "" if imported.local_subject == imported.subject else f" as {quoted(imported.local_subject)}"
            yield Link("import", f"{quoted(imported.subject)}{renamed} in {importer}", imported.origin)


def _end(path: Iterable[Step]) -> float | None:
    ends = [step.link.ends_at for step in path if isinstance(step, Streamed | Requested)]
    return min((end for end in ends if end is not None), default=None)


def _receivers(world: World, account: str, subject: str, stage: Stage) -> tuple[Receiver, ...]:
    """Everyone whom a message on that subject can come to."""
    found: dict[tuple[str, str], Receiver] = {}
    for state in spread(world, account, Term.literal(subject), stage=stage):
        received, links = state.term.pattern, tuple(links_of(world, state.path))
        found.setdefault((state.account, received), Receiver(state.account, received, links, _end(state.path)))
    return tuple(found.values())


def _senders(world: World, account: str, subject: str) -> tuple[Receiver, ...]:
    """Everyone whose messages can come to a subscription, and the subjects that they publish to."""
    found: dict[tuple[str, str], Receiver] = {}
    for name in world.accounts:
        for state in spread(world, name, anything()):
            part = state.matched(subject) if state.account == account else None
            if part is not None and part.is_possible:
                published, links = part.origin.pattern, tuple(links_of(world, part.path))
                found.setdefault((name, published), Receiver(name, published, links, _end(part.path)))
    return tuple(found.values())
