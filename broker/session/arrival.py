"""The way that a client came, and what it showed on that way before it said anything of itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from auth.evidence import ConnectionType, LocalPeer
from broker.wire.connect import ConnectOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How one client is connected. Nothing in it is verified."""

    connection_type: ConnectionType = ConnectionType.STANDARD
    forwarded_for: str = ""
    """The client's address as a proxy names it; only the log shows it, because anybody can name one."""
    socket_path: str = ""
    """The file of the Unix socket that it came by; empty where it came over TCP."""
    peer: LocalPeer | None = None
    """Whose process is at the other end of that, where the system tells."""
    unverified_jwt: str = field(default="", repr=False)
    """From a cookie, as the others."""
    unverified_user: str = field(default="", repr=False)
    unverified_password: str = field(default="", repr=False)
    unverified_token: str = field(default="", repr=False)

    @property
    def shown_type(self) -> str:
        """The word for it in monitoring and events."""
        return "websocket" if self.connection_type is ConnectionType.WEBSOCKET else "nats"

    def completed(self, connect: ConnectOptions) -> ConnectOptions:
        """CONNECT with what cookies have for fields that it leaves empty."""
        return replace(
            connect,
            unverified_jwt=connect.unverified_jwt or self.unverified_jwt,
            unverified_user=connect.unverified_user or self.unverified_user,
            unverified_password=connect.unverified_password or self.unverified_password,
            unverified_token=connect.unverified_token or self.unverified_token,
        )


DIRECT: Final = Arrival()
"""Over TCP, with nothing shown."""
