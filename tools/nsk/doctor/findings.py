"""Findings, and what is looked at to find them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from auth.claims import AccountClaims, OperatorClaims, UserClaims, UserScope
from tools.nsk.errors import StoreError
from tools.nsk.rotation.records import Book, RetiredUser, Rotation
from tools.nsk.scene import Scene, scene_of_tokens
from tools.nsk.store import Store

Found = TypeVar("Found")


class Severity(IntEnum):
    """How much a finding weighs."""

    INFO = 0
    """Worth a thought; often as it is meant to be."""
    WARNING = 1
    """Weakens something, or will stop working."""
    ERROR = 2
    """Does not work, or lies open."""

    @property
    def word(self) -> str:
        """Its name for people and flags."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``id`` names the kind; ``command`` is what to type in a shell to mend it.

    ``mend`` does the same where that can harm nobody.
    """

    id: str
    severity: Severity
    place: str
    text: str
    command: str
    mend: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    @property
    def is_safe(self) -> bool:
        """Whether it can be mended without a thought."""
        return self.mend is not None


class UnreadableError(Exception):
    """The operator itself cannot be read, so nothing can be said of what is below it; the finding tells why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


class Examined:
    """One operator with everything below it, read once.

    What cannot be read is told by the findings in ``broken`` and is in neither ``accounts`` nor ``users``. Checks that
    conclude from what is not there look at ``lacks_accounts`` and ``lacks_users`` first.
    """

    def __init__(self, store: Store, now: float, within: float, program: str = "nsk") -> None:
        """``now`` are Unix seconds, ``within`` the seconds in which an end is near; ``program`` begins commands.

        Raises UnreadableError.
        """
        self.store = store
        self.now = now
        self.within = within
        self.program = program
        self.broken: list[Finding] = []
        self.lacks_accounts = False
        self.lacks_users: set[str] = set()
        operator = self._read(store.operator, store.operator_path, ())
        if operator is None:
            raise UnreadableError(self.broken[0])
        self.operator: OperatorClaims = operator
        self.accounts: dict[str, AccountClaims] = {}
        self.users: dict[str, dict[str, UserClaims]] = {}
        for name in store.accounts():
            self._read_account(name)
        self.rotations: list[Rotation] = []
        self.retired: list[RetiredUser] = []
        self._read_rotations()

    def _read_account(self, name: str) -> None:
        store = self.store
        claims = self._read(partial(store.account, name), store.account_path(name), ("--account", name))
        if claims is None:
            self.lacks_accounts = True
            return
        self.accounts[name], self.users[name] = claims, {}
        for user in store.users(name):
            words = ("--account", name, "--user", user)
            found = self._read(partial(store.user, name, user), store.user_path(name, user), words)
            if found is None:
                self.lacks_users.add(name)
            else:
                self.users[name][user] = found

    def _read(self, read: Callable[[], Found], path: Path, restored: Sequence[str]) -> Found | None:
        """What is read, or nothing and a finding whose command restores what the words name."""
        try:
            return read()
        except (StoreError, OSError) as problem:
            reason = problem.text if isinstance(problem, StoreError) else (problem.strerror or str(problem)).lower()
        command = self.run("restore", "--dir", "backup", *restored)
        text = f"cannot be read: {reason}; a backup brings it back"
        self.broken.append(Finding("jwt-broken", Severity.ERROR, str(path), text, command))
        return None

    def _read_rotations(self) -> None:
        book = Book(self.store)
        try:
            self.rotations, self.retired = book.rotations(), book.retired()
        except (StoreError, OSError) as problem:
            path = book.path
            text = f"cannot be read, so nobody knows which rotations are under way: {problem}"
            command = f"mv {shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.broken')))}"
            self.broken.append(Finding("rotations-broken", Severity.ERROR, str(path), text, command))

    @cached_property
    def scene(self) -> Scene:
        """The accounts as servers see them."""
        tokens = {claims.subject: self.store.account_token(name) for name, claims in self.accounts.items()}
        return scene_of_tokens([self.operator], tokens, self.now, system_account=self.operator.nats.system_account)

    @cached_property
    def rotating(self) -> frozenset[str]:
        """Keys that rotations under way are about; what is odd about these will pass."""
        return frozenset(key for rotation in self.rotations for key in _keys_of(rotation))

    @property
    def system_account(self) -> str | None:
        """The name of the operator's system account."""
        key = self.operator.nats.system_account
        return next((name for name, claims in self.accounts.items() if claims.subject == key), None) if key else None

    def account_called(self, public: str) -> str | None:
        """The name of the account with a public key."""
        return next((name for name, claims in self.accounts.items() if claims.subject == public), None)

    def run(self, *words: str) -> str:
        """A command line of this tool."""
        return f"{self.program} {shlex.join(words)}"


def key_of(item: str | UserScope) -> str:
    """The key of a signing key, scoped or not."""
    return item.key if isinstance(item, UserScope) else item


def _keys_of(rotation: Rotation) -> Iterator[str]:
    yield from (rotation.old, rotation.new)
    for old, new in rotation.signing_keys.items():
        yield from (old, new)
