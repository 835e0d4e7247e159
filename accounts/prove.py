"""Whether accounts are isolated: whether anything that a client publishes in one can reach a subscriber in another.

A message can go there by itself: through mappings, stream imports and service imports, one after the other. Or it goes
as an answer: whoever asks a service chooses where the answer comes to, and whoever gets an answer may answer in turn.
So one account can answer another one, directly or in a conversation that a third one began. Both are followed exactly,
over the links that the broker connects; a way that is found is shown by an example of real subjects.
"""

from __future__ import annotations

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

INBOX: Final = "_INBOX.any"
"""A reply subject for examples in which any will do."""

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


@dataclass(frozen=True, slots=True)
class Conversation:
    """How a message that ``asker`` sends comes to ``answerer``, who can then answer it.

    It is a request that goes the way of ``passage``; or an answer within the conversation ``before``, in which it comes
    to that asker's account, to a reply subject from which ``passage`` leads on. Without a passage it ends there.
    """

    asker: str
    answerer: str
    passage: Passage | None
    before: Conversation | None = None

    @property
    def passages(self) -> Iterator[Passage]:
        """All passages, that of the first request first."""
        if self.before is not None:
            yield from self.before.passages
        if self.passage is not None:
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

    By ``passage`` alone; or as an answer in ``conversation``, which comes to the asker's account or, where ``leak`` is
    named, passes that account on the way back, and from there goes on by ``passage``, if there is one.
    """

    source: str
    target: str
    passage: Passage | None
    conversation: Conversation | None = None
    leak: str | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is an example. Without one the way is not excluded."""
        passages = [] if self.conversation is None else list(self.conversation.passages)
        if self.passage is not None:
            passages.append(self.passage)
        if any(passage.published is None for passage in passages):
            return False
        return self.leak is None or any(self.leak in passage.accounts[1:-1] for passage in passages[:-1])

    @property
    def script(self) -> tuple[Action, ...]:
        """The example: what clients do, one after the other, so that the target's listener hears the source."""
        if not self.is_shown:
            return ()
        landing = INBOX if self.passage is None or self.leak else str(self.passage.published)
        heard = INBOX if self.passage is None else str(self.passage.arrived)
        listening = [Action(self.target, "listen", heard)]
        if self.conversation is None:
            return (*listening, Action(self.source, "publish", landing))
        doing = [*_actions(self.conversation, landing, listening), Action(self.source, "answer")]
        return (*listening, *doing)


def _actions(conversation: Conversation, reply: str, listening: list[Action]) -> list[Action]:
    """What clients do until the answerer has a message whose answer comes to the asker at ``reply``."""
    passage = conversation.passage
    landing = INBOX if passage is None else str(passage.published)
    heard = INBOX if passage is None else str(passage.arrived)
    listening.append(Action(conversation.answerer, "listen", heard))
    if conversation.before is None:
        return [Action(conversation.asker, "publish", landing, reply)]
    return [*_actions(conversation.before, landing, listening), Action(conversation.asker, "answer", reply=reply)]


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
        self._known: tuple[dict[tuple[str, str], Conversation], dict[tuple[str, str], set[str]]] | None = None

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
        conversations, between = self._conversations()
        for (asker, answerer), conversation in conversations.items():
            if answerer != source:
                continue
            if asker == target:
                yield Reach(source, target, None, conversation)
            passage = self._arrivals(asker, answered=True).get(target)
            if passage is not None:
                yield Reach(source, target, passage, conversation)
        for (asker, answerer), accounts in between.items():
            for leak in sorted(accounts) if answerer == source else ():
                leaked = self._leaks(leak).get(target)
                if leaked is not None:
                    yield Reach(source, target, leaked, conversations[asker, answerer], leak)

    # Single messages.

    def _arrivals(self, account: str, *, answered: bool) -> dict[str, Passage]:
        """Where messages come to that are published in an account, or that come to it as answers."""
        known = self._answers if answered else self._messages
        if account not in known:
            states = list(self._spread(account, answered=answered))
            known[account] = _passages(account, states)
            requests = [state for state in states if state.is_request and state.account != account]
            self._requests[account, answered] = _passages(account, requests)
            between: dict[str, set[str]] = {}
            for state in requests:
                between.setdefault(state.account, set()).update(state.accounts[:-1])
            self._between[account, answered] = between
        return known[account]

    def _spread(self, account: str, *, answered: bool) -> Iterator[State]:
        policy = compile_policy(Permissions(), self._world.accounts[account])
        if answered:
            return spread(self._world, account, anything(), reserved=_subjects(policy.reply_deny))
        return spread(self._world, account, anything(), denies=_subjects(policy.publish_deny))

    def _leaks(self, account: str) -> dict[str, Passage]:
        """Where answers come to while they pass an account on their way back."""
        found: dict[str, Passage] = {}
        for parts in _ANSWERS:
            states = [
                state for state in spread(self._world, account, Term(parts), reserved=()) if state.account != account
            ]
            for name, passage in _passages(account, states).items():
                found.setdefault(name, passage)
        return found

    # Conversations.

    def _conversations(self) -> tuple[dict[tuple[str, str], Conversation], dict[tuple[str, str], set[str]]]:
        """By asker and answerer: how the one's message comes to the other, and the accounts that it may pass."""
        if self._known is None:
            self._known = self._find_conversations()
        return self._known

    def _find_conversations(self) -> tuple[dict[tuple[str, str], Conversation], dict[tuple[str, str], set[str]]]:
        found: dict[tuple[str, str], Conversation] = {}
        between: dict[tuple[str, str], set[str]] = {}
        for asker in self._world.accounts:
            self._arrivals(asker, answered=False)
            self._arrivals(asker, answered=True)
            for answerer, passage in self._requests[asker, False].items():
                found[asker, answerer] = Conversation(asker, answerer, passage)
                between[asker, answerer] = set(self._between[asker, False][answerer])
        waiting = deque(found)
        while waiting:
            pair = waiting.popleft()
            first, second = pair
            # The second answers the first, in whose account the answer may go on to a third.
            further: Iterable[tuple[str, Passage | None]] = ((first, None), *self._requests[first, True].items())
            for third, onward in further:
                if third == second:
                    continue
                passed = between[pair] | (set() if onward is None else {first, *self._between[first, True][third]})
                key = (second, third)
                if key not in found:
                    found[key] = Conversation(second, third, onward, found[pair])
                    between[key] = set()
                elif passed <= between[key]:
                    continue
                between[key] |= passed
                waiting.append(key)
        return found, between


def _subjects(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(rule.subject for rule in rules)


def _passages(account: str, states: Iterable[State]) -> dict[str, Passage]:
    """For each account that is reached the first way of which an example is found, or else the first one."""
    found: dict[str, Passage] = {}
    for state in states:
        known = found.get(state.account)
        if state.account == account or (known is not None and known.published is not None):
            continue
        published, arrived = witness(state) or (None, None)
        if known is None or published is not None:
            found[state.account] = Passage(state.path, (account, *state.accounts), published, arrived)
    return found


