"""What the listeners of one server show in their handshakes, and what there is to be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tls.engine import ServerContext
    from tls.revocation.lists import RevocationList, RevocationLists
    from tls.served import Chain, Served

NOTHING_SERVED: Final[Mapping[str, Served]] = MappingProxyType({})
CLIENT: Final = "client"
WEBSOCKET: Final = "websocket"
MONITORING: Final = "monitoring"
WHOSE: Final = {CLIENT: "client connections", WEBSOCKET: "WebSocket connections", MONITORING: "monitoring"}
"""How the log calls who a listener is for."""


@dataclass(slots=True)
class Standing:
    """One listener."""

    served: Served
    renewals: int = 0
    """How often its files held something else that could be served."""
    refusals: int = 0
    """How often they held something that could not."""
    problem: str = ""
    """Why what they hold now is not served; empty where it is."""


class Outcome(StrEnum):
    """What can become of a certificate."""

    RENEWED = "renewed"
    REFUSED = "refused"
    EXPIRING = "expiring"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs an operator before clients notice, or since they do."""

    listener: str
    outcome: Outcome
    brief: str
    """What everybody may know, since whoever connects sees the certificate."""
    text: str
    """What the operator needs: with the file and the remedy."""
    chain: Chain | None = None
    """The certificate that ends; None where another was refused."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something that the system account is told."""

    listener: str
    outcome: Outcome
    chains: tuple[Chain, ...]
    """What is served now; of a certificate that ends it alone."""
    files: tuple[str, ...] = ()
    """Those that hold something else than before."""
    problem: str = ""
    """Why what they hold is not served."""


class Certificates:
    """The listeners of one server that use TLS, by name."""

    def __init__(self, served: Mapping[str, Served]) -> None:
        self.standing = {listener: Standing(one) for listener, one in served.items()}

    def served(self, listener: str) -> Served | None:
        """What it shows; None where it uses no TLS."""
        standing = self.standing.get(listener)
        return None if standing is None else standing.served

    def all_served(self) -> dict[str, Served]:
        """What each listener with TLS shows."""
        return {listener: standing.served for listener, standing in self.standing.items()}

    def context(self, listener: str) -> ServerContext | None:
        """What the next handshake uses; None where there is none."""
        standing = self.standing.get(listener)
        return None if standing is None else standing.served.context

    def lists(self, listener: str) -> RevocationLists | None:
        """What the authorities of its clients have revoked; None where no list is asked for."""
        served = self.served(listener)
        return None if served is None else served.lists

    def put(self, served: Mapping[str, Served]) -> None:
        """Lets each listener show what another configuration says; those that it does not name use no TLS any more."""
        for listener in self.standing.keys() - served.keys():
            del self.standing[listener]
        for listener, one in served.items():
            standing = self.standing.setdefault(listener, Standing(one))
            standing.served, standing.problem = one, ""

    def ends_at(self, listener: str) -> float | None:
        """Unix time at which the certificate that is shown first expires, where there is one."""
        served = self.served(listener)
        return served.chains[0].not_after if served is not None and served.chains else None

    def findings(self, now: float) -> Iterator[Finding]:
        """What is wrong with certificates, or will be soon; ``now`` is Unix time."""
        for listener, standing in self.standing.items():
            if standing.problem:
                yield refusal(listener, standing)
            notice = standing.served.settings.expiry_warning
            for chain in standing.served.chains:
                if chain.is_due(now, notice):
                    yield _ending(listener, chain, now)
            lists = standing.served.lists
            for one in () if lists is None else lists.lists:
                if one.is_due(now):
                    yield _list_ending(listener, one, now)


def _list_ending(listener: str, one: RevocationList, now: float) -> Finding:
    outcome, verb = (Outcome.EXPIRED, "expired") if now >= one.until else (Outcome.EXPIRING, "expires")
    end = f"{verb} on {shown(one.until)}"
    brief = f"a revocation list for {WHOSE[listener]} {end}"
    text = f"the CRL of {one.issuer.rfc4514_string()} in {one.file} for {WHOSE[listener]} {end}; fetch a newer one"
    return Finding(listener, outcome, brief, text)


def refusal(listener: str, standing: Standing) -> Finding:
    """What is said of files that hold what cannot be served."""
    until = min((chain.ends_at for chain in standing.served.chains), default=None)
    last = "" if until is None else f", until {shown(until)}"
    brief = f"the certificate of {WHOSE[listener]} was not renewed"
    return Finding(
        listener, Outcome.REFUSED, brief, f"{brief}, the one before is served on{last}: {standing.problem}"
    )


def _ending(listener: str, chain: Chain, now: float) -> Finding:
    outcome, verb = (Outcome.EXPIRED, "expired") if now >= chain.ends_at else (Outcome.EXPIRING, "expires")
    end = f"{verb} on {shown(chain.ends_at)}"
    what = f"the certificate of {WHOSE[listener]}"
    text = f"{what} for {chain.name} in {chain.file} {end}; renew it"
    return Finding(listener, outcome, f"{what} {end}", text, chain)


def shown(seconds: float) -> str:
    """A Unix time as it is written (RFC 3339, in UTC)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
