"""A plan: what pushing accounts would change on running servers, in meaning.

Texts that say why are those of the code that decides. ``breaks`` stands wherever something that works would not work
any more, or less.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated


class Deed(Enum):
    """What is to be done with an account."""

    ADD = "add"
    CHANGE = "change"
    REFRESH = "refresh"
    """The claims are other ones that mean the same."""
    REMOVE = "remove"
    NONE = "none"


class State(Enum):
    """Whether an import is in force."""

    ABSENT = "absent"
    REFUSED = "refused"
    IN_FORCE = "in force"


@dataclass(frozen=True, slots=True)
class GrantChange:
    """Something that a user may not do any more, or may do then."""

    action: Annotated[str, "publish or subscribe"]
    subject: Annotated[str, "pattern of the subjects"]
    queue: Annotated[str | None, "queue group of the subscription"]
    example: Annotated[str, "a subject that shows it"]
    reason: Annotated[str, "why it is refused, before or after"]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}" + ("" if self.queue is None else f" queue {self.queue}")


@dataclass(frozen=True, slots=True)
class TermChange:
    """A limit or another term."""

    name: Annotated[str, "what it is"]
    before: Annotated[str, "what it is now"]
    after: Annotated[str, "what it would be"]
    breaks: Annotated[bool, "whether it would allow less"]


@dataclass(frozen=True, slots=True)
class UserChange:
    """One user of an account."""

    name: Annotated[str, "name of the user"]
    public_key: Annotated[str, "public key of the user"]
    stored: Annotated[bool, "whether the store has it; else it is connected"]
    refused_before: Annotated[str, "why servers do not admit it now, empty where they do"]
    refused_after: Annotated[str, "why servers would not admit it, empty where they would"]
    lost: Annotated[list[GrantChange], "what it may do now and not then"]
    gained: Annotated[list[GrantChange], "what it may do then and not now"]
    terms: Annotated[list[TermChange], "limits and other terms"]

    @property
    def breaks(self) -> bool:
        """Whether the user could do less."""
        return bool(self.refused_after or self.lost or any(term.breaks for term in self.terms))


@dataclass(frozen=True, slots=True)
class ImportChange:
    """One import of an account, whoever's claims change it."""

    kind: Annotated[str, "stream or service"]
    exporter: Annotated[str, "name of the account that exports"]
    subject: Annotated[str, "subject there"]
    local_subject: Annotated[str, "subject here"]
    before: Annotated[State, "whether it is in force"]
    after: Annotated[State, "whether it would be"]
    reason: Annotated[str, "why it is not, after or else before"]

    @property
    def breaks(self) -> bool:
        """Whether it works now and would not."""
        return self.before is State.IN_FORCE and self.after is not State.IN_FORCE


@dataclass(frozen=True, slots=True)
class LostSubscription:
    """A live subscription that would be taken away."""

    subject: Annotated[str, "its subject"]
    queue: Annotated[str | None, "its queue group"]
    reason: Annotated[str, "why"]


@dataclass(frozen=True, slots=True)
class LiveChange:
    """A live connection that would be closed, or lose subscriptions."""

    server: Annotated[str, "name of the server"]
    cid: Annotated[int, "number of the connection there"]
    client: Annotated[str, "the client's own name"]
    user: Annotated[str, "public key of the user"]
    closed: Annotated[str, "why it would be closed, empty where it stays"]
    subscriptions: Annotated[list[LostSubscription], "subscriptions that would go"]


@dataclass(frozen=True, slots=True)
class AccountChange:
    """One account."""

    account: Annotated[str, "name of the account"]
    public_key: Annotated[str, "public key of the account"]
    deed: Annotated[Deed, "what is done with it"]
    refused: Annotated[str, "why servers would not take it"]
    terms: Annotated[list[TermChange], "limits, keys, revocations, exports, mappings"]
    imports: Annotated[list[ImportChange], "imports that begin or cease to be in force"]
    users: Annotated[list[UserChange], "users who could do more or less"]
    live: Annotated[list[LiveChange], "live connections that would be closed or lose subscriptions"]
    notes: Annotated[list[str], "what else there is to know"]
    breaks: Annotated[bool, "whether something would not work any more"]

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return self.deed is Deed.NONE and not self.imports and not self.notes


@dataclass(frozen=True, slots=True)
class Stranger:
    """An account that servers hold and the store does not, and that stays there as long as nobody prunes."""

    account: Annotated[str, "name of the account"]
    public_key: Annotated[str, "public key of the account"]
    deleted_at: Annotated[int | None, "when it was deleted from the store, in Unix seconds, null where it never was"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What pushing would change. ``id`` stands for both sides: another store or other servers make another plan."""

    id: Annotated[str, "what names this plan; it changes with the store and with what servers hold"]
    url: Annotated[str, "where it would be pushed to"]
    push: Annotated[list[str], "names of the accounts to push"]
    remove: Annotated[list[str], "public keys of the accounts to remove from servers"]
    accounts: Annotated[list[AccountChange], "accounts that something changes for"]
    notes: Annotated[list[str], "what could not be found out"]
    breaks: Annotated[bool, "whether something would not work any more"]
    only_on_servers: Annotated[list[Stranger], "accounts that would stay on servers, though the store has them not"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A live subscription."""

    subject: str
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A live connection of an account."""

    server: str
    cid: int
    account: str
    user: str
    token: str = field(default="", repr=False)
    client: str = ""
    subscriptions: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Holdings:
    """What running servers hold: JWTs of accounts by public key, and the JWTs of the operators whom they trust.

    ``system_account`` is its public key. ``notes`` say what they did not tell.
    """

    tokens: dict[str, str]
    operators: tuple[str, ...]
    system_account: str = ""
    connections: tuple[Connection, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user of the store: the public key of its account, its name and its JWT."""

    account: str
    name: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be: JWTs to push by public key, accounts to remove, and the users that the store knows.

    ``strangers`` are accounts that only servers hold and that stay there, with the Unix time at which each was deleted
    from the store, or None.
    """

    tokens: dict[str, str]
    removed: frozenset[str] = frozenset()
    users: tuple[StoredUser, ...] = ()
    strangers: dict[str, int | None] = field(default_factory=dict)
