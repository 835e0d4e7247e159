"""What one policy table allows and another one does not.

Nothing is decided here: patterns of the two tables are put together to questions, and the tables answer them. The
questions are enough: where a subject, or a subscription without a queue, is allowed by the one and refused by the
other, a region is found that contains it or, as a deny does, matches it token by token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from accounts.policy import Action, PolicyTable, Rule
from accounts.subject import REST, SINGLE, contains, intersection, is_valid, tokens
from accounts.terms import Exclusion, Term, open_length

_EVERYTHING = ">"
_ANY = "any"


@dataclass(frozen=True, slots=True)
class Loss:
    """A region of subjects in which something is refused that was allowed before.

    ``subject`` is the pattern of the region and ``example`` what shows it: a subject that may not be published to any
    more, or for subscriptions the pattern itself where that shows it. ``reason`` is why the table refuses it now.
    """

    action: Action
    subject: str
    example: str
    queue: str | None = None
    reason: str = ""

    def __str__(self) -> str:
        entry = self.subject if self.queue is None else f"{self.subject} {self.queue}"
        return f"{self.action.value} {entry}"


def losses(before: PolicyTable, after: PolicyTable) -> tuple[Loss, ...]:
    """What ``before`` allows and ``after`` refuses, publishing first. No region is part of another one."""
    if before.fingerprint == after.fingerprint:
        return ()
    publish = _widest(_publish_losses(before, after))
    plain = _widest(_subscribe_losses(before, after, (None,)))
    queued = _widest(_subscribe_losses(before, after, _queues(before, after)))
    known = {loss.subject for loss in plain}
    return (*publish, *plain, *(loss for loss in queued if loss.subject not in known))


# Publishing.


def _publish_losses(before: PolicyTable, after: PolicyTable) -> Iterator[Loss]:
    if before.publish_is_closed:
        return
    denied = [rule.subject for rule in before.publish_deny]
    granted = [rule.subject for rule in after.publish_allow]
    for allowed in _allowed(before.publish_allow):
        if granted or after.publish_is_closed:
            yield from _publish_loss(before, after, allowed, [*denied, *granted])
        for rule in after.publish_deny:
            yield from _publish_loss(before, after, intersection(allowed, rule.subject), denied)


def _publish_loss(
    before: PolicyTable, after: PolicyTable, region: str | None, excluded: Sequence[str]
) -> Iterator[Loss]:
    example = None if region is None else _outside(region, excluded, _words(before, after))
    if region is None or example is None or not before.decide_publish(example).allowed:
        return
    decision = after.decide_publish(example)
    if not decision.allowed:
        yield Loss(Action.PUBLISH, region, example, None, decision.reason)


def _outside(region: str, excluded: Sequence[str], words: frozenset[str]) -> str | None:
    """A subject of a region that no other pattern matches; None where there is none."""
    parts = tokens(region)
    numbers = itertools.count()
    is_open = parts[-1] == REST
    # ``>`` is one token at least, and a rest of any length.
    given = [next(numbers) if token == SINGLE or (token == REST and place == len(parts) - 1) else token
             for place, token in enumerate(parts)]  # fmt: skip
    term = Term(tuple(given), next(numbers) if is_open else None)
    exclusions: tuple[Exclusion, ...] = tuple((term, pattern) for pattern in excluded)
    length = open_length(exclusions)
    if length is None:
        return None
    fresh = _fresh(words)
    chosen = {variable: next(fresh) for variable in term.variables}
    return term.instance(chosen.__getitem__, tuple(itertools.islice(fresh, length)))


def _fresh(words: frozenset[str]) -> Iterator[str]:
    """Tokens that no pattern names."""
    return (word for number in itertools.count(1) if (word := _ANY if number == 1 else f"{_ANY}{number}") not in words)


def _words(*tables: PolicyTable) -> frozenset[str]:
    return frozenset(token for table in tables for rule in table.rules for token in tokens(rule.subject))


# Subscribing.


def _subscribe_losses(before: PolicyTable, after: PolicyTable, queues: Iterable[str | None]) -> Iterator[Loss]:
    regions = dict.fromkeys(_allowed(before.subscribe_allow))
    for allowed in tuple(regions):
        for rule in (*after.subscribe_deny, *after.subscribe_allow):
            if (part := intersection(allowed, rule.subject)) is not None:
                regions[part] = None
    words = _words(before, after)
    denied = [rule.subject for rule in before.subscribe_deny if rule.queue is None]
    granted = [rule.subject for rule in after.subscribe_allow if rule.queue is None]
    for region, queue in itertools.product(regions, queues):
        # Where a deny refuses the pattern of a region as a whole, single subjects in it may be allowed.
        examples = (region, _outside(region, denied, words), _outside(region, [*denied, *granted], words))
        for example in examples:
            if example is None or not before.decide_subscribe(example, queue).allowed:
                continue
            decision = after.decide_subscribe(example, queue)
            if not decision.allowed:
                yield Loss(Action.SUBSCRIBE, region, example, queue, decision.reason)
                break


def _queues(*tables: PolicyTable) -> list[str]:
    """Names of queue groups that the rules tell apart, and one that they do not name."""
    patterns = {rule.queue for table in tables for rule in table.rules if rule.queue is not None}
    fresh = _fresh(frozenset(token for pattern in patterns for token in tokens(pattern)))
    other = next(fresh)
    names = (".".join(other if token in (SINGLE, REST) else token for token in tokens(each)) for each in patterns)
    return [*dict.fromkeys((*sorted(names), other))] if patterns else []


# Regions.


def _allowed(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.subject for rule in rules)) or (_EVERYTHING,)


def _widest(found: Iterable[Loss]) -> tuple[Loss, ...]:
    """Those that are part of no other one of the same queue."""
    kept: list[Loss] = []
    for loss in found:
        if any(_covers(other, loss) for other in kept):
            continue
        kept = [other for other in kept if not _covers(loss, other)]
        kept.append(loss)
    return tuple(kept)


def _covers(one: Loss, other: Loss) -> bool:
    return one.queue == other.queue and is_valid(one.subject) and contains(one.subject, other.subject)
