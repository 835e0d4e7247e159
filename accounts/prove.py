"""Whether accounts are isolated: whether anything that a client publishes in one can reach a subscriber in another.

A message can go there by itself: through mappings and a stream import, or through service imports one after the other.
Or it goes as an answer: whoever asks a service chooses where the answer comes to, and whoever gets it may answer in
turn. So one account can answer another one, directly or in a conversation that a third one began. Both are followed
exactly, over the links that the broker connects; a way that is found is shown by an example of real subjects.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accounts.compile import compile_policy
from accounts.flow import State, Step, World, anything, spread, witness
from accounts.permissions import Permissions
from accounts.terms import Term

if TYPE_CHECKING:
    from accounts.policy import Rule

ASSUMPTIONS: Final = (
    "users may publish and subscribe to whatever their account lets any user; their own permissions only narrow it",
    "whoever asks a service chooses the reply subject, and may answer the answer",
    "what the server itself publishes is left aside, and so is what programs pass on by themselves",
)
"""What every answer takes for granted."""

_ANY_REPLY: Final = "any"
"""The reply subject of examples in which the answer is lost where it comes back."""

_ANSWERS: Final = ("_R_", 2, 3), ("_R_", 2, 3, 4, "T")
"""The reply subjects that stand for those of askers in other accounts: of plain requests, and of measured ones."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A way that messages go by themselves. ``published`` and ``arrived`` are the subjects of an example.

    Both are None where no example was found; then the way is not excluded, and that is all.
    """

    path: tuple[Step, ...]
    accounts: tuple[str, ...]
    """From the first to the last."""
    published: str | None = None
    arrived: str | None = None
    pattern: str = ">"
    """What all that arrives this way matches."""

    @property
    def starts(self) -> str:
        """The subject that an example begins with; only of a passage that has one."""
        assert self.published is not None
        return self.published

    @property
    def heard(self) -> str:
        """The subject that an example ends with; only of a passage that has one."""
        assert self.arrived is not None
        return self.arrived


@dataclass(frozen=True, slots=True)
class Conversation:
    """How a message that ``asker`` sends comes to ``answerer``, who can then answer it.

    It is a request that goes the way of ``passage``; or an answer within the conversation ``before``, which comes to
    that asker's account on a reply subject from which ``passage`` begins: it may end in the same account.
    """

    asker: str
    answerer: str
    passage: Passage
    before: Conversation | None = None
    is_answerable: bool = True
    """Whether the answer comes back: mappings in the accounts on the way may take it for a message of their own."""

    @property
    def passages(self) -> Iterator[Passage]:
        """All passages, that of the first request first."""
        if self.before is not None:
            yield from self.before.passages
        yield self.passage


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a client of an account does in an example: ``verb`` is ``listen``, ``publish`` or ``answer``.

    ``subject`` is that of a subscription or of a message; an answer goes to the reply subject of the message that came
    last. ``reply`` is the reply subject of the message, empty for none.
    """

    account: str
    verb: str
    subject: str = ""
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How something published in ``source`` reaches ``target``.

    By ``passage`` alone; or as an answer in ``conversation``, which comes to the asker's account on a reply subject
    from which ``passage`` begins. Where there is a ``leak``, that answer reaches the target before, by that passage
    from an account that it passes on its way back, and may be lost in the asker's account, which leaves no passage.
    """

    source: str
    target: str
    passage: Passage | None
    conversation: Conversation | None = None
    leak: Passage | None = None

    @property
    def passages(self) -> tuple[Passage, ...]:
        """All passages in the order in which they are used."""
        before = () if self.conversation is None else tuple(self.conversation.passages)
        last = self.leak or self.passage
        return before if last is None else (*before, last)

    @property
    def is_shown(self) -> bool:
        """Whether there is an example. Without one the way is not excluded."""
        if any(passage.published is None for passage in self.passages):
            return False
        if self.leak is None or self.conversation is None:
            return True
        # The conversation that was kept need not be the one that passes the account where the leak is.
        first, *further = self.conversation.passages
        passed = {*first.accounts[1:-1], *(name for passage in further for name in passage.accounts[:-1])}
        return self.leak.accounts[0] in passed

    @property
    def script(self) -> tuple[Action, ...]:
        """The example: what clients do, one after the other, so that the target's listener hears the source."""
        if not self.is_shown:
            return ()
        heard = self.leak.pattern if self.leak is not None else self.passages[-1].heard
        landing = _ANY_REPLY if self.passage is None else self.passage.starts
        listening = [Action(self.target, "listen", heard)]
        if self.conversation is None:
            return (*listening, Action(self.source, "publish", landing))
        doing = [*_actions(self.conversation, landing, listening), Action(self.source, "answer")]
        return (*listening, *doing)


