"""Small worlds of accounts for property tests: what they offer each other, who is connected, and who listens to what.

All of them are configurations that both servers accept: imports lead from later accounts to earlier ones, or to the own
one under another name, and only to what is exported to them. A world is read out of bytes, one for each choice, so that
it costs little to make, and fewer and smaller bytes make a simpler one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from hypothesis import strategies as st

from tests.oracle.exchange import (
    CHUNKED,
    SERVICE,
    SINGLETON,
    STREAM,
    STREAMED,
    Account,
    Export,
    Import,
    Rewriting,
    Rules,
    User,
)
from tests.oracle.names import collide, covers, fits, inverted, renamed

NAMES: Final = ("A", "B", "C", "D")
BASE: Final = ("a", "b", "a.a", "a.b", "b.a", "b.b", "a.b.a")
SERVICES: Final = ("a", "b", "a.b", "a.*", "a.>", "b.*", "a.*.*")
STREAMS: Final = (*SERVICES, "*.b", "*.*", "*", ">")
REPLIES: Final = ("r.1", "r.2.x")
LISTENED: Final = (*STREAMS, "r.*", "r.>", "_R_.>", "*.a", "x.>", "x.*", "*.*.*", "p.>", "p.*.b")
QUEUES: Final = (None, None, None, "q", "w")
SIZE: Final = 400
"""Bytes that are enough for all choices of most worlds; those beyond are the simplest."""

_PATTERNS: Final = {STREAM: STREAMS, SERVICE: SERVICES}
T = TypeVar("T")


@dataclass(frozen=True)
class Interest:
    """A subscription that somebody makes."""

    user: str
    subject: str
    queue: str | None


@dataclass(frozen=True)
class Presence:
    """How a client connects."""

    user: str
    echo: bool
    headers: bool
    no_responders: bool


@dataclass(frozen=True)
class Scene:
    """Accounts, one client for each user, and their subscriptions."""

    accounts: tuple[Account, ...]
    presences: tuple[Presence, ...]
    interests: tuple[Interest, ...]


def scenes(*, plain: bool = False) -> st.SearchStrategy[Scene]:
    """Any scene; ``plain`` leaves out what the reference leaves to chance, or does in a way of its own."""
    return st.binary(min_size=SIZE, max_size=SIZE).map(lambda data: Choices(data, plain=plain).scene())


class Choices:
    """Reads a scene out of bytes; in a crowded one there are many subscriptions."""

    def __init__(self, data: bytes, *, plain: bool = False, crowded: bool = False) -> None:
        self._data = iter(data)
        self._plain = plain
        self._interests = (24, 60) if crowded else (6, 20)

    def scene(self) -> Scene:
        """The whole scene."""
        accounts: list[Account] = []
        names = NAMES[: self._number(2, len(NAMES))]
        for name in names:
            accounts.append(self._account(name, accounts, names))
        users = [user.name for account in accounts for user in account.users]
        presences = tuple(Presence(user, self._mostly(), self._mostly(), self._mostly()) for user in users)
        interests = tuple(self._interest(accounts) for _ in range(self._number(*self._interests)))
        return Scene(tuple(accounts), presences, interests)

    # Choosing.

    def _number(self, least: int, most: int) -> int:
        return least + next(self._data, 0) % (most - least + 1)

    def _one(self, among: Sequence[T]) -> T:
        return among[next(self._data, 0) % len(among)]

    def _some(self, among: Sequence[T], most: int) -> list[T]:
        """Different ones, at most so many."""
        return list(dict.fromkeys(self._one(among) for _ in range(self._number(0, most))))

    def _seldom(self, one_in: int) -> bool:
        return next(self._data, 0) % one_in == one_in - 1

    def _mostly(self) -> bool:
        return not self._seldom(4)

    # Accounts.

    def _account(self, name: str, earlier: Sequence[Account], names: Sequence[str]) -> Account:
        account = Account(name)
        imports: list[Import] = []
        for _ in range(self._number(1, 5) if earlier else 0):
            taken = self._import(name, self._one(earlier), "x")
            if taken is not None and self._is_new(taken, imports):
                imports.append(taken)
        account = replace(account, imports=tuple(imports))
        account = replace(account, exports=self._exports(account, names))
        # The reference takes an import of a service that its exporter imports from itself for a circle.
        if self._seldom(4) and not (self._plain and name != names[-1]):
            own = self._import(name, account, "own")
            if own is not None and not collide(own.subject, local(own)) and self._is_new(own, imports):
                account = replace(account, imports=(*account.imports, own))
        users = [User(f"{name.lower()}{number}", self._rules(account)) for number in range(self._number(1, 2))]
        account = replace(account, users=tuple(users))
        return replace(account, mappings=self._mappings(account))

    def _is_new(self, taken: Import, imports: Sequence[Import]) -> bool:
        """Whether no import is there already that would be refused beside it.

        The reference has one `share` for all imports of one service.
        """
        same_kind = [each for each in imports if each.kind == taken.kind]
        if taken.kind == STREAM or self._plain:
            same_exporter = [each for each in same_kind if each.account == taken.account]
            if any(each.subject == taken.subject for each in same_exporter):
                return False
        return taken.kind == STREAM or all(local(each) != local(taken) for each in same_kind)

    def _exports(self, account: Account, names: Sequence[str]) -> tuple[Export, ...]:
        response = self._one((SINGLETON, SINGLETON, STREAMED, CHUNKED))
        exports: list[Export] = []
        for _ in range(self._number(2, 5)):
            kind = self._one((STREAM, SERVICE))
            taken = [local(each) for each in account.imports if each.kind == kind]
            if self._seldom(6):
                export = Export(kind, "t.*", position=2, response=response)
            else:
                export = Export(kind, self._one([*_PATTERNS[kind], *taken, *taken]), response=response)
            if kind == SERVICE:
                export = replace(export, allow_trace=self._seldom(2))
            if self._seldom(5):
                export = replace(export, accounts=frozenset([self._one(names), self._one(names)]))
            if all(each.kind != kind or not collide(each.subject, export.subject) for each in exports):
                exports.append(export)
        return tuple(exports)

    def _import(self, importer: str, exporter: Account, prefix: str) -> Import | None:
        export = self._one(exporter.exports)
        if export.position:
            subject = f"t.{importer}"
        else:
            parts = [each for each in _PATTERNS[export.kind] if covers(export.subject, each)]
            subject = self._one([export.subject, export.subject, *parts])
        taken = Import(export.kind, exporter.name, subject, share=export.kind == SERVICE and self._seldom(2))
        if export.kind == STREAM:
            taken = replace(taken, allow_trace=self._seldom(2))
        if not export.permits(importer, taken, 0.0):
            return None
        form = self._one(("same", "prefix", "renamed")) if prefix == "x" else "renamed"
        if form == "renamed":
            return replace(taken, to=self._renaming(prefix, subject))
        if form == "prefix":
            return replace(taken, prefix="p") if taken.kind == STREAM else replace(taken, to=f"p.{subject}")
        return taken

    def _renaming(self, prefix: str, subject: str) -> str:
        """Another name for a subject, with its wildcards in any order."""
        parts = subject.split(".")
        order = [f"${number}" for number in range(1, parts.count("*") + 1)]
        if self._seldom(2):
            order.reverse()
        words = [prefix, *order, *self._one(([], ["y"]))]
        if parts[-1] == ">":
            words.append(">")
        return ".".join(words)

    def _mappings(self, account: Account) -> tuple[Rewriting, ...]:
        # With permissions, the reference may refuse the empty subject of a message that a mapping drops.
        may_drop = not self._plain or all(user.rules == Rules() for user in account.users)
        mappings: list[Rewriting] = []
        for _ in range(self._one((0, 0, 1, 2))):
            mapping = self._mapping(self._one(SERVICES), may_drop=may_drop)
            # Where several fit, the reference leaves to chance which one counts.
            rivals = [each.source for each in mappings if collide(each.source, mapping.source)]
            if not (rivals if self._plain else mapping.source in rivals):
                mappings.append(mapping)
        return tuple(mappings)

    def _mapping(self, source: str, *, may_drop: bool) -> Rewriting:
        wildcards = source.split(".").count("*")
        if source.endswith(">"):
            targets = ["m.>", "b.>"]
        else:
            targets = [["m", "b.b", "a.b.a"], ["m.$1", "b.b.$1", "b.b"], ["m.$2.$1", "b.$1", "b.b"]][wildcards]
        chosen = list(dict.fromkeys([self._one(targets), self._one(targets)]))
        weights = self._one(((100,), (40,)) if len(chosen) == 1 else ((50, 50), (30, 20)))
        destinations = tuple(zip(chosen, weights, strict=True))
        if may_drop and wildcards == 0 and not source.endswith(">") and weights[0] < 50 and self._seldom(2):
            destinations = (*destinations, (source, 0))
        return Rewriting(source, destinations)

    def _rules(self, account: Account) -> Rules:
        if not self._seldom(3):
            return Rules()
        subjects = [*STREAMS, *(local(taken) for taken in account.imports)]
        queued = [*subjects, *(f"{subject} {queue}" for subject in subjects for queue in ("q", "w"))]
        published = [*subjects, "_R_.>", "_R_.>", "_R_.>"]
        return Rules(
            tuple(self._some(published, 3)) if self._seldom(2) else (),
            tuple(self._some(published, 3)) if self._seldom(2) else (),
            tuple(self._some(queued, 4)) if self._seldom(2) else (),
            # How the reference filters by such a deny depends on what else the client has subscribed to.
            tuple(self._some(subjects if self._plain else queued, 4)) if self._seldom(2) else (),
            self._one((None, None, 1, 2, -1)),
        )

    def _interest(self, accounts: Sequence[Account]) -> Interest:
        account = self._one(accounts)
        imported = [local(taken) for taken in account.imports]
        subject = self._one([*LISTENED, *BASE, *imported, *imported, *imported])
        return Interest(self._one(account.users).name, subject, self._one(QUEUES))


def local(taken: Import) -> str:
    """The pattern of an import in the importing account."""
    return inverted(taken.subject, taken.here)[0]


def spoken(account: Account) -> list[str]:
    """Subjects that its clients publish to: those of everybody, and what its imports make of them here."""
    found = list(BASE)
    for taken in account.imports:
        known = (*BASE, f"t.{account.name}")
        found += [renamed(taken.subject, taken.here, subject) for subject in known if fits(taken.subject, subject)]
    return list(dict.fromkeys(found))
