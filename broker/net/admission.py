"""Who may come in, and who has to go for it: the bounds of what strangers can take of the server.

A guest is a connection that has not proved who it is. Guests are bounded in number, in all and for each address, and
in the memory that they hold. Where there are too many, one that is there already goes, never the one that comes: those
that stall cannot keep out those that do not. It is the one that came first of the address that has most. Clients that
have logged in never go for a guest.

Addresses whose clients fail again and again are turned away for a while. How many failures are let pass depends on how
many clients are logged in from there, so that the many behind one address do not suffer for a few.

There is no I/O here; times are monotonic seconds.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from auth.windows import is_within, parse_networks
from broker.net.backoff import Backoff, Handshakes
from broker.net.crowd import Crowd

if TYPE_CHECKING:
    from auth.windows import Network
    from broker.config.options import AdmissionOptions

IPV6_NETWORK: Final = 64
"""Bits of an address of IPv6 that count: whoever has one address has all of such a network (RFC 6177)."""

SHARE: Final = 2
"""Guests may take one of so many connections, where no number is set."""


class Refusal(Enum):
    """Why a connection was not let in, or let no further."""

    BACKED_OFF = "backed_off"
    """Clients of its address failed too often."""
    HANDSHAKES = "handshakes"
    """Its address began too many handshakes."""
    HANDSHAKE_RATE = "connection_rate_limit"
    """All addresses together did."""
    CONNECTIONS = "max_connections"
    """All places are taken by clients that have logged in."""
    PROXY = "proxy_protocol"
    """A PROXY header was missing, not valid, or came from where none is taken."""


class Eviction(Enum):
    """Why a guest had to go."""

    GUESTS = "max_unauthenticated"
    ADDRESS = "max_unauthenticated_per_address"
    MEMORY = "max_unauthenticated_memory"
    CONNECTIONS = "max_connections"
    DESCRIPTORS = "open_files"


@dataclass(slots=True, eq=False)
class Guest:
    """One connection that has not proved who it is."""

    cid: int
    address: str
    """What it counts under: its address, of IPv6 the network; empty on a Unix socket."""
    is_exempt: bool
    """Whether the bounds of an address do not hold for it."""
    held: int = 0
    """Bytes that it makes the server hold."""
    is_judged: bool = False
    """Whether somebody has begun to find out who it is, which takes a while."""


def counted_address(ip: str) -> str:
    """What an address counts under: itself, or its network of IPv6. What is none counts as it is."""
    if ":" not in ip:
        return ip
    try:
        return str(ipaddress.IPv6Network((ip.partition("%")[0], IPV6_NETWORK), strict=False))
    except ValueError:
        return ip


@dataclass(slots=True)
class Admission:
    """The guests of one server, and what is remembered of addresses."""

    options: AdmissionOptions
    room: int
    """Connections that there can be at all."""
    refused: Counter[Refusal] = field(default_factory=Counter)
    evicted: Counter[Eviction] = field(default_factory=Counter)
    held: int = 0
    """Bytes that all guests make the server hold."""
    _guests: Crowd = field(default_factory=Crowd)
    _holders: Crowd = field(default_factory=Crowd)
    """The guests that hold something."""
    _inside: Counter[str] = field(default_factory=Counter)
    """Clients that have logged in, by address."""
    _backoff: Backoff = field(default_factory=Backoff)
    _handshakes: Handshakes = field(default_factory=Handshakes)
    _exempt: tuple[Network, ...] = ()

    def __post_init__(self) -> None:
        self.adopt(self.options, self.room)

    def adopt(self, options: AdmissionOptions, room: int) -> None:
        """Goes on by other bounds; `surplus` tells who has to go for that."""
        self.options, self.room = options, room
        self._exempt = parse_networks(options.exempt)

    @property
    def guests(self) -> int:
        """How many have not proved who they are."""
        return len(self._guests)

    @property
    def most_guests(self) -> int:
        """How many may be there."""
        return self.options.max_unauthenticated or max(self.room // SHARE, 1)

    def backed_off(self, now: float) -> int:
        """How many addresses are turned away."""
        return self._backoff.count(now)

    # Coming

    def turns_away(self, ip: str, now: float) -> bool:
        """Whether nobody of the address is let in now."""
        return self._backoff.turns_away(counted_address(ip), now) and not self._is_exempt(ip)

    def enter(self, cid: int, ip: str, *, is_proxy: bool = False) -> Guest:
        """One more guest; `surplus` tells who has to go for it. The address of a proxy counts for nobody's conduct."""
        guest = Guest(cid, counted_address(ip), is_proxy or self._is_exempt(ip))
        self._guests.add(cid, guest.address)
        return guest

    def move(self, guest: Guest, ip: str) -> None:
        """A proxy has told where a guest comes from."""
        self._guests.remove(guest.cid)
        self._holders.remove(guest.cid)
        guest.address, guest.is_exempt = counted_address(ip), self._is_exempt(ip)
        self._guests.add(guest.cid, guest.address)
        if guest.held:
            self._holders.add(guest.cid, guest.address)

    def may_shake_hands(self, guest: Guest, now: float) -> bool:
        """Whether a guest may begin a handshake."""
        limit = self.options.handshakes_per_address
        return not limit or guest.is_exempt or self._handshakes.admits(guest.address, limit, now)

    def hold(self, guest: Guest, size: int) -> None:
        """Says how many bytes a guest makes the server hold now; `surplus` tells who has to go for that."""
        if size == guest.held:
            return
        if not guest.held:
            self._holders.add(guest.cid, guest.address)
        elif not size:
            self._holders.remove(guest.cid)
        self.held += size - guest.held
        guest.held = size

    # Going

    def surplus(self, newcomer: Guest) -> tuple[int, Eviction] | None:
        """Who has to go, and why; None where all are within their bounds. It goes by `leave`."""
        maximum = self.options.max_unauthenticated_per_address
        if maximum and not newcomer.is_exempt and self._guests.count(newcomer.address) > maximum:
            first = self._guests.first_of(newcomer.address)
            if first is not None:
                return first, Eviction.ADDRESS
        if self.guests > self.most_guests:
            return self._first(self._guests, Eviction.GUESTS)
        if self.held > self.options.max_unauthenticated_memory:
            return self._first(self._holders, Eviction.MEMORY)
        return None

    def makes_room(self, why: Eviction) -> tuple[int, Eviction] | None:
        """Who has to go so that another can come; None where nobody has to."""
        return self._first(self._guests, why)

    def _first(self, crowd: Crowd, why: Eviction) -> tuple[int, Eviction] | None:
        first = crowd.first()
        return None if first is None else (first, why)

    def leave(self, guest: Guest) -> None:
        """A guest is gone, or is none any more."""
        self._guests.remove(guest.cid)
        self.hold(guest, 0)

    # Conduct

    def failed(self, guest: Guest, now: float) -> float:
        """A guest did not prove who it is. Returns for how many seconds its address is turned away from now on."""
        allowance = self.options.failures_per_address
        if not allowance or guest.is_exempt:
            return 0.0
        allowance *= 1 + self._inside[guest.address]
        return self._backoff.failed(guest.address, now, allowance=allowance, longest=self.options.longest_backoff)

    def logged_in(self, address: str) -> None:
        """One more client of an address is logged in."""
        self._inside[address] += 1

    def logged_out(self, address: str) -> None:
        """And one less."""
        self._inside[address] -= 1
        if self._inside[address] <= 0:
            del self._inside[address]

    def _is_exempt(self, ip: str) -> bool:
        return not ip or is_within(ip, self._exempt)
