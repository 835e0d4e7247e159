"""Where and when a user may connect: source networks and daily windows in a time zone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from auth.claims.permissions import CLOCK, is_network

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

ADDRESSES = 1024
"""How many addresses are remembered."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of CIDR texts (RFC 4632). Raises ValueError for a text that is none."""
    networks = []
    for text in texts:
        if not is_network(text):
            raise ValueError(f"invalid cidr {text!r}")
        networks.append(ipaddress.ip_network(text, strict=False))
    return tuple(networks)


def is_within(remote_ip: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks; an unknown address lies in none."""
    address = _address(remote_ip)
    return address is not None and any(address in network for network in networks)


@lru_cache(ADDRESSES)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Clients come again and again from the same addresses, and reading one takes longer than comparing it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class DailyWindows:
    """Daily windows of time in one zone; None is the server's own. A window whose end comes first crosses midnight."""

    windows: tuple[tuple[time, time], ...]
    zone: ZoneInfo | None

    @classmethod
    def parse(cls, windows: Iterable[tuple[str, str]], location: str) -> DailyWindows:
        """From pairs of ``HH:MM:SS`` and the name of an IANA zone. Raises ValueError for anything else."""
        zone = import_module("zoneinfo").ZoneInfo(location) if location else None
        return cls(tuple((_clock(start), _clock(end)) for start, end in windows), zone)

    def closes_at(self, now: float) -> float | None:
        """When (Unix seconds) the window that is open ends, or None when none is. Start and end lie outside.

        Of several open windows the last to close counts.
        """
        today = datetime.fromtimestamp(now, self.zone).date()
        ends = [end for start, end in self._around(today) if start < now < end]
        return max(ends, default=None)

    def _around(self, today: date) -> Iterator[tuple[float, float]]:
        for day in (today - timedelta(days=1), today):
            for start, end in self.windows:
                last = day + timedelta(days=1) if end < start else day
                yield self._moment(day, start), self._moment(last, end)

    def _moment(self, day: date, clock: time) -> float:
        return datetime.combine(day, clock, self.zone).timestamp()


def _clock(text: str) -> time:
    if not CLOCK.fullmatch(text):
        raise ValueError(f"invalid time of day {text!r}")
    hours, minutes, seconds = text.split(":")
    return time(int(hours), int(minutes), int(seconds))
