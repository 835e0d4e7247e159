"""A twin of what accounts pass on to each other: single messages, taken from account to account the slow way.

Every client of every account says everything that it can say within a small universe of subjects, answers every message
that it could answer, with every reply subject, and it is noted whose messages came to whom. Nothing of `accounts.flow`
and `accounts.prove` is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accounts.account import Account
from accounts.exchange import ServiceLink, StreamLink, compile_exchange
from accounts.subject import matches

_NAME = "_R_.1.2"

MOST_HOPS = 4
"""Names in a reply subject that stands for one of another account, for another one, and so on."""


@dataclass(frozen=True)
class Own:
    """A reply subject that a client chose in its own account."""

    account: str
    subject: str


@dataclass(frozen=True)
class Name:
    """A reply subject in `account` that stands for `meant` in the account that asked."""

    account: str
    meant: Own | Name


Reply = Own | Name


@dataclass(frozen=True)
class Arrival:
    """Where a message comes to, and the accounts that it entered through services on the way, one after the other."""

    account: str
    entered: tuple[str, ...]
    at_home: bool
    """Whether it came by services alone, so that its reply subject means something where it is."""


class Walls:
    """The accounts, the universe of subjects, and what came of it all."""

    def __init__(self, accounts: Iterable[Account], universe: Iterable[str]) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._universe = tuple(universe)
        self._streams: dict[str, list[StreamLink]] = {name: [] for name in self._accounts}
        self._services: dict[str, list[ServiceLink]] = {name: [] for name in self._accounts}
        for account in self._accounts.values():
            exchange = compile_exchange(account, self._accounts.get, 0.0)
            for stream in exchange.streams:
                self._streams[stream.imported.account].append(stream)
            self._services[account.name].extend(exchange.services)
        self._routes: dict[tuple[str, str, bool], frozenset[Arrival]] = {}
        self._held: set[tuple[str, Reply]] = set()
        self._waiting: list[tuple[str, Reply]] = []
        self.heard: set[tuple[str, str]] = set()
        """Pairs of accounts: whose client spoke, and in whose account it could be heard."""

    def run(self) -> Walls:
        """Let everybody say everything until there is nothing new to say."""
        for name in self._accounts:
            for subject in self._universe:
                for chosen in self._universe:
                    self._speak(name, name, subject, Own(name, chosen))
        while self._waiting:
            name, token = self._waiting.pop()
            for chosen in self._universe:
                self._answer(name, token, Own(name, chosen))
        return self

    def _answer(self, speaker: str, token: Reply, reply: Reply) -> None:
        """An answer goes back name by name, and is seen in each account that it comes to."""
        if isinstance(token, Own):
            self._speak(speaker, token.account, token.subject, reply)
        while isinstance(token, Name):
            if _NAME not in self._mapped(token.account, _NAME):
                return
            token = token.meant
            reply = Name(token.account, reply)
            subject = token.subject if isinstance(token, Own) else _NAME
            self._speak(speaker, token.account, subject, reply, arrived=True)

    def _speak(self, speaker: str, account: str, subject: str, reply: Reply, *, arrived: bool = False) -> None:
        for arrival in self._route(account, subject, arrived):
            self.heard.add((speaker, arrival.account))
            if not arrival.at_home:
                continue
            token = reply
            for entered in arrival.entered:
                token = Name(entered, token)
            key = (arrival.account, token)
            if key not in self._held and _depth(token) <= MOST_HOPS:
                self._held.add(key)
                self._waiting.append(key)

    def _route(self, account: str, subject: str, arrived: bool) -> frozenset[Arrival]:
        """Where a message comes to that is published in an account, or arrives there as an answer; mappings first."""
        key = (account, subject, arrived)
        if key not in self._routes:
            self._routes[key] = frozenset(self._published(account, subject, (), (), arrived=arrived))
        return self._routes[key]

    def _published(
        self, account: str, subject: str, services: tuple[int, ...], entered: tuple[str, ...], *, arrived: bool
    ) -> Iterator[Arrival]:
        for made in set(self._mapped(account, subject)):
            yield Arrival(account, entered, at_home=True)
            if not arrived:
                yield from self._streamed(account, made, entered)
            if not made.startswith("_R_"):
                yield from self._requested(account, made, services, entered)

    def _mapped(self, account: str, subject: str) -> Iterator[str]:
        for mapping in self._accounts[account].mappings:
            if mapping.matches(subject):
                for roll in range(100):
                    made = mapping.apply(subject, "", lambda count, roll=roll: roll % count)
                    if made is not None and "" not in made.split("."):
                        yield made
                return
        yield subject

    def _requested(
        self, account: str, subject: str, services: tuple[int, ...], entered: tuple[str, ...]
    ) -> Iterator[Arrival]:
        for link in self._services[account]:
            # What came through an export does not go through it again.
            if id(link.export) in services or not matches(link.imported.local_subject, subject):
                continue
            made = link.imported.inward.apply(subject, lambda count: 0)
            if made is not None:
                target = link.imported.account
                passed = (*services, id(link.export))
                yield from self._published(target, made, passed, (*entered, target), arrived=True)

    def _streamed(self, account: str, subject: str, entered: tuple[str, ...]) -> Iterator[Arrival]:
        for link in self._streams[account]:
            if matches(link.imported.subject, subject):
                yield Arrival(link.importer, entered, at_home=False)


def _depth(reply: Reply) -> int:
    depth = 0
    while isinstance(reply, Name):
        depth += 1
        reply = reply.meant
    return depth
