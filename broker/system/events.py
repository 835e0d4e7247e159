"""What the server tells by itself: clients that come, go or are not let in, and how many an account has."""

from __future__ import annotations

import time
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Final

import msgspec

from broker.monitor.statistics import AccountStat, Moved
from broker.session.client_info import ClientInfo, connected, disconnected
from broker.system.envelope import Sender
from broker.system.statistics import Statsz
from broker.wire.ids import new_id
from broker.wire.values import moment

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from accounts.account import Account
    from broker.net.certificates import Told
    from broker.session.session import Session

CONNECT: Final = "io.nats.server.advisory.v1.client_connect"
DISCONNECT: Final = "io.nats.server.advisory.v1.client_disconnect"
LINK_INVALID: Final = "io.nats.server.advisory.v1.ocsp_peer_link_invalid"
PEER_REJECTED: Final = "io.nats.server.advisory.v1.ocsp_peer_reject"
NOT_VALID: Final = "client not OCSP valid"
CERTIFICATE: Final = "io.natskeep.server.advisory.v1.certificate"
AUDIT: Final = "io.natskeep.server.advisory.v1.audit"
CONNECTIONS: Final = "io.nats.server.advisory.v1.account_connections"


class Stamp:
    """What tells one event from all others: its id, and its time in Unix seconds. Forms of one event share it."""

    def __init__(self) -> None:
        self.time = time.time()

    @cached_property
    def id(self) -> str:
        """Made when it is first asked for: most events are heard by nobody."""
        return new_id()

    @property
    def timestamp(self) -> str:
        """The time as events hold it."""
        return moment(self.time)


class AuditState(msgspec.Struct, kw_only=True):
    """Whether the audit ledger is written; natskeep's own event."""

    type: str = AUDIT
    id: str
    timestamp: str
    server: Sender
    written: bool
    problem: str


def audit_state(sender: Sender, problem: str) -> AuditState:
    """The event for a ledger that cannot be written for that reason, or can be when there is none."""
    stamp = Stamp()
    return AuditState(id=stamp.id, timestamp=stamp.timestamp, server=sender, written=not problem, problem=problem)


class ShownCertificate(msgspec.Struct, kw_only=True):
    """A certificate that a listener shows."""

    names: list[str]
    serial: str
    sha256: str
    not_after: str


class CertificateState(msgspec.Struct, kw_only=True):
    """What became of a listener's certificate, and which ones it shows now; natskeep's own event."""

    type: str = CERTIFICATE
    id: str
    timestamp: str
    server: Sender
    listener: str
    outcome: str
    files: list[str]
    """Those that hold something else than before."""
    certificates: list[ShownCertificate]
    problem: str


def certificate_state(sender: Sender, told: Told) -> CertificateState:
    """The event for a certificate that was renewed, refused, or ends."""
    stamp = Stamp()
    certificates = [
        ShownCertificate(
            names=[*chain.dns_names, *chain.addresses],
            serial=chain.serial,
            sha256=chain.fingerprints[0],
            not_after=moment(chain.not_after),
        )
        for chain in told.chains
    ]
    return CertificateState(
        id=stamp.id, timestamp=stamp.timestamp, server=sender, listener=told.listener, outcome=told.outcome,
        files=list(told.files), certificates=certificates, problem=told.problem,
    )


class Connected(msgspec.Struct, kw_only=True):
    """A client was let in."""

    type: str = CONNECT
    id: str
    timestamp: str
    server: Sender
    client: ClientInfo


class Disconnected(msgspec.Struct, kw_only=True):
    """A client is gone, or was not let in. ``sent`` is what it sent, ``received`` what it was sent."""

    type: str = DISCONNECT
    id: str
    timestamp: str
    server: Sender
    client: ClientInfo
    sent: Moved
    received: Moved
    reason: str


class CertificateInfo(msgspec.Struct, kw_only=True):
    """A certificate, in full."""

    subject: str
    issuer: str
    fingerprint: str
    """Base64 of the SHA-256 digest of its DER form."""
    raw: str
    """Base64 of its DER form."""


class LinkInvalid(msgspec.Struct, kw_only=True):
    """A certificate in the chain of a peer was refused by OCSP."""

    type: str = LINK_INVALID
    id: str
    timestamp: str
    link: CertificateInfo
    peer: CertificateInfo
    server: Sender
    reason: str


class PeerRejected(msgspec.Struct, kw_only=True):
    """A peer was refused by OCSP."""

    type: str = PEER_REJECTED
    id: str
    timestamp: str
    kind: str
    peer: CertificateInfo
    server: Sender
    reason: str


class AccountConnections(msgspec.Struct, kw_only=True):
    """How many clients an account has, and what it did."""

    type: str = CONNECTIONS
    id: str
    timestamp: str
    server: Sender
    acc: str
    name: str
    conns: int
    leafnodes: int
    total_conns: int
    num_subscriptions: int
    sent: object
    received: object
    slow_consumers: int


class ServerStatistics(msgspec.Struct, kw_only=True):
    """What the server does, told from time to time and when it is asked."""

    server: Sender
    statsz: Statsz


def link_invalid(link: Certificate, peer: Certificate, reason: str, sender: Sender) -> LinkInvalid:
    """A certificate that was refused, which may be the peer's own."""
    stamp = Stamp()
    return LinkInvalid(
        id=stamp.id, timestamp=stamp.timestamp, link=_info(link), peer=_info(peer), server=sender, reason=reason
    )


def peer_rejected(peer: Certificate, kind: str, sender: Sender) -> PeerRejected:
    """A peer whose certificate, or one above it, was refused."""
    stamp = Stamp()
    return PeerRejected(
        id=stamp.id, timestamp=stamp.timestamp, kind=kind, peer=_info(peer), server=sender, reason=NOT_VALID
    )


def _info(certificate: Certificate) -> CertificateInfo:
    info: CertificateInfo = import_module("broker.system.certificates").information(certificate)
    return info


def client_connected(session: Session, account: Account, sender: Sender) -> Connected:
    """A session that has just been bound to its account."""
    stamp = Stamp()
    return Connected(id=stamp.id, timestamp=stamp.timestamp, server=sender, client=connected(session, account))


def client_disconnected(session: Session, account: Account | None, reason: str, sender: Sender) -> Disconnected:
    """A session that ends; ``account`` is what it was bound to."""
    stamp, client = Stamp(), session.client
    return Disconnected(
        id=stamp.id,
        timestamp=stamp.timestamp,
        server=sender,
        client=disconnected(session, account, stamp.time),
        sent=Moved(client.in_messages, client.in_bytes),
        received=Moved(client.out_messages, client.out_bytes),
        reason=reason,
    )


def account_connections(statistics: AccountStat, sender: Sender, stamp: Stamp) -> AccountConnections:
    """How many clients an account has now."""
    return AccountConnections(
        id=stamp.id,
        timestamp=stamp.timestamp,
        server=sender,
        **{name: getattr(statistics, name) for name in AccountStat.__struct_fields__},
    )
