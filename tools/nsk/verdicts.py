"""What ``can-i``, ``explain`` and ``prove`` print with ``--json``: documents of their own form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from accounts.explain import Explanation, Link, Receiver, links_of
from accounts.flow import World
from accounts.policy import Action, Effect
from accounts.prove import ASSUMPTIONS, Isolation, Reach
from tools.nsk.matrix import Contact

Name = Annotated[str, "the account's name for servers, which is its public key where it has a JWT"]
Ends = Annotated[float | None, "the Unix time at which time alone changes the answer, null for never"]
Taken = Annotated[list[str], "what the answer takes for granted"]
Kind = Annotated[
    str, "what gets there: message (what is published), answer (answers only), possible (it could not be excluded)"
]


@dataclass(frozen=True, slots=True)
class DecidingRule:
    """The rule of permissions that decided."""

    action: Annotated[Action, "what it is about"]
    effect: Annotated[Effect, "what it does"]
    subject: Annotated[str, "the subject of the rule, which may have wildcards"]
    queue: Annotated[str | None, "the queue group that it is limited to, else null"]
    origin: Annotated[str, "where it is written"]


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One link of the chain from a user to its message."""

    what: Annotated[str, "what it is"]
    text: Annotated[str, "which one"]
    origin: Annotated[str, "where it was declared, empty where it was not"]


@dataclass(frozen=True, slots=True)
class WayTo:
    """A subject of an account that a message comes to, or from which it comes."""

    account: Name
    subject: Annotated[str, "the subject there"]
    links: Annotated[list[ChainLink], "the exports, imports and mappings between"]
    ends_at: Annotated[float | None, "the Unix time at which the way ends, null for never"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a user may do something, and why."""

    question: Annotated[str, "what was asked"]
    allowed: Annotated[bool, "the answer, which the exit code has too"]
    reason: Annotated[str, "why"]
    rule: Annotated[DecidingRule | None, "the rule that decided, null where none did"]
    chain: Annotated[list[ChainLink], "from the user to the decision"]
    change: Annotated[str | None, "what to change for another answer, null where no change of the user does it"]
    receivers: Annotated[list[WayTo], "who would receive what is published"]
    senders: Annotated[list[WayTo], "whose messages a subscription would hear"]
    filtered: Annotated[list[str], "deny rules that keep messages from the subscription"]


@dataclass(frozen=True, slots=True)
class PassageResult:
    """One way from account to account."""

    accounts: Annotated[list[str], "the accounts on the way, by their names for servers"]
    links: Annotated[list[ChainLink], "what connects them"]
    published: Annotated[str | None, "a subject that goes in, null where no example was found"]
    arrived: Annotated[str | None, "the subject as which it comes out, null likewise"]


@dataclass(frozen=True, slots=True)
class ExampleAction:
    """One thing that a client does in an example."""

    account: Name
    verb: Annotated[str, "what it does: listen, publish or answer"]
    subject: Annotated[str, "the subject, empty for an answer"]
    reply: Annotated[str, "the reply subject of the message, empty for none"]


@dataclass(frozen=True, slots=True)
class ReachResult:
    """How something gets from one account to another."""

    source: Name
    target: Name
    kind: Kind
    passages: Annotated[list[PassageResult], "the ways, each following the one before"]
    example: Annotated[list[ExampleAction], "what shows it, empty where none was found"]


@dataclass(frozen=True, slots=True)
class IsolationResult:
    """Whether two accounts are isolated."""

    accounts: Annotated[list[str], "the two, by their names for servers"]
    isolated: Annotated[bool, "the answer, which the exit code has too"]
    ways: Annotated[list[ReachResult], "what gets from one to the other, at most one for each direction"]
    assumptions: Taken
    ends_at: Ends


@dataclass(frozen=True, slots=True)
class LabelledAccount:
    """An account of the matrix."""

    name: Name
    label: Annotated[str, "what people call it"]


@dataclass(frozen=True, slots=True)
class Contacting:
    """An account that reaches another."""

    source: Name
    target: Name
    kind: Kind


@dataclass(frozen=True, slots=True)
class MatrixResult:
    """Who reaches whom."""

    accounts: Annotated[list[LabelledAccount], "all accounts"]
    reaches: Annotated[list[Contacting], "the pairs that are not isolated"]
    assumptions: Taken
    ends_at: Ends
    unusable: Annotated[list[str], "why something was left out, since no server would use it"]


def verdict(explanation: Explanation, place: str) -> Verdict:
    """The document for an answer. ``place`` is where the user's rules are written."""
    rule, change = explanation.rule, explanation.change
    return Verdict(
        explanation.question,
        explanation.allowed,
        explanation.reason,
        None if rule is None else DecidingRule(rule.action, rule.effect, rule.subject, rule.queue, rule.origin),
        chain_links(explanation.chain),
        None if change is None else change.text(place),
        _ways(explanation.receivers),
        _ways(explanation.senders),
        [str(filtered) for filtered in explanation.filtered],
    )


def chain_links(links: Iterable[Link]) -> list[ChainLink]:
    """A chain for programs."""
    return [ChainLink(link.what, link.text, link.origin) for link in links]


def _ways(receivers: Iterable[Receiver]) -> list[WayTo]:
    return [
        WayTo(receiver.account, receiver.subject, chain_links(receiver.links), receiver.ends_at)
        for receiver in receivers
    ]


def isolation(world: World, found: Isolation) -> IsolationResult:
    """The document for two accounts."""
    ways = [_reach(world, reach) for reach in (found.there, found.back) if reach is not None]
    return IsolationResult([found.one, found.other], found.is_isolated, ways, list(ASSUMPTIONS), found.ends_at)


def _reach(world: World, reach: Reach) -> ReachResult:
    passages = [
        PassageResult(
            list(passage.accounts), chain_links(links_of(world, passage.path)), passage.published, passage.arrived
        )
        for passage in reach.passages
    ]
    example = [ExampleAction(action.account, action.verb, action.subject, action.reply) for action in reach.script]
    return ReachResult(reach.source, reach.target, contact_of(reach).name.lower(), passages, example)


def contact_of(reach: Reach | None) -> Contact:
    """What a way, or none, lets through."""
    if reach is None:
        return Contact.NOTHING
    if not reach.is_shown:
        return Contact.POSSIBLE
    return Contact.MESSAGE if reach.conversation is None else Contact.ANSWER
