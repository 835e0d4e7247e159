"""/connz: the connections that are open, and those that are remembered."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from accounts.subject import REST, overlaps
from broker.monitor.certificates import PeerCertificate, describe
from broker.monitor.query import Query, QueryError
from broker.monitor.sorting import Clocks, Order, arrange, find_order
from broker.monitor.wording import duration, indented, uptime
from broker.session.record import ConnectionRecord, active_at, is_global, round_trip, shown_user
from broker.session.session import shown as text_of
from broker.wire.values import moment, readable
from tls.names import suite_name, version_name

if TYPE_CHECKING:
    from broker.monitor.sorting import Source
    from broker.monitor.watched import Watched
    from broker.session.record import Carrier, SubscriptionFacts

DEFAULT_LIMIT: Final = 1024

SLICE: Final = 32
"""Connections that are written before others have a turn."""

_NONE_YET: Final = b'"connections": []'
_LIST: Final = b'"connections": ['


class Listed(Enum):
    """Which connections are listed."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


_STATES: Final = {
    "": Listed.OPEN,
    "open": Listed.OPEN,
    "closed": Listed.CLOSED,
    "any": Listed.ALL,
    "all": Listed.ALL,
}


class SubscriptionDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One subscription."""

    account: str = ""
    account_tag: str = ""
    subject: str
    qgroup: str = ""
    sid: str
    msgs: int
    max: int = 0
    cid: int


class Proxy(msgspec.Struct):
    """The trusted proxy that a connection came through."""

    key: str


class UnixPeer(msgspec.Struct, omit_defaults=True):
    """The Unix socket that a connection came by, and whose process is at its other end, where the system tells."""

    path: str
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None


class ConnectionEntry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One connection. Fields with a default are left out where they hold it."""

    cid: int
    kind: str = ""
    type: str = ""
    ip: str
    port: int
    start: str
    last_activity: str
    stop: str = ""
    reason: str = ""
    rtt: str = ""
    uptime: str
    idle: str
    pending_bytes: int
    in_msgs: int
    out_msgs: int
    in_bytes: int
    out_bytes: int
    stalls: int = 0
    subscriptions: int
    name: str = ""
    lang: str = ""
    version: str = ""
    tls_version: str = ""
    tls_cipher_suite: str = ""
    tls_peer_certs: list[PeerCertificate] = msgspec.field(default_factory=list)
    tls_first: bool = False
    authorized_user: str = ""
    account: str = ""
    subscriptions_list: list[str] = msgspec.field(default_factory=list)
    subscriptions_list_detail: list[SubscriptionDetail] = msgspec.field(default_factory=list)
    jwt: str = ""
    issuer_key: str = ""
    name_tag: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    proxy: Proxy | None = None
    unix: UnixPeer | None = None
    """Of clients that came by the Unix socket, who have no address; natskeep's own."""


class Connz(msgspec.Struct, kw_only=True):
    """A page of connections."""

    server_id: str
    now: str
    num_connections: int
    """Of this page."""
    total: int
    """In the state and account that were asked for, whatever else was."""
    offset: int
    limit: int
    connections: list[ConnectionEntry] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnzOptions:
    """What a listing is asked for."""

    sort: str = ""
    auth: bool = False
    """Show users, accounts and certificates."""
    subscriptions: bool = False
    subscriptions_detail: bool = False
    offset: int = 0
    limit: int = 0
    """Connections on the page; 0 or less is 1024."""
    cid: int = 0
    """The only connection to show; 0 is all."""
    listed: Listed = Listed.OPEN
    user: str = ""
    account: str = ""
    mqtt_client: str = ""
    filter_subject: str = ""
    """Only open connections with a subscription that overlaps it; needs an account."""

    @classmethod
    def read(cls, query: Query) -> ConnzOptions:
        """From the parameters of a request. Raises QueryError."""
        auth = query.boolean("auth")
        subscriptions, detail = read_subscriptions(query)
        offset, limit, cid = query.integer("offset"), query.integer("limit"), query.unsigned("cid")
        listed = _STATES.get(query.text("state").lower())
        if listed is None:
            raise QueryError(f"Error decoding state for {query.text('state')}")
        return cls(
            sort=query.text("sort"),
            auth=auth,
            subscriptions=subscriptions,
            subscriptions_detail=detail,
            offset=offset,
            limit=limit,
            cid=cid,
            listed=listed,
            user=query.text("user"),
            account=query.text("acc"),
            mqtt_client=query.text("mqtt_client"),
        )


def read_subscriptions(query: Query) -> tuple[bool, bool]:
    """Whether subscriptions are asked for, and whether in detail. Raises QueryError."""
    if query.text("subs").lower() == "detail":
        return True, True
    return query.boolean("subs"), False


