"""/metrics: the server and its accounts in the text format of Prometheus (version 0.0.4).

Each account has its usage beside its limits; a limit that does not exist has no sample, so that a quotient of both has
none either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from accounts.limits import UNLIMITED
from broker.control.tenant import Tenant
from broker.monitor.jetstream_metrics import Depth, jetstream_metrics
from broker.monitor.prometheus import head, labels_of, line, sample
from broker.monitor.snapshot import traffic
from broker.monitor.watched import resident_bytes
from broker.net.admission import Eviction, Refusal
from broker.wire.values import readable

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.monitor.jetstream import Streams
    from broker.monitor.watched import Watched
    from broker.net.certificates import Certificates

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

SLICE: Final = 100
"""Accounts after which others have a turn."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, what kind it is, what it says, and its value for an account."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    value: Callable[[Account, Tenant], int | float | None]
    """None where there is none."""


def _limit(name: str) -> Callable[[Account, Tenant], int | None]:
    def read(account: Account, _: Tenant) -> int | None:
        value: int = getattr(account.limits, name)
        return None if value == UNLIMITED else value

    return read


_ACCOUNTS: Final = (
    Family("account_connections", "gauge", "Clients that are connected.", lambda _, here: len(here.sessions)),
    Family("account_connections_limit", "gauge", "Clients that may be connected.", _limit("connections")),
    Family("account_subscriptions", "gauge", "Subscriptions of all clients.", lambda _, here: here.subscriptions),
    Family("account_subscriptions_limit", "gauge", "Subscriptions that each client may have.", _limit("subscriptions")),
    Family("account_payload_bytes_limit", "gauge", "Bytes that a message may have.", _limit("payload")),
    Family("account_message_rate_limit", "gauge", "Messages a second that may be published.", _limit("message_rate")),
    Family("account_byte_rate_limit", "gauge", "Bytes a second that may be published.", _limit("byte_rate")),
    Family(
        "account_received_messages_total", "counter", "Messages from its clients.",
        lambda _, here: here.traffic.in_messages,
    ),
    Family(
        "account_received_bytes_total", "counter", "Bytes of these.", lambda _, here: here.traffic.in_bytes,
    ),
    Family(
        "account_sent_messages_total", "counter", "Messages to its clients.", lambda _, here: here.traffic.out_messages,
    ),
    Family("account_sent_bytes_total", "counter", "Bytes of these.", lambda _, here: here.traffic.out_bytes),
    Family(
        "account_slow_consumers_total", "counter", "Clients that were closed because they took too little.",
        lambda _, here: here.slow_consumers,
    ),
    Family(
        "account_expiry_timestamp_seconds", "gauge", "When the account's claims expire.",
        lambda account, _: account.expires_at,
    ),
    Family("account_exports", "gauge", "What it offers to others.", lambda account, _: len(account.exports)),
    Family("account_imports", "gauge", "What it takes of others.", lambda account, _: len(account.imports)),
)
"""What each account at work has. An account that nobody was connected to has no samples."""


def metrics(watched: Watched, only: str = "", depth: Depth = Depth.CONSUMERS) -> Iterator[bytes]:
    """The page in pieces, between which others may have a turn.

    ``only`` names the account of a tenant who asks; ``depth`` tells how much to show of streams.
    """
    if not only:
        yield _server(watched)
        yield _admission(watched)
        yield _certificates(watched.service.certificates)
    tenants = watched.service.control.tenants
    names = [only] if only else sorted(tenants)
    # The labels of an account stand in each of its lines.
    shown: dict[str, str] = {}
    for part in _slices(names):
        for name in part:
            tenant = tenants.get(name)
            if tenant is not None:
                shown[name] = labels_of({"account": readable(name), "name": readable(tenant.account.label)})
        yield b""
    for family in _ACCOUNTS:
        yield head(family.name, family.kind, family.help)
        for part in _slices(list(shown)):
            lines = []
            for name in part:
                tenant = tenants.get(name)
                value = None if tenant is None else family.value(tenant.account, tenant)
                if value is not None:
                    lines.append(line(family.name, shown[name], value))
            yield "".join(lines).encode("utf-8", "replace")
    yield _denials(watched, only)
    streams = watched.jetstream()
    if streams is not None:
        if not only:
            yield _streams(streams)
        yield from jetstream_metrics(streams, [only] if only else streams.names(), depth)


def _streams(streams: Streams) -> bytes:
    """The streams of all accounts together."""
    stats, config = streams.stats(), streams.config()
    rows = (
        ("jetstream_memory_bytes", "Bytes of streams in memory.", stats["memory"]),
        ("jetstream_memory_bytes_limit", "Bytes that these may have.", config["max_memory"]),
        ("jetstream_storage_bytes", "Bytes of streams on disk.", stats["storage"]),
        ("jetstream_storage_bytes_limit", "Bytes that these may have.", config["max_storage"]),
        ("jetstream_accounts", "Accounts that may have streams.", stats["accounts"]),
        ("jetstream_writable", "Whether what is published can be written.", int(streams.is_writable())),
    )
    return b"".join(head(name, "gauge", text) + sample(name, value, {}).encode() for name, text, value in rows)


