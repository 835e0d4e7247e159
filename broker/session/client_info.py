"""What events, metrics and services of other accounts are told of a client.

A service learns only the account and the round trip of whoever asks, unless the importing account shares more; the
system account learns the server as well. A token that could be used by whoever reads it is never told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from accounts.account import GLOBAL_ACCOUNT
from auth.gojson import dumps
from broker.session.record import round_trip_of, shown_issuer, shown_user
from broker.wire.values import moment, nanoseconds, readable

if TYPE_CHECKING:
    from accounts.account import Account
    from broker.session.session import Session

REQUEST_INFO: Final = "Nats-Request-Info"
"""The header that tells a service who asks."""


class ClientInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One client. Fields that hold nothing are left out; times are RFC 3339, ``rtt`` is in nanoseconds."""

    start: str = ""
    host: str = ""
    id: int = 0
    acc: str = ""
    svc: str = ""
    """The account between the client's and the service's, where the request came through more than one import."""
    user: str = ""
    name: str = ""
    lang: str = ""
    ver: str = ""
    rtt: int = 0
    server: str = ""
    cluster: str = ""
    stop: str = ""
    jwt: str = ""
    issuer_key: str = ""
    name_tag: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    kind: str = ""
    client_type: str = ""

    def header_line(self) -> bytes:
        """The header line with its line end."""
        return f"{REQUEST_INFO}: ".encode() + dumps(self) + b"\r\n"


def asking(session: Session, server: str = "", *, share: bool = False, through: str = "") -> ClientInfo:
    """A client as a service sees it: all of it where it is shared, else account and round trip.

    ``server`` is the server's name for whoever may know it: the system account, and whoever is shared with. ``through``
    is the importing account where the request came through another one before.
    """
    principal = session.principal
    if principal is None:
        return ClientInfo()
    account = principal.account
    info = _full(session, account) if share else ClientInfo(acc=readable(account.name))
    if share:
        info.name_tag = readable(principal.user_name)
    info.svc = readable(through)
    info.rtt = nanoseconds(round_trip_of(session, session.transport))
    info.server = readable(server)
    return info


def connected(session: Session, account: Account) -> ClientInfo:
    """A client that was just bound to its account."""
    return _full(session, account)


def disconnected(session: Session, account: Account | None, now: float) -> ClientInfo:
    """A client that ends at a Unix time; one that was bound to no account counts for the account ``$G``."""
    info = _full(session, account)
    info.rtt = nanoseconds(round_trip_of(session, session.transport))
    info.stop = moment(now)
    return info


def _full(session: Session, account: Account | None) -> ClientInfo:
    connect = session.connect
    principal = session.principal if account is not None else None
    return ClientInfo(
        start=moment(session.transport.started),
        host=session.source,
        id=session.cid,
        acc=GLOBAL_ACCOUNT if account is None else readable(account.name),
        user=readable(shown_user(principal, connect)),
        name=readable(connect.name),
        lang=readable(connect.lang),
        ver=readable(connect.version),
        jwt="" if principal is None else principal.token,
        issuer_key="" if principal is None else shown_issuer(principal),
        name_tag=GLOBAL_ACCOUNT if account is None else readable(account.label),
        tags=[] if principal is None else list(principal.tags),
        kind="Client",
        client_type=session.arrival.shown_type,
    )
