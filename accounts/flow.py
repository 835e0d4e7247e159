"""How messages move: from where one is published, through mappings, stream imports and service imports, to where it
arrives.

Whole sets of subjects are followed at once (see :mod:`accounts.terms`), by the links that :mod:`accounts.exchange`
found to be in force. A set stays exact as long as mappings move tokens about. Where a function makes new ones
(partition, split and the like), their possible values are taken for independent of all else, which can only be too
many; :func:`witness` finds one subject that really goes the whole way.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from accounts.exchange import Exchange, ServiceLink, StreamLink, compile_exchange
from accounts.mapping import WHOLE, SubjectMapping
from accounts.subject import matches_as_tokens, tokens
from accounts.system import hidden_links, with_hidden_exports
from accounts.terms import Binding, Exclusion, Term, Token, match, open_length, str_of
from accounts.transform import Choose, SubjectTransform

if TYPE_CHECKING:
    from accounts.account import Account

MAXIMUM_STATES: Final = 100_000
"""Sets of subjects that are followed from one place."""

MAXIMUM_ATTEMPTS: Final = 20_000
"""Subjects that are tried to find one that goes a whole way."""

_MOST_CHOICES: Final = 1_000
_ANYTHING: Final = 0
_REST: Final = 1


class TooManyWaysError(ValueError):
    """There are more ways than can be followed."""


class World:
    """Accounts at one moment (Unix seconds), with what is in force between them. ``cluster`` is the server's.

    ``system`` names the system account, of which every account imports without being asked; empty for none.
    """

    def __init__(self, accounts: Iterable[Account], now: float, *, cluster: str = "", system: str = "") -> None:
        self.accounts = {account.name: account for account in accounts}
        self.cluster = cluster
        if system in self.accounts:
            self.accounts[system] = with_hidden_exports(self.accounts[system])
        self.exchanges: dict[str, Exchange] = {
            name: compile_exchange(account, self.accounts.get, now) for name, account in self.accounts.items()
        }
        self._services = {
            name: (*exchange.services, *(hidden_links(exchange.account, system) if system in self.accounts else ()))
            for name, exchange in self.exchanges.items()
        }
        self._importers: dict[str, list[StreamLink]] = {}
        for exchange in self.exchanges.values():
            for link in exchange.streams:
                self._importers.setdefault(link.imported.account, []).append(link)
        self.longest = max(map(_length, self._patterns()), default=1)

    def _patterns(self) -> Iterator[str]:
        for exchange in self.exchanges.values():
            yield from (link.imported.subject for link in exchange.streams)
            yield from (link.imported.local_subject for link in self._services[exchange.account.name])
            yield from (mapping.source for mapping in exchange.mappings)

    @property
    def ends_at(self) -> float | None:
        """The first Unix second at which time alone changes what is in force."""
        ends = [exchange.ends_at for exchange in self.exchanges.values() if exchange.ends_at is not None]
        return min(ends, default=None)

    def streams_from(self, exporter: str) -> Sequence[StreamLink]:
        """The stream imports in force that take from an account."""
        return self._importers.get(exporter, ())

    def services_of(self, importer: str) -> Sequence[ServiceLink]:
        """The service imports in force of an account."""
        return self._services[importer]

    def label(self, name: str) -> str:
        """The name of an account to show to people."""
        account = self.accounts.get(name)
        return name if account is None else account.label


def _length(pattern: str) -> int:
    return len(tokens(pattern))


# Steps of a way. Each can take one subject along.


@dataclass(frozen=True, slots=True)
class Refusal:
    """Subjects that nobody may use: what is published, or given as a reply subject, is none of them."""

    denies: tuple[str, ...]

    def carry(self, subject: str) -> Iterator[str]:
        """The subject itself, where it is not refused."""
        if not any(matches_as_tokens(pattern, subject) for pattern in self.denies):
            yield subject


@dataclass(frozen=True, slots=True)
class Mapped:
    """What the mappings of an account do to a published subject.

    ``mapping`` is the one that decides, None where none matches. ``transform`` makes another subject; without one the
    subject stays. ``share`` is percent.
    """

    account: str
    mapping: SubjectMapping | None
    transform: SubjectTransform | None
    share: int
    mappings: tuple[SubjectMapping, ...] = field(repr=False, compare=False)

    def carry(self, subject: str) -> Iterator[str]:
        """What becomes of a subject; several where chance decides."""
        if next((mapping for mapping in self.mappings if mapping.matches(subject)), None) is not self.mapping:
            return
        yield from (subject,) if self.transform is None else results(self.transform, subject)


@dataclass(frozen=True, slots=True)
class Streamed:
    """A stream import takes a message into the importing account."""

    link: StreamLink

    def carry(self, subject: str) -> Iterator[str]:
        """The subject there."""
        yield from results(self.link.imported.outward, subject)


@dataclass(frozen=True, slots=True)
class Requested:
    """A service import takes a message into the exporting account."""

    link: ServiceLink

    def carry(self, subject: str) -> Iterator[str]:
        """The subject there."""
        yield from results(self.link.imported.inward, subject)


Step: TypeAlias = Refusal | Mapped | Streamed | Requested


def results(transform: SubjectTransform, subject: str) -> Iterator[str]:
    """Every valid subject that a transform can make of one; of very many that chance allows, the first."""
    counts = [min(int(str(step[1])), _MOST_CHOICES) or 1 for step in transform.program if step[0] == "random"]
    for chosen in itertools.islice(itertools.product(*map(range, counts)), _MOST_CHOICES):
        made = transform.apply(subject, _rolling(chosen))
        if made is None:
            return
        if "" not in tokens(made):
            yield made


def _rolling(chosen: Iterable[int]) -> Choose:
    """What picks these numbers, one after the other."""
    rolls = iter(chosen)
    return lambda count: next(rolls)


def follow(path: Sequence[Step], subject: str) -> Iterator[str]:
    """The subjects that one arrives as at the end of a path."""
    if not path:
        yield subject
        return
    for made in path[0].carry(subject):
        yield from follow(path[1:], made)


class Stage(Enum):
    """Where a message is within an account."""

    PUBLISHED = "published"
    """Mappings are still to come."""
    DELIVERED = "delivered"
    """Its subscribers, its stream exports and its service imports take it."""
    STREAMED = "streamed"
    """It came through a stream import: subscribers take it, and it goes no further."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Tokens that a function of a transform made of others."""

    transform: SubjectTransform
    index: int
    """Which token of the destination."""
    given: Term
    made: tuple[Token, ...]

    @property
    def name(self) -> str:
        return str(self.transform.program[self.index][0])

    @property
    def inputs(self) -> tuple[Token, ...] | None:
        """The tokens that it read; None where it cannot be said, since it read all of an open set."""
        step = self.transform.program[self.index]
        if step[0] == "random":
            return ()
        places = step[2] if step[0] == "partition" else (step[1],)
        if places is None:
            return None if self.given.rest is not None else self.given.tokens
        assert isinstance(places, tuple)
        return tuple(self.given.tokens[place] for place in places)

    def bound(self, binding: Binding) -> _Call:
        made = tuple(binding.token(token) for token in self.made)
        return replace(self, given=self.given.bound(binding), made=made)

    def value(self) -> tuple[str, ...] | None:
        """What it makes, where all that it reads is known and chance has no part; None otherwise."""
        inputs = self.inputs
        if not inputs or not all(isinstance(token, str) for token in inputs):
            return None
        parts = self.transform.parts(self.given.instance(str_of), lambda count: 0)
        assert parts is not None
        return tuple(parts[self.index].split("."))

    @property
    def is_possible(self) -> bool:
        """False where it is certain that no input makes this."""
        value = self.value()
        if value is not None:
            return len(value) == len(self.made) and all(
                not isinstance(made, str) or made == known for made, known in zip(self.made, value, strict=True)
            )
        if self.name in ("partition", "random"):
            count = int(str(self.transform.program[self.index][1]))
            (made,) = self.made
            return not isinstance(made, str) or any(made == str(number) for number in range(max(count, 1)))
        made_texts = [token for token in self.made if isinstance(token, str)]
        if len(made_texts) < len(self.made):
            return True
        # Whatever is taken apart into these tokens is taken apart as this one is.
        (read,) = self.inputs or ()
        assert isinstance(read, int)
        known: dict[int, Token] = {read: self.source_token(made_texts)}
        return self.bound(Binding(known)).is_possible

    def source_token(self, made: Sequence[str]) -> str:
        """The token that a split or cut takes apart into these."""
        step = self.transform.program[self.index]
        separator = step[2] if step[0] == "split" else b""
        assert isinstance(separator, bytes)
        return separator.decode("utf-8", "surrogateescape").join(made)

    @property
    def width(self) -> int:
        """How many bytes a new token should have that it makes; 0 where any number will do."""
        step = self.transform.program[self.index]
        if step[0] == "split":
            return 0 if step[2] else 1
        size = int(str(step[2]))
        return size if len(self.made) > 1 and size > 0 else 1