def connz(watched: Watched, options: ConnzOptions) -> Connz:
    """The page of connections that was asked for.

    Raises QueryError for an order that does not exist, and for a subject without an account.
    """
    steps = _listed(watched, options, _order(options))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: tuple[Connz, list[Source], Clocks] = end.value
            break
    page, listed, clocks = found
    if page.connections is not None:
        page.connections = _entries(listed, options, clocks)
    return page


def connz_in_parts(watched: Watched, options: ConnzOptions) -> Iterator[bytes]:
    """The same as indented JSON, in pieces between which others may have a turn. Raises as `connz` does, at once.

    Some of the pieces are empty: to find and to sort thousands of connections takes a while too.
    """
    return _parts(watched, options, _order(options))


def _parts(watched: Watched, options: ConnzOptions, order: Order) -> Iterator[bytes]:
    page, listed, clocks = yield from _listed(watched, options, order)
    text = indented(page)
    if not listed:
        yield text
        return
    head, _, tail = text.rpartition(_NONE_YET)
    yield head + _LIST
    for start in range(0, len(listed), SLICE):
        lines = indented(_entries(listed[start : start + SLICE], options, clocks))
        # The list's own brackets go, and every line moves in by one level.
        inner = lines[2:-2].replace(b"\n", b"\n  ")
        yield (b",\n  " if start else b"\n  ") + inner
    yield b"\n  ]" + tail


def _entries(listed: list[Source], options: ConnzOptions, clocks: Clocks) -> list[ConnectionEntry]:
    now, monotonic = clocks.now, clocks.monotonic
    is_plain = not (options.auth or options.subscriptions or options.subscriptions_detail)
    return [
        entry(one, options, now)
        if isinstance(one, ConnectionRecord)
        else plain_entry(one, clocks)
        if is_plain and one.session.close_reason is None and not one.session.arrival.socket_path
        else entry(ConnectionRecord.of(one, now, monotonic), options, now)
        for one in listed
    ]


def _order(options: ConnzOptions) -> Order:
    if options.filter_subject not in {"", REST} and not options.account:
        raise QueryError("filter by subject only valid with account filtering")
    return find_order(options.sort, closed_only=options.listed is Listed.CLOSED)


def _listed(
    watched: Watched, options: ConnzOptions, order: Order
) -> Generator[bytes, None, tuple[Connz, list[Source], Clocks]]:
    """The page without its connections, and these; an empty piece wherever others may have a turn."""
    clocks = Clocks(time.time(), time.monotonic())
    page = Connz(
        server_id=watched.identity.server_id,
        now=moment(clocks.now),
        num_connections=0,
        total=0,
        offset=max(options.offset, 0),
        limit=1 if options.cid else options.limit if options.limit > 0 else DEFAULT_LIMIT,
        connections=[],
    )
    if options.account and options.account not in watched.account_names:
        page.server_id = ""
        page.connections = None
        return page, [], clocks
    living, gone = _candidates(watched, options)
    page.total = len(living) + len(gone)
    if options.mqtt_client:
        return page, [], clocks
    yield b""
    if options.cid:
        living = [one for one in living if one.session.cid == options.cid]
        gone = [one for one in gone if one.cid == options.cid]
    elif options.user:
        living = [one for one in living if shown_user(one.session.principal, one.session.connect) == options.user]
        gone = [one for one in gone if one.user == options.user]
    if options.filter_subject not in {"", REST}:
        living = [one for one in living if _hears(one, options.filter_subject)]
    arranged = yield from arrange(order, living, gone, clocks)
    listed = arranged[page.offset : page.offset + page.limit]
    page.num_connections = len(listed)
    return page, listed, clocks


def _candidates(watched: Watched, options: ConnzOptions) -> tuple[list[Carrier], list[ConnectionRecord]]:
    """Those in the state and the account that were asked for."""
    service, account = watched.service, options.account
    living: list[Carrier] = []
    gone: list[ConnectionRecord] = []
    if options.listed is not Listed.CLOSED:
        # One that is closed but still writes out its last bytes is neither open nor remembered yet.
        living.extend(one for one in service.connections.values() if one.session.close_reason is None)
    if options.listed is not Listed.OPEN:
        gone.extend(service.closed)
    if account:
        tenant = service.control.tenants.get(account)
        living = [one for one in living if tenant is not None and one.session.tenant is tenant]
        gone = [one for one in gone if one.account == account]
    return living, gone


def _hears(carrier: Carrier, subject: str) -> bool:
    """Whether a connection has a subscription that overlaps a subject."""
    return any(overlaps(subject, text_of(one.subject)) for one in carrier.session.subscriptions.values())


