"""One account: a sealed subject namespace, with its ceilings, its keys and its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from accounts.limits import AccountLimits, JetStreamLimits, UserLimits
from accounts.permissions import Permissions
from accounts.subject import specificity

if TYPE_CHECKING:
    from accounts.callout import Callout
    from accounts.exports import Export
    from accounts.imports import Import
    from accounts.mapping import SubjectMapping

GLOBAL_ACCOUNT = "$G"
"""The account of clients that no other account claims."""

SYSTEM_ACCOUNT = "$SYS"
"""The name of the system account where nothing else is configured."""

REVOKE_ALL = "*"
"""The key in ``Account.revocations`` that stands for every user."""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A daily span of time in which a user may be connected: two times of day as ``HH:MM:SS``, the end excluded."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class SigningKeyScope:
    """What a scoped signing key gives to every user that it signs.

    ``permissions`` are raw, with their ``{{templates}}``; the verifier expands them for each user. ``sources`` are
    networks in CIDR form, ``connection_types`` upper-case names (empty: all), ``times_location`` an IANA time zone
    (empty: the server's own).
    """

    role: str = ""
    description: str = ""
    permissions: Permissions = field(default_factory=Permissions)
    limits: UserLimits = field(default_factory=UserLimits)
    sources: tuple[str, ...] = ()
    times: tuple[TimeWindow, ...] = ()
    times_location: str = ""
    bearer_token: bool = False
    proxy_required: bool = False
    connection_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceDestination:
    """Where traces go of messages that carry a sampled ``traceparent``, and the percentage of these that is traced."""

    subject: str
    sampling: int = 100


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that the broker knows of one account; a change of claims makes a new one.

    ``name`` is the account's public key in operator mode and its configured name otherwise; ``display_name`` the name
    that people gave it. ``default_permissions`` hold for users without their own. ``expires_at`` and ``not_before`` are
    Unix seconds; ``issuer`` is the operator key that signed the account. ``signing_keys`` maps each further key that
    may sign users to its scope, or to None when the key is not scoped. ``revocations`` maps a user key, or ``*`` for
    all, to the Unix second up to which tokens are revoked. ``origin`` names the place that defines the account.
    ``exports``, ``imports`` and ``mappings`` are what crosses the wall of the account; the mappings stand with the most
    specific source first, and the first that matches decides. ``findings`` say which of them were passed over, and why.
    ``sender_identity`` says that messages from and to its users tell who sent them, in the header ``Natskeep-Sender``.
    ``trace`` is where traces go that a ``traceparent`` asks for, None where it asks for none.
    ``callout`` is the service among its users that decides about logins, where there is one.
    ``jetstream`` is what its streams may take, by tier (``R1``; empty for any); without any it keeps no messages.
    """

    name: str
    display_name: str = ""
    limits: AccountLimits = field(default_factory=AccountLimits)
    default_permissions: Permissions | None = None
    is_system: bool = False
    expires_at: int | None = None
    not_before: int | None = None
    issuer: str = ""
    signing_keys: Mapping[str, SigningKeyScope | None] = field(default_factory=dict)
    revocations: Mapping[str, int] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    origin: str = ""
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    mappings: tuple[SubjectMapping, ...] = ()
    findings: tuple[str, ...] = ()
    sender_identity: bool = False
    trace: TraceDestination | None = None
    callout: Callout | None = None
    jetstream: Mapping[str, JetStreamLimits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("an account needs a name")
        object.__setattr__(self, "signing_keys", MappingProxyType(dict(self.signing_keys)))
        object.__setattr__(self, "revocations", MappingProxyType(dict(self.revocations)))
        object.__setattr__(self, "jetstream", MappingProxyType(dict(self.jetstream)))
        if self.mappings:
            sorted_mappings = tuple(sorted(self.mappings, key=lambda mapping: specificity(mapping.source)))
            object.__setattr__(self, "mappings", sorted_mappings)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def label(self) -> str:
        """The name to show to people: the display name where there is one."""
        return self.display_name or self.name

    def is_revoked(self, user_key: str, issued_at: int) -> bool:
        """Say whether a token of ``user_key`` issued at the Unix second ``issued_at`` is revoked.

        A revocation covers every token issued up to its own second, that second included. A token without a time of
        issue (0) is covered by any revocation that names it.
        """
        moments = (self.revocations.get(user_key), self.revocations.get(REVOKE_ALL))
        return any(moment is not None and issued_at <= moment for moment in moments)