@dataclass(frozen=True, slots=True)
class State:
    """A set of subjects on its way: ``term`` is what they are here, ``origin`` what they were at the beginning."""

    account: str
    stage: Stage
    term: Term
    origin: Term
    path: tuple[Step, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    calls: tuple[_Call, ...] = ()
    services: frozenset[int] = frozenset()
    """The exports gone through, which no message goes through twice."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts on the way, from the second one to this."""
        return tuple(_reached(step) for step in self.path if isinstance(step, Streamed | Requested))

    @property
    def is_request(self) -> bool:
        """Whether it came by services alone, so that it can be answered where it is."""
        return self.stage is Stage.DELIVERED and bool(self.services)

    def bound(self, binding: Binding) -> State:
        """The part that is left when variables stand for what the binding says."""
        if binding.is_empty:
            return self
        return replace(
            self,
            term=self.term.bound(binding),
            origin=self.origin.bound(binding),
            exclusions=tuple((term.bound(binding), pattern) for term, pattern in self.exclusions),
            calls=tuple(call.bound(binding) for call in self.calls),
        )

    def matched(self, pattern: str) -> State | None:
        """The part of which the pattern matches what it is here; None for nothing."""
        highest = max((variable for term in self._terms for variable in term.variables), default=0)
        binding = match(self.term, pattern, itertools.count(1 + max(highest, self.term.rest or 0)).__next__)
        return None if binding is None else self.bound(binding)

    @property
    def _terms(self) -> Iterator[Term]:
        yield from (self.term, self.origin, *(term for term, _ in self.exclusions))
        for call in self.calls:
            yield from (call.given, Term(call.made))

    @property
    def is_possible(self) -> bool:
        """False where nothing is left."""
        return open_length(self.exclusions) is not None and all(call.is_possible for call in self.calls)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for sets of which everything to come is the same."""
        names: dict[int, int] = {}

        def renamed(term: Term) -> tuple[object, ...]:
            return (*(_renamed(token, names) for token in term.tokens), term.rest is not None)

        return (
            self.account,
            self.stage,
            renamed(self.term),
            tuple((renamed(term), pattern) for term, pattern in self.exclusions),
            tuple(
                (id(call.transform), call.index, renamed(call.given), renamed(Term(call.made))) for call in self.calls
            ),
            self.services,
        )


def _renamed(token: Token, names: dict[int, int]) -> Token:
    return names.setdefault(token, len(names)) if isinstance(token, int) else token


def _reached(step: Streamed | Requested) -> str:
    return step.link.importer if isinstance(step, Streamed) else step.link.imported.account


def spread(
    world: World,
    account: str,
    subject: Term,
    *,
    denies: Sequence[str] = (),
    reserved: Sequence[str] = (),
    stage: Stage = Stage.PUBLISHED,
    is_answer: bool = False,
) -> Iterator[State]:
    """Everywhere that messages published in ``account`` to the subjects of a set arrive, the shortest ways first.

    ``denies`` are patterns of subjects that a client may not publish to, after mappings. With ``is_answer`` the
    messages are not published there but come to the account as answers, on subjects that no pattern of ``reserved``
    matches. They begin at ``stage``. What is yielded first is the delivery in ``account`` itself. Raises
    TooManyWaysError.
    """
    return _Spread(world, denies, reserved, is_answer=is_answer).run(State(account, stage, subject, subject))


def anything() -> Term:
    """All subjects."""
    return Term((_ANYTHING,), _REST)


class _Spread:
    def __init__(self, world: World, denies: Sequence[str], reserved: Sequence[str], *, is_answer: bool) -> None:
        self._world = world
        self._denies = tuple(denies)
        self._reserved = tuple(reserved)
        self._is_answer = is_answer
        self._numbers = itertools.count()

    def _fresh(self) -> int:
        return next(self._numbers)

    def run(self, first: State) -> Iterator[State]:
        # Variables that the caller made are below those that are made here.
        subject = first.term
        self._numbers = itertools.count(1 + max((*subject.variables, subject.rest or 0), default=0))
        if self._reserved:
            avoided = tuple((subject, pattern) for pattern in self._reserved)
            first = replace(first, exclusions=avoided, path=(Refusal(self._reserved),))
        waiting = deque([first])
        seen = {waiting[0].key}
        while waiting:
            state = waiting.popleft()
            if state.stage is not Stage.PUBLISHED:
                yield state
            for further in self._next(state):
                if not further.is_possible or further.key in seen:
                    continue
                if len(seen) >= MAXIMUM_STATES:
                    raise TooManyWaysError(f"more than {MAXIMUM_STATES} ways lead on from {first.account}")
                seen.add(further.key)
                waiting.append(further)

    def _next(self, state: State) -> Iterator[State]:
        if state.stage is Stage.PUBLISHED:
            yield from self._delivered(state)
        elif state.stage is Stage.DELIVERED:
            yield from self._crossed(state)

    def _crossed(self, state: State) -> Iterator[State]:
        """What goes on to other accounts. What came as a request or as an answer is no part of streams."""
        is_own = not state.services and not self._is_answer
        for stream in self._world.streams_from(state.account) if is_own else ():
            entered = self._matched(state, stream.imported.subject)
            if entered is not None:
                yield from self._transformed(
                    entered, stream.imported.outward, Streamed(stream), account=stream.importer, stage=Stage.STREAMED
                )
        for service in self._world.services_of(state.account):
            if id(service.export) in state.services:
                continue
            entered = self._matched(state, service.imported.local_subject)
            if entered is not None:
                entered = replace(entered, services=entered.services | {id(service.export)})
                yield from self._transformed(
                    entered,
                    service.imported.inward,
                    Requested(service),
                    account=service.imported.account,
                    stage=Stage.PUBLISHED,
                )

    def _matched(self, state: State, pattern: str) -> State | None:
        binding = match(state.term, pattern, self._fresh)
        return None if binding is None else state.bound(binding)

    def _delivered(self, state: State) -> Iterator[State]:
        for mapped in self._mapped(state):
            if state.path:
                yield mapped
                continue
            denied = tuple((mapped.term, pattern) for pattern in self._denies)
            yield replace(mapped, exclusions=(*mapped.exclusions, *denied), path=(*mapped.path, Refusal(self._denies)))

    def _mapped(self, state: State) -> Iterator[State]:
        """What the mappings of the account do: the first that matches decides."""
        account, mappings = state.account, self._world.exchanges[state.account].mappings
        unmapped = state
        for mapping in mappings:
            entered = self._matched(unmapped, mapping.source)
            if entered is None:
                continue
            before = 0
            for ceiling, transform in mapping.shares(self._world.cluster):
                if ceiling > before and transform is not None:
                    step = Mapped(account, mapping, transform, ceiling - before, mappings)
                    yield from self._transformed(entered, transform, step, account=account, stage=Stage.DELIVERED)
                before = max(before, ceiling)
            if before < WHOLE:
                step = Mapped(account, mapping, None, WHOLE - before, mappings)
                yield replace(entered, stage=Stage.DELIVERED, path=(*entered.path, step))
            unmapped = replace(unmapped, exclusions=(*unmapped.exclusions, (unmapped.term, mapping.source)))
        step = Mapped(account, None, None, WHOLE, mappings)
        yield replace(unmapped, stage=Stage.DELIVERED, path=(*unmapped.path, step))

    def _transformed(
        self, state: State, transform: SubjectTransform, step: Step, *, account: str, stage: Stage
    ) -> Iterator[State]:
        """The set behind a transform whose source matches all of it."""
        made: list[tuple[tuple[Token, ...], int | None, tuple[_Call, ...]]] = [((), None, ())]
        for index in range(len(transform.program)):
            made = [
                ((*parts, *more), rest if rest is not None else tail, (*calls, *called))
                for parts, tail, calls in made
                for more, rest, called in self._part(transform, index, state.term)
            ]
        for parts, tail, calls in made:
            yield replace(
                state,
                account=account,
                stage=stage,
                term=Term(parts, tail),
                calls=(*state.calls, *calls),
                path=(*state.path, step),
            )

    def _part(
        self, transform: SubjectTransform, index: int, given: Term
    ) -> Iterator[tuple[tuple[Token, ...], int | None, tuple[_Call, ...]]]:
        """What one token of a destination can become: tokens, the rest that follows, and how functions made them."""
        name, *arguments = transform.program[index]
        if name == "text":
            (text,) = arguments
            assert isinstance(text, bytes)
            yield (text.decode("utf-8", "surrogateescape"),), None, ()
        elif name == "token":
            (place,) = arguments
            assert isinstance(place, int)
            yield (given.tokens[place],), None, ()
        elif name == "rest":
            (place,) = arguments
            assert isinstance(place, int)
            yield given.tokens[place:], given.rest, ()
        else:
            yield from self._made_up(_Call(transform, index, given, ()))

    def _made_up(self, call: _Call) -> Iterator[tuple[tuple[Token, ...], int | None, tuple[_Call, ...]]]:
        value = call.value()
        if value is not None:
            if "" not in value:
                yield value, None, ()
            return
        if call.name in ("partition", "random"):
            counts: Iterable[int] = (1,)
        elif call.name.startswith("split from"):
            counts = (1, 2)
        else:
            # More tokens than any pattern has are all the same to patterns.
            counts = range(1, self._world.longest + 2)
        for count in counts:
            made = tuple(self._fresh() for _ in range(count))
            yield made, None, (replace(call, made=made),)


# Witnesses.


def witness(state: State) -> tuple[str, str] | None:
    """A subject of the beginning that goes the whole way, and what it arrives as; None where none is found."""
    length = open_length(state.exclusions)
    for attempt in range(MAXIMUM_ATTEMPTS if state.calls else 1):
        subject = _instance(state, attempt, length or 0)
        arrived = next(follow(state.path, subject), None)
        if arrived is not None:
            return subject, arrived
    return None


def _instance(state: State, attempt: int, length: int) -> str:
    """One subject of the beginning; other ones for other attempts."""
    words = _words(attempt)
    for number in range(len(state.calls) - 1, -1, -1):
        call = state.calls[number]
        inputs = call.inputs
        if call.name in ("partition", "random") or not inputs or not isinstance(inputs[0], int):
            continue
        chosen = {made: _sized(next(words), call.width) for made in call.made if isinstance(made, int)}
        binding: dict[int, Token] = dict(chosen)
        made = [chosen[token] if isinstance(token, int) else token for token in call.made]
        binding[inputs[0]] = call.source_token(made)
        state = state.bound(Binding(binding))
    names: dict[int, str] = {}

    def name(variable: int) -> str:
        if variable not in names:
            names[variable] = next(words)
        return names[variable]

    rest = tuple(itertools.islice(words, length))
    return state.origin.instance(name, rest)


def _words(attempt: int) -> Iterator[str]:
    """Tokens that are easy to read, other ones for other attempts, and hardly used by anyone."""
    for word in itertools.count(1):
        # Hashes of functions must not depend on how one attempt differs from the next.
        yield f"any{word}" if not attempt else "any" + hashlib.sha256(f"{attempt} {word}".encode()).hexdigest()[:6]


def _sized(word: str, width: int) -> str:
    """A word of a width: its end, which is what differs, or more of it; as it is for 0."""
    if not width:
        return word
    return word[-width:] if len(word) >= width else word + "x" * (width - len(word))
