"""The policy table: the one place that decides who may publish and subscribe to what.

The broker enforces these decisions and everything that explains or proves them reads the same table. The rules:

- Without allow rules everything is allowed that is not denied; but a user with a response permission and without
  publish allow rules may publish nothing but responses.
- A deny always wins: over an allow, and over a response that would be permitted.
- A published subject is matched token by token; wildcards in it are plain tokens. A subject with an empty token is
  matched by no rule.
- A subscription must be contained in one allow rule. A deny refuses it when the deny matches its subject token by
  token (``w.*`` refuses ``w.>``); a subscription that is wider than a deny is admitted, and what is denied is filtered
  when it is delivered.
- An allow rule with a queue admits only queue subscriptions of that queue. Where queue rules touch the subject of a
  queue subscription, they decide which queues may have it, even when a rule without a queue contains it.
- A deny rule with a queue concerns only subscriptions of that queue; one without a queue concerns all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from accounts import subject as subjects
from accounts.grants import granting
from accounts.permissions import Grant, InvalidPermissionError, ResponsePermission, quoted

RESERVED_QUEUE = "_sys_"
"""The queue name that belongs to the server; no client may subscribe with it."""

BUILT_IN = "built-in"
"""The origin of rules that hold without anyone having written them."""


class Action(Enum):
    """What a rule is about: the subject of a publish, of a subscription, or the reply subject of a publish."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    REPLY = "reply"