def _actions(conversation: Conversation, reply: str, listening: list[Action]) -> list[Action]:
    """What clients do until the answerer has a message whose answer comes to the asker on ``reply``."""
    passage = conversation.passage
    listening.append(Action(conversation.answerer, "listen", passage.heard))
    if conversation.before is None:
        return [Action(conversation.asker, "publish", passage.starts, reply)]
    before = _actions(conversation.before, passage.starts, listening)
    return [*before, Action(conversation.asker, "answer", reply=reply)]


@dataclass(frozen=True, slots=True)
class Isolation:
    """What was found out about two accounts: how something goes there, and how something comes back; None for not."""

    one: str
    other: str
    there: Reach | None
    back: Reach | None
    ends_at: float | None
    """The Unix second at which time alone may change the answer; None for never."""

    @property
    def is_isolated(self) -> bool:
        """Whether nothing gets from either account to the other."""
        return self.there is None and self.back is None


def isolated(world: World, one: str, other: str) -> Isolation:
    """Whether two accounts of the world are isolated. Raises KeyError for an account that is not there, and
    TooManyWaysError where there is too much to follow."""
    return Proof(world).isolated(one, other)


class Proof:
    """What can be known of the ways between the accounts of one world; each is followed once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._messages: dict[str, dict[str, Passage]] = {}
        self._answers: dict[str, dict[str, Passage]] = {}
        self._requests: dict[tuple[str, bool], dict[str, Passage]] = {}
        self._between: dict[tuple[str, bool], dict[str, set[str]]] = {}
        self._leaked: dict[str, dict[str, Passage]] = {}
        self._kept: dict[str, bool] = {}
        self._conversations: dict[str, list[tuple[Conversation, tuple[str, ...]]]] | None = None

    def isolated(self, one: str, other: str) -> Isolation:
        """Whether two accounts are isolated. Raises KeyError and TooManyWaysError."""
        for name in (one, other):
            if name not in self._world.accounts:
                raise KeyError(name)
        return Isolation(one, other, self.reach(one, other), self.reach(other, one), self._world.ends_at)

    def reach(self, source: str, target: str) -> Reach | None:
        """How something published in one account reaches another; None where nothing does. Raises TooManyWaysError."""
        direct = self._arrivals(source, answered=False).get(target)
        if direct is not None and direct.published is not None:
            return Reach(source, target, direct)
        found = None if direct is None else Reach(source, target, direct)
        for possible in self._answered(source, target):
            if possible.is_shown:
                return possible
            found = found or possible
        return found

    def _answered(self, source: str, target: str) -> Iterator[Reach]:
        """The ways of answers, the shortest conversations first."""
        conversations = self._conversations_with(source)
        for conversation, _ in conversations:
            if conversation.is_answerable:
                passage = self._arrivals(conversation.asker, answered=True).get(target)
                if passage is not None:
                    yield Reach(source, target, passage, conversation)
        for conversation, passed in conversations:
            for leak in passed:
                leaked = self._leaks(leak).get(target)
                if leaked is not None:
                    home = self._arrivals(conversation.asker, answered=True).get(conversation.asker)
                    shown = home if home is not None and home.published is not None else None
                    yield Reach(source, target, shown, conversation, leaked)

    # Single messages.

    def _arrivals(self, account: str, *, answered: bool) -> dict[str, Passage]:
        """Where messages come to that are published in an account, or that come to it as answers."""
        known = self._answers if answered else self._messages
        if account not in known:
            states = list(self._spread(account, answered=answered))
            # A message that is published where it is heard reaches nobody else; an answer may come from elsewhere.
            known[account] = _passages(account, states if answered else _elsewhere(account, states))
            requests = [state for state in _elsewhere(account, states) if state.is_request]
            kept = [state for state in requests if self._all_keep(state.accounts)]
            self._requests[account, answered] = _passages(account, requests) | _passages(account, kept)
            between: dict[str, set[str]] = {}
            for state in requests:
                between.setdefault(state.account, set()).update(state.accounts[:-1])
            self._between[account, answered] = between
        return known[account]

    def _spread(self, account: str, *, answered: bool) -> Iterator[State]:
        policy = compile_policy(Permissions(), self._world.accounts[account])
        if answered:
            return spread(self._world, account, anything(), reserved=_subjects(policy.reply_deny), is_answer=True)
        return spread(self._world, account, anything(), denies=_subjects(policy.publish_deny))

    def _leaks(self, account: str) -> dict[str, Passage]:
        """Where answers come to while they pass an account on their way back."""
        if account not in self._leaked:
            found = self._leaked[account] = {}
            for parts in _ANSWERS:
                states = _elsewhere(account, spread(self._world, account, Term(parts), is_answer=True))
                for name, passage in _passages(account, states).items():
                    found.setdefault(name, passage)
        return self._leaked[account]

    # Conversations.

    def _conversations_with(self, answerer: str) -> list[tuple[Conversation, tuple[str, ...]]]:
        """How messages come to an answerer, each with the accounts that the answer may pass."""
        if self._conversations is None:
            self._conversations = {}
            found, between = self._find_conversations()
            for pair, conversation in found.items():
                passed = tuple(sorted(between[pair]))
                self._conversations.setdefault(pair[1], []).append((conversation, passed))
        return self._conversations.get(answerer, [])

    def _find_conversations(self) -> tuple[dict[tuple[str, str], Conversation], dict[tuple[str, str], set[str]]]:
        """By asker and answerer: how the one's message comes to the other, and the accounts that it may pass."""
        found: dict[tuple[str, str], Conversation] = {}
        between: dict[tuple[str, str], set[str]] = {}
        waiting: deque[tuple[str, str]] = deque()

        def note(made: Conversation, passed: set[str]) -> None:
            pair = made.asker, made.answerer
            known = found.get(pair)
            if known is None or (made.is_answerable and not known.is_answerable):
                found[pair] = made
            elif passed <= between[pair]:
                return
            between.setdefault(pair, set()).update(passed)
            waiting.append(pair)

        for asker in self._world.accounts:
            self._arrivals(asker, answered=False)
            self._arrivals(asker, answered=True)
            for answerer, passage in self._requests[asker, False].items():
                is_answerable = self._all_keep(passage.accounts[1:])
                made = Conversation(asker, answerer, passage, is_answerable=is_answerable)
                note(made, self._between[asker, False][answerer])
        while waiting:
            first, second = pair = waiting.popleft()
            if not found[pair].is_answerable:
                continue
            # The second answers the first, in whose account the answer may go on to a third.
            home = self._answers[first].get(first)
            further = self._requests[first, True] | ({} if home is None else {first: home})
            for third, onward in further.items():
                if third != second:
                    beyond = set() if third == first else {first, *self._between[first, True][third]}
                    is_answerable = self._all_keep(onward.accounts)
                    note(Conversation(second, third, onward, found[pair], is_answerable), between[pair] | beyond)
        return found, between

    def _all_keep(self, accounts: Iterable[str]) -> bool:
        """Whether answers come through these accounts."""
        return all(map(self._keeps, accounts))

    def _keeps(self, account: str) -> bool:
        """Whether the mappings of an account can leave alone the subjects on which answers go back."""
        if account not in self._kept:
            parts = Term(_ANSWERS[0])
            states = spread(self._world, account, parts, is_answer=True)
            own = itertools.takewhile(lambda state: not state.accounts, states)
            self._kept[account] = any(state.term == parts for state in own)
        return self._kept[account]


def _subjects(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(rule.subject for rule in rules)


def _passages(account: str, states: Iterable[State]) -> dict[str, Passage]:
    """For each account that is reached the first way of which an example is found, or else the first one."""
    found: dict[str, Passage] = {}
    for state in states:
        known = found.get(state.account)
        if known is not None and known.published is not None:
            continue
        published, arrived = witness(state) or (None, None)
        if known is None or published is not None:
            accounts = (account, *state.accounts)
            found[state.account] = Passage(state.path, accounts, published, arrived, state.term.pattern)
    return found


def _elsewhere(account: str, states: Iterable[State]) -> list[State]:
    return [state for state in states if state.account != account]
