"""What a connection looks like from outside: read off a living one, or kept of one that is gone.

Both have the same attributes, so that whoever shows connections need not tell them apart. A record holds no secret and
nothing that grows with the connection's traffic, so many can be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

import msgspec

from accounts.account import GLOBAL_ACCOUNT
from auth.principal import Method

if TYPE_CHECKING:
    from auth.evidence import LocalPeer
    from auth.principal import Principal
    from broker.core.plan import Client
    from broker.session.session import Session
    from broker.wire.connect import ConnectOptions

REDACTED: Final = "[REDACTED]"

KEPT_SUBSCRIPTIONS: Final = 100
"""Subscriptions that are remembered of one closed connection; their number is always known."""

KEPT_BYTES: Final = 16 * 1024
"""Bytes of subjects, queues and sids that are remembered of one closed connection."""


class Carrier(Protocol):
    """What a record needs from the connection that carries a session. Times are Unix seconds unless said otherwise."""

    session: Session
    client: Client
    started: float
    ended: float | None
    connected: float | None
    """When CONNECT was accepted."""
    active: float
    """Monotonic time of the last message, subscription or CONNECT."""
    stalls: int
    tls_first: bool

    @property
    def tls(self) -> tuple[str, str] | None:
        """Version and cipher suite as OpenSSL names them; None in the clear."""

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate in DER, while the connection is open."""


class SubscriptionFacts(Protocol):
    """One subscription, living or remembered."""

    @property
    def subject(self) -> bytes: ...

    @property
    def queue(self) -> bytes | None: ...

    @property
    def sid(self) -> bytes: ...

    @property
    def delivered(self) -> int: ...

    @property
    def maximum(self) -> int:
        """Deliveries after which it ends; 0 is never."""


class SubscriptionRecord(NamedTuple):
    """What is kept of a subscription whose connection is gone."""

    subject: bytes
    queue: bytes | None
    sid: bytes
    delivered: int
    maximum: int


class ConnectionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a connection that is gone."""

    cid: int
    type: str
    """How it was connected, as monitoring words it."""
    ip: str
    port: int
    started: float
    ended: float | None
    active: float
    """Unix time of the last message, subscription or CONNECT."""
    reason: str
    """Why it ended, as monitoring words it."""
    round_trip: float
    """Seconds; 0 when it was never measured."""
    pending: int
    in_messages: int
    in_bytes: int
    out_messages: int
    out_bytes: int
    stalls: int
    subscription_count: int
    subscriptions: Collection[SubscriptionFacts]
    name: str
    language: str
    version: str
    tls: tuple[str, str] | None
    tls_first: bool
    user: str
    """Who was authenticated; where nobody was, who the client said to be."""
    account: str
    """Name of the account it was bound to; empty when it was in none."""
    account_label: str
    issuer_key: str
    tags: tuple[str, ...]
    token: str
    """The user's JWT where it is no credential in itself, else empty."""
    proxy_key: str
    socket_path: str = ""
    peer: LocalPeer | None = None
    certificate: bytes | None = None

    @classmethod
    def of(cls, carrier: Carrier, now: float, clock: float) -> Self:
        """Reads a connection. `now` is the Unix time and `clock` the monotonic time of the same moment."""
        session, client = carrier.session, carrier.client
        connect, principal = session.connect, session.principal
        is_open = session.close_reason is None
        subscriptions: Collection[SubscriptionFacts] = (
            session.subscriptions.values() if is_open else tuple(_remembered(session.last_subscriptions))
        )
        bound = principal if principal is not None and (not is_open or session.tenant is not None) else None
        return cls(
            cid=session.cid,
            type=session.arrival.shown_type,
            ip=session.remote_ip,
            port=session.remote_port,
            started=carrier.started,
            ended=carrier.ended,
            active=active_at(carrier, now, clock),
            reason="" if session.close_reason is None else session.close_reason.value,
            round_trip=round_trip(carrier),
            pending=client.pending,
            in_messages=client.in_messages,
            in_bytes=client.in_bytes,
            out_messages=client.out_messages,
            out_bytes=client.out_bytes,
            stalls=carrier.stalls,
            subscription_count=len(session.subscriptions) if is_open else len(session.last_subscriptions),
            subscriptions=subscriptions,
            name=connect.name,
            language=connect.lang,
            version=connect.version,
            tls=carrier.tls,
            tls_first=carrier.tls_first and carrier.tls is not None,
            user=shown_user(principal, connect),
            account="" if bound is None else bound.account.name,
            account_label="" if bound is None else bound.account.label,
            issuer_key="" if bound is None else shown_issuer(bound),
            tags=() if bound is None else bound.tags,
            token="" if bound is None else bound.token,
            proxy_key="" if bound is None else bound.proxy_key or "",
            socket_path=session.arrival.socket_path,
            peer=session.arrival.peer,
            certificate=carrier.certificate if is_open else None,
        )


def _remembered(subscriptions: Iterable[SubscriptionFacts]) -> Iterator[SubscriptionRecord]:
    room = KEPT_BYTES
    for one in islice(subscriptions, KEPT_SUBSCRIPTIONS):
        room -= len(one.subject) + len(one.queue or b"") + len(one.sid)
        if room < 0:
            return
        yield SubscriptionRecord(one.subject, one.queue, one.sid, one.delivered, one.maximum)


def active_at(carrier: Carrier, now: float, clock: float) -> float:
    """The Unix time at which something last happened; the monotonic clock is the steadier one to have kept."""
    return max(now - (clock - carrier.active), carrier.started)


class Times(Protocol):
    """When a connection came, and when it was let in; Unix seconds."""

    started: float
    connected: float | None


def round_trip(carrier: Carrier) -> float:
    """The measured time in seconds; until there is one, the time that the client took to answer INFO."""
    return round_trip_of(carrier.session, carrier)


def round_trip_of(session: Session, times: Times) -> float:
    """The same for a session and whatever knows when it began."""
    measured = session.liveness.round_trip
    if measured or times.connected is None:
        return measured
    return max(times.connected - times.started, 0.0)


def shown_user(principal: Principal | None, connect: ConnectOptions) -> str:
    """The name of whoever is connected, or says to be; a token is never shown."""
    if principal is not None and principal.method is Method.TOKEN:
        return REDACTED
    if principal is not None and principal.method is not Method.NONE:
        return principal.user
    return connect.unverified_nkey or connect.unverified_user or (REDACTED if connect.unverified_token else "")


def shown_issuer(principal: Principal) -> str:
    """The key that signed the user; an nkey of the configuration is vouched for by its account."""
    if principal.method is Method.NKEY and principal.issuer_key is None:
        return principal.account.name
    return principal.issuer_key or ""


def is_global(account: str) -> bool:
    """Whether it is the account that monitoring leaves unnamed."""
    return account == GLOBAL_ACCOUNT
