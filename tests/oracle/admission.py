"""The plain twin of broker.net.crowd, broker.net.backoff and broker.net.admission: lists that are gone through."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network


@dataclass
class PlainCrowd:
    """Members in the order in which they came, and when the number of each address last changed."""

    members: list[tuple[int, str]] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    steps: int = 0

    def count(self, address: str) -> int:
        return sum(other == address for _, other in self.members)

    def _step(self, address: str) -> None:
        self.steps += 1
        self.changed[address] = self.steps

    def add(self, member: int, address: str) -> None:
        self.members.append((member, address))
        self._step(address)

    def remove(self, member: int) -> None:
        for entry in self.members:
            if entry[0] == member:
                self.members.remove(entry)
                self._step(entry[1])
                return

    def first_of(self, address: str) -> int | None:
        return next((member for member, other in self.members if other == address), None)

    def first(self) -> int | None:
        addresses = {address for _, address in self.members}
        if not addresses:
            return None
        fullest = min(addresses, key=lambda address: (-self.count(address), self.changed[address]))
        return self.first_of(fullest)


@dataclass
class PlainBackoff:
    """What happened to each address, gone through from its beginning whenever something is asked."""

    known: dict[str, tuple[float, float, int, float]] = field(default_factory=dict)
    """Level, when that was, offences, until when: the address that was heard of last at the end."""
    maximum: int = 16384

    def failed(self, address: str, now: float, allowance: float, longest: float) -> float:
        level, at, offences, until = self.known.get(address, (0.0, now, 0, 0.0))
        if now < until:
            return 0.0
        if now - max(at, until) > 10 * longest:
            offences = 0
        level = max(0.0, level - allowance * (now - at) / 60) + 1
        seconds = 0.0
        if level > allowance:
            seconds = min(longest, 1.0 * 2**offences)
            level, offences, until = allowance / 2, offences + 1, now + seconds
        self.known.pop(address, None)
        self.known[address] = (level, now, offences, until)
        while len(self.known) > self.maximum:
            del self.known[next(iter(self.known))]
        return seconds

    def turns_away(self, address: str, now: float) -> bool:
        return address in self.known and now < self.known[address][3]


@dataclass
class PlainAdmission:
    """The bounds of guests, each checked against everybody there is."""

    most: int
    per_address: int
    memory: int
    exempt: tuple[str, ...] = ()
    guests: list[tuple[int, str, bool]] = field(default_factory=list)
    holding: dict[int, int] = field(default_factory=dict)
    crowd: PlainCrowd = field(default_factory=PlainCrowd)
    holders: PlainCrowd = field(default_factory=PlainCrowd)

    def key(self, ip: str) -> str:
        return str(ip_network(f"{ip}/64", strict=False)) if ":" in ip else ip

    def is_exempt(self, ip: str) -> bool:
        return any(ip_address(ip) in ip_network(network) for network in self.exempt)

    def enter(self, cid: int, ip: str) -> list[int]:
        """Returns who had to go for it, in order."""
        key, exempt = self.key(ip), self.is_exempt(ip)
        self.crowd.add(cid, key)
        self.guests.append((cid, key, exempt))
        return self.settle(key, exempt)

    def hold(self, cid: int, size: int) -> list[int]:
        _, key, exempt = next(guest for guest in self.guests if guest[0] == cid)
        if size and not self.holding.get(cid):
            self.holders.add(cid, key)
        if not size and self.holding.get(cid):
            self.holders.remove(cid)
        self.holding[cid] = size
        return self.settle(key, exempt)

    def settle(self, key: str, exempt: bool) -> list[int]:
        gone = []
        while True:
            if self.per_address and not exempt and self.crowd.count(key) > self.per_address:
                victim = self.crowd.first_of(key)
            elif len(self.guests) > self.most:
                victim = self.crowd.first()
            elif sum(self.holding.values()) > self.memory:
                victim = self.holders.first()
            else:
                return gone
            assert victim is not None
            gone.append(victim)
            self.leave(victim)

    def leave(self, cid: int) -> None:
        self.guests = [guest for guest in self.guests if guest[0] != cid]
        self.holding.pop(cid, None)
        self.crowd.remove(cid)
        self.holders.remove(cid)
