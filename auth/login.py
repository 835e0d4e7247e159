"""A login as a program sees it that decides about logins itself, and its decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from accounts.account import GLOBAL_ACCOUNT
from accounts.limits import UserLimits
from accounts.permissions import Permissions
from auth.challenge import verify_signature
from auth.errors import AuthError
from auth.evidence import ConnectionType


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a client shows for itself, none of it checked; what it did not show is empty. Its repr holds no secret.

    ``nonce`` is what INFO asked to be signed. ``client_name``, ``language`` and ``version`` are what the client says of
    its program. ``certificate`` is the client certificate in DER where TLS asked for one, which the server verified
    then; ``tls`` are version and cipher suite as OpenSSL names them, None in the clear.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    jwt: str = field(default="", repr=False)
    nkey: str = ""
    signature: str = field(default="", repr=False)
    nonce: str = field(default="", repr=False)
    client_name: str = ""
    language: str = ""
    version: str = ""
    remote_ip: str = ""
    connection_type: ConnectionType = ConnectionType.STANDARD
    tls: tuple[str, str] | None = None
    certificate: bytes | None = field(default=None, repr=False)

    def holds_nkey(self) -> bool:
        """Whether the client has signed the nonce with the seed of the nkey that it names."""
        try:
            verify_signature(self.nkey, self.nonce, self.signature)
        except AuthError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who a client is, and what it may do: the claims of a principal.

    ``account`` is one of the configuration. ``user`` is the name that monitoring and the log show; empty is the name or
    nkey that the client gave. ``permissions`` None takes the defaults of the account. ``expires_at`` is the Unix time
    at which the connection ends, None for never.
    """

    account: str = GLOBAL_ACCOUNT
    user: str = ""
    permissions: Permissions | None = None
    limits: UserLimits = field(default_factory=UserLimits)
    expires_at: float | None = None
    tags: tuple[str, ...] = ()


Authenticate = Callable[[Login], Awaitable[Admission | None]]
"""Decides about a login: who it is, or None for nobody. To raise is to say no."""