def entry(record: ConnectionRecord, options: ConnzOptions, now: float) -> ConnectionEntry:
    """One connection as far as it was asked for."""
    until = now if record.ended is None else record.ended
    shown = ConnectionEntry(
        cid=record.cid,
        kind="Client",
        type=record.type,
        ip=record.ip,
        port=record.port,
        start=moment(record.started),
        last_activity=moment(record.active),
        stop="" if record.ended is None else moment(record.ended),
        reason=record.reason,
        rtt=duration(record.round_trip) if record.round_trip else "",
        uptime=uptime(until - record.started),
        idle=uptime(until - record.active),
        pending_bytes=record.pending,
        in_msgs=record.in_messages,
        out_msgs=record.out_messages,
        in_bytes=record.in_bytes,
        out_bytes=record.out_bytes,
        stalls=record.stalls,
        subscriptions=record.subscription_count,
        name=readable(record.name),
        lang=readable(record.language),
        version=readable(record.version),
        proxy=Proxy(record.proxy_key) if record.proxy_key else None,
        unix=_unix(record),
    )
    if record.tls is not None:
        _add_tls(shown, record.tls, is_first=record.tls_first)
    if options.auth:
        _add_identity(shown, record)
    if options.subscriptions_detail:
        named = record.ended is not None
        shown.subscriptions_list_detail = [
            subscription_detail(one, record.cid, *((record.account, record.account_label) if named else ("", "")))
            for one in record.subscriptions
        ]
    elif options.subscriptions:
        shown.subscriptions_list = [readable(one.subject) for one in record.subscriptions]
    return shown


def _unix(record: ConnectionRecord) -> UnixPeer | None:
    if not record.socket_path:
        return None
    peer = record.peer
    path = readable(record.socket_path)
    return UnixPeer(path) if peer is None else UnixPeer(path, peer.uid, peer.gid, peer.pid)


def plain_entry(carrier: Carrier, clocks: Clocks) -> ConnectionEntry:
    """An open connection as `entry` shows it when nothing more is asked for; thousands of them are listed at once."""
    session, client, connect = carrier.session, carrier.client, carrier.session.connect
    started, active, rtt = carrier.started, active_at(carrier, clocks.now, clocks.monotonic), round_trip(carrier)
    shown = ConnectionEntry(
        cid=session.cid,
        kind="Client",
        type=session.arrival.shown_type,
        ip=session.remote_ip,
        port=session.remote_port,
        start=moment(started),
        last_activity=moment(active),
        rtt=duration(rtt) if rtt else "",
        uptime=uptime(clocks.now - started),
        idle=uptime(clocks.now - active),
        pending_bytes=client.pending,
        in_msgs=client.in_messages,
        out_msgs=client.out_messages,
        in_bytes=client.in_bytes,
        out_bytes=client.out_bytes,
        stalls=carrier.stalls,
        subscriptions=len(session.subscriptions),
        name=readable(connect.name),
        lang=readable(connect.lang),
        version=readable(connect.version),
    )
    if carrier.tls is not None:
        _add_tls(shown, carrier.tls, is_first=carrier.tls_first)
    proxy_key = "" if session.principal is None or session.tenant is None else session.principal.proxy_key
    if proxy_key:
        shown.proxy = Proxy(proxy_key)
    return shown


def _add_tls(shown: ConnectionEntry, tls: tuple[str, str], *, is_first: bool) -> None:
    shown.tls_version, shown.tls_cipher_suite, shown.tls_first = version_name(tls[0]), suite_name(tls[1]), is_first


def _add_identity(shown: ConnectionEntry, record: ConnectionRecord) -> None:
    is_default = is_global(record.account)
    shown.authorized_user = readable(record.user)
    shown.account = "" if is_default else readable(record.account)
    shown.name_tag = "" if is_default and record.ended is not None else readable(record.account_label)
    shown.jwt = record.token
    shown.issuer_key = record.issuer_key
    shown.tags = list(record.tags)
    if record.certificate is not None:
        shown.tls_peer_certs = [describe(record.certificate)]


def subscription_detail(
    subscription: SubscriptionFacts, cid: int, account: str = "", account_tag: str = ""
) -> SubscriptionDetail:
    """One subscription; a closed subscription's limit and deliveries stay as they were."""
    return SubscriptionDetail(
        account=readable(account),
        account_tag=readable(account_tag),
        subject=readable(subscription.subject),
        qgroup="" if subscription.queue is None else readable(subscription.queue),
        sid=readable(subscription.sid),
        msgs=subscription.delivered,
        max=subscription.maximum,
        cid=cid,
    )
