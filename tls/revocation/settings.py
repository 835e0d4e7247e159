"""What can be asked for about revocation, as plain data. Durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tls.policy import TLSSettingsError


class StapleError(TLSSettingsError):
    """A certificate cannot be served as it is to be; the text names its file and the remedy."""


class StapleMode(Enum):
    """For which certificates of the server an OCSP answer is stapled to the handshake (RFC 6066 section 8)."""

    AUTO = "auto"
    """For those that promise it (must-staple, RFC 7633). A revoked one is served all the same, with the answer."""
    ALWAYS = "always"
    """For all. The server does not run with one that is not good."""
    MUST = "must"
    """For those that promise it. The server does not run with one of them that is not good."""
    NEVER = "never"
    """For none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StapleSettings:
    """Stapling for the certificates of all listeners."""

    mode: StapleMode = StapleMode.AUTO
    urls: tuple[str, ...] = ()
    """Responders to ask in place of those that a certificate names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """Questions about the certificates of a listener's clients."""

    verify: bool = False
    """Whether any are asked."""
    timeout: float = 2.0
    """How long one responder may take."""
    clock_skew: float = 30.0
    """By how much clocks may differ."""
    warn_only: bool = False
    """Whether nobody is refused, whatever the answer."""
    unknown_is_good: bool = False
    """Whether certificates are accepted that a responder does not know."""
    allow_when_unreachable: bool = False
    """Whether certificates are accepted about which nobody can be asked, unless they were revoked before."""
    default_validity: float = 3600.0
    """How long an answer holds that does not say when there will be a newer one."""


class CacheKind(Enum):
    """Where answers about clients are kept."""

    NONE = "none"
    LOCAL = "local"
    """In memory, and from time to time in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """The answers about clients that are kept, of all listeners together."""

    kind: CacheKind = CacheKind.LOCAL
    directory: str = "_rc_"
    """Where the file lies."""
    preserve_revoked: bool = False
    """Whether what says that a certificate is revoked is kept when it is out of date."""
    save_interval: float = 300.0
    """Time between two savings; at least 1."""