def _server(watched: Watched) -> bytes:
    service = watched.service
    in_messages, in_bytes, out_messages, out_bytes = traffic(watched)
    identity = watched.identity
    info = {"version": watched.version, "server_id": identity.server_id, "server_name": identity.server_name}
    rows: list[tuple[str, str, str, int | float | None, Mapping[str, str]]] = [
        ("info", "gauge", "The server.", 1, {name: readable(value) for name, value in info.items()}),
        ("start_timestamp_seconds", "gauge", "When it was started.", watched.started_at, {}),
        ("config_timestamp_seconds", "gauge", "When its configuration was put in place.", watched.configured_at, {}),
        ("healthy", "gauge", "Whether it serves.", int(watched.is_serving()), {}),
        ("connections", "gauge", "Clients that are connected.", len(service.connections), {}),
        ("connections_limit", "gauge", "Clients that may be connected.",
         _positive(watched.options.max_connections), {}),
        ("connections_total", "counter", "Clients that ever connected.", service.total_connections, {}),
        ("received_messages_total", "counter", "Messages from clients.", in_messages, {}),
        ("received_bytes_total", "counter", "Bytes of these.", in_bytes, {}),
        ("sent_messages_total", "counter", "Messages to clients.", out_messages, {}),
        ("sent_bytes_total", "counter", "Bytes of these.", out_bytes, {}),
        ("slow_consumers_total", "counter", "Clients closed because they took too little.", service.slow_consumers, {}),
        ("stale_connections_total", "counter", "Clients closed because they did not answer.",
         service.stale_connections, {}),
        ("stalls_total", "counter", "Publishers that were held up by receivers.", service.stalls, {}),
        ("accounts", "gauge", "Accounts that are at work.", len(service.control.tenants), {}),
        ("memory_bytes", "gauge", "Memory of the process.", resident_bytes(), {}),
        ("cpu_percent", "gauge", "Share of one processor.", watched.usage.percent, {}),
        ("audit_ledger_written", "gauge", "Whether the audit ledger can be written, where there is one.",
         int(not watched.audit_problem()) if watched.options.audit.directory else None, {}),
    ]
    parts = (
        head(name, kind, text) + sample(name, value, labels).encode("utf-8", "replace")
        for name, kind, text, value, labels in rows
        if value is not None
    )
    return b"".join(parts)


def _admission(watched: Watched) -> bytes:
    """The guests: clients that have not logged in."""
    admission = watched.service.admission
    gauges = (
        ("unauthenticated_connections", "Clients that have not logged in.", admission.guests),
        ("unauthenticated_connections_limit", "Clients that may be there without.", admission.most_guests),
        ("unauthenticated_bytes", "What these make the server hold.", admission.held),
        ("admission_backed_off_addresses", "Addresses that nobody is let in from for now.",
         admission.backed_off(time.monotonic())),
    )  # fmt: skip
    parts = [head(name, "gauge", text) + sample(name, value, {}).encode() for name, text, value in gauges]
    name = "admission_refused_total"
    parts.append(head(name, "counter", "Connections that were not let in, or no further."))
    parts += [sample(name, admission.refused[why], {"reason": why.value}).encode() for why in Refusal]
    name = "admission_dropped_total"
    parts.append(head(name, "counter", "Clients that had not logged in and went for others."))
    parts += [sample(name, admission.evicted[why], {"reason": why.value}).encode() for why in Eviction]
    return b"".join(parts)


def _certificates(certificates: Certificates) -> bytes:
    """What each listener shows. Of certificates with one name the first to end counts."""
    ends: dict[tuple[str, str], float] = {}
    for listener, standing in certificates.standing.items():
        for chain in standing.served.chains:
            key = listener, readable(chain.name)
            ends[key] = min(ends.get(key, chain.ends_at), chain.ends_at)
    by_listener = [({"listener": listener}, standing) for listener, standing in certificates.standing.items()]
    families: tuple[tuple[str, Literal["counter", "gauge"], str, list[tuple[dict[str, str], float]]], ...] = (
        ("tls_certificate_not_after_seconds", "gauge", "When the first certificate of a chain ends, in Unix time.",
         [({"listener": listener, "name": name}, end) for (listener, name), end in ends.items()]),
        ("tls_renewals_total", "counter", "Certificates and authorities that took the place of others.",
         [(labels, standing.renewals) for labels, standing in by_listener]),
        ("tls_renewal_failures_total", "counter", "Those that could not, because they cannot be served.",
         [(labels, standing.refusals) for labels, standing in by_listener]),
        ("tls_renewal_failing", "gauge", "Whether the files hold something that cannot be served.",
         [(labels, int(bool(standing.problem))) for labels, standing in by_listener]),
    )
    lines = []
    for name, kind, text, samples in families:
        if samples:
            lines.append(head(name, kind, text))
            lines += [sample(name, value, labels).encode("utf-8", "replace") for labels, value in samples]
    return b"".join(lines)


def _positive(limit: int) -> int | None:
    return limit if limit >= 0 else None


def _denials(watched: Watched, only: str) -> bytes:
    name = "denials_total"
    lines = (
        sample(name, count, {"account": readable(account), "action": action})
        for (account, action), count in sorted(watched.service.control.trail.counted())
        if not only or account == only
    )
    text = "Logins, messages and subscriptions that were refused."
    return head(name, "counter", text) + "".join(lines).encode("utf-8", "replace")


def _slices(names: list[str]) -> Iterator[list[str]]:
    return (names[start : start + SLICE] for start in range(0, len(names), SLICE))

