"""The index of a directory decides as a plain list would, whatever happens in whatever order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from auth.resolver.index import FullError, Index

NAMES = st.sampled_from("ABCDEF")
TOKENS = st.binary(min_size=1, max_size=3)


@dataclass
class Plain:
    """One token, as the twin keeps it."""

    name: str
    token: bytes
    expires_at: int
    asked_at: float


class Directory(RuleBasedStateMachine):
    """Writes, reads, deletes and sweeps as a server does, on the index and on a list in the order of last use."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.twin: list[Plain] = []

    @initialize(limit=st.integers(0, 3), evicts=st.booleans(), ttl=st.sampled_from([0.0, 5.0]))
    def begin(self, limit: int, evicts: bool, ttl: float) -> None:
        self.limit, self.evicts, self.ttl = limit, evicts, ttl
        self.index = Index(limit=limit, evicts=evicts, ttl=ttl, clock=lambda: self.now)

    def found(self, name: str) -> Plain | None:
        return next((one for one in self.twin if one.name == name), None)

    @rule(name=NAMES, token=TOKENS, expires_at=st.sampled_from([0, 103, 108]))
    def write(self, name: str, token: bytes, expires_at: int) -> None:
        present = self.found(name)
        refused, dropped = False, None
        if present is None and self.limit and len(self.twin) >= self.limit:
            if self.evicts:
                dropped = self.twin[0].name
            else:
                refused = True
        try:
            assert self.index.surplus(name) == dropped
        except FullError:
            assert refused
            return
        assert not refused
        if dropped is not None:
            self.index.drop(dropped)
        self.index.put(name, token, expires_at)
        self.twin = [one for one in self.twin if one.name not in {name, dropped}]
        self.twin.append(Plain(name, token, expires_at, self.now))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        assert self.index.drop(name) is (self.found(name) is not None)
        self.twin = [one for one in self.twin if one.name != name]

    @rule(name=NAMES)
    def ask(self, name: str) -> None:
        self.index.touch(name)
        present = self.found(name)
        if present is not None:
            present.asked_at = self.now
            self.twin = [*(one for one in self.twin if one is not present), present]

    @rule(seconds=st.floats(0.5, 6.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        if self.ttl:
            ended = [one.name for one in self.twin if one.asked_at + self.ttl <= self.now]
        else:
            ended = sorted(one.name for one in self.twin if 0 < one.expires_at <= self.now)
        assert self.index.ended() == ended
        for name in ended:
            self.index.drop(name)
        self.twin = [one for one in self.twin if one.name not in ended]

    @invariant()
    def alike(self) -> None:
        if not hasattr(self, "index"):
            return
        assert list(self.index) == sorted(one.name for one in self.twin)
        assert len(self.index) == len(self.twin)
        total = 0
        for one in self.twin:
            total ^= int.from_bytes(hashlib.sha256(one.token).digest())
            assert self.index.digest_of(one.name) == hashlib.sha256(one.token).digest()
            assert self.index.is_current(one.name) is not (0 < one.expires_at < self.now)
        assert self.index.digest == total.to_bytes(32)


TestDirectory = Directory.TestCase


@given(st.lists(st.tuples(NAMES, TOKENS), max_size=12))
def test_the_digest_depends_on_what_is_there_alone(writes: list[tuple[str, bytes]]) -> None:
    one, other = Index(), Index()
    for name, token in writes:
        one.put(name, token, 0)
    for name, token in dict(writes).items():
        other.note((name,))
        other.read(name, token, 0)
    assert one.digest == other.digest
