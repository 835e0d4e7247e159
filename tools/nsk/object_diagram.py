"""The object diagram of a store: operator, accounts and users with who signed whom, their limits and permissions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auth.claims import (
    UNLIMITED,
    AccountClaims,
    Claims,
    IssueLevel,
    JetStreamLimits,
    OperatorLimits,
    Permissions,
    UserClaims,
    UserScope,
)
from tools.nsk.diagram import Drawing, limit, listed, moment
from tools.nsk.store import Store
from tools.nsk.values import format_duration

_UNLIMITED_JETSTREAM = JetStreamLimits(
    memory_storage=UNLIMITED,
    disk_storage=UNLIMITED,
    streams=UNLIMITED,
    consumers=UNLIMITED,
    max_ack_pending=UNLIMITED,
    memory_max_stream_bytes=UNLIMITED,
    disk_max_stream_bytes=UNLIMITED,
)


@dataclass(frozen=True, slots=True)
class ObjectDiagram:
    """What to show: users, keys, and values that are empty or unlimited (``detail``)."""

    store: Store
    users: bool = False
    keys: bool = False
    detail: bool = False

    def draw(self, program: str) -> str:
        """The diagram. Raises StoreError."""
        drawing = Drawing()
        drawing.line("@startuml\ntitle Object Diagram")
        operator = self.store.operator()
        drawing.line(f'object "{operator.name}" as {operator.subject} << operator >> {{')
        self._head(drawing, operator, operator.nats.tags)
        self._value(drawing, "JWT Version", str(operator.nats.version))
        self._value(drawing, "account server", operator.nats.account_server_url)
        self._value(drawing, "Strict signing key usage", _truth(operator.nats.strict_signing_key_usage))
        self._validation(drawing, operator)
        drawing.line("}")
        self._signing_keys(drawing, operator, "operator", operator.nats.signing_keys)
        for name in self.store.accounts():
            account = self.store.account(name)
            system = account.subject == operator.nats.system_account
            defaults = self._account(drawing, account, "system account" if system else "account")
            self._signed(drawing, operator, account)
            drawing.note(account.subject, account.nats.description, account.nats.info_url)
            for user in self.store.users(name) if self.users else ():
                self._user(drawing, account, self.store.user(name, user), defaults)
        return drawing.finish(self.store, program)

    def _account(self, drawing: Drawing, account: AccountClaims, what: str) -> str:
        limits = account.nats.limits
        drawing.line(f'object "{account.name}" as {account.subject} << {what} >> {{')
        self._head(drawing, account, account.nats.tags)
        self._account_limits(drawing, limits)
        self._traffic_limits(drawing, limits.payload, limits.subscriptions, limits.data)
        self._jetstream_limits(drawing, limits.jetstream)
        self._validation(drawing, account)
        drawing.line("}")
        defaults = ""
        if not account.nats.default_permissions.has_no_permissions:
            defaults = self._permissions(drawing, account, "default", account.nats.default_permissions)
            drawing.line(f"{account.subject} *-- {defaults}")
        keys = [item.key if isinstance(item, UserScope) else item for item in account.nats.signing_keys]
        self._signing_keys(drawing, account, "account", keys)
        return defaults

    def _user(self, drawing: Drawing, account: AccountClaims, user: UserClaims, defaults: str) -> None:
        drawing.line(f'object "{user.name}" as {user.subject} << user >> {{')
        self._head(drawing, user, user.nats.tags)
        self._value(drawing, "Bearer Token", _truth(user.nats.bearer_token))
        self._value(drawing, "Allowed Connection Types", listed(user.nats.allowed_connection_types))
        self._traffic_limits(drawing, user.nats.payload, user.nats.subscriptions, user.nats.data)
        limited = bool(user.nats.source_networks or user.nats.times or user.nats.times_location)
        if self._heading(drawing, "User Limits", unlimited=not limited):
            self._value(drawing, "Permitted CIDR blocks", listed(user.nats.source_networks))
            windows = "".join(f" [{window.start}-{window.end}]" for window in user.nats.times)
            self._value(drawing, "Permitted Times to Connect", user.nats.times_location + windows)
        self._validation(drawing, user)
        drawing.line("}")
        restricted = ""
        if not user.nats.has_no_permissions:
            place = self._permissions(drawing, user, "user", user.nats)
            restricted = f"{user.subject} *-- {place}"
        elif defaults:
            restricted = f"{user.subject} -- {defaults}"
        if restricted:
            drawing.line(f'{restricted} : "API restricted by >"')
        self._signed(drawing, account, user)

    def _value(self, drawing: Drawing, name: str, value: str) -> None:
        if value or self.detail:
            drawing.line(f"{name} = {value}")

    def _head(self, drawing: Drawing, claims: Claims, tags: Iterable[str]) -> None:
        if self.keys:
            self._value(drawing, "Identity Key", claims.subject)
            self._value(drawing, "Identity Key Present", _truth(self.store.keystore.has_key(claims.subject)))
        self._value(drawing, "Tags", listed(tags))
        for name, seconds in (
            ("Issued At", claims.issued_at),
            ("Valid From", claims.not_before),
            ("Expires", claims.expires_at),
        ):
            self._value(drawing, name, moment(seconds) if seconds else "not set" if self.detail else "")

    def _validation(self, drawing: Drawing, claims: Claims) -> None:
        issues = claims.validate()
        if issues:
            drawing.line("==**<color:red>Validation</color>**==")
        elif not self.detail:
            return
        else:
            drawing.line("--- Validation (no issues) ---")
        for name, level in (("Errors", IssueLevel.ERROR), ("Warnings", IssueLevel.WARNING)):
            self._value(drawing, name, listed(issue.description for issue in issues if issue.level is level))

    def _heading(self, drawing: Drawing, name: str, *, unlimited: bool) -> bool:
        """The heading of a group of limits, unless there are none to show; says whether the group is shown."""
        if unlimited and not self.detail:
            return False
        drawing.line(f"--- {name} (unlimited)---" if unlimited else f"--- {name} ---")
        return True

    def _account_limits(self, drawing: Drawing, limits: OperatorLimits) -> None:
        numbers = (limits.imports, limits.exports, limits.connections, limits.leafnodes)
        free = set(numbers) == {UNLIMITED} and limits.wildcard_exports and not limits.disallow_bearer
        if not self._heading(drawing, "Account Limits", unlimited=free):
            return
        for name, value in (
            ("Max Exports", limits.exports),
            ("Max Imports", limits.imports),
            ("Max Client Connections", limits.connections),
            ("Max Leaf Node Connections", limits.leafnodes),
        ):
            self._value(drawing, name, limit(value))
        self._value(drawing, "Allow Wildcard Exports", _truth(limits.wildcard_exports))
        self._value(drawing, "Disallow bearer token", _truth(limits.disallow_bearer))

    def _traffic_limits(self, drawing: Drawing, payload: int, subscriptions: int, data: int) -> None:
        if not self._heading(drawing, "Nats Limits", unlimited={payload, subscriptions, data} == {UNLIMITED}):
            return
        self._value(drawing, "Max Payload", limit(payload))
        self._value(drawing, "Max Subscriber", limit(subscriptions))
        self._value(drawing, "Max Number of bytes", limit(data))

    def _jetstream_limits(self, drawing: Drawing, limits: JetStreamLimits) -> None:
        free = JetStreamLimits(**{name: getattr(limits, name) for name in _NUMBERS}) == _UNLIMITED_JETSTREAM
        disabled = not limits.disk_storage and not limits.memory_storage
        if disabled and not self.detail:
            return
        drawing.line(f"--- Jetstream Limits {'(unlimited) ' if free else '(disabled) ' if disabled else ''}---")
        for name, value in (
            ("Max Memory Storage", limits.memory_storage),
            ("Max Disk Storage", limits.disk_storage),
            ("Max Streams", limits.streams),
            ("Max Consumer", limits.consumers),
        ):
            self._value(drawing, name, limit(value))

    def _signing_keys(self, drawing: Drawing, claims: Claims, what: str, keys: Sequence[str]) -> None:
        if not self.keys or not keys:
            return
        place = f"{claims.subject}_sk"
        drawing.line(f'map "{claims.name}" as {place} << {what} signing keys >> {{\nkey => stored')
        for key in keys:
            drawing.line(f"{key} => {_truth(self.store.keystore.has_key(key))}")
        drawing.line(f"}}\n{claims.subject} *-- {place} ")

    def _permissions(self, drawing: Drawing, claims: Claims, what: str, permissions: Permissions) -> str:
        place = f"{claims.subject}_permissions"
        drawing.line(f'object "{claims.name}" as {place} << {what} permissions >> {{')
        for name, entries in (
            ("Publish Deny", permissions.publish.deny),
            ("Publish Allow", permissions.publish.allow),
            ("Subscribe Deny", permissions.subscribe.deny),
            ("Subscribe Allow", permissions.subscribe.allow),
        ):
            if entries or self.detail:
                drawing.line(f"--- {name} ---")
            for entry in entries:
                drawing.line(f' ""{entry}""')
        responses = permissions.responses
        if responses is not None:
            drawing.line("--- Response Permissions ---")
            self._value(drawing, "Expiration", format_duration(responses.ttl))
            self._value(drawing, "Max Messages", limit(responses.maximum))
        elif self.detail:
            drawing.line("--- Response Permissions (server default)---")
        drawing.line("}")
        return place

    def _signed(self, drawing: Drawing, signer: Claims, signed: Claims) -> None:
        if signed.issuer == signed.subject:
            drawing.line(f'{signed.issuer} -- {signed.subject} : "self signed >"')
        elif self.keys and signed.issuer != signer.subject:
            drawing.line(f'{signer.subject}_sk::{signed.issuer} -- {signed.subject} : "signed >"')
        else:
            drawing.line(f'{signer.subject} -- {signed.subject} : "signed >"')


_NUMBERS = tuple(name for name in JetStreamLimits.__struct_fields__ if name != "max_bytes_required")


def _truth(value: bool) -> str:
    return str(value).lower()
