"""Account claims: the limits, keys, revocations, exports, imports and defaults of one tenant."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Self

import msgspec

from auth.claims.base import (
    UNLIMITED,
    Claims,
    Int64,
    Issue,
    error,
    has_wildcards,
    info_issues,
    subject_issues,
    warning,
)
from auth.claims.exchange import (
    HEADERS_SAMPLING,
    Export,
    Import,
    export_list_issues,
    import_list_issues,
    revoke,
)
from auth.claims.extension import AccountExtension
from auth.claims.permissions import Permissions, UserPermissionLimits, split_source_networks
from auth.envelope import JwtError
from auth.gojson import quote
from auth.nkey import KeyKind, is_public_key, public_key_kind

USER_SCOPE: Final = "user_scope"
ALL_USERS: Final = "*"
_CLUSTER_TRAFFIC: Final = ("", "system", "owner")
_JETSTREAM: Final = (
    "mem_storage",
    "disk_storage",
    "streams",
    "consumer",
    "max_ack_pending",
    "mem_max_stream_bytes",
    "disk_max_stream_bytes",
    "max_bytes_required",
)


class JetStreamLimits(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Ceilings of an account's streams, flat or for one replication tier. Sizes are in bytes; 0 storage disables."""

    memory_storage: Int64 = msgspec.field(name="mem_storage", default=0)
    disk_storage: Int64 = 0
    streams: Int64 = 0
    consumers: Int64 = msgspec.field(name="consumer", default=0)
    max_ack_pending: Int64 = 0
    memory_max_stream_bytes: Int64 = msgspec.field(name="mem_max_stream_bytes", default=0)
    disk_max_stream_bytes: Int64 = 0
    max_bytes_required: bool = False


