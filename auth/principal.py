"""What verification yields: who is connected, in which account, with which rights, until when.

A session needs a Principal to become active, and only the verifier can make one: the minter can be claimed once, and
auth.authenticate claims it on import. Everyone else's attempt to construct a Principal raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from enum import StrEnum, auto
from typing import Any, Final

from accounts.account import Account, SigningKeyScope
from accounts.limits import UserLimits
from accounts.permissions import Permissions
from accounts.policy import PolicyTable
from auth.errors import AuthFailure


class Method(StrEnum):
    """How the principal proved who it is."""

    NONE = auto()
    """The server asks nobody."""
    NO_AUTH_USER = auto()
    PASSWORD = auto()
    TOKEN = auto()
    NKEY = auto()
    CERTIFICATE = auto()
    UNIX_PEER = auto()
    """The kernel named the process at the other end of the Unix socket."""
    JWT = auto()
    SENTINEL = auto()
    CALLOUT = auto()
    """An auth callout service vouched for it."""
    AUTHENTICATOR = auto()
    """A function of the embedding program did."""


_SEAL: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A proven identity, bound to one account.

    ``user`` is the name that monitoring shows; ``public_key`` the user's nkey where it has one; ``issuer_key`` the key
    that signed its token; ``name_tag`` the account's name for people, ``user_name`` the name that the token gives the
    user. ``permissions`` are the user's own, None where
    the account's defaults hold; ``policy`` is what they were compiled to. ``expires_at`` is in Unix seconds, and
    ``expiry`` says with which texts the connection ends then; ``user_expires_at`` is the user's own part of it.
    ``token`` is empty for a bearer token, which would be
    a credential in itself. ``delegated_by`` names the account of the callout that admitted the user.
    """

    seal: InitVar[object]
    account: Account
    user: str
    method: Method
    policy: PolicyTable
    limits: UserLimits = field(default_factory=UserLimits)
    permissions: Permissions | None = None
    public_key: str | None = None
    issuer_key: str | None = None
    name_tag: str = ""
    user_name: str = ""
    tags: tuple[str, ...] = ()
    bearer: bool = False
    scope: SigningKeyScope | None = None
    issued_at: int = 0
    expires_at: float | None = None
    expiry: AuthFailure | None = None
    user_expires_at: float | None = None
    proxy_key: str | None = None
    token: str = field(default="", repr=False)
    delegated_by: str = ""

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only the verifier makes a Principal")

    @property
    def lasting_name(self) -> str:
        """What names the user whenever it comes: its nkey where that is its own, or else its name."""
        return self.user if self.method is Method.CALLOUT else self.public_key or self.user

    @property
    def expiry_text(self) -> str:
        """What the client is told when the connection expires."""
        return self.expiry.value.client if self.expiry is not None else ""


class _Minter:
    claimed = False


def claim_minter() -> Callable[..., Principal]:
    """The one function that makes principals, for the one module that verifies. Raises RuntimeError when claimed."""
    if _Minter.claimed:
        raise RuntimeError("the minter of principals has been claimed")
    _Minter.claimed = True

    def mint(**fields: Any) -> Principal:
        return Principal(seal=_SEAL, **fields)

    return mint
