"""Findings, and what is looked at to find them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from auth.claims import AccountClaims, OperatorClaims, UserClaims, UserScope
from tools.nsk.rotation.records import Rotation
from tools.nsk.scene import Scene, scene_of_tokens
from tools.nsk.store import Store


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


class Examined:
    """One operator with everything below it, read once. Raises StoreError where something cannot be read."""

    def __init__(self, store: Store, now: float, within: float, program: str = "nsk") -> None:
        """``now`` are Unix seconds, ``within`` the seconds in which an end is near; ``program`` begins commands."""
        self.store = store
        self.now = now
        self.within = within
        self.program = program
        self.operator: OperatorClaims = store.operator()
        self.accounts: Mapping[str, AccountClaims] = {name: store.account(name) for name in store.accounts()}
        self.users: Mapping[str, Mapping[str, UserClaims]] = {
            name: {user: store.user(name, user) for user in store.users(name)} for name in self.accounts
        }
        self.rotations: list[Rotation] = []

    @cached_property
    def scene(self) -> Scene:
        """The accounts as servers see them."""
        return scene_of_tokens(
            [self.operator], self.store.account_tokens(), self.now, system_account=self.operator.nats.system_account
        )

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
