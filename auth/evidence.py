"""What a connection shows to prove who it is. Nothing in here has been checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class ConnectionType(Enum):
    """How a peer is connected, as ``allowed_connection_types`` names it."""

    STANDARD = "STANDARD"
    WEBSOCKET = "WEBSOCKET"
    LEAFNODE = "LEAFNODE"
    LEAFNODE_WS = "LEAFNODE_WS"
    MQTT = "MQTT"
    MQTT_WS = "MQTT_WS"
    IN_PROCESS = "IN_PROCESS"


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a verified client certificate says of its holder.

    ``subject`` holds the relative distinguished names in the order of the certificate, each as pairs of attribute
    (``CN``, ``O``, ``OU``, ``C``, ``L``, ``ST``, ``STREET``, ``POSTALCODE``, ``SERIALNUMBER``, ``DC``, or a dotted OID)
    and value.
    """

    emails: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    subject: tuple[tuple[tuple[str, str], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """The process at the other end of a Unix socket, as the kernel knew it when it connected."""

    uid: int
    gid: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One CONNECT and where it came from.

    ``nonce`` is the text that INFO held; ``remote_ip`` is empty where there is none (in-process, a Unix socket).
    ``certificate`` is given only where the listener verified it and maps certificates to users, ``peer`` only where the
    listener maps the peers of its Unix socket. An absent field of CONNECT is None.
    """

    nonce: str = field(default="", repr=False)
    unverified_jwt: str | None = field(default=None, repr=False)
    unverified_nkey: str | None = None
    unverified_signature: str | None = field(default=None, repr=False)
    unverified_user: str | None = None
    unverified_password: str | None = field(default=None, repr=False)
    unverified_token: str | None = field(default=None, repr=False)
    unverified_proxy_signature: str | None = field(default=None, repr=False)
    remote_ip: str = ""
    connection_type: ConnectionType = ConnectionType.STANDARD
    certificate: CertificateFacts | None = None
    peer: LocalPeer | None = None
