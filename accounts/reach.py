"""What a request to JetStream would reach, and whether permissions let it: the payload is judged like a subject.

A stream hands out what was published on other subjects than those that a client subscribes to, and keeps or says things
on subjects that nobody has published to. So that no payload reaches what a subject would not:

- What is read, by whatever way, must not be what a subscribe deny covers. A pattern is refused where a deny covers any
  subject of it that the stream can have or has.
- What is let go must not be what a publish deny covers; nor may a message be stored under such a subject.
- Where the server is to publish in the client's name, the client must be allowed to publish there itself. To a subject
  that a consumer delivers to it may listen instead, unless a deny covers it.
- Who may ask for consumers of a stream with certain filters in the subject, or for messages of certain subjects, may
  not ask for more where the payload says it: every pattern must be contained in one allow.

Without denies, and with allows that name no filters, everything is as the subjects of the API say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accounts.permissions import quoted
from accounts.policy import BUILT_IN, Action, Decision, PolicyTable, Rule
from accounts.subject import REST, SINGLE, contains, intersection, matches_as_tokens, overlaps

if TYPE_CHECKING:
    from accounts.account import Account

API: Final = "$JS.API"
ANY_NAME: Final = SINGLE


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: the subject that it would reach, and what decided about that."""

    action: Action
    target: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a stream can have and has: ``subjects`` are patterns, ``holds`` says whether any message matches one.

    What it can have is said too widely here and there. So rules that nobody has written (about what servers say to each
    other, and the requests of an auth callout) count where nothing else is meant, or such a message would be read.
    """

    name: str
    subjects: Sequence[str] = (REST,)
    holds: Callable[[str], bool] = lambda pattern: False

    def meets(self, rule: Rule, pattern: str, both: str) -> bool:
        """Whether it has, or can have, anything of a pattern that a rule is about; ``both`` is what they share."""
        if rule.origin == BUILT_IN:
            return contains(rule.subject, pattern) or (rule.action is Action.SUBSCRIBE and self.holds(both))
        return any(overlaps(both, subject) for subject in self.subjects) or self.holds(both)


def reading(
    table: PolicyTable, holdings: Holdings, patterns: Sequence[str], queue: str | None = None
) -> Refusal | None:
    """What forbids to read the patterns of a stream, all where there are none, as a member of a queue group."""
    for pattern in patterns or (REST,):
        for rule in table.delivery_denies_overlapping(pattern, queue):
            refused = _met(Action.SUBSCRIBE, rule, pattern, holdings)
            if refused is not None:
                return refused
    return None


def removing(table: PolicyTable, holdings: Holdings, pattern: str = "") -> Refusal | None:
    """What forbids to let go of a pattern of a stream, of all where it is empty."""
    for rule in table.publish_deny:
        refused = _met(Action.PUBLISH, rule, pattern or REST, holdings)
        if refused is not None:
            return refused
    return None


def _met(action: Action, rule: Rule, pattern: str, holdings: Holdings) -> Refusal | None:
    both = intersection(pattern, rule.subject)
    if both is None or not holdings.meets(rule, pattern, both):
        return None
    return Refusal(action, both, Decision(False, rule, f"refused by {rule}"))


def hearing(table: PolicyTable, pattern: str) -> Refusal | None:
    """What forbids to have all that is published on a pattern taken into a stream."""
    return reading(table, Holdings("", (pattern,), lambda both: True), (pattern,))


def storing(table: PolicyTable, pattern: str) -> Refusal | None:
    """What forbids to have messages stored under the subjects of a pattern."""
    return removing(table, Holdings(""), pattern)


def reading_one(table: PolicyTable, subject: str) -> Refusal | None:
    """What forbids to read a message of a subject."""
    rule = table.delivery_denied(subject)
    return None if rule is None else Refusal(Action.SUBSCRIBE, subject, Decision(False, rule, f"refused by {rule}"))


def publishing(table: PolicyTable, pattern: str) -> Refusal | None:
    """What forbids to publish on every subject of a pattern."""
    refused = storing(table, pattern)
    if refused is not None or not (table.publish_allow or table.publish_is_closed):
        return refused
    if any(contains(rule.subject, pattern) for rule in table.publish_allow):
        return None
    return Refusal(Action.PUBLISH, pattern, Decision(False, None, f"no publish allow contains {quoted(pattern)}"))


def answering(table: PolicyTable, reply: str) -> Refusal | None:
    """What forbids to have messages sent to a reply subject: a publish deny."""
    rule = next((rule for rule in table.publish_deny if matches_as_tokens(rule.subject, reply)), None)
    return None if rule is None else Refusal(Action.PUBLISH, reply, Decision(False, rule, f"refused by {rule}"))


def delivering(table: PolicyTable, subject: str, queue: str | None = None) -> Refusal | None:
    """What forbids to have messages delivered to a subject, for members of a queue group where one is named."""
    refused = answering(table, subject) or publishing(table, subject)
    if refused is None or refused.decision.rule is not None or table.decide_subscribe(subject, queue).allowed:
        return None if refused is None or refused.decision.rule is None else refused
    reason = f"{refused.decision.reason}, and {table.decide_subscribe(subject, queue).reason}"
    return Refusal(Action.PUBLISH, subject, Decision(False, None, reason))


# What the subjects of requests say, held against what the payload says.


def filtering(
    table: PolicyTable,
    stream: str,
    patterns: Sequence[str],
    consumer: str = "",
    *,
    exists: bool = False,
    api: str = API,
) -> Refusal | None:
    """What forbids filters, or no filter where there are none, to who may ask for consumers with certain ones.

    Where the consumer ``exists`` it is asked for messages: that may be whose allow names it, whatever its filters are.
    ``api`` is what the API's requests begin with for the user.
    """
    if exists and any(rule.subject == f"{api}.CONSUMER.MSG.NEXT.{stream}.{consumer}" for rule in table.publish_allow):
        return None
    return _narrowed(table, f"{api}.CONSUMER.CREATE.{stream}.{consumer or ANY_NAME}", patterns)


def fetching(table: PolicyTable, stream: str, patterns: Sequence[str], *, api: str = API) -> Refusal | None:
    """The same for who may get messages of certain subjects of a stream."""
    return _narrowed(table, f"{api}.DIRECT.GET.{stream}", patterns)


def _narrowed(table: PolicyTable, prefix: str, patterns: Sequence[str]) -> Refusal | None:
    allows = [rule for rule in table.publish_allow if overlaps(rule.subject, f"{prefix}.{REST}")]
    for pattern in patterns or (REST,):
        wanted = f"{prefix}.{pattern}"
        if allows and not any(contains(rule.subject, wanted) for rule in allows):
            reason = f"no publish allow contains {quoted(wanted)}, which the payload asks for"
            return Refusal(Action.PUBLISH, wanted, Decision(False, None, reason))
    return None


def apis(user: Account, streams: str) -> list[str]:
    """What requests to the API of an account begin with for users of another one, which imports it; or of the same."""
    if user.name == streams:
        return [API]
    found = []
    for one in user.imports:
        if one.kind != "service" or one.account != streams or not one.local_subject.endswith(REST):
            continue
        beginning, local = one.subject.removesuffix(f".{REST}"), one.local_subject.removesuffix(f".{REST}")
        if f"{API}.".startswith(f"{beginning}."):
            found.append(local + API.removeprefix(beginning))
    return found


def consuming(table: PolicyTable, api: str, stream: str, patterns: Sequence[str]) -> Refusal | None:
    """What forbids to have another stream read, by the API that stands below a prefix: as a consumer of it would be."""
    plain = f"{api}.CONSUMER.CREATE.{stream}"
    decision = table.decide_publish(plain)
    if decision.allowed:
        return filtering(table, stream, patterns) if api == API else None
    wanted: Iterable[str] = [f"{plain}.{ANY_NAME}.{pattern}" for pattern in patterns]
    if patterns and decision.rule is None and all(publishing(table, one) is None for one in wanted):
        return None
    return Refusal(Action.PUBLISH, plain, decision)