class OperatorLimits(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What the operator lets an account use. Absent means 0, -1 means unlimited."""

    subscriptions: Int64 = msgspec.field(name="subs", default=0)
    data: Int64 = 0
    payload: Int64 = 0
    imports: Int64 = 0
    exports: Int64 = 0
    wildcard_exports: bool = msgspec.field(name="wildcards", default=False)
    disallow_bearer: bool = False
    connections: Int64 = msgspec.field(name="conn", default=0)
    leafnodes: Int64 = msgspec.field(name="leaf", default=0)
    memory_storage: Int64 = msgspec.field(name="mem_storage", default=0)
    disk_storage: Int64 = 0
    streams: Int64 = 0
    consumers: Int64 = msgspec.field(name="consumer", default=0)
    max_ack_pending: Int64 = 0
    memory_max_stream_bytes: Int64 = msgspec.field(name="mem_max_stream_bytes", default=0)
    disk_max_stream_bytes: Int64 = 0
    max_bytes_required: bool = False
    tiered_limits: dict[str, JetStreamLimits] = msgspec.field(default_factory=dict)

    @classmethod
    def unlimited(cls) -> OperatorLimits:
        """What a fresh account has: no ceiling but on JetStream, which is off."""
        return cls(
            subscriptions=UNLIMITED,
            data=UNLIMITED,
            payload=UNLIMITED,
            imports=UNLIMITED,
            exports=UNLIMITED,
            wildcard_exports=True,
            connections=UNLIMITED,
            leafnodes=UNLIMITED,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is set."""
        return self == OperatorLimits()

    @property
    def jetstream(self) -> JetStreamLimits:
        """The flat limits on streams."""
        return JetStreamLimits(
            memory_storage=self.memory_storage,
            disk_storage=self.disk_storage,
            streams=self.streams,
            consumers=self.consumers,
            max_ack_pending=self.max_ack_pending,
            memory_max_stream_bytes=self.memory_max_stream_bytes,
            disk_max_stream_bytes=self.disk_max_stream_bytes,
            max_bytes_required=self.max_bytes_required,
        )

    @property
    def is_jetstream_enabled(self) -> bool:
        """Whether any tier, or the flat limits, give storage."""
        return any(
            limits.memory_storage or limits.disk_storage for limits in (self.jetstream, *self.tiered_limits.values())
        )


class UserScope(msgspec.Struct, kw_only=True):
    """A signing key that may only issue users with exactly the permissions and limits of its template."""

    kind: str = USER_SCOPE
    key: str
    role: str = ""
    template: UserPermissionLimits = msgspec.field(default_factory=UserPermissionLimits)
    description: str = ""

    @classmethod
    def new(cls, key: str) -> UserScope:
        """A scope without limits for an account signing key."""
        limits = UserPermissionLimits(subscriptions=UNLIMITED, data=UNLIMITED, payload=UNLIMITED)
        return cls(key=key, template=limits)


class WeightedMapping(msgspec.Struct, omit_defaults=True):
    """One target of a subject mapping. A weight of 0 stands for 100 percent."""

    subject: str = ""
    weight: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    cluster: str = ""

    @property
    def effective_weight(self) -> int:
        """The share in percent."""
        return self.weight or 100


class ExternalAuthorization(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Who answers authentication requests for the account (auth callout)."""

    auth_users: list[str] = msgspec.field(default_factory=list)
    allowed_accounts: list[str] = msgspec.field(default_factory=list)
    xkey: str = ""

    @property
    def is_enabled(self) -> bool:
        """Whether an auth callout is set up."""
        return bool(self.auth_users)

    def issues(self) -> Iterator[Issue]:
        """Findings about users, accounts and the curve key."""
        if self.allowed_accounts and not self.auth_users:
            yield error("External authorization cannot have accounts without users specified")
        for user in self.auth_users:
            if not is_public_key(user, KeyKind.USER):
                yield error(f"AuthUser {quote(user)} is not a valid user public key")
        for account in self.allowed_accounts:
            if account == ALL_USERS:
                if len(self.allowed_accounts) > 1:
                    yield error('AllowedAccounts can only be a list of accounts or "*"')
            elif not is_public_key(account, KeyKind.ACCOUNT):
                yield error(f"Account {quote(account)} is not a valid account public key")
        if self.xkey and not is_public_key(self.xkey, KeyKind.CURVE):
            yield error(f"XKey {quote(self.xkey)} is not a valid public xkey")


class MessageTrace(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Where traces of messages go, and which percentage is traced; 0 stands for all."""

    destination: str = msgspec.field(name="dest", default="")
    sampling: Int64 = 0

    def issues(self) -> Iterator[Issue]:
        """Findings about subject and percentage."""
        for issue in subject_issues(self.destination):
            yield error(f"the account Trace.Destination {issue.description}")
        if has_wildcards(self.destination):
            yield error(
                f"the account Trace.Destination subject {quote(self.destination)} is not a valid publish subject"
            )
        if not 0 <= self.sampling <= 100:
            yield error(
                f"the account Trace.Sampling value '{self.sampling}' is not valid, should be in the range [1..100]"
            )


class AccountData(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The ``nats`` section of account claims. Revocations map user keys, or ``*``, to Unix seconds."""

    imports: list[Import | None] = msgspec.field(default_factory=list)
    exports: list[Export | None] = msgspec.field(default_factory=list)
    limits: OperatorLimits = msgspec.field(default_factory=OperatorLimits)
    signing_keys: list[str | UserScope] = msgspec.field(default_factory=list)
    revocations: dict[str, Int64] = msgspec.field(default_factory=dict)
    default_permissions: Permissions = msgspec.field(default_factory=Permissions)
    mappings: dict[str, list[WeightedMapping]] = msgspec.field(default_factory=dict)
    authorization: ExternalAuthorization = msgspec.field(default_factory=ExternalAuthorization)
    trace: MessageTrace | None = None
    natskeep: AccountExtension | None = None
    cluster_traffic: str = ""
    description: str = ""
    info_url: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    type: str = ""
    version: int = 0


class AccountClaims(Claims, omit_defaults=True, kw_only=True):
    """Claims about an account, signed by its operator (or by itself while nobody has adopted it)."""

    type_name: ClassVar[str] = "account"
    issuer_kinds: ClassVar[tuple[KeyKind, ...]] = (KeyKind.ACCOUNT, KeyKind.OPERATOR)
    subject_kind: ClassVar[KeyKind | None] = KeyKind.ACCOUNT
    subject_error: ClassVar[str] = "expected subject to be account public key"
    type_error: ClassVar[str] = "not account claim"

    nats: AccountData = msgspec.field(default_factory=AccountData)

    @classmethod
    def new(cls, subject: str) -> AccountClaims:
        """Fresh claims for an account's public key, without limits."""
        return cls(subject=subject, nats=AccountData(limits=OperatorLimits.unlimited()))

    @classmethod
    def migrate_v1(cls, nats: dict[str, Any]) -> None:
        """Version 1 knew no JetStream."""
        limits = nats.get("limits")
        if isinstance(limits, dict):
            nats["limits"] = {name: value for name, value in limits.items() if name not in _JETSTREAM}

    @classmethod
    def prepare(cls, nats: dict[str, Any]) -> None:
        """Tiers replace flat stream limits; a scope's template counts absent limits as unlimited."""
        limits = nats.get("limits")
        if isinstance(limits, dict) and limits.get("tiered_limits"):
            nats["limits"] = {name: value for name, value in limits.items() if name not in _JETSTREAM}
        keys = nats.get("signing_keys")
        if isinstance(keys, list):
            nats["signing_keys"] = [_prepared_scope(key) if isinstance(key, dict) else key for key in keys]

    def signing_key(self, key: str) -> str | UserScope | None:
        """The signing key of that name: itself, its scope, or None when the account does not list it."""
        found: str | UserScope | None = None
        for item in self.nats.signing_keys:
            if (item.key if isinstance(item, UserScope) else item) == key:
                found = item
        return found

    def signing_key_names(self) -> list[str]:
        """The public keys of the signing keys, scoped or not, in their order."""
        return [item.key if isinstance(item, UserScope) else item for item in self.nats.signing_keys]

    def set_signing_key(self, item: str | UserScope) -> None:
        """Add a signing key or replace its scope."""
        key = item.key if isinstance(item, UserScope) else item
        self.remove_signing_key(key)
        self.nats.signing_keys.append(item)

    def remove_signing_key(self, key: str) -> bool:
        """Take a signing key out; says whether it was there."""
        kept = [item for item in self.nats.signing_keys if (item.key if isinstance(item, UserScope) else item) != key]
        removed = len(kept) != len(self.nats.signing_keys)
        self.nats.signing_keys = kept
        return removed

    def did_sign(self, claims: Claims) -> bool:
        """Whether the account or one of its signing keys issued the claims."""
        return claims.issuer == self.subject or self.signing_key(claims.issuer) is not None

    def revoke(self, key: str, moment: int | None = None) -> None:
        """Revoke what users (one key, or ``*``) were issued until a moment in Unix seconds, now when not given."""
        revoke(self.nats.revocations, key, int(time.time()) if moment is None else moment)

    def compact_revocations(self) -> list[str]:
        """Drop the revocations that the one for all users covers; says which."""
        moment = self.nats.revocations.get(ALL_USERS)
        if moment is None:
            return []
        covered = sorted(key for key, at in self.nats.revocations.items() if key != ALL_USERS and at <= moment)
        for key in covered:
            del self.nats.revocations[key]
        return covered

    def normalise(self) -> None:
        """Exports and imports go by subject, signing keys by key, a sampling of 0 is written ``headers``."""
        self.nats.imports.sort(key=lambda item: item.subject if item else "")
        self.nats.exports.sort(key=lambda item: item.subject if item else "")
        self.nats.signing_keys.sort(key=lambda item: item.key if isinstance(item, UserScope) else item)
        for export in self.nats.exports:
            if export is not None and export.service_latency is not None and export.service_latency.sampling == 0:
                export.service_latency.sampling = HEADERS_SAMPLING

    def validate(self, now: float | None = None) -> list[Issue]:
        """Every finding."""
        issues = [*self.time_issues(now), *self._own_issues()]
        if public_key_kind(self.issuer) is KeyKind.ACCOUNT and not self.nats.limits.is_empty:
            issues.append(warning("self-signed account JWTs shouldn't contain operator limits"))
        return issues

    def _own_issues(self) -> Iterator[Issue]:
        yield from import_list_issues(self.nats.imports, self.subject)
        yield from export_list_issues(self.nats.exports)
        yield from self._tier_issues()
        yield from self.nats.default_permissions.permission_issues()
        yield from _mapping_issues(self.nats.mappings)
        yield from self.nats.authorization.issues()
        if self.nats.trace is not None:
            yield from self.nats.trace.issues()
        if self.nats.natskeep is not None:
            yield from self.nats.natskeep.issues()
        yield from self._count_issues()
        for item in self.nats.signing_keys:
            yield from _signing_key_issues(item)
        yield from info_issues(self.nats.description, self.nats.info_url)
        if self.nats.cluster_traffic not in _CLUSTER_TRAFFIC:
            yield error(f"unknown cluster traffic option: {quote(self.nats.cluster_traffic)}")

    def _tier_issues(self) -> Iterator[Issue]:
        limits = self.nats.limits
        if not limits.tiered_limits:
            return
        if limits.jetstream != JetStreamLimits():
            yield error("JetStream Limits and tiered JetStream Limits are mutually exclusive")
        if "" in limits.tiered_limits:
            yield error('Tiered JetStream Limits can not contain a blank "" tier name')

    def _count_issues(self) -> Iterator[Issue]:
        limits = self.nats.limits
        if limits.imports != UNLIMITED and len(self.nats.imports) > limits.imports:
            yield error("the account contains more imports than allowed by the operator")
        if limits.exports == UNLIMITED:
            return
        if len(self.nats.exports) > limits.exports:
            yield error("the account contains more exports than allowed by the operator")
        if not limits.wildcard_exports:
            for export in self.nats.exports:
                if export is not None and has_wildcards(export.subject):
                    yield error("the account contains wildcard exports that are not allowed by the operator")

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """As for all claims; a scope of an unknown kind is refused. Raises JwtError."""
        claims = super().from_payload(payload)
        for item in claims.nats.signing_keys:
            if isinstance(item, UserScope) and item.kind != USER_SCOPE:
                raise JwtError(f"unknown signing key scope {quote(item.kind)}")
        return claims


def _prepared_scope(scope: dict[str, Any]) -> dict[str, Any]:
    template = scope.get("template", {})
    if not isinstance(template, dict):
        return scope
    template = {"subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED, **template}
    split_source_networks(template)
    return {"kind": "", **scope, "template": template}


def _signing_key_issues(item: str | UserScope) -> Iterator[Issue]:
    if isinstance(item, UserScope):
        if not is_public_key(item.key, KeyKind.ACCOUNT):
            yield error(f"{item.key} is not an account public key")
    elif not is_public_key(item, KeyKind.ACCOUNT):
        yield error(f"{quote(item)} is not a valid account signing key")


def _mapping_issues(mappings: dict[str, list[WeightedMapping]]) -> Iterator[Issue]:
    for source, targets in mappings.items():
        yield from subject_issues(source)
        quoted = quote(source)
        totals: dict[str, int] = {}
        for target in targets:
            yield from subject_issues(target.subject)
            if target.effective_weight > 100:
                yield error(f"Mapping {quoted} has a weight {target.effective_weight} that exceeds 100")
            totals[target.cluster] = totals.get(target.cluster, 0) + target.effective_weight
        for cluster, total in totals.items():
            if total > 100:
                where = f" in cluster {quote(cluster)}" if cluster else ""
                yield error(f"Mapping {quoted}{where} exceeds 100% among all of it's weighted to mappings")