class Effect(Enum):
    """What a rule does to what it matches."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled entry: ``subject`` is a valid pattern, ``queue`` is None or a name or pattern of queue groups.

    ``origin`` is the place that wrote the rule. A reply rule is always a deny, of a literal subject or of everything
    below a literal prefix (``_R_.>``).
    """

    action: Action
    effect: Effect
    subject: str
    queue: str | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        Grant(self.subject, self.queue, self.origin).validate()
        if self.queue is not None and self.action is not Action.SUBSCRIBE:
            raise InvalidPermissionError(
                f"subject {quoted(f'{self.subject} {self.queue}')} is not a valid subject", self.origin
            )
        if self.action is Action.REPLY:
            prefix = self.subject.removesuffix(".>")
            if self.effect is Effect.ALLOW or not subjects.is_literal(prefix):
                raise InvalidPermissionError(
                    f"reply rule {quoted(self.subject)} must deny a literal subject or all below a literal prefix",
                    self.origin,
                )

    def __str__(self) -> str:
        entry = self.subject if self.queue is None else f"{self.subject} {self.queue}"
        place = f" ({self.origin})" if self.origin else ""
        return f"{self.action.value} {self.effect.value} {quoted(entry)}{place}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the table says to one request.

    ``rule`` is the rule that decided, None where no rule matched; ``reason`` says it in words for logs and
    explanations, never for clients. A response permission may turn a refusal only where ``rule`` is None.
    """

    allowed: bool
    rule: Rule | None
    reason: str


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """All rules that hold for one user, in the order in which they are reported.

    ``fingerprint`` is equal for tables that decide alike, wherever their rules come from, so that users of one role
    share what is compiled from it.
    """

    rules: tuple[Rule, ...] = ()
    responses: ResponsePermission | None = None
    publish_allow: tuple[Rule, ...] = field(init=False, compare=False, repr=False)
    publish_deny: tuple[Rule, ...] = field(init=False, compare=False, repr=False)
    subscribe_allow: tuple[Rule, ...] = field(init=False, compare=False, repr=False)
    subscribe_deny: tuple[Rule, ...] = field(init=False, compare=False, repr=False)
    reply_deny: tuple[Rule, ...] = field(init=False, compare=False, repr=False)
    fingerprint: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, action, effect in (
            ("publish_allow", Action.PUBLISH, Effect.ALLOW),
            ("publish_deny", Action.PUBLISH, Effect.DENY),
            ("subscribe_allow", Action.SUBSCRIBE, Effect.ALLOW),
            ("subscribe_deny", Action.SUBSCRIBE, Effect.DENY),
            ("reply_deny", Action.REPLY, Effect.DENY),
        ):
            chosen = tuple(rule for rule in self.rules if rule.action is action and rule.effect is effect)
            object.__setattr__(self, name, chosen)
        object.__setattr__(self, "fingerprint", _fingerprint(self.rules, self.responses))

    @property
    def is_open(self) -> bool:
        """Whether everything may be subscribed to, and published but for what nobody may publish to."""
        is_written = any(rule.origin != BUILT_IN for rule in self.rules)
        return not is_written and not self.subscribe_deny and self.responses is None

    @property
    def publish_is_closed(self) -> bool:
        """Whether nothing but responses may be published: a response permission stands without publish allow rules."""
        return self.responses is not None and not self.publish_allow

    def decide_publish(self, subject: str) -> Decision:
        """Decide whether a message may be published on ``subject`` (the mapped one, where mappings apply)."""
        denied = _first_match(self.publish_deny, subject)
        if denied is not None:
            return Decision(False, denied, f"refused by {denied}")
        if self.publish_allow:
            allowed = _first_match(self.publish_allow, subject)
            if allowed is None:
                return Decision(False, None, f"no publish allow matches {quoted(subject)}{_hint(subject)}")
            return Decision(True, allowed, f"granted by {allowed}")
        if self.responses is not None:
            return Decision(False, None, f"only responses may be published, and {quoted(subject)} is none by itself")
        return Decision(True, None, "publishing is not restricted")

    def decide_reply(self, reply: str) -> Decision:
        """Decide whether a message may be published with ``reply`` as its reply subject.

        Only reserved prefixes are refused; they are compared as text, so that no odd spelling slips by.
        """
        for rule in self.reply_deny:
            prefix = rule.subject.removesuffix(">")
            if reply == rule.subject or (prefix != rule.subject and reply.startswith(prefix) and reply != prefix):
                return Decision(False, rule, f"refused by {rule}")
        return Decision(True, None, "reply subjects are not restricted")

    def decide_subscribe(self, subject: str, queue: str | None = None) -> Decision:
        """Decide whether a client may subscribe to ``subject``, with ``queue`` as a member of that group.

        Whether ``subject`` is valid at all is not decided here.
        """
        if queue == RESERVED_QUEUE:
            return Decision(False, None, f"the queue name {RESERVED_QUEUE} is reserved")
        for rule in self.subscribe_deny:
            if subjects.matches_as_tokens(rule.subject, subject) and _deny_concerns(rule, queue):
                return Decision(False, rule, f"refused by {rule}")
        if not self.subscribe_allow:
            return Decision(True, None, "subscribing is not restricted")
        if queue is not None:
            touching = [
                rule
                for rule in self.subscribe_allow
                if rule.queue is not None and subjects.overlaps(rule.subject, subject)
            ]
            fitting = [rule for rule in touching if subjects.matches_queue(rule.queue or "", queue)]
            for rule in fitting:
                if subjects.contains(rule.subject, subject):
                    return Decision(True, rule, f"granted by {rule}")
            if len(fitting) < len(touching):
                other = next(rule for rule in touching if rule not in fitting)
                return Decision(False, None, f"queue {quoted(queue)} is not the one of {other}")
        for rule in self.subscribe_allow:
            if rule.queue is None and subjects.contains(rule.subject, subject):
                return Decision(True, rule, f"granted by {rule}")
        wanted = quoted(subject) if queue is None else f"{quoted(subject)} in queue {quoted(queue)}"
        return Decision(False, None, f"no single subscribe allow contains {wanted}")

    def delivery_denied(self, subject: str, queue: str | None = None) -> Rule | None:
        """Return the rule that forbids to deliver a message on ``subject`` to a subscription in ``queue``, if any.

        ``subject`` is that of the message; wildcards in it are plain tokens.
        """
        for rule in self.subscribe_deny:
            if _deny_concerns(rule, queue) and subjects.matches_as_tokens(rule.subject, subject):
                return rule
        return None

    def delivery_denies_overlapping(self, pattern: str, queue: str | None = None) -> tuple[Rule, ...]:
        """Return the rules that can forbid a delivery to a subscription to ``pattern`` in ``queue``.

        Where none is returned, deliveries to that subscription need no filter.
        """
        return tuple(
            rule
            for rule in self.subscribe_deny
            if _deny_concerns(rule, queue) and subjects.overlaps(rule.subject, pattern)
        )


def _hint(subject: str) -> str:
    """The grant that would let a subject be published to, in words, where there is one."""
    grant = granting(subject)
    return f", as the grant {quoted(grant)} would" if grant else ""


def _first_match(rules: Iterable[Rule], subject: str) -> Rule | None:
    return next((rule for rule in rules if subjects.matches_as_tokens(rule.subject, subject)), None)


def _deny_concerns(rule: Rule, queue: str | None) -> bool:
    if rule.queue is None:
        return True
    if queue is None:
        return False
    # A name with wildcard tokens of its own must not slip by, so a deny takes them as plain tokens besides.
    return subjects.matches_queue(rule.queue, queue) or subjects.matches_as_tokens(rule.queue, queue)


def _fingerprint(rules: tuple[Rule, ...], responses: ResponsePermission | None) -> str:
    # Subjects and queues hold no line feed and no tab, so the text below has only one reading.
    lines = sorted({f"{rule.action.value}\t{rule.effect.value}\t{rule.subject}\t{rule.queue or ''}" for rule in rules})
    if responses is not None:
        lines.append(f"responses\t{responses.max_messages}\t{responses.expires!r}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
