"""Claims as tables for people, row for row as nsc prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

from auth.claims import (
    AccountClaims,
    ActivationClaims,
    Claims,
    Export,
    Import,
    JetStreamLimits,
    OperatorClaims,
    Permissions,
    UserClaims,
    UserPermissionLimits,
    UserScope,
)
from auth.envelope import JwtError
from tools.nsk.render import Table, printable
from tools.nsk.values import format_date, format_duration, format_size

Names = Mapping[str, str]
"""The names of accounts by their public keys, where they are known."""


class ClaimsTable(Table):
    """A table of labels and values, whose values come from tokens and so may hold anything."""

    def entry(self, label: str, *values: str) -> None:
        """A row for each value, the label on the first only."""
        for value in values:
            self.row(label, printable(value))
            label = ""


def describe(claims: Claims, names: Names | None = None, owner: AccountClaims | None = None) -> str:
    """The tables of any claims. ``owner`` is the account of user claims, whose scopes may say what the user may do."""
    names = names or {}
    if isinstance(claims, OperatorClaims):
        tables: Iterable[Table] = [_operator(claims, names)]
    elif isinstance(claims, AccountClaims):
        tables = _account(claims, names)
    elif isinstance(claims, UserClaims):
        tables = _user(claims, owner)
    elif isinstance(claims, ActivationClaims):
        tables = [_activation(claims)]
    else:
        table = ClaimsTable("Claims")
        _identity(table, claims, "Subject")
        tables = [table]
    return "\n".join(table.render() for table in tables)


def _identity(table: ClaimsTable, claims: Claims, label: str, issuer_account: str = "") -> None:
    if claims.name:
        table.entry("Name", claims.name)
    table.entry(label, claims.subject)
    table.entry("Issuer ID", claims.issuer)
    if issuer_account:
        table.entry("Issuer Account", issuer_account)
    table.entry("Issued", format_date(claims.issued_at))
    table.entry("Expires", format_date(claims.expires_at))


def _operator(claims: OperatorClaims, names: Names) -> Table:
    table = ClaimsTable("Operator Details")
    _identity(table, claims, "Operator ID")
    table.entry("Tags", *claims.nats.tags)
    if claims.nats.account_server_url:
        table.entry("Account JWT Server", claims.nats.account_server_url)
    table.entry("Operator Service URLs", *claims.nats.operator_service_urls)
    if system := claims.nats.system_account:
        table.entry("System Account", f"{system} / {names[system]}" if system in names else system)
    table.entry("Require Signing Keys", str(claims.nats.strict_signing_key_usage).lower())
    if claims.nats.signing_keys:
        table.rule()
        table.entry("Signing Keys", *claims.nats.signing_keys)
    return table


def _account(claims: AccountClaims, names: Names) -> Iterable[Table]:
    data = claims.nats
    table = ClaimsTable("Account Details")
    _identity(table, claims, "Account ID")
    table.entry("Tags", *data.tags)
    table.rule()
    if data.description or data.info_url:
        if data.description:
            table.entry("Description", data.description.replace("\n", " "))
        if data.info_url:
            table.entry("Info Url", data.info_url)
        table.rule()
    if data.signing_keys:
        table.entry("Signing Keys", *(key.key if isinstance(key, UserScope) else key for key in data.signing_keys))
        table.rule()
    if data.authorization.is_enabled:
        table.entry("Auth Callout Users", *data.authorization.auth_users)
        table.entry("Allowed Accounts", *data.authorization.allowed_accounts)
        if data.authorization.xkey:
            table.entry("Encrypt For", data.authorization.xkey)
        table.rule()
    _account_limits(table, claims)
    _jetstream(table, claims)
    if not data.imports or not data.exports:
        if not data.imports:
            table.entry("Imports", "None")
        if not data.exports:
            table.entry("Exports", "None")
        table.rule()
    if data.revocations:
        table.entry("Revocations", str(len(data.revocations)))
        table.rule()
    table.entry("Tracing Context", "Enabled" if data.trace else "Disabled")
    if data.trace:
        table.entry("Subject", data.trace.destination)
        table.entry("Sampling", f"{data.trace.sampling or 100}%")
    yield table
    yield from _exports([export for export in data.exports if export])
    if data.imports:
        yield _imports([item for item in data.imports if item], names)
    if data.mappings:
        yield _mappings(claims)
    for key in data.signing_keys:
        if isinstance(key, UserScope):
            yield _scope(key)


def _account_limits(table: ClaimsTable, claims: AccountClaims) -> None:
    limits = claims.nats.limits
    table.entry("Max Connections", _count(limits.connections))
    table.entry("Max Leaf Node Connections", _count(limits.leafnodes) if limits.leafnodes else "Not Allowed")
    table.entry("Max Data", _bytes(limits.data))
    table.entry("Max Exports", _count(limits.exports))
    table.entry("Max Imports", _count(limits.imports))
    table.entry("Max Msg Payload", _bytes(limits.payload))
    table.entry("Max Subscriptions", _count(limits.subscriptions))
    table.entry("Exports Allows Wildcards", str(limits.wildcard_exports))
    table.entry("Disallow Bearer Token", str(limits.disallow_bearer))
    _permissions(table, claims.nats.default_permissions)
    table.rule()


def _jetstream(table: ClaimsTable, claims: AccountClaims) -> None:
    limits = claims.nats.limits
    if limits.tiered_limits:
        for tier, tier_limits in sorted(limits.tiered_limits.items()):
            table.entry("Jetstream Tier", tier)
            _jetstream_limits(table, tier_limits)
    elif limits.is_jetstream_enabled:
        table.entry("Jetstream", "Enabled")
        _jetstream_limits(table, limits.jetstream)
    else:
        table.entry("Jetstream", "Disabled")
        table.rule()


def _jetstream_limits(table: ClaimsTable, limits: JetStreamLimits) -> None:
    table.entry("Max Disk Storage", _storage(limits.disk_storage))
    table.entry("Max Mem Storage", _storage(limits.memory_storage))
    table.entry("Max Streams", _ceiling(limits.streams))
    table.entry("Max Consumers", _ceiling(limits.consumers))
    pending = limits.max_ack_pending
    table.entry("Max Ack Pending", str(pending) if pending > 0 else "Consumer Setting")
    table.entry("Max Bytes", f"{'required' if limits.max_bytes_required else 'optional'} (Stream setting)")
    table.entry("Max Memory Stream", _bytes(limits.memory_max_stream_bytes or -1))
    table.entry("Max Disk Stream", _bytes(limits.disk_max_stream_bytes or -1))
    table.rule()


def _count(value: int) -> str:
    return str(value) if value > -1 else "Unlimited"


def _ceiling(value: int) -> str:
    return str(value) if value > 0 else "Unlimited"


def _bytes(value: int) -> str:
    return f"{format_size(value)} ({value} bytes)" if value > -1 else "Unlimited"


def _storage(value: int) -> str:
    return "Disabled" if value == 0 else format_size(value) if value > 0 else "Unlimited"


def _permissions(table: ClaimsTable, permissions: Permissions) -> None:
    publish, subscribe = permissions.publish, permissions.subscribe
    if not (publish.is_empty and subscribe.is_empty):
        table.rule()
    table.entry("Pub Allow", *sorted(publish.allow))
    table.entry("Pub Deny", *sorted(publish.deny))
    table.entry("Sub Allow", *sorted(subscribe.allow))
    table.entry("Sub Deny", *sorted(subscribe.deny))
    if permissions.responses is None:
        table.entry("Response Permissions", "Not Set")
    else:
        table.entry("Max Responses", str(permissions.responses.maximum))
        table.entry("Response Permission TTL", format_duration(permissions.responses.ttl))


def _grants(table: ClaimsTable, limits: UserPermissionLimits) -> None:
    if limits.natskeep is not None and limits.natskeep.grants:
        table.rule()
        table.entry("Grants", *import_module("tools.nsk.grants").shown_grants(limits))


def _user_limits(table: ClaimsTable, limits: UserPermissionLimits) -> None:
    for label, value in (("Max Msg Payload", limits.payload), ("Max Data", limits.data)):
        table.entry(label, f"{value} bytes (\u2248{format_size(value)})" if value > 0 else "Unlimited")
    table.entry("Max Subs", str(limits.subscriptions) if limits.subscriptions > 0 else "Unlimited")
    table.entry("Network Src", f"[{' '.join(limits.source_networks)}]" if limits.source_networks else "Any")
    table.entry("Time", *([f"{window.start}-{window.end}" for window in limits.times] or ["Any"]))


def _connection_types(table: ClaimsTable, limits: UserPermissionLimits) -> None:
    if limits.allowed_connection_types:
        table.rule()
        table.entry("Allowed Connection Types", *limits.allowed_connection_types)


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def _user(claims: UserClaims, owner: AccountClaims | None) -> Iterable[Table]:
    table = ClaimsTable("User")
    _identity(table, claims, "User ID", claims.nats.issuer_account)
    table.entry("Tags", *claims.nats.tags)
    scope = owner.signing_key(claims.issuer) if owner else None
    if isinstance(scope, UserScope) and claims.nats.is_empty:
        table.entry("Issuer Scoped", "Yes")
        yield table
        yield _scope(scope)
        return
    table.entry("Bearer Token", _yes(claims.nats.bearer_token))
    _grants(table, claims.nats)
    _permissions(table, claims.nats)
    table.rule()
    _user_limits(table, claims.nats)
    _connection_types(table, claims.nats)
    yield table


def _scope(scope: UserScope) -> Table:
    table = ClaimsTable("Scoped Signing Key - Details")
    table.entry("Key", scope.key)
    table.entry("Role", scope.role)
    table.entry("Description", scope.description)
    _grants(table, scope.template)
    _permissions(table, scope.template)
    _user_limits(table, scope.template)
    table.entry("Bearer Token", _yes(scope.template.bearer_token))
    _connection_types(table, scope.template)
    return table


def _activation(claims: ActivationClaims) -> Table:
    table = ClaimsTable("Activation")
    _identity(table, claims, "Account ID", claims.nats.issuer_account)
    table.entry("Tags", *claims.nats.tags)
    table.rule()
    try:
        table.entry("Hash ID", claims.hash_id())
    except JwtError as error:
        table.entry("Hash ID", str(error))
    table.rule()
    table.entry("Import Type", claims.nats.kind.capitalize())
    table.entry("Import Subject", claims.nats.import_subject)
    table.rule()
    return table


def _exports(exports: list[Export]) -> Iterable[Table]:
    if not exports:
        return
    headers = ("Name", "Type", "Subject", "Account Token Position", "Public", "Revocations", "Tracking", "Allow Trace")
    table = Table("Exports", headers)
    for export in exports:
        kind, tracking, trace = "Stream", "N/A", "N/A"
        if export.is_service:
            different = export.response_type not in ("", "Singleton")
            kind = f"Service [{export.response_type}]" if different else "Service"
            latency = export.service_latency
            percentage = latency.sampling if latency and isinstance(latency.sampling, int) else 0
            tracking = f"{latency.results} ({percentage}%)" if latency else "-"
            trace = _yes(export.allow_trace)
        cells = (
            export.name,
            kind,
            export.subject,
            str(export.account_token_position or "-"),
            _yes(not export.token_required),
            str(len(export.revocations)),
            tracking,
            trace,
        )
        table.row(*map(printable, cells))
    yield table
    described = [export for export in exports if export.description or export.info_url]
    if described:
        table = Table("Exports - Descriptions", ("Name", "Description", "Info Url"))
        for export in described:
            table.row(*map(printable, (export.name, export.description.replace("\n", " "), export.info_url)))
        yield table


def _imports(imports: list[Import], names: Names) -> Table:
    headers = ("Name", "Type", "Remote", "Local", "Expires", "From Account", "Public", "Allow Trace")
    table = Table("Imports", headers)
    for item in imports:
        expires = ""
        if item.token:
            try:
                expires = format_date(item.activation().expires_at)
            except JwtError as error:
                expires = f"error decoding: {error}"
        # The older form of a service has the two subjects the other way round.
        older = item.is_service and item.to
        cells = (
            item.name,
            item.type.capitalize(),
            item.exported_subject,
            item.subject if older else item.local_subject or item.to,
            expires,
            names.get(item.account, item.account),
            _yes(not item.token),
            "N/A" if item.is_service else _yes(item.allow_trace),
        )
        table.row(*map(printable, cells))
    return table


def _mappings(claims: AccountClaims) -> Table:
    table = Table("Mappings", ("From", "To", "Weight (%)"))
    for source, targets in sorted(claims.nats.mappings.items()):
        label, total = source, 0
        for target in targets:
            table.row(printable(label), printable(target.subject), str(target.effective_weight))
            label, total = "", total + target.effective_weight
        table.row("", "", f"sum={total}")
    return table
